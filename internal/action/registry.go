package action

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// Registry is the set of actions of a server, by name.
type Registry struct {
	actions map[string]*entry // by name and by alias
	list    []*Action         // by name

	accepted *accepted
}

type entry struct {
	action *Action
	schema *jsonschema.Schema
}

// NewRegistry returns a Registry of the actions. It refuses names that two actions use and
// schemas that are not valid.
func NewRegistry(actions ...Action) (*Registry, error) {
	r := &Registry{actions: map[string]*entry{}, accepted: newAccepted()}
	for i := range actions {
		if err := r.add(&actions[i]); err != nil {
			return nil, fmt.Errorf("action %q: %w", actions[i].Name, err)
		}
	}
	slices.SortFunc(r.list, func(a, b *Action) int { return cmp.Compare(a.Name, b.Name) })
	return r, nil
}

func (r *Registry) add(a *Action) error {
	schema, err := compile(a.Name, a.Schema)
	if err != nil {
		return err
	}
	if err := a.allowSecrets(); err != nil {
		return err
	}
	if a.code, err = codeArgs(a.Schema); err != nil {
		return err
	}
	e := &entry{action: a, schema: schema}
	for _, name := range append([]string{a.Name}, a.Aliases...) {
		if r.actions[name] != nil {
			return fmt.Errorf("the name %q is already in use", name)
		}
		r.actions[name] = e
	}
	r.list = append(r.list, a)
	return nil
}

func compile(name string, schema json.RawMessage) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(jsonschema.SchemeURLLoader{}) // no file or URL can be referenced
	url := "action:" + name
	if err := c.AddResource(url, doc); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	s, err := c.Compile(url)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return s, nil
}

// Lookup finds an action by its name or an alias.
func (r *Registry) Lookup(name string) (*Action, bool) {
	e := r.actions[name]
	if e == nil {
		return nil, false
	}
	return e.action, true
}

// List lists the actions by name.
func (r *Registry) List() []*Action { return slices.Clone(r.list) }

// Elsewhere lists the actions whose jobs may work on something other than their assets, with
// what decides it by their args.
func (r *Registry) Elsewhere() map[string]func(args json.RawMessage) bool {
	out := map[string]func(json.RawMessage) bool{}
	for _, a := range r.list {
		if a.Elsewhere != nil {
			out[a.Name] = a.Elsewhere
		}
	}
	return out
}

// Names lists every name and alias, sorted.
func (r *Registry) Names() []string { return slices.Sorted(maps.Keys(r.actions)) }

// Validate checks args against the schema and the rules of the action with this name or
// alias. The error lists every field at fault, with paths that start with "args", and never
// repeats a value. CodeNotFound: no such action.
func (r *Registry) Validate(name string, args json.RawMessage) error {
	e := r.actions[name]
	if e == nil {
		return hostler.NotFound(hostler.Text{EN: "action", ZH: "动作"}, name)
	}
	if fields := r.problems(e, args); len(fields) > 0 {
		return hostler.InvalidFields(fields...)
	}
	return nil
}

// Problems is Validate for a caller that has the action and collects the faults of several
// inputs.
func (r *Registry) Problems(a *Action, args json.RawMessage) []hostler.FieldError {
	e := r.actions[a.Name]
	if e == nil || e.action != a {
		return []hostler.FieldError{{Path: "action", Text: hostler.Text{EN: "is not registered", ZH: "未注册"}}}
	}
	return r.problems(e, args)
}

// problems returns the faults of args, unless they were accepted before.
func (r *Registry) problems(e *entry, args json.RawMessage) []hostler.FieldError {
	key := r.accepted.key(e.action.Name, args)
	if r.accepted.has(key) {
		return nil
	}
	faults := e.problems(args)
	if len(faults) == 0 {
		r.accepted.add(key)
	}
	return faults
}

func (e *entry) problems(args json.RawMessage) []hostler.FieldError {
	if len(args) == 0 {
		args = json.RawMessage(`{}`)
	}
	doc, faults := decodeArgs(args)
	if len(faults) > 0 {
		return faults
	}
	if in, ok := doc.(map[string]any); ok {
		e.action.replaceIn(in, func(string) (string, bool) { return placeholder, true })
	}
	if err := e.schema.Validate(doc); err != nil {
		return e.action.explainSecrets(doc, check.SchemaFaults("args", err))
	}
	if e.action.Check == nil {
		return nil
	}
	faults = e.action.Check(args)
	for i, f := range faults {
		faults[i].Path = strings.TrimSuffix("args."+f.Path, ".")
	}
	return faults
}

// Info returns the description of an action for the API.
func (a *Action) Info() hostler.ActionInfo {
	t := a.Traits(json.RawMessage(`{}`))
	lane := hostler.LaneNone
	if t.Changes {
		lane = hostler.LaneAsset
	}
	return hostler.ActionInfo{
		Name: a.Name, Aliases: a.Aliases, Title: a.Title, Help: a.Help, NeedsAsset: a.Asset == AssetRequired,
		Idempotent: t.Idempotent, Lane: lane, Enabled: a.Enabled, Schema: a.Schema,
	}
}
