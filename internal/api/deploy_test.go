package api_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// series are the metrics of a scrape: the values of each label by name.
type series map[string]map[string]map[string]bool

var (
	sample  = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+$`)
	matcher = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
)

// scrape reads /metrics of a server that has run jobs.
func (w *env) scrape(t *testing.T) series {
	t.Helper()
	d := w.manualWorker(t)
	for _, o := range []hostler.Outcome{hostler.OutcomeSucceeded, hostler.OutcomeFailed} {
		w.makeJob(t, operator)
		d.report(t, d.lease(t), o)
	}
	eventually(t, "the jobs are published", func() (done bool) {
		err := w.store.View(t.Context(), func(tx *store.Tx) error {
			unpublished, err := tx.Unpublished()
			done = !unpublished
			return err
		})
		return err == nil && done
	})
	out := series{}
	for l := range strings.SplitSeq(w.do(t, viewer, "GET", "/metrics", "").Body, "\n") {
		m := sample.FindStringSubmatch(l)
		if strings.HasPrefix(l, "#") || m == nil {
			continue
		}
		if out[m[1]] == nil {
			out[m[1]] = map[string]map[string]bool{}
		}
		for _, label := range matcher.FindAllStringSubmatch(m[2], -1) {
			if out[m[1]][label[1]] == nil {
				out[m[1]][label[1]] = map[string]bool{}
			}
			out[m[1]][label[1]][label[3]] = true
		}
	}
	return out
}

// TestTaskMetrics: the three families of the source have their names and labels, and no
// other ones.
func TestTaskMetrics(t *testing.T) {
	got := newEnv(t).scrape(t)
	for name, want := range map[string]map[string]string{
		"task_executions_total":        {"task": "noop", "status": "failure success"},
		"task_duration_seconds_bucket": {"task": "noop"},
		"task_duration_seconds_sum":    {"task": "noop"},
		"task_duration_seconds_count":  {"task": "noop"},
		"task_success_rate":            {"task": "noop"},
	} {
		for label, values := range got[name] {
			if label == "le" && strings.HasSuffix(name, "_bucket") {
				continue
			}
			if have := strings.Join(slices.Sorted(maps.Keys(values)), " "); have != want[label] {
				t.Errorf("%s has %s = %s, want %q", name, label, have, want[label])
			}
		}
		if len(got[name]) < len(want) {
			t.Errorf("%s has the labels %v", name, got[name])
		}
	}
}

// expressions returns those of the dashboard, with values for its variables, and of the
// alert rules.
func expressions(t *testing.T) (dashboard, rules []string) {
	t.Helper()
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct{ List []struct{ Query string } }
	}
	readDeploy(t, "grafana/hostler.json", func(b []byte) error { return json.Unmarshal(b, &board) })
	values := strings.NewReplacer("$__rate_interval", "5m", "$task", ".*", "$queue", ".*")
	for _, p := range board.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("the panel %s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			dashboard = append(dashboard, values.Replace(target.Expr))
		}
	}
	for _, v := range board.Templating.List {
		if name, ok := strings.CutPrefix(v.Query, "label_values("); ok {
			metric, label, _ := strings.Cut(strings.TrimSuffix(name, ")"), ", ")
			dashboard = append(dashboard, "sum by ("+label+") ("+metric+")")
		}
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Expr string }
		}
	}
	readDeploy(t, "prometheus/hostler.rules.yml", func(b []byte) error { return yaml.Unmarshal(b, &file) })
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			rules = append(rules, r.Expr)
		}
	}
	return dashboard, rules
}

func readDeploy(t *testing.T, name string, decode func([]byte) error) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
	if err == nil {
		err = decode(b)
	}
	if err != nil {
		t.Fatal(err)
	}
}

var (
	grouping  = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
	braces    = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^}]*)\}`)
	span      = regexp.MustCompile(`\[[^\]]*\]|\boffset\s+\w+`)
	word      = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
	called    = regexp.MustCompile(`([a-zA-Z_]\w*)\s*\(`)
	operators = []string{"and", "or", "unless", "bool", "e"}
)

// TestDeployFilesMatchTheMetrics: every metric, label and value that the dashboard and the
// alert rules name is one of a real scrape.
func TestDeployFilesMatchTheMetrics(t *testing.T) {
	got := newEnv(t).scrape(t)
	got["up"] = map[string]map[string]bool{}
	of := func(name string) map[string]map[string]bool { return got[name] }
	dashboard, rules := expressions(t)
	if len(dashboard) < 15 || len(rules) < 10 {
		t.Fatalf("%d and %d expressions", len(dashboard), len(rules))
	}
	for _, expr := range slices.Concat(dashboard, rules) {
		text := expr
		var labels []string
		for _, m := range grouping.FindAllStringSubmatch(text, -1) {
			labels = append(labels, word.FindAllString(m[1], -1)...)
		}
		text = grouping.ReplaceAllString(text, " ")
		for _, sel := range braces.FindAllStringSubmatch(text, -1) {
			for _, m := range matcher.FindAllStringSubmatch(sel[2], -1) {
				values := of(sel[1])[m[1]]
				found := m[1] == "job"
				for v := range values {
					found = found || m[2] == "=" && v == m[3] || m[2] == "=~" && regexp.MustCompile("^(?:"+m[3]+")$").MatchString(v)
				}
				if !found {
					t.Errorf("%s: %s has no %s", expr, sel[1], m[0])
				}
			}
		}
		text = span.ReplaceAllString(braces.ReplaceAllString(text, "$1"), " ")
		text = called.ReplaceAllString(text, " (")
		for _, name := range word.FindAllString(text, -1) {
			if slices.Contains(operators, name) {
				continue
			}
			if of(name) == nil {
				t.Errorf("%s: there is no metric %s", expr, name)
				continue
			}
			for _, l := range labels {
				if l != "instance" && of(name)[l] == nil {
					t.Errorf("%s: %s has no label %s", expr, name, l)
				}
			}
		}
	}
}

// TestDeployFilesArePromQL has promtool parse all expressions.
func TestDeployFilesArePromQL(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is missing: install the package prometheus (scripts/setup.sh test)")
	}
	dashboard, _ := expressions(t)
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	list := make([]rule, len(dashboard))
	for i, expr := range dashboard {
		list[i] = rule{"dashboard:" + string(rune('a'+i/26)) + string(rune('a'+i%26)), expr}
	}
	b, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": list}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{file, filepath.Join("..", "..", "deploy", "prometheus", "hostler.rules.yml")} {
		if out, err := exec.Command(promtool, "check", "rules", f).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", f, err, out)
		}
	}
}
