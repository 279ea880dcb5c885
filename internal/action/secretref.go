package action

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/risk"
)

// A string of args may be given as {"$secret": "name"} where the schema marks it with
// "x-secret": true. The name is that of a credential; its value exists only in the args with
// which an attempt runs. All checks see a placeholder in its place.

// secretRef is the only key of a reference.
const secretRef = "$secret"

// placeholder stands for a secret that is not opened yet.
const placeholder = "x"

// secretPlaces lists the places of a schema that may be references: a property, or with "*"
// every property of an object.
func secretPlaces(schema json.RawMessage) ([][]string, error) {
	type property struct {
		Secret     bool            `json:"x-secret"`
		Additional json.RawMessage `json:"additionalProperties"`
	}
	var s struct {
		Properties map[string]property `json:"properties"`
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	var places [][]string
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		if p.Secret {
			places = append(places, []string{name})
		}
		var each property
		if bytes.HasPrefix(p.Additional, []byte("{")) && json.Unmarshal(p.Additional, &each) == nil && each.Secret {
			places = append(places, []string{name, "*"})
		}
	}
	return places, nil
}

// codeArgs lists the properties of a schema with "x-shell": true: a shell, or another
// interpreter, reads them.
func codeArgs(schema json.RawMessage) (names []string, err error) {
	var s struct {
		Properties map[string]struct {
			Shell bool `json:"x-shell"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if s.Properties[name].Shell {
			names = append(names, name)
		}
	}
	return names, nil
}

// ReadsAsCode reports whether a shell reads the value at a path, such as args.commands[1]:
// no value of a user may be put into its text.
func (a *Action) ReadsAsCode(path string) bool {
	name := strings.TrimPrefix(path, "args.")
	if end := strings.IndexAny(name, ".["); end >= 0 {
		name = name[:end]
	}
	return slices.Contains(a.code, name)
}

// allowSecrets makes the functions of an action see placeholders, and its Credentials list
// the references too.
func (a *Action) allowSecrets() error {
	places, err := secretPlaces(a.Schema)
	if err != nil || len(places) == 0 {
		return err
	}
	a.secrets = places
	if traits := a.Traits; traits != nil {
		a.Traits = func(args json.RawMessage) Traits { return traits(a.hide(args)) }
	}
	if check := a.Check; check != nil {
		a.Check = func(args json.RawMessage) []hostler.FieldError { return check(a.hide(args)) }
	}
	if elsewhere := a.Elsewhere; elsewhere != nil {
		a.Elsewhere = func(args json.RawMessage) bool { return elsewhere(a.hide(args)) }
	}
	if commands := a.Commands; commands != nil {
		a.Commands = func(args json.RawMessage) []risk.Command {
			plain, _ := a.replace(args, func(string) (string, bool) { return risk.Unknown, true })
			return commands(plain)
		}
	}
	named := a.Credentials
	a.Credentials = func(args json.RawMessage) []CredentialUse {
		plain, names := a.replace(args, func(string) (string, bool) { return placeholder, true })
		var uses []CredentialUse
		if named != nil {
			uses = named(plain)
		}
		for _, name := range names {
			use := CredentialUse{Use: hostler.UseScript}
			if a.SecretUse != nil {
				use = a.SecretUse(plain)
			}
			use.Name = name
			uses = append(uses, use)
		}
		return uses
	}
	return nil
}

// hide returns the args with placeholders instead of references.
func (a *Action) hide(args json.RawMessage) json.RawMessage {
	plain, _ := a.replace(args, func(string) (string, bool) { return placeholder, true })
	return plain
}

// Fill returns the args with the secrets that they refer to. CodeNotFound: a credential is
// missing.
func (a *Action) Fill(
	args json.RawMessage, credentials map[string]hostler.LeaseCredential,
) (json.RawMessage, error) {
	missing := ""
	filled, _ := a.replace(args, func(name string) (string, bool) {
		c, ok := credentials[name]
		if !ok {
			missing = name
		}
		switch c.Kind {
		case hostler.CredentialPassword:
			return c.Secret.Password, ok
		case hostler.CredentialToken:
			return c.Secret.Token, ok
		default:
			return c.Secret.PrivateKey, ok
		}
	})
	if missing != "" {
		return nil, hostler.NotFound(hostler.Text{EN: "credential", ZH: "凭据"}, missing)
	}
	return filled, nil
}

// replace replaces the references in args by values, and returns their names. Args without
// any are returned as they are.
func (a *Action) replace(
	args json.RawMessage, value func(name string) (string, bool),
) (out json.RawMessage, names []string) {
	if len(a.secrets) == 0 || !bytes.Contains(args, []byte(secretRef)) {
		return args, nil
	}
	d := json.NewDecoder(bytes.NewReader(args))
	d.UseNumber()
	var doc map[string]any
	if d.Decode(&doc) != nil {
		return args, nil // another check reports that
	}
	names = a.replaceIn(doc, value)
	if len(names) == 0 {
		return args, nil
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(doc) != nil {
		return args, nil
	}
	return json.RawMessage(b.String()), names
}

// replaceIn is replace for decoded args, which it changes.
func (a *Action) replaceIn(doc map[string]any, value func(name string) (string, bool)) (names []string) {
	put := func(in map[string]any, key string) {
		ref, ok := in[key].(map[string]any)
		name, isText := ref[secretRef].(string)
		if !ok || len(ref) != 1 || !isText || name == "" {
			return // not a reference: the schema refuses it
		}
		if v, ok := value(name); ok {
			in[key] = v
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, place := range a.secrets {
		if len(place) == 1 {
			put(doc, place[0])
			continue
		}
		if in, ok := doc[place[0]].(map[string]any); ok {
			for _, key := range slices.Sorted(maps.Keys(in)) {
				put(in, key)
			}
		}
	}
	return names
}

// explainSecrets replaces the faults of references to secrets at places that may have none:
// those of the schema say only that an object is not a string.
func (a *Action) explainSecrets(doc any, faults []hostler.FieldError) []hostler.FieldError {
	text := a.NoSecrets
	switch {
	case text != hostler.Text{}:
	case len(a.secrets) == 0:
		text = hostler.Text{EN: "the action takes no secrets", ZH: "此动作不接受机密"}
	default:
		places := make([]string, len(a.secrets))
		for i, place := range a.secrets {
			places[i] = strings.Join(place, ".")
		}
		text = hostler.Textf("takes no secret; the action takes them in %s", "不接受机密；此动作只在 %s 中接受机密",
			strings.Join(places, ", "))
	}
	explained := map[string]bool{}
	for _, path := range misplaced("args", doc) {
		explained[path] = true
	}
	out := faults[:0]
	for _, f := range faults {
		if at, _, _ := strings.Cut(f.Path, "."+secretRef); explained[at] {
			f = hostler.FieldError{Path: at, Text: text}
		}
		if len(out) == 0 || out[len(out)-1].Path != f.Path {
			out = append(out, f)
		}
	}
	return out
}

// misplaced returns the paths of references to secrets in args, up to two levels deep.
func misplaced(root string, doc any) (paths []string) {
	in, _ := doc.(map[string]any)
	note := func(path string, v any) {
		if ref, ok := v.(map[string]any); ok && len(ref) == 1 && ref[secretRef] != nil {
			paths = append(paths, path)
		}
	}
	for name, v := range in {
		path := check.Member(root, name)
		note(path, v)
		switch v := v.(type) {
		case map[string]any:
			for key, each := range v {
				note(check.Member(path, key), each)
			}
		case []any:
			for i, each := range v {
				note(check.Item(path, i), each)
			}
		}
	}
	return paths
}
