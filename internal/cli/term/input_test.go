package term

import (
	"io"
	"strings"
	"testing"
)

func TestInputReadsAll(t *testing.T) {
	want := strings.Repeat("name,address\n", 1000)
	got, err := io.ReadAll(NewInput(strings.NewReader(want), nil))
	if err != nil || string(got) != want {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
}
