package term

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

func TestStructuredOutputIsInertAndFaithful(t *testing.T) {
	for _, s := range hostile {
		if !utf8.ValidString(s) {
			continue // cannot come out of the API's JSON
		}
		want := map[string]string{"k": s, "n": "a\nb\tc", "z": "中文"}
		for _, format := range []string{"json", "yaml"} {
			var b bytes.Buffer
			write := WriteJSON
			if format == "yaml" {
				write = WriteYAML
			}
			if err := write(&b, want); err != nil {
				t.Fatal(err)
			}
			if !inert(b.String()) {
				t.Errorf("%s of %q is not inert: %q", format, s, b.String())
			}
			got := map[string]string{}
			read := json.Unmarshal
			if format == "yaml" {
				read = func(text []byte, v any) error { return yaml.Unmarshal(text, v) }
			}
			if err := read(b.Bytes(), &got); err != nil {
				t.Fatalf("%s of %q: %v\n%s", format, s, err, b.String())
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", format, diff)
			}
		}
	}
}
