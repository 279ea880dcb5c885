package action

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// jsonLimits bound args. Decoders and validators recurse into nested values, and with an
// exponent a few characters would make a validator compute with millions of digits.
var jsonLimits = check.JSONLimits{Root: "args", Depth: 32, Number: 32}

// decodeArgs reads args strictly: UTF-8, one JSON object, no field twice, bounded in size
// and depth.
func decodeArgs(args json.RawMessage) (any, []hostler.FieldError) {
	refuse := func(en, zh string, a ...any) (any, []hostler.FieldError) {
		return nil, []hostler.FieldError{{Path: "args", Text: hostler.Textf(en, zh, a...)}}
	}
	switch {
	case len(args) > hostler.MaxArgsBytes:
		return refuse("must be at most %d bytes", "最多 %d 字节", hostler.MaxArgsBytes)
	case !utf8.Valid(args):
		return refuse("must be UTF-8", "必须为 UTF-8 编码")
	}
	faults, err := check.JSON(args, jsonLimits)
	if deep, ok := errors.AsType[*check.DepthError](err); ok {
		return nil, []hostler.FieldError{{Path: deep.Path, Text: deep.Text()}}
	}
	if err != nil {
		return refuse("is not valid JSON", "不是合法的 JSON")
	}
	if len(faults) > 0 {
		return nil, faults
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(args))
	if err != nil {
		return refuse("must be one JSON object", "必须是一个 JSON 对象")
	}
	if _, ok := doc.(map[string]any); !ok {
		return refuse("must be a JSON object", "必须是 JSON 对象")
	}
	return doc, nil
}

// Decode reads valid args into an action's own struct; no args are {}. A value that JSON
// Schema allows and Go's types do not, such as 22.0 for 22, is returned as the fault of its
// field.
func Decode(args json.RawMessage, into any) []hostler.FieldError {
	if len(args) == 0 {
		args = json.RawMessage(`{}`)
	}
	err := json.Unmarshal(args, into)
	if err == nil {
		return nil
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return []hostler.FieldError{{Path: t.Field, Text: hostler.Text{
			EN: "must be an integer without a decimal point: 22, not 22.0",
			ZH: "请写成不带小数点的整数，例如写 22 而不是 22.0",
		}}}
	}
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		return []hostler.FieldError{{Text: e.Text}}
	}
	return []hostler.FieldError{{Text: hostler.Text{EN: "cannot be read", ZH: "无法读取"}}}
}
