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
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestModule compares the code of the module with Rules and Homes.
func TestModule(t *testing.T) {
	pkgs := listModule(t)
	if !exists("internal/store", pkgs) {
		t.Fatalf("go list did not find internal/store among %d packages; the test would prove nothing", len(pkgs))
	}
	for _, line := range slices.Concat(Forbidden(pkgs, Rules(), Homes()), Unused(pkgs, Rules(), Homes())) {
		t.Error(line)
	}
}

// pkg makes a Package from paths below the module; a path that starts with a "!"
// is of another module or of the standard library.
func pkg(path string, imports ...string) Package {
	p := Package{ImportPath: Module + "/" + path}
	if path == "." {
		p.ImportPath = Module
	}
	for _, imp := range imports {
		outside, ok := strings.CutPrefix(imp, "!")
		if !ok {
			outside = pkg(imp).ImportPath
		}
		p.Imports = append(p.Imports, outside)
	}
	return p
}

// TestNeverAllowed checks the imports that the architecture excludes for good
// against the real Rules and Homes.
func TestNeverAllowed(t *testing.T) {
	for _, p := range []Package{
		pkg(".", "!golang.org/x/text/width"),
		pkg(".", "client"),
		pkg("client", "internal/app"),
		pkg("internal/store", "internal/engine"),
		pkg("internal/store", "internal/app"),
		pkg("internal/sqldb", "internal/store"),
		pkg("internal/store/sqlite", "internal/store"),
		pkg("internal/store/sqlite", "internal/store/postgres"),
		pkg("internal/api/native", "internal/store"),
		pkg("internal/api/native", "internal/engine"),
		pkg("internal/api/native", "internal/api/netpulse"),
		pkg("internal/api/rest", "internal/api/native"),
		pkg("internal/api/rest", "internal/app"),
		pkg("internal/app", "internal/engine"),
		pkg("internal/resolve", "internal/app"),
		pkg("internal/auth", "internal/store"),
		pkg("internal/webhook", "internal/store"),
		pkg("internal/assetfile", "internal/store"),
		pkg("internal/worker", "internal/store"),
		pkg("internal/worker", "internal/engine"),
		pkg("internal/node", "internal/server"),
		pkg("internal/action/ssh", "internal/action/netcli"),
		pkg("internal/action/netcli", "internal/action/ssh"),
		pkg("internal/engine", "!github.com/jackc/pgx/v5/pgxpool"),
		pkg("internal/app", "!modernc.org/sqlite"),
	} {
		if got := Forbidden([]Package{p}, Rules(), Homes()); len(got) != 1 {
			t.Errorf("%s → %s: got %q, want one line", relative(p.ImportPath), p.Imports[0], got)
		}
	}
}

// Rules and homes of a small module for the tests of the checks.
var (
	smallRules = []Rule{
		{Package: "."},
		{Package: "internal/api/...", May: []string{"internal/api/...", "internal/app"}},
		{Package: "internal/api/rest"},
		{Package: "internal/app", May: []string{"internal/store"}},
		{Package: "internal/store"},
		{Package: "internal/store/sqlite", May: []string{"internal/store"}},
	}
	smallHomes = []Home{{Library: "modernc.org/sqlite", Packages: []string{"internal/store/sqlite"}}}
)

// smallModule agrees with smallRules and smallHomes.
func smallModule() []Package {
	return []Package{
		pkg(".", "!encoding/json"),
		pkg("internal/api", ".", "internal/api/rest", "internal/app"),
		pkg("internal/api/rest", "."),
		pkg("internal/app", ".", "internal/store"),
		pkg("internal/store", "!context"),
		pkg("internal/store/sqlite", "internal/store", "!modernc.org/sqlite/lib"),
	}
}

func TestForbidden(t *testing.T) {
	tests := map[string]struct {
		pkg  Package
		want []string
	}{
		"upwards": {
			pkg("internal/store", "!context", ".", "internal/app"),
			[]string{"internal/store → internal/app: not allowed (internal/store may import nothing)"},
		},
		"past a layer": {
			pkg("internal/api", "internal/app", "internal/store"),
			[]string{"internal/api → internal/store: not allowed " +
				"(internal/api/... may import internal/api/..., internal/app)"},
		},
		"the subtree's rule": {
			pkg("internal/api/native", "internal/api/rest", "internal/app"),
			nil,
		},
		"the most specific rule": {
			pkg("internal/api/rest", "internal/api/native"),
			[]string{"internal/api/rest → internal/api/native: not allowed (internal/api/rest may import nothing)"},
		},
		"root imports a library": {
			pkg(".", "!encoding/json", "!golang.org/x/text/width"),
			[]string{". → golang.org/x/text/width: the root package imports the standard library only"},
		},
		"a library outside its home": {
			pkg("internal/app", "!modernc.org/sqlite/lib"),
			[]string{"internal/app → modernc.org/sqlite/lib: only internal/store/sqlite may import that library"},
		},
		"a library without a home": {
			pkg("internal/app", "!golang.org/x/text/width"),
			nil,
		},
		"no rule": {
			pkg("internal/novel"),
			[]string{"internal/novel: no rule; add one to Rules"},
		},
		"a prefix is not a parent": {
			pkg("internal/apiary"),
			[]string{"internal/apiary: no rule; add one to Rules"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Forbidden([]Package{tt.pkg}, smallRules, smallHomes)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Forbidden (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnused(t *testing.T) {
	tests := map[string]struct {
		pkgs  []Package // added to the small module
		rules []Rule
		homes []Home
		want  []string
	}{
		"exact": {},
		"an import that does not occur": {
			rules: []Rule{{Package: "internal/auth", May: []string{"internal/store"}}},
			pkgs:  []Package{pkg("internal/auth", ".", "!context")},
			want:  []string{"internal/auth → internal/store: allowed but not imported; remove it from Rules"},
		},
		"an import that another rule governs": {
			rules: []Rule{{Package: "internal/app/...", May: []string{"internal/store"}}},
			pkgs:  []Package{pkg("internal/app/query")},
			want:  []string{"internal/app/... → internal/store: allowed but not imported; remove it from Rules"},
		},
		"a package that does not exist": {
			rules: []Rule{{Package: "internal/auth", May: []string{"internal/flow"}}},
			pkgs:  []Package{pkg("internal/auth")},
			want:  []string{"internal/auth → internal/flow: no such package; remove it from Rules"},
		},
		"a rule for nothing": {
			rules: []Rule{{Package: "internal/flow", May: []string{"internal/store"}}},
			want:  []string{"internal/flow: the rule governs no package; remove it from Rules"},
		},
		"a rule that more specific ones hide": {
			rules: []Rule{{Package: "internal/app/..."}},
			want:  []string{"internal/app/...: the rule governs no package; remove it from Rules"},
		},
		"a second rule": {
			rules: []Rule{{Package: "internal/app"}},
			want:  []string{"internal/app: a second rule; merge it with the first"},
		},
		"the root package": {
			rules: []Rule{{Package: "internal/auth", May: []string{"."}}},
			pkgs:  []Package{pkg("internal/auth", ".")},
			want:  []string{"internal/auth → .: always allowed; remove it from Rules"},
		},
		"a home that does not import the library": {
			homes: []Home{{Library: "github.com/spf13/cobra", Packages: []string{"internal/app"}}},
			want:  []string{"home of github.com/spf13/cobra: internal/app does not import it; remove it from Homes"},
		},
		"a home that does not exist": {
			homes: []Home{{Library: "github.com/spf13/cobra", Packages: []string{"internal/cli"}}},
			want:  []string{"home of github.com/spf13/cobra: internal/cli does not exist; remove it from Homes"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Unused(
				slices.Concat(smallModule(), tt.pkgs), slices.Concat(smallRules, tt.rules), slices.Concat(smallHomes, tt.homes),
			)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Unused (-want +got):\n%s", diff)
			}
		})
	}
}

// watchModule stats every source file, so that "go test" runs the test again after
// one of them has changed: its cache does not see the files that "go list" reads.
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

// TestModuleCanBeInstalled: "go install …@version" refuses a module that replaces or
// excludes others.
func TestModuleCanBeInstalled(t *testing.T) {
	out, err := exec.Command("go", "mod", "edit", "-json", filepath.Join("..", "..", "go.mod")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Module           struct{ Path string }
		Replace, Exclude []json.RawMessage
	}
	if err := json.Unmarshal(out, &mod); err != nil || mod.Module.Path != Module {
		t.Fatalf("module %q, error %v", mod.Module.Path, err)
	}
	if len(mod.Replace)+len(mod.Exclude) > 0 {
		t.Errorf("go.mod replaces %s, excludes %s", mod.Replace, mod.Exclude)
	}
}
