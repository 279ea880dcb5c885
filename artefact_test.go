package hostler_test

import (
	"strings"
	"testing"

	"hostler.dev/hostler"
)

func TestCheckFileName(t *testing.T) {
	for _, name := range []string{"a", "dump-2026.sql.gz", "报表 1.csv", "a..b", strings.Repeat("a", 200)} {
		if err := hostler.CheckFileName("name", name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "a/b", `a\b`, "a\x00b", "a\nb", "a\u202eb", ".hidden", "a.", " a", "C:x", `a"b`, "\xff", strings.Repeat("a", 201),
	} {
		if err := hostler.CheckFileName("name", name); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("%q: %v", name, err)
		}
	}
}
