package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"hostler.dev/hostler"
)

// schema is the part of an action's JSON Schema that defines the types of its
// arguments.
type schema struct {
	Type       typeNames         `json:"type"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	AnyOf      []schema          `json:"anyOf"`
	OneOf      []schema          `json:"oneOf"`
}

// typeNames is one type name or several.
type typeNames []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *typeNames) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = typeNames{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// allows reports whether a value of the type is valid. A schema without a type
// allows all.
func (s schema) allows(name string) bool {
	alternatives := slices.Concat(s.AnyOf, s.OneOf)
	if len(s.Type) == 0 && len(alternatives) == 0 {
		return true
	}
	return slices.Contains(s.Type, name) ||
		slices.ContainsFunc(alternatives, func(x schema) bool { return x.allows(name) })
}

// array returns the alternative that describes an array, if there is one.
func (s schema) array() (schema, bool) {
	if slices.Contains(s.Type, "array") {
		return s, true
	}
	for _, x := range slices.Concat(s.AnyOf, s.OneOf) {
		if found, ok := x.array(); ok {
			return found, true
		}
	}
	return schema{}, false
}

// buildArgs converts the values of --arg into a job's args, on top of base:
//
//	key=value        a value of the type that the schema defines; repeated, or with
//	                 commas, the elements of an array
//	key.sub=value    a value in an object
//	key=@file        the content of the file
//	key:=json        JSON
func buildArgs(base map[string]any, typed []string, text json.RawMessage) (json.RawMessage, error) {
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, hostler.Errorf(hostler.CodeInternal,
			"cannot read the schema of the action: %v", "无法读取动作的参数模式：%v", err)
	}
	args := map[string]any{}
	maps.Copy(args, base)
	given := map[string]bool{}
	for _, arg := range typed {
		if err := setArg(args, arg, s, given); err != nil {
			return nil, err
		}
	}
	return json.Marshal(args)
}

// addSecrets adds the values of --secret to args: env.PW=credential:db becomes a reference,
// which the server replaces by the secret when the job runs.
func addSecrets(args map[string]any, secrets []string) (map[string]any, error) {
	out := map[string]any{}
	maps.Copy(out, args)
	for _, s := range secrets {
		path, source, _ := strings.Cut(s, "=")
		name, ok := strings.CutPrefix(source, "credential:")
		if !ok || name == "" || path == "" {
			return nil, hostler.Errorf(hostler.CodeInvalid,
				"write --secret as ARGUMENT=credential:NAME, such as env.PW=credential:db",
				"--secret 请写成 参数=credential:凭据名，例如 env.PW=credential:db")
		}
		ref := map[string]any{"$secret": name}
		key, sub, nested := strings.Cut(path, ".")
		if !nested {
			out[key] = ref
			continue
		}
		object, _ := out[key].(map[string]any)
		object = maps.Clone(object)
		if object == nil {
			object = map[string]any{}
		}
		object[sub] = ref
		out[key] = object
	}
	return out, nil
}

// setArg adds one --arg. given records the arguments that were set before, so that
// a repeated one extends an array but replaces a value of the file.
func setArg(args map[string]any, arg string, s schema, given map[string]bool) error {
	key, value, ok := strings.Cut(arg, "=")
	if !ok || strings.TrimSuffix(key, ":") == "" {
		return hostler.Errorf(hostler.CodeInvalid,
			"write --arg as key=value, key=@file or key:=json", "--arg 请写成 key=value、key=@file 或 key:=json")
	}
	if raw, isJSON := strings.CutSuffix(key, ":"); isJSON {
		var v any
		if err := json.Unmarshal([]byte(value), &v); err != nil {
			return hostler.Invalid("args."+raw, "is not valid JSON", "不是合法的 JSON")
		}
		args[raw] = v
		return nil
	}
	name, sub, nested := strings.Cut(key, ".")
	prop, known := s.Properties[name]
	if !known {
		return unknownArg(key, s)
	}
	value, err := fileValue(key, value)
	if err != nil {
		return err
	}
	if nested {
		object, ok := args[name].(map[string]any)
		if !ok {
			object = map[string]any{}
			args[name] = object
		}
		object[sub] = value
		return nil
	}
	v, err := typedValue(key, value, prop)
	if err != nil {
		return err
	}
	args[name] = appendElements(args[name], v, given[name])
	given[name] = true
	return nil
}

// appendElements joins the parts of a repeated array argument.
func appendElements(old, v any, again bool) any {
	a, ok1 := old.([]any)
	b, ok2 := v.([]any)
	if again && ok1 && ok2 {
		return append(a, b...)
	}
	return v
}

// fileValue reads the file behind a value that starts with "@".
func fileValue(key, value string) (string, error) {
	name, ok := strings.CutPrefix(value, "@")
	if !ok {
		return value, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", hostler.Invalid("args."+key,
			"cannot read the file: %v (for a value that starts with @, write %s:='\"@…\"')",
			"无法读取文件：%v（若值本身以 @ 开头，请写成 %s:='\"@…\"'）", err, key)
	}
	return string(b), nil
}

// unknownArg reports a misspelled argument, with the names that the action has.
func unknownArg(key string, s schema) error {
	known := strings.Join(slices.Sorted(maps.Keys(s.Properties)), ", ")
	return hostler.Invalid("args."+key,
		"is not an argument of this action; the arguments are: %s", "没有这个参数；可用的有：%s", known)
}

// typedValue converts text into a value of a type that the schema allows. It
// prefers other types to a string, so that "80" is a number where both are allowed.
func typedValue(key, value string, s schema) (any, error) {
	if s.allows("boolean") {
		switch value {
		case "true", "false":
			return value == "true", nil
		}
	}
	if s.allows("integer") {
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return n, nil
		}
	}
	if s.allows("number") {
		if _, err := strconv.ParseFloat(value, 64); err == nil && json.Valid([]byte(value)) {
			return json.Number(value), nil
		}
	}
	if list, ok := s.array(); ok && (!s.allows("string") || strings.Contains(value, ",")) {
		return arrayValue(key, value, list)
	}
	if s.allows("string") {
		return value, nil
	}
	if s.allows("object") {
		var v map[string]any
		if json.Unmarshal([]byte(value), &v) == nil {
			return v, nil
		}
	}
	return nil, hostler.Invalid("args."+key, "must be of type %s", "类型应为 %s", strings.Join(s.names(), " | "))
}

// arrayValue splits text at commas. Elements that contain commas need key:=json.
func arrayValue(key, value string, s schema) (any, error) {
	items := schema{}
	if s.Items != nil {
		items = *s.Items
	}
	list := []any{}
	for i, part := range strings.Split(value, ",") {
		v, err := typedValue(fmt.Sprintf("%s[%d]", key, i), part, items)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// names returns the types that the schema allows.
func (s schema) names() []string {
	all := slices.Clone(s.Type)
	for _, x := range slices.Concat(s.AnyOf, s.OneOf) {
		all = append(all, x.names()...)
	}
	return all
}
