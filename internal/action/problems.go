package action

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"hostler.dev/hostler"
)

// maxDepth bounds how deep args nest: decoders and validators recurse.
const maxDepth = 32

// maxNumber bounds how long a number is written. With exponents, a few
// characters would make a validator compute with millions of digits.
const maxNumber = 32

// decodeArgs reads args strictly: UTF-8, one JSON object, no key twice, bounded
// in size and depth.
func decodeArgs(args json.RawMessage) (any, *hostler.FieldError) {
	fault := func(en, zh string, a ...any) (any, *hostler.FieldError) {
		return nil, &hostler.FieldError{Path: "args", Text: hostler.Textf(en, zh, a...)}
	}
	switch {
	case len(args) > hostler.MaxArgsBytes:
		return fault("must be at most %d bytes", "最多 %d 字节", hostler.MaxArgsBytes)
	case !utf8.Valid(args):
		return fault("must be UTF-8", "必须为 UTF-8 编码")
	}
	if where, err := walkJSON(args); err != nil {
		return nil, &hostler.FieldError{Path: joinPath("args", where), Text: walkText(err)}
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(args))
	if err != nil {
		return fault("must be one JSON object", "必须是一个 JSON 对象")
	}
	if _, ok := doc.(map[string]any); !ok {
		return fault("must be a JSON object", "必须是 JSON 对象")
	}
	return doc, nil
}

var (
	errTwice  = errors.New("key twice")
	errDeep   = errors.New("too deep")
	errNumber = errors.New("odd number")
)

func walkText(err error) hostler.Text {
	switch {
	case errors.Is(err, errTwice):
		return hostler.Text{EN: "has a key twice", ZH: "包含重复的键"}
	case errors.Is(err, errDeep):
		return hostler.Textf("nests deeper than %d levels", "嵌套超过 %d 层", maxDepth)
	case errors.Is(err, errNumber):
		return hostler.Textf("is a number with an exponent, or of more than %d characters", "数字不得使用指数，且最多 %d 个字符", maxNumber)
	default:
		return hostler.Text{EN: "is not valid JSON", ZH: "不是合法的 JSON"}
	}
}

// walkJSON looks for what decoding would hide: keys given twice (the last would
// win) and nesting that is too deep. It returns the path to the fault.
func walkJSON(raw []byte) ([]string, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	where, err := walkValue(d, 0)
	if err != nil {
		return where, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return nil, nil
}

func walkValue(d *json.Decoder, depth int) ([]string, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if n, ok := t.(json.Number); ok && (len(n) > maxNumber || strings.ContainsAny(n.String(), "eE")) {
		return nil, errNumber
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil, nil
	}
	if depth >= maxDepth {
		return nil, errDeep
	}
	seen := map[string]bool{}
	for i := 0; d.More(); i++ {
		name := fmt.Sprint(i)
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			name = key.(string) //nolint:forcetypeassert // the decoder gives only strings as keys
			if seen[name] {
				return []string{name}, errTwice
			}
			seen[name] = true
		}
		if where, err := walkValue(d, depth+1); err != nil {
			return append([]string{name}, where...), err
		}
	}
	_, err = d.Token()
	return nil, err
}

// schemaProblems flattens a validation error into one problem per field, in
// words of our own: the library's repeat the value.
func schemaProblems(err error) []hostler.FieldError {
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		return []hostler.FieldError{{Path: "args", Text: hostler.Text{EN: "is not valid", ZH: "无效"}}}
	}
	var out []hostler.FieldError
	collect(v, &out)
	return out
}

func collect(v *jsonschema.ValidationError, out *[]hostler.FieldError) {
	path := joinPath("args", v.InstanceLocation)
	switch k := v.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, c := range v.Causes {
			collect(c, out)
		}
		return
	case *kind.Required:
		for _, name := range k.Missing {
			*out = append(*out, hostler.FieldError{Path: joinPath(path, []string{name}), Text: hostler.Text{EN: "is required", ZH: "必填"}})
		}
		return
	case *kind.DependentRequired:
		for _, name := range k.Missing {
			*out = append(*out, hostler.FieldError{Path: joinPath(path, []string{name}), Text: hostler.Textf("is required with %s", "与 %s 同时使用时必填", k.Prop)})
		}
		return
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			*out = append(*out, hostler.FieldError{Path: joinPath(path, []string{name}), Text: hostler.Text{EN: "is not a known field", ZH: "未知字段"}})
		}
		return
	case *kind.PropertyNames:
		path = joinPath("args", namesLocation(v))
	}
	*out = append(*out, hostler.FieldError{Path: path, Text: kindText(v.ErrorKind)})
}

// namesLocation is where the object with the bad key is. The library's own
// location of this one kind shares its memory with the validator, which goes on
// to write other paths there; the place in the schema says it as well, unless
// the object is an array's item.
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

// kindText says which rule is broken, never with which value.
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
		return hostler.Text{EN: "must not have an item twice", ZH: "不得有重复项"}
	case *kind.PropertyNames:
		return hostler.Text{EN: "has a key that is not allowed", ZH: "包含不允许的键"}
	case *kind.OneOf, *kind.AnyOf:
		return hostler.Text{EN: "must have exactly one of the forms that the action's help describes", ZH: "必须符合动作说明中的一种形式"}
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

// Decode reads valid args into an action's own struct; no args are {}. What JSON
// allows and Go's types do not, such as 22.0 for 22, comes back as the fault of
// its field.
func Decode(args json.RawMessage, into any) []hostler.FieldError {
	if len(args) == 0 {
		args = json.RawMessage(`{}`)
	}
	err := json.Unmarshal(args, into)
	if err == nil {
		return nil
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return []hostler.FieldError{{Path: t.Field, Text: hostler.Text{EN: "must be written plainly, such as 22 and not 22.0", ZH: "请使用普通写法，例如写 22 而不是 22.0"}}}
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

// joinPath writes a JSON path: args.ports[2].name.
func joinPath(base string, parts []string) string {
	var b strings.Builder
	b.WriteString(base)
	for _, p := range parts {
		if p != "" && strings.Trim(p, "0123456789") == "" {
			b.WriteString("[" + p + "]")
			continue
		}
		b.WriteByte('.')
		if len(p) > 64 {
			p = p[:64] + "…"
		}
		b.WriteString(strings.ToValidUTF8(p, "�"))
	}
	return b.String()
}
