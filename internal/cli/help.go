package cli

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/cli/term"
)

// doc is the help of a command. Examples are command lines, the same in both
// languages.
type doc struct {
	short, long hostler.Text
	example     string
}

// indent indents examples as cobra's usage does.
func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }

// placeholders are the names of arguments in use lines.
var placeholders = map[string]string{
	"ACTION": "动作", "ADDRESS": "地址", "ASSET": "资产", "CHANNEL": "渠道", "DELIVERY": "投递", "LAST": "末位置", "FILE": "文件", "FOLDER": "目录", "ID": "ID", "LABEL": "标签",
	"JOB": "作业", "KEY": "密钥", "KIND": "类型", "LANE": "通道", "NAME": "名称", "QUEUE": "队列", "REF": "编号", "ROLE": "角色", "RUN": "执行",
	"RULE": "规则", "EFFECT": "处置", "COMMAND": "命令",
	"SHELL": "SHELL", "URL": "URL",
	"APPROVAL": "审批", "STEP": "步骤", "TASK": "任务", "TEMPLATE": "模板", "VERSION": "版本",
	"ARTEFACT": "产物", "CALENDAR": "日历", "TRIGGER": "触发器", "SCHEDULE": "计划", "WEBHOOK": "回调", "WORKER": "节点", "flags": "选项",
}

var placeholder = regexp.MustCompile(`\b([A-Z]+|flags)\b`)

// useLine translates the names of arguments in a use line.
func (a *app) useLine(use string) string {
	if a.lang != hostler.LangZH {
		return use
	}
	return placeholder.ReplaceAllStringFunc(use, func(word string) string {
		return cmp.Or(placeholders[word], word)
	})
}

// localise translates the words that cobra and pflag add by themselves.
func (a *app) localise(root *cobra.Command) {
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		text := flagError(err)
		if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
			var known []string
			cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
			en, zh := didYouMean(e.GetSpecifiedName(), known)
			text.EN, text.ZH = text.EN+en, text.ZH+zh
		}
		return hostler.Errorf(hostler.CodeInvalid,
			"%[1]s; see '%[3]s --help'", "%[2]s；参见 '%[3]s --help'", text.EN, text.ZH, cmd.CommandPath())
	})
	// A group only shows its help: its own usage line says nothing.
	template := strings.Replace(root.UsageTemplate(),
		"{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1)
	if a.lang == hostler.LangZH {
		template = chineseTemplate.Replace(template)
	}
	template = strings.Replace(template, "for more information about a command.", "for help on a command.", 1)
	root.InitDefaultVersionFlag()
	root.Flags().Lookup("version").Usage = a.t("show the version of this command", "显示此命令的版本")
	eachCommand(root, func(c *cobra.Command) {
		c.InitDefaultHelpFlag()
		c.Flags().Lookup("help").Usage = a.t("show this help", "显示帮助")
		c.Flags().VisitAll(a.describeFlag)
		c.PersistentFlags().VisitAll(a.describeFlag)
		c.SetUsageTemplate(alignFlags(template, c))
	})
}

// alignFlags renders the flags of a command into the template. pflag aligns by
// bytes, which are not the width of Chinese names, and breaks no lines.
func alignFlags(template string, c *cobra.Command) string {
	for name, flags := range map[string]*pflag.FlagSet{
		"LocalFlags": c.LocalFlags(), "InheritedFlags": c.InheritedFlags(),
	} {
		template = strings.Replace(template, "{{."+name+".FlagUsages | trimTrailingWhitespaces}}",
			fmt.Sprintf("{{%q}}", flagUsages(flags)), 1)
	}
	return template
}

// helpWidth is how many cells a line of help takes at most, examples apart.
const helpWidth = 80

// flagUsages lists the flags that are not hidden, with aligned descriptions.
func flagUsages(flags *pflag.FlagSet) string {
	var left, right []string
	widest := 0
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "      --" + f.Name
		if f.Shorthand != "" {
			name = "  -" + f.Shorthand + ", --" + f.Name
		}
		if kind := f.Value.Type(); kind != "bool" {
			name += " " + kind
		}
		widest = max(widest, term.Width(name))
		left, right = append(left, name), append(right, f.Usage)
	})
	column := widest + 3
	for i := range left {
		usage := term.Wrap(right[i], helpWidth-column)
		left[i] += strings.Repeat(" ", column-term.Width(left[i])) +
			strings.ReplaceAll(usage, "\n", "\n"+strings.Repeat(" ", column))
	}
	return strings.Join(left, "\n")
}

// chineseTemplate translates cobra's usage template.
var chineseTemplate = strings.NewReplacer(
	"Usage:", "用法：", "Aliases:", "别名：", "Examples:", "示例：",
	"Available Commands:", "可用命令：", "Additional Commands:", "其他命令：",
	"Global Flags:", "全局选项：", "Flags:", "选项：", "Additional help topics:", "其他帮助主题：",
	"{{.CommandPath}} [command]{{end}}", "{{.CommandPath}} [命令]{{end}}",
	`Use "{{.CommandPath}} [command] --help" for more information about a command.`,
	`用 "{{.CommandPath}} [命令] --help" 查看命令的详细说明。`,
)

// eachCommand calls f for a command and all below it.
func eachCommand(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		eachCommand(sub, f)
	}
}

// flagTypes are the types of flags as help shows them.
var flagTypes = map[string]hostler.Text{
	"string": {EN: "string", ZH: "文本"}, "stringArray": {EN: "string", ZH: "文本"},
	"stringSlice": {EN: "strings", ZH: "列表"}, "intSlice": {EN: "ints", ZH: "整数列表"},
	"int": {EN: "int", ZH: "整数"}, "int64": {EN: "int", ZH: "整数"},
	"duration": {EN: "duration", ZH: "时长"}, "time": {EN: "time", ZH: "时间"},
	"id": {EN: "id", ZH: "ID"}, "state": {EN: "state", ZH: "状态"}, "key=value": {EN: "key=value", ZH: "键=值"},
	"selector": {EN: "selector", ZH: "条件"},
}

// renamedType is the value of a flag whose help shows another name for its type.
type renamedType struct {
	pflag.Value
	name string
}

func (f renamedType) Type() string { return f.name }

// describeFlag names the type and the default of a flag in the language of the
// command; pflag has English words only.
func (a *app) describeFlag(f *pflag.Flag) {
	kind := f.Value.Type()
	f.Usage = strings.TrimRight(f.Usage, ".。")
	zero, ok := map[string]string{"string": "", "int": "0", "intSlice": "[]", "duration": "0s"}[kind]
	if ok && f.DefValue != zero && f.DefValue != "" {
		f.Usage += fmt.Sprintf(a.t(" (default %s)", "（默认 %s）"), f.DefValue)
	}
	if name, ok := flagTypes[kind]; ok {
		f.Value = renamedType{f.Value, name.In(a.lang)}
		f.DefValue = "" // described above
	}
}

// flagError returns pflag's error in both languages. An error of a flag's own Set
// has both already.
func flagError(err error) hostler.Text {
	zh := fmt.Sprintf("选项有误：%v", err)
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		zh = "没有选项 " + dashed(e.GetSpecifiedName())
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		zh = fmt.Sprintf("选项 %s 需要一个值", dashed(e.GetSpecifiedName()))
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		zh = fmt.Sprintf("选项 --%s 的值 %q 无效", e.GetFlag().Name, e.GetValue())
		if cause, ok := errors.AsType[*hostler.Error](err); ok {
			zh += "：" + cause.Text.ZH
		}
	}
	return hostler.Text{EN: err.Error(), ZH: zh}
}

// dashed writes the name of a flag as it is typed.
func dashed(flag string) string {
	if len(flag) == 1 {
		return "-" + flag
	}
	return "--" + flag
}
