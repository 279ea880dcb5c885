package hostler

// Text is a short text for people in both languages. Every text that Hostler shows
// exists in both.
type Text struct {
	EN string `json:"en"`
	ZH string `json:"zh"`
}

// In returns the text in the language: ZH for LangZH, EN for any other.
func (t Text) In(l Lang) string {
	if l == LangZH && t.ZH != "" {
		return t.ZH
	}
	return t.EN
}

// Lang is a language of texts.
type Lang string

// The languages.
const (
	LangEN Lang = "en"
	LangZH Lang = "zh"
)
