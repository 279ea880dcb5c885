package cli

import (
	"cmp"
	"fmt"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/cli/term"
)

// language returns the language of the locale; HOSTLER_LANG takes precedence.
func language(env func(string) string) hostler.Lang {
	locale := cmp.Or(env("HOSTLER_LANG"), env("LC_ALL"), env("LC_MESSAGES"), env("LANG"))
	if strings.HasPrefix(strings.ToLower(locale), "zh") {
		return hostler.LangZH
	}
	return hostler.LangEN
}

// txt makes a text of its two languages.
func txt(en, zh string) hostler.Text { return hostler.Text{EN: en, ZH: zh} }

// t selects the text in the language of the invocation.
func (a *app) t(en, zh string) string { return txt(en, zh).In(a.lang) }

// note prints a line that is not part of the result to standard error.
func (a *app) note(en, zh string, args ...any) {
	fmt.Fprintln(a.err, term.Escape(hostler.Textf(en, zh, args...).In(a.lang)))
}
