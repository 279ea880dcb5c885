package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hostler.dev/hostler"
)

// doc is what --help says of a command. Examples are command lines, the same in
// both languages.
type doc struct {
	short, long hostler.Text
	example     string
}

func indent(s string) string { return "  " + strings.ReplaceAll(s, "\n", "\n  ") }

// localise puts the words that cobra adds by itself into the language.
func (a *app) localise(root *cobra.Command) {
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		what := flagError(err)
		return hostler.Errorf(hostler.CodeInvalid,
			"%[1]s; see '%[3]s --help'", "%[2]s；参见 '%[3]s --help'", what.EN, what.ZH, cmd.CommandPath())
	})
	if a.lang == hostler.LangZH {
		root.SetUsageTemplate(chinese.Replace(root.UsageTemplate()))
	}
	each(root, func(c *cobra.Command) {
		c.InitDefaultHelpFlag()
		c.Flags().Lookup("help").Usage = a.t("show this help", "显示帮助")
		if a.lang == hostler.LangZH {
			c.Flags().VisitAll(defaultInChinese)
			c.PersistentFlags().VisitAll(defaultInChinese)
		}
	})
}

// defaultInChinese tells a default, for which pflag has English words only.
func defaultInChinese(f *pflag.Flag) {
	none, ok := map[string]string{"string": "", "int": "0", "intSlice": "[]", "duration": "0s"}[f.Value.Type()]
	if ok && f.DefValue != none && f.DefValue != "" {
		f.Usage += "（默认 " + f.DefValue + "）"
		f.DefValue = none
	}
}

// flagError is pflag's error in both languages; what a flag's own Set says has them.
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

func dashed(flag string) string {
	if len(flag) == 1 {
		return "-" + flag
	}
	return "--" + flag
}

var chinese = strings.NewReplacer(
	"Usage:", "用法：", "Aliases:", "别名：", "Examples:", "示例：",
	"Available Commands:", "可用命令：", "Additional Commands:", "其他命令：",
	"Global Flags:", "全局选项：", "Flags:", "选项：", "Additional help topics:", "其他帮助主题：",
	`Use "{{.CommandPath}} [command] --help" for more information about a command.`,
	`使用 "{{.CommandPath}} [command] --help" 查看子命令的详细说明。`,
)

func each(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		each(sub, f)
	}
}
