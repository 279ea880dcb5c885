package rest

import (
	"errors"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"hostler.dev/hostler"
)

// Huma reports a fault as one string. The strings that this package gives it hold a
// text in both languages, separated by textSep, and where Huma's location is not the
// field itself, the name of the member as a third part. A string of Huma's own is
// replaced by textWrongForm, because it may repeat the value.
const textSep = "\x1f"

// patternMark begins the message for a text that does not match a pattern. The rest
// is the pattern's description, which textOfForm translates.
const patternMark = "pattern" + textSep

var (
	textWrongForm = hostler.Text{EN: "has the wrong form", ZH: "格式不正确"}
	textTime      = hostler.Text{
		EN: "must be a time like 2026-01-31T08:00:00Z",
		ZH: "必须是 2026-01-31T08:00:00Z 形式的时间",
	}
	textInteger = hostler.Text{EN: "must be a whole number", ZH: "必须是整数"}
	textBoolean = hostler.Text{EN: "must be true or false", ZH: "必须是 true 或 false"}
)

func joined(t hostler.Text) string { return t.EN + textSep + t.ZH }

func message(en, zh string) string { return en + textSep + zh }

// setMessages sets the messages of Huma's validation, which are variables of a
// package: one value for the whole program. The verbs are indexed, since each
// argument occurs in both languages.
var setMessages = sync.OnceFunc(func() {
	validation.MsgExpectedRequiredProperty = message("is required", "必填") + textSep + "%[1]s"
	validation.MsgUnexpectedProperty = message("is not a known field", "是未知字段")
	validation.MsgExpectedOneOf = message("must be one of %[1]s", "必须是以下之一：%[1]s")
	validation.MsgExpectedMinimumNumber = message("must be at least %[1]v", "不能小于 %[1]v")
	validation.MsgExpectedExclusiveMinimumNumber = message("must be more than %[1]v", "必须大于 %[1]v")
	validation.MsgExpectedMaximumNumber = message("must be at most %[1]v", "不能大于 %[1]v")
	validation.MsgExpectedExclusiveMaximumNumber = message("must be less than %[1]v", "必须小于 %[1]v")
	validation.MsgExpectedMinLength = message("must have at least %[1]d character(s)", "至少 %[1]d 个字符")
	validation.MsgExpectedMaxLength = message("must have at most %[1]d character(s)", "最多 %[1]d 个字符")
	validation.MsgExpectedMinItems = message("must have at least %[1]d item(s)", "至少 %[1]d 项")
	validation.MsgExpectedMaxItems = message("must have at most %[1]d item(s)", "最多 %[1]d 项")
	validation.MsgExpectedBePattern = patternMark + "%s"
	validation.MsgExpectedRFC3339DateTime = joined(textTime)
	validation.MsgExpectedInteger = joined(textInteger)
	validation.MsgExpectedBoolean = joined(textBoolean)
	validation.MsgExpectedNumber = message("must be a number", "必须是数字")
	validation.MsgExpectedString = message("must be a text", "必须是文本")
	validation.MsgExpectedArray = message("must be a list", "必须是列表")
	validation.MsgExpectedObject = message("must be an object", "必须是对象")
})

// fixedTexts are the messages that Huma has in its code and not in variables.
var fixedTexts = map[string]hostler.Text{
	"unknown query parameter": {EN: "is not a known parameter", ZH: "是未知参数"},
	"invalid integer":         textInteger,
	"invalid boolean":         textBoolean,
	"invalid date/time for format 2006-01-02T15:04:05.999999999Z07:00": textTime,
}

// textError makes an error of a parameter that [fieldErrors] reads back in both
// languages.
func textError(t hostler.Text) error { return errors.New(joined(t)) }

// fieldErrors reads the faults that Huma reports.
func fieldErrors(errs []error) []hostler.FieldError {
	var fields []hostler.FieldError
	for _, err := range errs {
		if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			fields = append(fields, fieldError(d))
		}
	}
	return fields
}

// fieldError reads one fault. It drops the value that Huma adds, and names the field
// without "body." or "query." before it.
func fieldError(d *huma.ErrorDetail) hostler.FieldError {
	if path, ok := strings.CutPrefix(d.Message, wrongFormMark); ok {
		path, rule, _ := strings.Cut(path, textSep)
		text, _ := textOf(rule)
		return hostler.FieldError{Path: path, Text: text}
	}
	path := d.Location
	for _, in := range []string{"body.", "query.", "path.", "header."} {
		if rest, ok := strings.CutPrefix(path, in); ok {
			path = rest
			break
		}
	}
	text, member := textOf(d.Message)
	switch {
	case member != "" && path == "body":
		path = member
	case member != "":
		path += "." + member
	}
	return hostler.FieldError{Path: path, Text: text}
}

// textOf reads a message; see textSep.
func textOf(msg string) (text hostler.Text, member string) {
	// Huma puts this before the error of a parameter's own type.
	msg = strings.TrimPrefix(msg, "invalid value: ")
	if description, ok := strings.CutPrefix(msg, patternMark); ok {
		return textOfForm(description), ""
	}
	if text, ok := fixedTexts[msg]; ok {
		return text, ""
	}
	en, rest, ok := strings.Cut(msg, textSep)
	if !ok {
		return textWrongForm, ""
	}
	zh, member, _ := strings.Cut(rest, textSep)
	return hostler.Text{EN: en, ZH: zh}, member
}
