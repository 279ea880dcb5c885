package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
)

const testSchema = `{
  "type": "object",
  "properties": {
    "command": {"type": "string"},
    "port": {"type": "integer"},
    "ratio": {"type": "number"},
    "banner": {"type": "boolean"},
    "ports": {"type": "array", "items": {"type": "integer"}},
    "argv": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    "env": {"type": "object", "additionalProperties": {"type": "string"}},
    "any": {}
  }
}`

func TestBuildArgs(t *testing.T) {
	script := filepath.Join(t.TempDir(), "fix.sh")
	if err := os.WriteFile(script, []byte("echo 1, 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		base  map[string]any
		typed []string
		want  string
	}{
		"none":                 {nil, nil, `{}`},
		"string stays text":    {nil, []string{"command=80"}, `{"command":"80"}`},
		"equals in a value":    {nil, []string{"command=a=b"}, `{"command":"a=b"}`},
		"typed":                {nil, []string{"port=22", "ratio=0.50", "banner=true"}, `{"banner":true,"port":22,"ratio":0.50}`},
		"array by commas":      {nil, []string{"ports=22,80"}, `{"ports":[22,80]}`},
		"array by repetition":  {nil, []string{"ports=22", "ports=80,443"}, `{"ports":[22,80,443]}`},
		"one of array, string": {nil, []string{"argv=ls"}, `{"argv":"ls"}`},
		"array of them":        {nil, []string{"argv=ls,-l"}, `{"argv":["ls","-l"]}`},
		"object":               {nil, []string{"env.A=1", "env.B=x.y=z"}, `{"env":{"A":"1","B":"x.y=z"}}`},
		"json":                 {nil, []string{`argv:=["a,b"]`}, `{"argv":["a,b"]}`},
		"file":                 {nil, []string{"command=@" + script}, `{"command":"echo 1, 2\n"}`},
		"over the file":        {map[string]any{"port": 1, "command": "x"}, []string{"port=2"}, `{"command":"x","port":2}`},
		"array replaces":       {map[string]any{"ports": []any{1}}, []string{"ports=2"}, `{"ports":[2]}`},
		"no type":              {nil, []string{"any=5"}, `{"any":5}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := buildArgs(tt.base, tt.typed, json.RawMessage(testSchema))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("args (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBuildArgsRefuses(t *testing.T) {
	tests := map[string]struct{ typed, path string }{
		"no equals":    {"command", ""},
		"no key":       {"=x", ""},
		"unknown":      {"comand=x", "args.comand"},
		"wrong type":   {"port=ssh", "args.port"},
		"wrong item":   {"ports=22,ssh", "args.ports[1]"},
		"bad json":     {"env:={", "args.env"},
		"missing file": {"command=@/no/such/file", "args.command"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := buildArgs(nil, []string{tt.typed}, json.RawMessage(testSchema))
			if hostler.CodeOf(err) != hostler.CodeInvalid || !strings.Contains(err.Error(), tt.path) {
				t.Errorf("got %v, want invalid at %q", err, tt.path)
			}
		})
	}
}

// FuzzBuildArgs: whatever is typed, the args are valid JSON or refused.
func FuzzBuildArgs(f *testing.F) {
	for _, seed := range []string{
		"port=22", "ports=1,2", "env.A=b", "argv:=[1]", "any=NaN", "ratio=1e400", "ratio=0x1p-2", "a.b.c=d",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		if strings.Contains(typed, "=@") {
			return // would read files
		}
		got, err := buildArgs(nil, []string{typed}, json.RawMessage(testSchema))
		if err == nil && !json.Valid(got) {
			t.Errorf("buildArgs(%q) = %s, not JSON", typed, got)
		}
	})
}

func TestAddSecrets(t *testing.T) {
	base := map[string]any{"env": map[string]any{"A": "1"}, "x": 1}
	got, err := addSecrets(base, []string{"env.PW=credential:db", "stdin=credential:key"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"env": map[string]any{"A": "1", "PW": map[string]any{"$secret": "db"}}, "x": 1,
		"stdin": map[string]any{"$secret": "key"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("args (-want +got):\n%s", diff)
	}
	if len(base["env"].(map[string]any)) != 1 {
		t.Error("the args of the file were changed")
	}
	for _, bad := range []string{"env.PW", "env.PW=db", "env.PW=credential:", "=credential:db"} {
		if _, err := addSecrets(nil, []string{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
