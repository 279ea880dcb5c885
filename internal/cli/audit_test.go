package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// isVerb matches the literals that are verbs of the audit, in the packages that write it.
var isVerb = regexp.MustCompile(`^[a-z]+(\.[a-z_]+){1,2}$`)

// inputFields are the parents of fields of inputs, whose names have the same form, and the
// fields of parents that are objects of the audit too.
var inputFields = []string{
	"after", "backoff", "concurrency", "rollout", "target", "targets", "task.target", "trigger",
	"task.action", "task.args", "task.params", "task.timeout",
}

// TestAuditVerbs compares the verbs that are completed and translated with those that are
// written.
func TestAuditVerbs(t *testing.T) {
	var written []string
	for _, folder := range []string{"app", "auditor", "engine", "resolve"} {
		files, err := filepath.Glob(filepath.Join("..", folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files of %s: %v", folder, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					s, _ := strconv.Unquote(lit.Value) // a literal that was parsed
					if isVerb.MatchString(s) && !slices.Contains(inputFields, s) &&
						!slices.Contains(inputFields, s[:strings.LastIndex(s, ".")]) {
						written = append(written, s)
					}
				}
				return true
			})
		}
	}
	slices.Sort(written)
	written = slices.Compact(written)
	if !slices.Equal(written, auditVerbs) {
		t.Errorf("completed are\n%v\nand written are\n%v", auditVerbs, written)
	}
	for _, verb := range written {
		object, act, _ := strings.Cut(verb, ".")
		if chineseObjects[object] == "" || chineseVerbs[act] == "" {
			t.Errorf("%s has no Chinese", verb)
		}
	}
}
