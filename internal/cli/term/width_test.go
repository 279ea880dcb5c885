package term

import "testing"

func TestTruncate(t *testing.T) {
	for _, tt := range []struct {
		in   string
		most int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"中文字", 5, "中文…"}, {"中文字", 4, "中…"}} {
		if got := Truncate(tt.in, tt.most); got != tt.want || Width(got) > tt.most {
			t.Errorf("Truncate(%q, %d) = %q", tt.in, tt.most, got)
		}
	}
}
