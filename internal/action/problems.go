package action

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

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

// schemaProblems flattens a validation error into one fault per field, in texts of its own:
// the library's repeat the value.
func schemaProblems(err error) []hostler.FieldError {
	v, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return []hostler.FieldError{{Path: "args", Text: hostler.Text{EN: "is not valid", ZH: "无效"}}}
	}
	var f check.Fields
	collect(v, &f)
	return f.Faults()
}

func collect(v *jsonschema.ValidationError, f *check.Fields) {
	path := joinPath("args", v.InstanceLocation)
	switch k := v.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, c := range v.Causes {
			if f.Full() {
				return
			}
			collect(c, f)
		}
		return
	case *kind.Required:
		for _, name := range k.Missing {
			f.Add(check.Member(path, name), "is required", "必填")
		}
		return
	case *kind.DependentRequired:
		for _, name := range k.Missing {
			f.Add(check.Member(path, name), "is required with %s", "与 %s 同时使用时必填", k.Prop)
		}
		return
	case *kind.AdditionalProperties:
		for _, name := range k.Properties[:min(len(k.Properties), check.MaxFaults)] {
			f.Add(check.Member(path, name), "is not a known field", "未知字段")
		}
		return
	case *kind.PropertyNames:
		path = joinPath("args", namesLocation(v))
	}
	f.AddText(path, kindText(v.ErrorKind))
}

// namesLocation returns the location of the object with a key that is not allowed. The
// library's own location of this one kind shares its memory with the validator, which goes on
// to write other paths there. The location in the schema is equivalent, unless the object is
// an array's item.
func namesLocation(v *jsonschema.ValidationError) []string {
	_, pointer, _ := strings.Cut(v.SchemaURL, "#/")
	var out []string
	tokens := strings.Split(strings.TrimSuffix(pointer, "propertyNames"), "/")
	for i := 0; i+1 < len(tokens); i += 2 {
		if tokens[i] != "properties" {
			return nil
		}
		out = append(out, tokens[i+1])
	}
	return out
}

// kindText returns the rule that is broken, without the value.
func kindText(k jsonschema.ErrorKind) hostler.Text {
	switch k := k.(type) {
	case *kind.Type:
		want := strings.Join(k.Want, " | ")
		return hostler.Textf("must be of type %s", "类型必须为 %s", want)
	case *kind.Enum:
		return hostler.Textf("must be one of %s", "必须是 %s 之一", jsonList(k.Want))
	case *kind.Const:
		return hostler.Textf("must be %s", "必须为 %s", jsonList([]any{k.Want}))
	case *kind.Pattern:
		return hostler.Textf("must match the pattern %s", "必须匹配模式 %s", k.Want)
	case *kind.MinLength:
		return hostler.Textf("must have at least %d characters", "至少 %d 个字符", k.Want)
	case *kind.MaxLength:
		return hostler.Textf("must have at most %d characters", "最多 %d 个字符", k.Want)
	case *kind.Minimum:
		return hostler.Textf("must be at least %s", "不得小于 %s", number(k.Want))
	case *kind.Maximum:
		return hostler.Textf("must be at most %s", "不得大于 %s", number(k.Want))
	case *kind.ExclusiveMinimum:
		return hostler.Textf("must be greater than %s", "必须大于 %s", number(k.Want))
	case *kind.ExclusiveMaximum:
		return hostler.Textf("must be less than %s", "必须小于 %s", number(k.Want))
	case *kind.MultipleOf:
		return hostler.Textf("must be a multiple of %s", "必须是 %s 的倍数", number(k.Want))
	case *kind.MinItems:
		return hostler.Textf("must have at least %d items", "至少 %d 项", k.Want)
	case *kind.MaxItems:
		return hostler.Textf("must have at most %d items", "最多 %d 项", k.Want)
	case *kind.MinProperties:
		return hostler.Textf("must have at least %d entries", "至少 %d 个条目", k.Want)
	case *kind.MaxProperties:
		return hostler.Textf("must have at most %d entries", "最多 %d 个条目", k.Want)
	case *kind.UniqueItems:
		return hostler.Text{EN: "must not contain an item twice", ZH: "不得有重复项"}
	case *kind.PropertyNames:
		return hostler.Text{EN: "has a key that is not allowed", ZH: "包含不允许的键"}
	case *kind.OneOf, *kind.AnyOf:
		return hostler.Text{
			EN: "must have exactly one of the forms in the action's help",
			ZH: "必须符合动作说明中的一种形式",
		}
	case *kind.Not:
		return hostler.Text{EN: "has a combination of fields that is not allowed", ZH: "包含不允许的字段组合"}
	default:
		return hostler.Text{EN: "is not valid; see the action's schema", ZH: "无效，请参见动作的模式说明"}
	}
}

func number(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	return strings.TrimRight(r.FloatString(6), "0")
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

func jsonList(vs []any) string {
	items := make([]string, len(vs))
	for i, v := range vs {
		b, err := json.Marshal(v)
		if err != nil {
			b = []byte("?")
		}
		items[i] = string(b)
	}
	return strings.Join(items, ", ")
}

// joinPath returns the path of a location in args: args.ports[2].name.
func joinPath(path string, location []string) string {
	for _, name := range location {
		if i, err := strconv.Atoi(name); err == nil && i >= 0 {
			path = check.Item(path, i)
		} else {
			path = check.Member(path, name)
		}
	}
	return path
}
