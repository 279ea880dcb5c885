package rest

import (
	"golang.org/x/text/language"

	"hostler.dev/hostler"
)

// langs are the languages of every text, in the order of languages.
var (
	langs     = []hostler.Lang{hostler.LangEN, hostler.LangZH}
	languages = language.NewMatcher([]language.Tag{language.English, language.Chinese})
)

// Lang picks English or Chinese by an Accept-Language header (RFC 9110 §12.5.4). It
// returns def without a header, and for one that names neither language.
func Lang(header string, def hostler.Lang) hostler.Lang {
	wanted, _, err := language.ParseAcceptLanguage(header)
	if err != nil || len(wanted) == 0 {
		return def
	}
	_, i, confidence := languages.Match(wanted...)
	if confidence == language.No {
		return def
	}
	return langs[i]
}
