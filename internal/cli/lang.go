package cli

import (
	"cmp"
	"fmt"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/cli/term"
)

// language picks the language as the locale says; HOSTLER_LANG wins.
func language(env func(string) string) hostler.Lang {
	locale := cmp.Or(env("HOSTLER_LANG"), env("LC_ALL"), env("LC_MESSAGES"), env("LANG"))
	if strings.HasPrefix(strings.ToLower(locale), "zh") {
		return hostler.LangZH
	}
	return hostler.LangEN
}

func txt(en, zh string) hostler.Text { return hostler.Text{EN: en, ZH: zh} }

// t picks the text in the invocation's language.
func (a *app) t(en, zh string) string { return txt(en, zh).In(a.lang) }

// note says something beside the result, on standard error.
func (a *app) note(en, zh string, args ...any) {
	fmt.Fprintln(a.err, term.Escape(hostler.Textf(en, zh, args...).In(a.lang)))
}
