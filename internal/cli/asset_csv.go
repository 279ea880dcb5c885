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

func (a *app) assetImport() *cobra.Command {
	var o hostler.ImportOptions
	var columns []string
	var yes bool
	cmd := a.cmd("import FILE [flags]", doc{
		short: txt("make and change assets from a file of CSV", "从 CSV 文件创建和修改资产"),
		long: txt(`Reads assets from a file of CSV (- is standard input) and makes or changes them: all
of them, or none when one row fails. Commas, semicolons or tabs separate the cells.
The first line names the columns, in English or Chinese: name, address, port, kind, platform, credential, device_key,
host_key, jump, labels and vars as key=value,key=value, or label.KEY and var.KEY. A
column that is not there leaves its field as it is; an empty cell clears it.
UTF-8, UTF-16 and, with a Chinese header, GB18030 (GBK) are found out; --encoding
names what is not.
On a terminal the changes are shown first and must be agreed to.`,
			`从 CSV 文件（- 为标准输入）读取资产并创建或修改：全部成功，若有一行失败则全部不变。
分隔符可为逗号、分号或制表符。首行为列名，中英文均可：名称、地址、端口、类型、平台、凭据、设备标识、
主机密钥策略、跳板；标签和变量写作 key=value,key=value，或使用 标签.KEY、变量.KEY 列。
没有的列保持原值；空单元格清除原值。
自动识别 UTF-8、UTF-16，以及带中文列名的 GB18030（GBK）；无法识别时用 --encoding 指明。
在终端中会先显示变更并请求确认。`),
		example: "hostler asset import hosts.csv --dry-run\nhostler asset import hosts.csv --map 资产编号:name --map 备注:-\nhostler asset export | hostler asset import - --project lab",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var err error
		if o.Mapping, err = mappingOf(columns); err != nil {
			return err
		}
		file, err := a.readTable(args[0])
		if err != nil {
			return err
		}
		ask := !yes && !o.DryRun && args[0] != "-" && a.askable()
		if ask {
			if ok, err := a.agreed(ctx, c, file, o); err != nil || !ok {
				return err
			}
		}
		done, err := c.ImportAssets(ctx, file, o)
		if err != nil {
			return err
		}
		if ask && done.Applied && a.output == "table" {
			a.countImport(done) // the rows were shown
			return nil
		}
		return a.sayImport(done)
	})
	f := cmd.Flags()
	f.BoolVar(&o.DryRun, "dry-run", false, a.t("show what would become of each row, and change nothing", "仅显示每一行的结果，不做更改"))
	f.StringVar(&o.OnConflict, "on-conflict", "", a.t("of a row whose asset exists: update (default), skip or fail", "资产已存在时：update（默认）、skip 或 fail"))
	f.StringArrayVar(&columns, "map", nil, a.t("COLUMN:FIELD; field - ignores the column; may be repeated", "列名:字段；字段为 - 则忽略该列；可重复"))
	f.StringVar(&o.Encoding, "encoding", "", a.t("of the file: utf-8, utf-16 or gb18030 (default: found out)", "文件编码：utf-8、utf-16 或 gb18030（默认：自动识别）"))
	f.BoolVar(&yes, "yes", false, a.t("do not ask", "不询问"))
	a.complete(cmd, "encoding", fixed("utf-8", "utf-16", "gb18030"))
	a.complete(cmd, "on-conflict", fixed("update", "skip", "fail"))
	return cmd
}

func mappingOf(columns []string) (map[string]string, error) {
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

// agreed shows what an import would do, and asks.
func (a *app) agreed(ctx context.Context, c *client.Client, file []byte, o hostler.ImportOptions) (bool, error) {
	o.DryRun = true
	would, err := c.ImportAssets(ctx, file, o)
	if err != nil {
		return false, err
	}
	if would.Created+would.Updated == 0 || would.Failed > 0 {
		return false, a.sayImport(would)
	}
	shown := *a // the question and what it is about; the outcome goes to standard output
	shown.out, shown.output = a.err, "table"
	if err := shown.listImport(would); err != nil {
		return false, err
	}
	fmt.Fprint(a.err, a.t("Make these changes? [y/N] ", "确认以上更改？[y/N] "))
	answer, _ := bufio.NewReader(a.in).ReadString('\n') // its end is a no
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y") {
		return true, nil
	}
	a.note("nothing was changed", "未做任何更改")
	return false, nil
}

// sayImport tells what became of each row; the exit code is 1 when one failed.
func (a *app) sayImport(r hostler.AssetImport) error {
	if a.output != "table" {
		if err := a.structured(r); err != nil {
			return err
		}
	} else if err := a.listImport(r); err != nil {
		return err
	}
	if r.Failed > 0 {
		a.note("nothing was changed: mend the rows that fail, and import again", "未做任何更改：请修正失败的行后重新导入")
		return &outcomeError{exitNotSucceeded}
	}
	return nil
}

func (a *app) listImport(r hostler.AssetImport) error {
	rows := slices.DeleteFunc(slices.Clone(r.Rows), func(x hostler.ImportedRow) bool { return x.Result == hostler.ImportUnchanged })
	if len(rows) > 0 {
		if err := list(a, rows, a.importColumns()); err != nil {
			return err
		}
	}
	a.countImport(r)
	return nil
}

func (a *app) countImport(r hostler.AssetImport) {
	words := txt("%d to create, %d to update, %d unchanged, %d skipped, %d failed", "将新建 %d，修改 %d，不变 %d，跳过 %d，失败 %d")
	if r.Applied {
		words = txt("%d created, %d updated, %d unchanged, %d skipped, %d failed", "已新建 %d，修改 %d，不变 %d，跳过 %d，失败 %d")
	}
	a.note(words.EN, words.ZH, r.Created, r.Updated, r.Unchanged, r.Skipped, r.Failed)
}

func (a *app) importColumns() []column[hostler.ImportedRow] {
	fates := map[string]hostler.Text{
		hostler.ImportCreate: txt("create", "新建"), hostler.ImportUpdate: txt("update", "修改"),
		hostler.ImportSkip: txt("skip", "跳过"), hostler.ImportFail: txt("fail", "失败"),
	}
	return []column[hostler.ImportedRow]{
		col("line", "行", func(x hostler.ImportedRow) string { return number(x.Line) }),
		col("name", "名称", func(x hostler.ImportedRow) string { return x.Name }),
		col("fate", "结果", func(x hostler.ImportedRow) string { return fates[x.Result].In(a.lang) }),
		col("what", "说明", func(x hostler.ImportedRow) string {
			var words []string
			for _, field := range slices.Sorted(maps.Keys(x.Changes)) {
				words = append(words, fmt.Sprintf("%s: %s → %s", field, dash(x.Changes[field][0]), dash(x.Changes[field][1])))
			}
			for _, e := range x.Errors {
				words = append(words, e.Path+" "+e.Text.In(a.lang))
			}
			return dash(strings.Join(words, "; "))
		}),
	}
}

func (a *app) assetExport() *cobra.Command {
	var labels map[string]string
	var file string
	cmd := a.cmd("export [flags]", doc{
		short:   txt("write assets as a file of CSV", "将资产导出为 CSV 文件"),
		long:    txt("Writes assets as CSV that a spreadsheet opens safely: a cell that it could take for\na formula begins with an apostrophe. 'asset import' reads it back without a change.", "将资产导出为 CSV，可安全地用电子表格打开：可能被当作公式的单元格以单引号开头。\n'asset import' 可原样读回。"),
		example: "hostler asset export > assets.csv\nhostler asset export --label role=web -f web.csv",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		switch {
		case a.output != "table":
			return hostler.Errorf(hostler.CodeInvalid, "an export is CSV; for JSON or YAML use 'hostler asset list -o %s'",
				"导出格式为 CSV；JSON 或 YAML 请用 'hostler asset list -o %s'", a.output)
		case file == "" && term.IsTerminal(a.out):
			var b strings.Builder
			if err := c.ExportAssets(ctx, labels, &b); err != nil {
				return err
			}
			_, err := io.WriteString(a.out, term.EscapeLines(strings.TrimPrefix(b.String(), "\ufeff")))
			return err
		case file == "":
			return c.ExportAssets(ctx, labels, a.out)
		}
		return writeFile(file, func(w io.Writer) error { return c.ExportAssets(ctx, labels, w) })
	})
	cmd.Flags().StringVarP(&file, "file", "f", "", a.t("file to write (default: standard output)", "输出文件（默认：标准输出）"))
	cmd.Flags().Var(pairsFlag{&labels}, "label", a.t("only assets with this label; repeat for more", "只导出带此标签的资产；可重复"))
	return cmd
}
