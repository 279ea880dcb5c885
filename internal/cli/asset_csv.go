package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// assetImport is 'hostler asset import'. Parsing is done by the server (package
// assetfile), so that the command and the API accept the same files.
func (a *app) assetImport() *cobra.Command {
	var o hostler.ImportOptions
	var columns []string
	var yes bool
	cmd := a.cmd("import FILE [flags]", doc{
		short: txt("create and update assets from a CSV file", "从 CSV 文件创建和修改资产"),
		long: txt(`Read assets from a CSV file (- is standard input), and create or update them: all
of them, or none when a row fails.

The first line names the columns, in English or Chinese: name, address, port, kind,
platform, credential, device_key, host_key, jump, and labels and vars as
key=value,key=value. label.KEY and var.KEY are columns of one label or variable. A
missing column leaves its field as it is; an empty cell clears it. Cells are
separated by commas, semicolons or tabs.

UTF-8, UTF-16 and, with a Chinese header, GB18030 (GBK) are detected; otherwise use
--encoding.

On a terminal, the command shows the changes and asks before it makes them.`,
			`从 CSV 文件（- 为标准输入）读取资产并创建或修改：全部成功，若有一行失败则全部不变。

首行为列名，中英文均可：名称、地址、端口、类型、平台、凭据、设备标识、主机密钥策略、跳板；
标签和变量写作 key=value,key=value，也可用 标签.KEY、变量.KEY 列。没有的列保持原值；
空单元格清除原值。分隔符可为逗号、分号或制表符。

自动识别 UTF-8、UTF-16，以及带中文列名的 GB18030（GBK）；其他情况请用 --encoding 指定。

在终端中会先显示变更并请求确认。`),
		example: `hostler asset import hosts.csv --dry-run
hostler asset import hosts.csv --map 资产编号:name --map 备注:-
hostler asset export | hostler asset import - --project lab`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var err error
		if o.Mapping, err = columnMapping(columns); err != nil {
			return err
		}
		file, err := a.readInput(args[0])
		if err != nil {
			return err
		}
		if yes || o.DryRun || args[0] == "-" || !a.interactive() {
			return a.importAssets(ctx, c, file, o)
		}
		return a.confirmAndImport(ctx, c, file, o)
	})
	fs := cmd.Flags()
	fs.BoolVar(&o.DryRun, "dry-run", false,
		a.t("show what happens to each row, and change nothing", "仅显示每一行的结果，不做更改"))
	fs.StringVar(&o.OnConflict, "on-conflict", "",
		a.t("when the asset exists: update (default), skip or fail",
			"资产已存在时：update（默认）、skip 或 fail"))
	fs.StringArrayVar(&columns, "map", nil,
		a.t("COLUMN:FIELD, with - as the field to ignore the column; may be repeated",
			"列名:字段；字段为 - 则忽略该列；可重复"))
	fs.StringVar(&o.Encoding, "encoding", "",
		a.t("encoding of the file: utf-8, utf-16 or gb18030 (default: detected)",
			"文件编码：utf-8、utf-16 或 gb18030（默认：自动识别）"))
	fs.BoolVar(&yes, "yes", false, a.t("do not ask before making changes", "不请求确认"))
	a.complete(cmd, "encoding", fixed("utf-8", "utf-16", "gb18030"))
	a.complete(cmd, "on-conflict", fixed("update", "skip", "fail"))
	return cmd
}

// columnMapping reads the values of --map. A column may contain colons: the last
// one separates the field.
func columnMapping(columns []string) (map[string]string, error) {
	mapping := map[string]string{}
	for _, m := range columns {
		at := strings.LastIndexByte(m, ':')
		if at < 1 || at == len(m)-1 {
			return nil, hostler.Errorf(hostler.CodeInvalid, "--map takes COLUMN:FIELD", "--map 应写成 列名:字段")
		}
		mapping[m[:at]] = m[at+1:]
	}
	return mapping, nil
}

// importAssets imports the file without a question.
func (a *app) importAssets(ctx context.Context, c *client.Client, file []byte, o hostler.ImportOptions) error {
	done, err := c.ImportAssets(ctx, file, o)
	if err != nil {
		return err
	}
	return a.printImport(done)
}

// confirmAndImport shows the changes of a dry run, asks, and makes them. The
// preview and the question go to standard error, so that standard output has the
// result only.
func (a *app) confirmAndImport(ctx context.Context, c *client.Client, file []byte, o hostler.ImportOptions) error {
	dry := o
	dry.DryRun = true
	preview, err := c.ImportAssets(ctx, file, dry)
	if err != nil {
		return err
	}
	if preview.Created+preview.Updated == 0 || preview.Failed > 0 {
		return a.printImport(preview)
	}
	errs := *a
	errs.out, errs.output = a.err, "table"
	if err := errs.listImport(preview); err != nil {
		return err
	}
	if !a.confirm("Make these changes? [y/N] ", "确认以上更改？[y/N] ") {
		a.note("nothing was changed", "未做任何更改")
		return nil
	}
	done, err := c.ImportAssets(ctx, file, o)
	if err != nil {
		return err
	}
	if done.Applied && a.output == "table" {
		a.noteCounts(done) // the preview has listed the rows
		return nil
	}
	return a.printImport(done)
}

// confirm asks a question. Anything but yes, the end of the input too, is no.
func (a *app) confirm(en, zh string) bool {
	fmt.Fprint(a.err, a.t(en, zh))
	answer, _ := bufio.NewReader(a.in).ReadString('\n')
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y")
}

// printImport prints the result of each row; the exit code is 1 when one failed.
func (a *app) printImport(r hostler.AssetImport) error {
	if a.output != "table" {
		if err := a.structured(r); err != nil {
			return err
		}
	} else if err := a.listImport(r); err != nil {
		return err
	}
	if r.Failed > 0 {
		a.note("nothing was changed: fix the failing rows, and import again",
			"未做任何更改：请修正失败的行后重新导入")
		return &outcomeError{exitNotSucceeded}
	}
	return nil
}

// listImport lists the rows except the unchanged ones, and counts all.
func (a *app) listImport(r hostler.AssetImport) error {
	rows := slices.DeleteFunc(slices.Clone(r.Rows),
		func(x hostler.ImportedRow) bool { return x.Result == hostler.ImportUnchanged })
	if len(rows) > 0 {
		if err := list(a, rows, a.importColumns()); err != nil {
			return err
		}
	}
	a.noteCounts(r)
	return nil
}

// noteCounts notes how many rows had each result, as a plan or as a fact.
func (a *app) noteCounts(r hostler.AssetImport) {
	text := txt("%d to create, %d to update, %d unchanged, %d skipped, %d failed",
		"将新建 %d，修改 %d，不变 %d，跳过 %d，失败 %d")
	if r.Applied {
		text = txt("%d created, %d updated, %d unchanged, %d skipped, %d failed",
			"已新建 %d，修改 %d，不变 %d，跳过 %d，失败 %d")
	}
	a.note(text.EN, text.ZH, r.Created, r.Updated, r.Unchanged, r.Skipped, r.Failed)
}

// importColumns are RESULT and CHANGES of each row.
func (a *app) importColumns() []column[hostler.ImportedRow] {
	return []column[hostler.ImportedRow]{
		col("line", "行", func(x hostler.ImportedRow) string { return number(x.Line) }),
		col("name", "名称", func(x hostler.ImportedRow) string { return x.Name }),
		col("result", "结果", func(x hostler.ImportedRow) string { return a.importResult(x.Result) }),
		col("changes", "说明", a.importChanges),
	}
}

// importResult names the result of a row in the language of the invocation.
func (a *app) importResult(result string) string {
	switch result {
	case hostler.ImportCreate:
		return a.t("create", "新建")
	case hostler.ImportUpdate:
		return a.t("update", "修改")
	case hostler.ImportSkip:
		return a.t("skip", "跳过")
	case hostler.ImportFail:
		return a.t("fail", "失败")
	}
	return result
}

// importChanges describes the changed fields of a row, or why it failed.
func (a *app) importChanges(x hostler.ImportedRow) string {
	var words []string
	for _, field := range slices.Sorted(maps.Keys(x.Changes)) {
		from, to := dash(x.Changes[field][0]), dash(x.Changes[field][1])
		words = append(words, fmt.Sprintf("%s: %s → %s", a.assetField(field), from, to))
	}
	for _, e := range x.Errors {
		words = append(words, a.assetField(e.Path)+": "+e.Text.In(a.lang))
	}
	return dash(strings.Join(words, "; "))
}

// assetFields are the Chinese names of columns, as an import accepts them.
var assetFields = map[string]string{
	"name": "名称", "address": "地址", "port": "端口", "kind": "类型", "platform": "平台", "credential": "凭据",
	"device_key": "设备标识", "host_key": "主机密钥策略", "jump": "跳板", "labels": "标签", "vars": "变量",
	"label": "标签", "var": "变量",
}

// assetField names a field of an asset, such as port or label.role.
func (a *app) assetField(path string) string {
	name, rest, _ := strings.Cut(path, ".")
	zh, ok := assetFields[name]
	if a.lang != hostler.LangZH || !ok {
		return path
	}
	if rest != "" {
		return zh + "." + rest
	}
	return zh
}

// assetExport is 'hostler asset export'. A file is replaced atomically, so that a broken
// connection leaves the old one.
func (a *app) assetExport() *cobra.Command {
	var labels string
	var file string
	cmd := a.cmd("export [flags]", doc{
		short: txt("write assets as CSV", "将资产导出为 CSV"),
		long: txt(`Write assets as CSV that is safe to open in a spreadsheet: a cell that looks like a
formula starts with an apostrophe. 'asset import' reads the file back unchanged.`,
			`将资产导出为 CSV，可安全地用电子表格打开：可能被当作公式的单元格以单引号开头。
'asset import' 可原样读回。`),
		example: "hostler asset export > assets.csv\nhostler asset export --label role=web -f web.csv",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		switch {
		case a.output != "table":
			return hostler.Errorf(hostler.CodeInvalid,
				"an export is CSV; for JSON or YAML use 'hostler asset list -o %s'",
				"导出格式为 CSV；JSON 或 YAML 请用 'hostler asset list -o %s'", a.output)
		case file == "" && term.IsTerminal(a.out):
			return a.showExport(ctx, c, labels)
		case file == "":
			return c.ExportAssetsMatching(ctx, labels, a.out)
		}
		return writeFile(file, func(w io.Writer) error { return c.ExportAssetsMatching(ctx, labels, w) })
	})
	fs := cmd.Flags()
	fs.StringVarP(&file, "file", "f", "", a.t("file to write (default: standard output)",
		"输出文件（默认：标准输出）"))
	a.selectorFlag(cmd, &labels)
	return cmd
}

// showExport prints an export to a terminal: escaped, and without the byte order
// mark that spreadsheets need.
func (a *app) showExport(ctx context.Context, c *client.Client, labels string) error {
	var b strings.Builder
	if err := c.ExportAssetsMatching(ctx, labels, &b); err != nil {
		return err
	}
	_, err := io.WriteString(a.out, term.EscapeLines(strings.TrimPrefix(b.String(), "\ufeff")))
	return err
}
