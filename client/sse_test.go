package client

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func readEvents(t *testing.T, stream string) []event {
	t.Helper()
	var all []event
	for r := newEventReader(strings.NewReader(stream)); ; {
		ev, err := r.next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ev)
	}
}

func TestEventReader(t *testing.T) {
	tests := map[string]struct {
		stream string
		want   []event
	}{
		"two events":         {"event: a\ndata: 1\n\nevent:b\ndata:2\n\n", []event{{name: "a", data: "1"}, {name: "b", data: "2"}}},
		"lines are joined":   {"data: 1\ndata:  2\ndata\n\n", []event{{data: "1\n 2\n"}}},
		"crlf":               {"event: a\r\ndata: 1\r\n\r\n", []event{{name: "a", data: "1"}}},
		"id stays":           {"id: 7\ndata: 1\n\ndata: 2\n\n", []event{{id: "7", data: "1"}, {id: "7", data: "2"}}},
		"comment":            {": ping\n\n:\ndata: 1\n\n", []event{{data: "1"}}},
		"no data, no event":  {"event: a\n\ndata: 1\n\n", []event{{data: "1"}}},
		"cut off at the end": {"data: 1\n\ndata: 2\n", []event{{data: "1"}}},
		"unknown field":      {"retry: 5\nfoo: bar\ndata: 1\n\n", []event{{data: "1"}}},
		"id with NUL":        {"id: 1\x002\ndata: 1\n\n", []event{{data: "1"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, readEvents(t, tt.stream), cmp.AllowUnexported(event{})); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEventReaderIsBounded(t *testing.T) {
	endless := io.MultiReader(strings.NewReader("data: "), repeat{})
	if _, err := newEventReader(endless).next(); !errors.Is(err, errEventTooLarge) {
		t.Errorf("one endless line: %v, want %v", err, errEventTooLarge)
	}
}

type repeat struct{}

func (repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// FuzzEventReader: what an encoder writes comes back, and no stream makes the
// reader panic or invent events.
func FuzzEventReader(f *testing.F) {
	f.Add("line", "hello\nworld", "data: 1\n\n")
	f.Add("", "", "\r\n\r\n:::\n\x00")
	f.Fuzz(func(t *testing.T, name, data, garbage string) {
		r := newEventReader(strings.NewReader(garbage))
		for {
			if _, err := r.next(); err != nil {
				break
			}
		}
		if strings.ContainsAny(name+data, "\r\x00") || strings.Contains(name, "\n") {
			return
		}
		stream := "event: " + name + "\ndata: " + strings.ReplaceAll(data, "\n", "\ndata: ") + "\n\n"
		want := []event{{name: name, data: data}}
		if diff := cmp.Diff(want, readEvents(t, stream), cmp.AllowUnexported(event{})); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}
