package hostler

// Text is a short text for people in the two languages that every text of
// Hostler exists in.
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

// Lang is a language that Hostler speaks.
type Lang string

// The languages.
const (
	LangEN Lang = "en"
	LangZH Lang = "zh"
)
