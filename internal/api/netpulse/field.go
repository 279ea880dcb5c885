package netpulse

import (
	"encoding/json"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Lines is one line or a list of them.
type Lines []string

// UnmarshalJSON implements json.Unmarshaler. Its error repeats no input.
func (l *Lines) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = nil
		if one != "" {
			*l = Lines{one}
		}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// split splits texts into lines, because NetPulse also accepts a configuration as one
// text. It drops empty lines, which mean nothing to a device.
func (l Lines) split() Lines {
	var out Lines
	for _, text := range l {
		for line := range strings.Lines(text) {
			if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" {
				out = append(out, line)
			}
		}
	}
	return out
}

// Schema implements huma.SchemaProvider.
func (Lines) Schema(huma.Registry) *huma.Schema {
	line := &huma.Schema{Type: huma.TypeString}
	most := 1000
	return &huma.Schema{
		OneOf:       []*huma.Schema{line, {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}, MaxItems: &most}},
		Description: "a text or a list of texts",
	}
}

// Unsupported is a field of NetPulse that Hostler does not support; only null is
// accepted.
type Unsupported struct{ Given bool }

// UnmarshalJSON implements json.Unmarshaler.
func (u *Unsupported) UnmarshalJSON(b []byte) error {
	u.Given = string(b) != "null"
	return nil
}

// Schema implements huma.SchemaProvider.
func (Unsupported) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Description: "a field of NetPulse that Hostler does not support: refused unless null"}
}

// Ignored is a field that tunes the inside of one of NetPulse's drivers. Scripts and
// the SDK send such fields with every request.
type Ignored struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (*Ignored) UnmarshalJSON([]byte) error { return nil }

// Schema implements huma.SchemaProvider.
func (Ignored) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Description: "accepted without effect"}
}
