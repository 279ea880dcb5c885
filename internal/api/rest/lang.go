package rest

import (
	"cmp"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"hostler.dev/hostler"
)

// languages matches what a client reads against the languages of every text; langs
// has the language of each tag. Traditional Chinese is listed although no text is
// written in it: its readers prefer the simplified one to English, and without a tag
// of its own it would be a poorer match than any English after it.
var (
	languages = language.NewMatcher([]language.Tag{
		language.English, language.SimplifiedChinese, language.TraditionalChinese,
	})
	langs = []hostler.Lang{hostler.LangEN, hostler.LangZH, hostler.LangZH}
)

// Lang picks English or Chinese by an Accept-Language header (RFC 9110 §12.5.4). It
// returns def without a header, and for one that names neither language.
func Lang(header string, def hostler.Lang) hostler.Lang {
	_, i, confidence := languages.Match(acceptedLanguages(header)...)
	if confidence == language.No {
		return def
	}
	return langs[i]
}

// acceptedLanguages returns the languages of an Accept-Language header, the most
// wanted first. It skips ranges that are not valid, which would otherwise discard the
// valid ones too.
func acceptedLanguages(header string) []language.Tag {
	type ranked struct {
		tag language.Tag
		q   float32
	}
	var wanted []ranked
	for part := range strings.SplitSeq(header, ",") {
		tags, qs, err := language.ParseAcceptLanguage(part)
		if err != nil {
			continue
		}
		for i, tag := range tags { // one, or none for an empty part or a weight of 0
			wanted = append(wanted, ranked{tag, qs[i]})
		}
	}
	slices.SortStableFunc(wanted, func(a, b ranked) int { return cmp.Compare(b.q, a.q) })
	tags := make([]language.Tag, len(wanted))
	for i, w := range wanted {
		tags[i] = w.tag
	}
	return tags
}
