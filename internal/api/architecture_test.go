package api_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler/internal/api"
	"hostler.dev/hostler/internal/api/native"
	"hostler.dev/hostler/internal/api/netpulse"
)

// TestArchitectureListsEveryRoute compares ARCHITECTURE.md with the routes: the table
// of the REST surface, and the paths at the root below it.
func TestArchitectureListsEveryRoute(t *testing.T) {
	b, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, surface, ok := strings.Cut(string(b), "\n## REST surface")
	if !ok {
		t.Fatal("ARCHITECTURE.md has no section REST surface")
	}
	table, rest, _ := strings.Cut(surface, "\nAt the root:")
	atRoot, _, _ := strings.Cut(rest, "\n\n")

	want := []string{"GET /openapi.json"}
	var paths []string
	for _, r := range api.Routes(api.Config{}) {
		switch path, isNative := strings.CutPrefix(r.Path, native.Prefix); {
		case isNative:
			want = append(want, r.Method+" "+path)
		case !strings.HasPrefix(path, netpulse.Prefix) && !slices.Contains(paths, path):
			paths = append(paths, path)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, tableRoutes(t, table)); diff != "" {
		t.Errorf("the table (-routes +ARCHITECTURE.md):\n%s", diff)
	}
	for _, path := range append(paths, netpulse.Prefix, "/health", "/metrics", "/livez", "/readyz") {
		if !strings.Contains(atRoot, "`"+path+"`") {
			t.Errorf("the paragraph \"At the root\" does not list %s", path)
		}
	}
}

// routeCell is one or more methods and a path, such as "GET, POST /assets".
var routeCell = regexp.MustCompile(`^([A-Z]+(?:, [A-Z]+)*) (/\S*)$`)

// tableRoutes reads the first column of a table, as sorted "METHOD /path".
func tableRoutes(t *testing.T, table string) []string {
	t.Helper()
	var routes []string
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "route" {
			continue
		}
		for cell := range strings.SplitSeq(cells[1], ";") {
			m := routeCell.FindStringSubmatch(strings.TrimSpace(cell))
			if m == nil {
				t.Errorf("%q is not of the form METHOD, METHOD /path", cell)
				continue
			}
			for method := range strings.SplitSeq(m[1], ", ") {
				routes = append(routes, method+" "+m[2])
			}
		}
	}
	slices.Sort(routes)
	return routes
}
