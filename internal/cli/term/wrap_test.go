package term

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrap(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		n    int
		want string
	}{
		"lines that fit":         {"one two\nthree", 7, "one two\nthree"},
		"one line too long":      {"one two three\nfour five", 9, "one two\nthree\nfour five"},
		"only its paragraph":     {"a\nb\n\none two three", 9, "a\nb\n\none two\nthree"},
		"a word too long":        {"a verylongword b", 5, "a\nverylongword\nb"},
		"Chinese":                {"检查配置和存储", 8, "检查配置\n和存储"},
		"Chinese lines joined":   {"检查配置和存储，\n不做修改。", 12, "检查配置和存\n储，不做修\n改。"},
		"a mark ends the line":   {"检查配置。存储", 8, "检查配\n置。存储"},
		"an opening mark begins": {"检查配（置）", 8, "检查配\n（置）"},
		"Chinese and English":    {"用 --data 指定目录", 10, "用 --data\n指定目录"},
		"empty":                  {"", 5, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := Wrap(c.in, c.n)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if strings.Contains(got, " \n") {
				t.Errorf("%q has spaces at the end of a line", got)
			}
		})
	}
}
