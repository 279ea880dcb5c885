package importtest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// namedTest is how docs/security.md names a test: its folder and its name.
var namedTest = regexp.MustCompile("`(internal/[a-z/]+) (Test[A-Za-z0-9]+)`")

// TestSecurityPageNamesTests checks that each test which the page names exists, that each
// threat names one, and that both languages name the same.
func TestSecurityPageNamesTests(t *testing.T) {
	root := filepath.Join("..", "..")
	pages := map[string][]string{}
	for _, name := range []string{"security.md", "security.zh.md"} {
		text, err := os.ReadFile(filepath.Join(root, "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range namedTest.FindAllStringSubmatch(string(text), -1) {
			pages[name] = append(pages[name], m[1]+" "+m[2])
			if !hasTest(t, filepath.Join(root, m[1]), m[2]) {
				t.Errorf("%s: %s has no %s", name, m[1], m[2])
			}
		}
		rows := regexp.MustCompile(`(?m)^\| .*\|$`).FindAllString(string(text), -1)
		for _, row := range rows[min(1, len(rows)):] { // without the heading
			if !namedTest.MatchString(row) {
				t.Errorf("%s: no test is named by %s", name, row)
			}
		}
		if len(rows) < 10 {
			t.Errorf("%s: %d rows; the test would prove little", name, len(rows))
		}
	}
	if diff := cmp.Diff(pages["security.md"], pages["security.zh.md"]); diff != "" {
		t.Errorf("the languages name different tests:\n%s", diff)
	}
}

// hasTest reports whether a test is declared in a folder.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	declaration := regexp.MustCompile(`(?m)^func ` + name + `\(t \*testing\.T\)`)
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return declaration.Match(text)
	})
}
