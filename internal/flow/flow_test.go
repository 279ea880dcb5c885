package flow_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/flow"
)

const update = `apiVersion: hostler/v1
kind: Template
name: game-update
params:
  type: object
  required: [version]
  properties:
    version: {type: string, pattern: '^\d+\.\d+$'}
    grace: {type: integer, default: 5}
steps:
  - id: stop
    action: ssh_command
    target: {labels: {role: game}}
    rollout: {batch: [1, 25%, 100%], max_failures: 1, pause_between: 10s}
    args: {command: systemctl stop game}
  - id: update
    needs: [stop]
    action: ssh_script
    args: {script: "true", env: {VERSION: "${{ params.version }}"}}
    retry: {attempts: 3, backoff: exponential}
    timeout: 10m
  - id: qa
    approval: {title: QA passed?, approvers: ["role:approver", "user:li"], quorum: 1, expires: 24h}
  - id: open
    when: params.version != '0.0' && steps["update"].failed == 0
    action: ssh_command
    args: {command: systemctl start game}
  - id: tell
    always: true
    notify: {text: "game ${{ params.version }}: ${{ run.state }}"}
`

func parse(t *testing.T, src string) *flow.Document {
	t.Helper()
	docs, err := flow.Parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return docs[0]
}

func TestParse(t *testing.T) {
	d := parse(t, update)
	tpl := d.Template
	if tpl.Name != "game-update" || len(tpl.Steps) != 5 || d.Source != update {
		t.Fatalf("%+v", tpl)
	}
	stop := tpl.Steps[0]
	want := &hostler.Rollout{
		Batch:       []hostler.Amount{{N: 1}, {N: 25, Percent: true}, {N: 100, Percent: true}},
		MaxFailures: hostler.Amount{N: 1}, PauseBetween: hostler.Duration(10e9),
	}
	if diff := cmp.Diff(want, stop.Rollout); diff != "" {
		t.Errorf("rollout (-want +got):\n%s", diff)
	}
	if got := flow.Needs(tpl.Steps); !slices.EqualFunc(got, [][]int{nil, {0}, {1}, {2}, {3}}, slices.Equal) {
		t.Errorf("needs %v", got)
	}
	if got := flow.TargetOf(tpl.Steps, 3); got == nil || got.Labels["role"] != "game" {
		t.Errorf("a step without a target works on %+v", got)
	}
	// What is stored is the template as JSON; it reads back the same.
	b, err := json.Marshal(tpl)
	if err != nil {
		t.Fatal(err)
	}
	var again hostler.Template
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*tpl, again); diff != "" {
		t.Errorf("after a round trip (-want +got):\n%s", diff)
	}
}

func TestSeveralDocuments(t *testing.T) {
	task := "apiVersion: hostler/v1\nkind: Task\nname: eu\ntemplate: game-update\nparams: {version: '1.2'}\n" +
		"targets: {labels: {region: eu}}\n"
	docs, err := flow.Parse([]byte(update + "---\n" + task))
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) != 2 || docs[1].Task.Template != "game-update" || docs[1].Source != task || docs[0].Source != update {
		t.Errorf("%d documents; sources %q", len(docs), docs[1].Source)
	}
}

// TestFaultsNameTheirPlace: each of these texts has exactly the faults that it names.
func TestFaultsNameTheirPlace(t *testing.T) {
	head := "apiVersion: hostler/v1\nkind: Template\nname: t\nsteps:\n"
	type fault struct {
		path         string
		line, column int
	}
	for name, c := range map[string]struct {
		src  string
		want []fault
	}{
		"syntax":        {"a: [1", []fault{{"", 2, 1}}},
		"no document":   {"# nothing\n", []fault{{"", 0, 0}}},
		"kind":          {"apiVersion: hostler/v1\nkind: Flow\n", []fault{{"kind", 2, 7}}},
		"version":       {"apiVersion: v2\nkind: Task\nname: a\ntemplate: b\n", []fault{{"apiVersion", 1, 13}}},
		"unknown field": {head + "- id: a\n  wait: 1s\n  colour: red\n", []fault{{"steps[0].colour", 7, 3}}},
		"twice":         {head + "- id: a\n  wait: 1s\n  id: b\n", []fault{{"steps[0].id", 7, 3}}},
		"alias":         {head + "- &x\n  id: a\n  wait: 1s\n", []fault{{"", 5, 3}}},
		"several": {
			head + "- id: A\n  wait: soon\n- id: b\n  needs: [c, b]\n  action: x\n  approval: {title: y}\n",
			[]fault{
				{"steps[0].wait", 6, 9},
				{"steps[0].id", 5, 7},
				{"steps[1].needs[0]", 8, 11},
				{"steps[1].needs[1]", 8, 14},
				{"steps[1].needs", 8, 10},
				{"steps[0]", 5, 3},
				{"steps[1]", 7, 3},
			},
		},
		"cycle": {
			head + "- {id: a, needs: [b], wait: 1s}\n- {id: b, needs: [a], wait: 1s}\n",
			[]fault{{"steps[0].needs", 5, 18}},
		},
		"condition": {head + "- {id: a, wait: 1s, when: 1 + }\n", []fault{{"steps[0].when", 5, 27}}},
		"condition of a later step": {
			head + "- {id: a, wait: 1s, when: steps.b.failed == 0}\n- {id: b, wait: 1s}\n",
			[]fault{{"steps[0].when", 5, 27}},
		},
		"unknown parameter": {
			head + "- {id: a, action: x, args: {y: \"${{ params.z }}\"}}\n", []fault{{"steps[0].args.y", 5, 32}},
		},
		"result in args": {
			head + "- {id: a, wait: 1s}\n- {id: b, action: x, args: {y: \"${{ steps.a.state }}\"}}\n",
			[]fault{{"steps[1].args.y", 6, 32}},
		},
		"number as text": {
			"apiVersion: hostler/v1\nkind: Task\nname: 12\ntemplate: b\n", []fault{{"name", 3, 7}, {"name", 3, 7}},
		},
		"schema": {
			"apiVersion: hostler/v1\nkind: Template\nname: t\nparams: {type: 3}\nsteps: [{id: a, wait: 1s}]\n",
			[]fault{{"params", 4, 9}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := flow.Parse([]byte(c.src))
			e, ok := errors.AsType[*hostler.Error](err)
			if !ok {
				t.Fatalf("error %v", err)
			}
			var got []fault
			for _, f := range e.Fields {
				got = append(got, fault{f.Path, f.Line, f.Column})
				if f.Text.EN == "" || f.Text.ZH == "" {
					t.Errorf("%s has no text", f.Path)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("faults %+v, want %+v\n%v", got, c.want, err)
			}
		})
	}
}

// TestAllParameterErrorsAtOnce: each is named with its path, in both languages.
func TestAllParameterErrorsAtOnce(t *testing.T) {
	schema := parse(t, `apiVersion: hostler/v1
kind: Template
name: t
params:
  required: [version, host]
  properties:
    version: {type: string, pattern: '^\d+\.\d+$'}
    host: {type: string}
    count: {type: integer, minimum: 1, default: 3}
steps: [{id: a, wait: 1s}]
`).Template.Param
	_, err := flow.Params(schema, json.RawMessage(`{"version":"x","count":0,"colour":"red"}`))
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok || e.Text.ZH != "参数匹配失败" {
		t.Fatalf("error %v", err)
	}
	var paths []string
	for _, f := range e.Fields {
		paths = append(paths, f.Path)
	}
	slices.Sort(paths)
	if diff := cmp.Diff([]string{"params.colour", "params.count", "params.host", "params.version"}, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	got, err := flow.Params(schema, json.RawMessage(`{"version":"1.0","host":"a"}`), json.RawMessage(`{"host":"b"}`))
	if err != nil || string(got) != `{"count":3,"host":"b","version":"1.0"}` {
		t.Errorf("%s, %v", got, err)
	}
}

func TestRender(t *testing.T) {
	values := flow.Values{"params": flow.ParamValues(json.RawMessage(`{"n":3,"s":"x; rm -rf /","l":["a"]}`))}
	got, faults := flow.Render(json.RawMessage(
		`{"a":"${{ params.n }}","b":"n=${{params.n}}","c":"${{ params.l.0 }}","d":["${{ params.l }}"],"e":"$${{ x }}"}`,
	), "args", values)
	want := `{"a":3,"b":"n=3","c":"a","d":[["a"]],"e":"${{ x }}"}`
	if string(got) != want || len(faults) > 0 {
		t.Errorf("%s, %v, want %s", got, faults, want)
	}
	_, faults = flow.Render(json.RawMessage(`{"a":"${{ params.x }}","b":["${{ params.l.7 }}"]}`), "args", values)
	if len(faults) != 2 || faults[0].Path != "args.a" || faults[1].Path != "args.b[0]" {
		t.Errorf("faults %+v", faults)
	}
	if got := flow.RenderText("v ${{ params.n }}, ${{ run.state }}", values); got != "v 3, " {
		t.Errorf("text %q", got)
	}
	if diff := cmp.Diff([]string{"args.b"}, flow.LookupsIn(json.RawMessage(`{"a":"x","b":"${{ params.n }}"}`), "args")); diff != "" {
		t.Error(diff)
	}
}

// TestRenderIsBounded: a small text that looks up a large value many times makes no huge one.
func TestRenderIsBounded(t *testing.T) {
	big := strings.Repeat("x", 1<<19)
	values := flow.Values{"params": flow.ParamValues(json.RawMessage(`{"big":"` + big + `","list":["` + big + `"]}`))}
	for what, text := range map[string]string{
		"in a text": `{"a":"` + strings.Repeat("${{ params.big }}", 1000) + `"}`,
		"values":    `{"a":[` + strings.Repeat(`"${{ params.list }}",`, 1000) + `1]}`,
		"of runs":   `{"a":[` + strings.Repeat(`"${{ params }}",`, 1000) + `1]}`,
		"shared":    `{"a":[` + strings.Repeat(`"n ${{ params.list }}",`, 1000) + `1]}`,
	} {
		for name, render := range map[string]func(json.RawMessage, string, flow.Values) (json.RawMessage, []hostler.FieldError){
			"Render": flow.Render, "RenderEarly": flow.RenderEarly,
		} {
			got, faults := render(json.RawMessage(text), "args", values)
			if len(got) > 0 || len(faults) != 1 || faults[0].Path != "args" {
				t.Errorf("%s %s: %d bytes, %v", name, what, len(got), faults)
			}
		}
	}
	if got, faults := flow.Render(json.RawMessage(`{"a":"${{ params.big }}"}`), "args", values); len(got) < len(big) || len(faults) > 0 {
		t.Errorf("once: %d bytes, %v", len(got), faults)
	}
	if got := flow.RenderText(strings.Repeat("${{ params.big }}", 200), values); len(got) > 1<<17 {
		t.Errorf("a text of %d bytes", len(got))
	}
}

func TestConditions(t *testing.T) {
	values := flow.Values{
		"params": flow.ParamValues(json.RawMessage(`{"n":3,"s":"x"}`)),
		"run":    flow.RunView(1, "li", hostler.RunRunning),
		"steps":  map[string]any{"a": flow.StepView(&flow.Step{State: hostler.StepFailed, Failed: 2})},
	}
	for condition, want := range map[string]bool{
		"":              true,
		"params.n == 3": true,
		"params.n > 2.5 && params.s in ['x', 'y']": true,
		"steps.a.failed > 0":                       true,
		`steps["a"].state == "succeeded"`:          false,
		"run.requester == 'li'":                    true,
		"params.missing == nil":                    true,
	} {
		if got, err := flow.Holds(condition, values); err != nil || got != want {
			t.Errorf("%q: %v, %v", condition, got, err)
		}
	}
	for _, bad := range []string{
		"params.s > 3", "params.n", "1 +", "all(1..9, # > 0)", "now() > 0", "let x = 1; x == 1", "len(1..100000000) > 0",
		"other == 1",
	} {
		if _, err := flow.Holds(bad, values); err == nil {
			t.Errorf("%q is evaluated", bad)
		}
	}
}

// TestWavesCoverAllHosts: the waves of any rollout are not empty and have every host once.
func TestWavesCoverAllHosts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		hosts := rapid.IntRange(1, 300).Draw(rt, "hosts")
		waves := flow.Waves(genRollout(rt), hosts, hosts)
		total := 0
		for _, n := range waves {
			if n < 1 {
				rt.Fatalf("an empty wave in %v", waves)
			}
			total += n
		}
		if total != hosts {
			rt.Fatalf("%v are not %d hosts", waves, hosts)
		}
	})
	r := &hostler.Rollout{Batch: []hostler.Amount{{N: 1}, {N: 20, Percent: true}}}
	if got := flow.Waves(r, 12, 99); !slices.Equal(got, []int{1, 2, 2, 2, 2, 2, 1}) {
		t.Errorf("waves %v", got)
	}
}

func TestCanonical(t *testing.T) {
	a, err := flow.Canonical(map[string]any{"b": json.Number("1.50"), "a": "<x>"})
	if err != nil || string(a) != `{"a":"<x>","b":1.50}` {
		t.Errorf("%s, %v", a, err)
	}
}

func examples(tb testing.TB) []string {
	tb.Helper()
	all, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(all) == 0 {
		tb.Fatalf("examples %v, %v", all, err)
	}
	return all
}

func TestExamplesAreValid(t *testing.T) {
	for _, name := range examples(t) {
		b, err := os.ReadFile(name) //nolint:gosec // a file of the repository
		if err != nil {
			t.Fatal(err)
		}
		if _, err := flow.Parse(b); err != nil {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

// TestRelationsAreChecked: what steps say of each other is refused at publish where it
// cannot be.
func TestRelationsAreChecked(t *testing.T) {
	const head = "apiVersion: hostler/v1\nkind: Template\nname: t\nsteps:\n"
	for text, want := range map[string]string{
		"- {id: a, action: x, undoes: b}": "steps[0].undoes",
		"- {id: a, action: x, on_failure: rollback}\n- {id: b, action: x, undoes: a, needs: [a]}": "steps[1].needs",
		"- {id: a, flow: {template: t}}":                                                    "steps[0].flow.template",
		"- {id: a, action: x, outputs: {v: {from: stdout, schema: {}}}}":                    "steps[0].outputs.v.schema",
		"- {id: a, action: x}\n- {id: b, action: x, args: {v: '${{ steps.a.outputs.v }}'}}": "steps[1].args.v",
		"- {id: a, wait: 1s, verify: {action: x}}":                                          "steps[0].verify",
		"- {id: q, approval: {title: x, bind: strict}}\n- {id: a, action: x, outputs: {v: {from: stdout}}}\n" +
			"- {id: b, action: x, args: {v: '${{ steps.a.outputs.v }}'}}": "steps[2].args.v",
		"- {id: a, action: x, target: {from_run: {hosts: failed}}}": "steps[0].target.from_run",
	} {
		_, err := flow.Parse([]byte(head + text + "\n"))
		e, ok := errors.AsType[*hostler.Error](err)
		if !ok || !slices.ContainsFunc(e.Fields, func(f hostler.FieldError) bool { return f.Path == want }) {
			t.Errorf("%s: %v, want a fault at %s", text, err, want)
		}
	}
}

func TestExtract(t *testing.T) {
	outputs := map[string]hostler.Output{
		"text": {From: "stdout"}, "n": {From: "stdout", Schema: json.RawMessage(`{"type":"integer"}`)},
	}
	if got, fault := flow.Extract(outputs, nil, "42\n"); fault != nil || string(got) != `{"n":42,"text":"42"}` {
		t.Errorf("%s, %v", got, fault)
	}
	for _, stdout := range []string{"", "x", "1.5", `"1"`, strings.Repeat("1", 9000)} {
		if got, fault := flow.Extract(outputs, nil, stdout); fault == nil {
			t.Errorf("%.20q gives %.40s", stdout, got)
		}
	}
}

// TestOutputsAreNotReadAsLookUps: what a host has written is a value, whatever it looks like.
func TestOutputsAreNotReadAsLookUps(t *testing.T) {
	values := flow.Values{
		"params": map[string]any{"p": "secret"},
		"steps":  map[string]any{"a": map[string]any{"outputs": map[string]any{"v": "${{ params.p }}"}}},
	}
	got, faults := flow.Render(json.RawMessage(`{"x":"${{ steps.a.outputs.v }}"}`), "args", values)
	if len(faults) > 0 || string(got) != `{"x":"${{ params.p }}"}` {
		t.Errorf("%s, %v", got, faults)
	}
}

// FuzzParse: no text breaks the parser, every fault of a text with a line names it, and what
// was parsed can be stored.
func FuzzParse(f *testing.F) {
	f.Add(update)
	f.Add("apiVersion: hostler/v1\nkind: Task\nname: a\ntemplate: b\n---\n{}\n")
	f.Add("a: &a [*a]")
	f.Add("? [a]\n: b")
	for _, name := range examples(f) {
		if b, err := os.ReadFile(name); err == nil {
			f.Add(string(b))
		}
	}
	f.Fuzz(func(t *testing.T, src string) {
		docs, err := flow.Parse([]byte(src))
		if e, ok := errors.AsType[*hostler.Error](err); err != nil && (!ok || len(e.Fields) == 0) {
			t.Fatalf("error %v", err)
		} else if err != nil {
			for _, fault := range e.Fields {
				if fault.Path != "" && (fault.Line < 1 || fault.Line > strings.Count(src, "\n")+2) {
					t.Errorf("fault at %q is on line %d", fault.Path, fault.Line)
				}
			}
			return
		}
		for _, d := range docs {
			if _, err := flow.Canonical(d.Template); err != nil {
				t.Errorf("cannot be stored: %v", err)
			}
		}
	})
}
