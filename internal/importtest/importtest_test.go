package importtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestArrows compares the code of the module with Rules and Homes.
func TestArrows(t *testing.T) {
	pkgs := listModule(t)
	if !slices.ContainsFunc(pkgs, func(p Package) bool { return p.ImportPath == Module+"/internal/store" }) {
		t.Fatalf("go list did not find the store among %d packages; the test would prove nothing", len(pkgs))
	}
	for _, line := range Check(pkgs, Rules(), Homes()) {
		t.Error(line)
	}
}

func TestForbiddenArrowsAreCaught(t *testing.T) {
	tests := map[string]struct {
		pkg  Package
		want []string
	}{
		"store may not reach up": {
			Package{Module + "/internal/store", []string{"context", Module, Module + "/internal/engine"}},
			[]string{"internal/store → internal/engine: not an arrow of the architecture (internal/store may import nothing)"},
		},
		"api may not pass app by": {
			Package{Module + "/internal/api", []string{Module + "/internal/app", Module + "/internal/store"}},
			[]string{"internal/api → internal/store: not an arrow of the architecture (internal/api/... may import internal/api/..., internal/app, internal/auth, internal/flow, internal/schedule, internal/wait, internal/check)"},
		},
		"auth is pure": {
			Package{Module + "/internal/auth", []string{Module + "/internal/store"}},
			[]string{"internal/auth → internal/store: not an arrow of the architecture (internal/auth may import nothing)"},
		},
		"a driver may reach its contract": {
			Package{Module + "/internal/store/sqlite", []string{Module + "/internal/store", "modernc.org/sqlite"}},
			nil,
		},
		"root is standard library only": {
			Package{Module, []string{"encoding/json", "golang.org/x/text/width"}},
			[]string{". → golang.org/x/text/width: the root package imports the standard library only"},
		},
		"a library has one home": {
			Package{Module + "/internal/engine", []string{"github.com/jackc/pgx/v5/pgxpool"}},
			[]string{"internal/engine → github.com/jackc/pgx/v5/pgxpool: that library lives in internal/store/postgres, internal/store/storetest only"},
		},
		"a new package needs a rule": {
			Package{Module + "/internal/novel", nil},
			[]string{"internal/novel: no rule; add one to Rules"},
		},
		"a prefix is not a parent": {
			Package{Module + "/internal/apiary", nil},
			[]string{"internal/apiary: no rule; add one to Rules"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Check([]Package{tt.pkg}, Rules(), Homes())
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Check (-want +got):\n%s", diff)
			}
		})
	}
}

// watchModule looks at every source file, so that "go test" does not answer from
// its cache after one of them has changed: it cannot know what "go list" reads.
func watchModule(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "bin", "data"}, d.Name()) {
			return fs.SkipDir
		}
		_, err = os.Stat(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func listModule(t *testing.T) []Package {
	t.Helper()
	watchModule(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports", Module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var pkgs []Package
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs
		}
		if err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		pkgs = append(pkgs, p)
	}
}
