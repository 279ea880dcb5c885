package action_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

const schema = `{
  "type": "object", "additionalProperties": false, "required": ["name"],
  "dependentRequired": {"from": ["to"]},
  "properties": {
    "name":  {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]*$"},
    "ports": {"type": "array", "maxItems": 3, "uniqueItems": true, "items": {"type": "integer", "minimum": 1, "maximum": 65535}},
    "mode":  {"enum": ["fast", "safe"]},
    "ratio": {"type": "number", "exclusiveMinimum": 0, "maximum": 1.5},
    "env":   {"type": "object", "propertyNames": {"pattern": "^[A-Z]+$"}, "additionalProperties": {"type": "string"}},
    "from": {"type": "string"}, "to": {"type": "string"},
    "even": {"multipleOf": 2}, "deep": {}
  }
}`

func probe(name string, aliases ...string) action.Action {
	return action.Action{
		Name: name, Aliases: aliases, Title: hostler.Text{EN: name, ZH: "探测"}, Schema: json.RawMessage(schema), Enabled: true,
		Traits: func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true, Changes: true} },
		Check: func(args json.RawMessage) []hostler.FieldError {
			if strings.Contains(string(args), `"evil"`) {
				return []hostler.FieldError{{Path: "name", Text: hostler.Text{EN: "is evil", ZH: "邪恶"}}}
			}
			return nil
		},
	}
}

func registry(t *testing.T, actions ...action.Action) *action.Registry {
	t.Helper()
	r, err := action.NewRegistry(actions...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRegistryRefuses(t *testing.T) {
	broken := probe("broken")
	broken.Schema = json.RawMessage(`{"type": 7}`)
	cut := probe("cut")
	cut.Schema = json.RawMessage(`{`)
	reaching := probe("reaching")
	reaching.Schema = json.RawMessage(`{"$ref": "file:///etc/passwd"}`)
	for what, actions := range map[string][]action.Action{
		"the same name":      {probe("a"), probe("a")},
		"a name as alias":    {probe("a"), probe("b", "a")},
		"the same alias":     {probe("a", "x"), probe("b", "x")},
		"a bad schema":       {broken},
		"half a schema":      {cut},
		"a schema elsewhere": {reaching},
	} {
		if _, err := action.NewRegistry(actions...); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestLookupAndList(t *testing.T) {
	r := registry(t, probe("zeta"), probe("alpha", "first"))
	a, ok := r.Lookup("first")
	if !ok || a.Name != "alpha" {
		t.Errorf("Lookup by alias: %v", a)
	}
	if _, ok := r.Lookup("nothing"); ok {
		t.Error("Lookup found nothing")
	}
	var names []string
	for _, a := range r.List() {
		names = append(names, a.Name)
	}
	if diff := cmp.Diff([]string{"alpha", "zeta"}, names); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"alpha", "first", "zeta"}, r.Names()); diff != "" {
		t.Errorf("Names (-want +got):\n%s", diff)
	}
	if info := a.Info(); !info.Idempotent || info.Lane != hostler.LaneAsset || !info.Enabled {
		t.Errorf("Info %+v", info)
	}
}

// Each fault is reported at its field, in both languages, without the value.
func TestProblems(t *testing.T) {
	r := registry(t, probe("p", "q"))
	for _, tt := range []struct {
		args string
		want map[string]string
	}{
		{`{"name":"ab"}`, nil},
		{``, map[string]string{"args.name": "is required"}},
		{`{"name":"CANARY"}`, map[string]string{"args.name": ""}},
		{`{"name":77777}`, map[string]string{"args.name": "must be of type string"}},
		{`{"name":"a"}`, map[string]string{"args.name": "must have at least 2 characters"}},
		{`{"name":"ab","ports":[22,0,77777]}`, map[string]string{"args.ports[1]": "must be at least 1", "args.ports[2]": "must be at most 65535"}},
		{`{"name":"ab","ports":[1,2,3,4]}`, map[string]string{"args.ports": "must have at most 3 items"}},
		{`{"name":"ab","ports":[1,1]}`, map[string]string{"args.ports": "must not contain an item twice"}},
		{`{"name":"ab","mode":"CANARY"}`, map[string]string{"args.mode": `must be one of "fast", "safe"`}},
		{`{"name":"ab","ratio":0}`, map[string]string{"args.ratio": "must be greater than 0"}},
		{`{"name":"ab","ratio":2}`, map[string]string{"args.ratio": "must be at most 1.5"}},
		{`{"name":"ab","even":3}`, map[string]string{"args.even": "must be a multiple of 2"}},
		{`{"name":"ab","from":"CANARY"}`, map[string]string{"args.to": "is required with from"}},
		{`{"name":"ab","env":{"A":1}}`, map[string]string{"args.env.A": "must be of type string"}},
		{`{"name":"ab","bad":1,"worse":2}`, map[string]string{"args.bad": "is not a known field", "args.worse": "is not a known field"}},
		{`{"name":"evil"}`, map[string]string{"args.name": "is evil"}},
		{`[]`, map[string]string{"args": "must be a JSON object"}},
		{`null`, map[string]string{"args": "must be a JSON object"}},
		{`{"name":"ab"} {}`, map[string]string{"args": "is not valid JSON"}},
		{`{"name":"ab"`, map[string]string{"args": "is not valid JSON"}},
		{`{"name":"ab","deep":{"x":1,"x":2}}`, map[string]string{"args.deep.x": "is given twice"}},
		{`{"name":"ab","n\u0061me":"cd"}`, map[string]string{"args.name": "is given twice"}},
		{`{"name":"ab","even":1e999999999}`, map[string]string{"args.even": ""}},
		{`{"name":"ab","even":` + strings.Repeat("2", 40) + `}`, map[string]string{"args.even": ""}},
		{"{\"name\":\"\xff\xfe\"}", map[string]string{"args": "must be UTF-8"}},
		{`{"name":"` + strings.Repeat("a", hostler.MaxArgsBytes) + `"}`, map[string]string{"args": ""}},
	} {
		got := problems(t, r.Validate("q", json.RawMessage(tt.args)))
		for path, want := range tt.want {
			if text, ok := got[path]; !ok || want != "" && text != want {
				t.Errorf("%.60s: at %s got %q, want %q", tt.args, path, text, want)
			}
		}
		if len(got) != len(tt.want) && !strings.Contains(tt.args, "CANARY") {
			t.Errorf("%.60s: got %v, want %v", tt.args, got, tt.want)
		}
	}
}

func problems(t *testing.T, err error) map[string]string {
	t.Helper()
	got := map[string]string{}
	if err == nil {
		return got
	}
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok || e.Code != hostler.CodeInvalid {
		t.Fatalf("got %v, want CodeInvalid", err)
	}
	for _, f := range e.Fields {
		got[f.Path] = f.Text.EN
		if f.Text.ZH == "" || f.Text.ZH == f.Text.EN {
			t.Errorf("%s: no Chinese text for %q", f.Path, f.Text.EN)
		}
		if both := f.Text.EN + f.Text.ZH; strings.Contains(both, "CANARY") || strings.Contains(both, "77777") {
			t.Errorf("%s: the value is repeated: %q", f.Path, both)
		}
	}
	return got
}

func TestDepthIsBounded(t *testing.T) {
	r := registry(t, probe("p"))
	nested := func(n int) json.RawMessage {
		return json.RawMessage(`{"name":"ab","deep":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`)
	}
	if err := r.Validate("p", nested(20)); err != nil {
		t.Error(err)
	}
	if err := r.Validate("p", nested(100_000)); hostler.CodeOf(err) != hostler.CodeInvalid {
		t.Errorf("got %v", err)
	}
}

func TestUnknownAction(t *testing.T) {
	if err := registry(t).Validate("fly", nil); hostler.CodeOf(err) != hostler.CodeNotFound {
		t.Errorf("got %v", err)
	}
}

func TestDecodeNamesTheField(t *testing.T) {
	var a struct {
		Ports []int            `json:"ports"`
		Wait  hostler.Duration `json:"wait"`
	}
	if fields := action.Decode(nil, &a); fields != nil {
		t.Errorf("no args: %v", fields)
	}
	if fields := action.Decode(json.RawMessage(`{"ports":[22.0]}`), &a); len(fields) != 1 || fields[0].Path != "ports" {
		t.Errorf("got %+v, want a fault of ports", fields)
	}
	if fields := action.Decode(json.RawMessage(`{"wait":"soon"}`), &a); len(fields) != 1 || fields[0].Text.ZH == "" {
		t.Errorf("got %+v, want one fault", fields)
	}
}

// Validate does not panic on any bytes, and accepts only objects that decode.
func FuzzValidate(f *testing.F) {
	r, err := action.NewRegistry(probe("p"))
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{`{}`, `{"name":"ab","ports":[1]}`, `{"a":{"b":[{"c":1e9}]}}`, `"`, "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, args []byte) {
		if r.Validate("p", args) != nil || len(args) == 0 {
			return
		}
		var m map[string]any
		if err := json.Unmarshal(args, &m); err != nil {
			t.Errorf("accepted %q, which does not decode: %v", args, err)
		}
	})
}
