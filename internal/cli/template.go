package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// applyCmd is 'hostler apply'.
func (a *app) applyCmd() *cobra.Command {
	var files []string
	var dryRun bool
	cmd := a.cmd("apply [flags]", doc{
		short: txt("publish templates and tasks from YAML files", "发布 YAML 文件中的模板和任务"),
		long: txt(`Publish the templates and tasks of YAML or JSON files: all of them, or none. A template
that has changed becomes a new version; one that has not stays as it is. Errors name
the line and the column.`,
			`发布 YAML 或 JSON 文件中的模板和任务：全部成功，或全部不变。有变化的模板成为新版本，
没有变化的保持原样。错误信息包含行号和列号。`),
		example: "hostler apply -f game-update.yaml\nhostler apply -f template.yaml -f task.yaml --dry-run",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		text, err := a.readDocuments(files)
		if err != nil {
			return err
		}
		applied, err := c.Apply(ctx, hostler.ApplyInput{Documents: text, DryRun: dryRun})
		if err != nil {
			return err
		}
		return list(a, applied, []column[hostler.Applied]{
			col("kind", "类型", func(x hostler.Applied) string { return x.Kind }),
			col("name", "名称", func(x hostler.Applied) string { return x.Name }),
			col("version", "版本", func(x hostler.Applied) string { return number(x.Version) }),
			col("result", "结果", func(x hostler.Applied) string { return x.Result }),
		})
	})
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil,
		a.t("file with the documents, - for standard input; may be repeated", "文档所在文件，- 表示标准输入；可重复"))
	cmd.Flags().BoolVar(&dryRun, "dry-run", false,
		a.t("check and compare only, publish nothing", "只检查和比较，不发布"))
	return cmd
}

// readDocuments reads files as one text of documents.
func (a *app) readDocuments(files []string) (string, error) {
	if len(files) == 0 {
		return "", hostler.Errorf(hostler.CodeInvalid, "name a file with -f", "请用 -f 指定文件")
	}
	texts := make([]string, len(files))
	for i, name := range files {
		b, err := a.readInput(name)
		if err != nil {
			return "", err
		}
		texts[i] = string(b)
	}
	return strings.Join(texts, "\n---\n"), nil
}

// templateCmd is 'hostler template'.
func (a *app) templateCmd() *cobra.Command {
	return a.group("template", doc{
		short: txt("show templates of flows, and their versions", "查看流程模板及其版本"),
		long: txt(`Show templates: flows of steps, which tasks and runs execute. 'hostler apply' publishes
them. Versions never change.`,
			`查看模板：由步骤组成的流程，供任务和执行使用。用 'hostler apply' 发布；版本不可修改。`),
		example: "hostler template list\nhostler template diff game-update 1 2",
	}, a.templateList(), a.templateShow(), a.templateDiff(),
		a.templateChange("restore", doc{
			short: txt("publish an earlier version again", "重新发布旧版本"),
			long: txt("Publish an earlier version of a template again, as a new version.",
				"将模板的旧版本重新发布为新版本。"),
			example: "hostler template restore game-update 3",
		}, (*client.Client).RestoreTemplate),
		a.templateChange("retire", doc{
			short: txt("retire a version: it starts no runs any more", "停用某个版本：不再启动新的执行"),
			long: txt("Retire a version of a template. It starts no runs any more; runs that exist go on.",
				"停用模板的某个版本：不再启动新的执行；已有的执行继续。"),
			example: "hostler template retire game-update 2",
		}, (*client.Client).RetireTemplate))
}

func templateColumns(a *app) []column[hostler.TemplateVersion] {
	return []column[hostler.TemplateVersion]{
		col("name", "名称", func(t hostler.TemplateVersion) string { return t.Name }),
		col("version", "版本", func(t hostler.TemplateVersion) string { return number(t.Version) }),
		col("title", "标题", func(t hostler.TemplateVersion) string { return dash(t.Title) }),
		col("by", "发布者", func(t hostler.TemplateVersion) string { return t.CreatedBy }),
		col("created", "发布时间", func(t hostler.TemplateVersion) string { return localTime(t.CreatedAt) }),
		col("retired", "已停用", func(t hostler.TemplateVersion) string { return a.yesNo(t.RetiredAt != nil) }),
	}
}

func templateNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.TemplateVersion] { return c.Templates },
		func(t hostler.TemplateVersion) string { return t.Name })
}

func (a *app) templateList() *cobra.Command {
	var of string
	cmd := a.cmd("list [flags]", doc{
		short:   txt("list templates, or the versions of one", "列出模板，或某个模板的版本"),
		long:    txt("List the latest version of each template, or all versions of one.", "列出各模板的最新版本，或某个模板的所有版本。"),
		example: "hostler template list\nhostler template list --versions game-update",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		lister := c.Templates
		if of != "" {
			lister = func(ctx context.Context, p hostler.Page) (hostler.List[hostler.TemplateVersion], error) {
				return c.TemplateVersions(ctx, of, p)
			}
		}
		items, _, err := collect(ctx, lister, 0)
		if err != nil {
			return err
		}
		return list(a, items, templateColumns(a))
	})
	cmd.Flags().StringVar(&of, "versions", "", a.t("list the versions of this template", "列出此模板的各个版本"))
	a.complete(cmd, "versions", templateNames())
	return cmd
}

// versionArg reads the optional number of a version.
func versionArg(args []string, i int) (int, error) {
	if len(args) <= i {
		return 0, nil
	}
	n, err := strconv.Atoi(args[i])
	if err != nil || n < 1 {
		return 0, hostler.Errorf(hostler.CodeInvalid, "%q is not the number of a version", "%q 不是版本号", args[i])
	}
	return n, nil
}

func (a *app) templateShow() *cobra.Command {
	cmd := a.cmd("show TEMPLATE [VERSION]", doc{
		short:   txt("print the document of a template", "显示模板的文档"),
		long:    txt("Print the document of a template as it was published.", "按发布时的原样显示模板文档。"),
		example: "hostler template show game-update\nhostler template show game-update 2",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		version, err := versionArg(args, 1)
		if err != nil {
			return err
		}
		t, err := c.Template(ctx, args[0], version)
		if err != nil {
			return err
		}
		if a.output != "table" {
			return a.structured(t)
		}
		_, err = fmt.Fprint(a.out, t.Source)
		return err
	})
	a.complete(cmd, "", templateNames())
	return cmd
}

func (a *app) templateDiff() *cobra.Command {
	cmd := a.cmd("diff TEMPLATE VERSION [VERSION]", doc{
		short: txt("compare two versions of a template", "比较模板的两个版本"),
		long: txt("Compare two versions of a template, line by line; the second one is the latest by default.",
			"逐行比较模板的两个版本；第二个版本默认为最新版本。"),
		example: "hostler template diff game-update 1 3",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var sources [2]string
		for i := range sources {
			version, err := versionArg(args, i+1)
			if err != nil {
				return err
			}
			t, err := c.Template(ctx, args[0], version)
			if err != nil {
				return err
			}
			sources[i] = t.Source
		}
		for _, line := range diffLines(strings.Split(sources[0], "\n"), strings.Split(sources[1], "\n")) {
			fmt.Fprintln(a.out, line)
		}
		return nil
	})
	a.complete(cmd, "", templateNames())
	return cmd
}

// maxDiff bounds the work of diffLines; longer texts are shown one after the other.
const maxDiff = 4000

// diffLines compares two texts line by line, by their longest common subsequence.
func diffLines(from, to []string) []string {
	if len(from) > maxDiff || len(to) > maxDiff {
		from, to = from[:min(len(from), maxDiff)], to[:min(len(to), maxDiff)]
	}
	common := make([][]int, len(from)+1)
	for i := range common {
		common[i] = make([]int, len(to)+1)
	}
	for i, removed := range slices.Backward(from) {
		for j, added := range slices.Backward(to) {
			if common[i][j] = max(common[i+1][j], common[i][j+1]); removed == added {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(from) || j < len(to) {
		switch {
		case i < len(from) && j < len(to) && from[i] == to[j]:
			out = append(out, "  "+from[i])
			i, j = i+1, j+1
		case j == len(to) || i < len(from) && common[i+1][j] >= common[i][j+1]:
			out = append(out, "- "+from[i])
			i++
		default:
			out = append(out, "+ "+to[j])
			j++
		}
	}
	return out
}

// changeTemplate is a client call that changes a version.
type changeTemplate func(*client.Client, context.Context, string, int) (hostler.TemplateVersion, error)

func (a *app) templateChange(verb string, d doc, change changeTemplate) *cobra.Command {
	cmd := a.cmd(verb+" TEMPLATE VERSION", d, func(ctx context.Context, c *client.Client, args []string) error {
		version, err := versionArg(args, 1)
		if err != nil {
			return err
		}
		t, err := change(c, ctx, args[0], version)
		if err != nil {
			return err
		}
		return one(a, t, templateColumns(a))
	})
	a.complete(cmd, "", templateNames())
	return cmd
}

// taskCmd is 'hostler task'.
func (a *app) taskCmd() *cobra.Command {
	return a.group("task", doc{
		short: txt("show tasks: templates with parameters and targets", "查看任务：带参数和目标的模板"),
		long: txt("Show tasks: templates with parameters and targets. 'hostler apply' creates them, 'hostler run start' runs them.",
			"查看任务：带参数和目标的模板。用 'hostler apply' 创建，用 'hostler run start' 执行。"),
		example: "hostler task list\nhostler task show update-eu-games",
	}, a.taskList(), a.taskShow(), a.taskDelete())
}

func taskColumns() []column[hostler.TaskInfo] {
	return []column[hostler.TaskInfo]{
		col("name", "名称", func(t hostler.TaskInfo) string { return t.Name }),
		col("template", "模板", func(t hostler.TaskInfo) string { return t.Template }),
		col("version", "版本", func(t hostler.TaskInfo) string { return dash(number(t.Version)) }),
		col("title", "标题", func(t hostler.TaskInfo) string { return dash(t.Title) }),
		col("changed", "修改时间", func(t hostler.TaskInfo) string { return localTime(t.UpdatedAt) }),
	}
}

func taskNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.TaskInfo] { return c.Tasks },
		func(t hostler.TaskInfo) string { return t.Name })
}

func (a *app) taskList() *cobra.Command {
	return a.cmd("list", doc{
		short: txt("list tasks", "列出任务"), long: txt("List the tasks of the project.", "列出项目中的任务。"),
		example: "hostler task list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		items, _, err := collect(ctx, c.Tasks, 0)
		if err != nil {
			return err
		}
		return list(a, items, taskColumns())
	})
}

func (a *app) taskShow() *cobra.Command {
	cmd := a.cmd("show TASK", doc{
		short: txt("print the document of a task", "显示任务的文档"),
		long:  txt("Print the document of a task.", "显示任务的文档。"), example: "hostler task show update-eu-games",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		t, err := c.Task(ctx, args[0])
		if err != nil {
			return err
		}
		if a.output != "table" {
			return a.structured(t)
		}
		_, err = fmt.Fprint(a.out, t.Source)
		return err
	})
	a.complete(cmd, "", taskNames())
	return cmd
}

func (a *app) taskDelete() *cobra.Command {
	cmd := a.cmd("delete TASK", doc{
		short: txt("delete a task", "删除任务"), long: txt("Delete a task. Its runs stay.", "删除任务；其执行记录保留。"),
		example: "hostler task delete update-eu-games",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		return c.DeleteTask(ctx, args[0])
	})
	a.complete(cmd, "", taskNames())
	return cmd
}
