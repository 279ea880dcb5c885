package check

import (
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"hostler.dev/hostler"
)

// This file turns the errors of JSON Schema into faults of fields.

// SchemaFaults flattens a validation error of a value at root into one fault per field, in
// texts of its own: the library's repeat the value.
func SchemaFaults(root string, err error) []hostler.FieldError {
	v, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return []hostler.FieldError{{Path: root, Text: hostler.Text{EN: "is not valid", ZH: "无效"}}}
	}
	var f Fields
	collect(root, v, &f)
	return f.Faults()
}

func collect(root string, v *jsonschema.ValidationError, f *Fields) {
	path := joinPath(root, v.InstanceLocation)
	switch k := v.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, c := range v.Causes {
			if f.Full() {
				return
			}
			collect(root, c, f)
		}
		return
	case *kind.Required:
		for _, name := range k.Missing {
			f.Add(Member(path, name), "is required", "必填")
		}
		return
	case *kind.DependentRequired:
		for _, name := range k.Missing {
			f.Add(Member(path, name), "is required with %s", "与 %s 同时使用时必填", k.Prop)
		}
		return
	case *kind.AdditionalProperties:
		for _, name := range k.Properties[:min(len(k.Properties), MaxFaults)] {
			f.Add(Member(path, name), "is not a known field", "未知字段")
		}
		return
	case *kind.PropertyNames:
		path = joinPath(root, namesLocation(v))
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
			EN: "must have exactly one of the forms in the help",
			ZH: "必须符合说明中的一种形式",
		}
	case *kind.Not:
		return hostler.Text{EN: "has a combination of fields that is not allowed", ZH: "包含不允许的字段组合"}
	default:
		return hostler.Text{EN: "is not valid; see the schema", ZH: "无效，请参见模式说明"}
	}
}

func number(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	return strings.TrimRight(r.FloatString(6), "0")
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
			path = Item(path, i)
		} else {
			path = Member(path, name)
		}
	}
	return path
}
