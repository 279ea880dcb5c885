package term

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTableAlignsWideText(t *testing.T) {
	var b bytes.Buffer
	err := WriteTable(&b, []string{"名称", "STATE"}, [][]string{{"核心交换机", "ok"}, {"web1", "x"}, {"é", "y"}})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"名称        STATE",
		"核心交换机  ok",
		"web1        x",
		"é           y",
		"",
	}, "\n")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
