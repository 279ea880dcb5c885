package compat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
)

// step is one thing that a user of the older release does: a command line, or a
// request that the command line has no command for. The steps are taken in order, on
// a copy of the recorded folder.
type step struct {
	// Args are the arguments of the command; $NAME is replaced by a variable.
	Args  []string `json:"args,omitempty"`
	Stdin string   `json:"stdin,omitempty"`
	// Save names the variable that takes the command's output, without spaces around.
	Save string `json:"save,omitempty"`
	// Code is the exit code, and Output the shape of the output, when it is JSON.
	Code   int    `json:"code"`
	Output *shape `json:"output,omitempty"`
	// Exchanges are the requests that the command made.
	Exchanges []exchange `json:"exchanges"`
}

// exchange is one request and the form of its answer. Ids that are made on the way
// stand as ${1}, ${2} and so on in later requests.
type exchange struct {
	Method string            `json:"method"`
	Path   string            `json:"path"` // with the query
	Header map[string]string `json:"header,omitempty"`
	Body   string            `json:"body,omitempty"`
	Status int               `json:"status"`
	// Type is the Content-Type of the answer, Shape the form of its body: of JSON, or
	// of the data of each type of event of a stream.
	Type   string            `json:"type,omitempty"`
	Shape  *shape            `json:"shape,omitempty"`
	Events map[string]*shape `json:"events,omitempty"`
	// Ids are the new ids in the answer by variable: JSON pointers.
	Ids map[string]string `json:"ids,omitempty"`
}

// form is the form of an answer: the shape of JSON, or the shapes of the data of a
// stream's events by type.
func form(a answer) (body *shape, events map[string]*shape) {
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if kind == "text/event-stream" {
		events = map[string]*shape{}
		for block := range strings.SplitSeq(string(a.body), "\n\n") {
			name, data := "", ""
			for line := range strings.Lines(block) {
				line = strings.TrimSuffix(line, "\n")
				if v, ok := strings.CutPrefix(line, "event: "); ok {
					name = v
				}
				if v, ok := strings.CutPrefix(line, "data: "); ok {
					data = v
				}
			}
			if v, ok := parse([]byte(data)); ok && data != "" {
				events[name] = merge(events[name], shapeOf(v))
			}
		}
		return nil, events
	}
	if v, ok := parse(a.body); ok && strings.HasSuffix(kind, "json") {
		return shapeOf(v), nil
	}
	return nil, nil
}

func parse(text []byte) (any, bool) {
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return v, d.Decode(&v) == nil
}

var idPattern = regexp.MustCompile(`^(prj|ast|crd|job|run|wrk|usr|key|hky|aud|whk|dlv)_[0-9a-z]{11}$`)

// ids lists the ids of a JSON value by JSON pointer, objects in order of their keys.
func ids(pointer string, v any, found func(pointer, id string)) {
	switch x := v.(type) {
	case map[string]any:
		for _, k := range sortedKeys(x) {
			ids(pointer+"/"+k, x[k], found)
		}
	case []any:
		for i, item := range x {
			ids(fmt.Sprintf("%s/%d", pointer, i), item, found)
		}
	case string:
		if idPattern.MatchString(x) {
			found(pointer, x)
		}
	}
}

// TestOldClient sends what the older command line sent and compares the answers with
// those that it read.
func TestOldClient(t *testing.T) {
	s := onFolder(t, binary)
	vars := s.variables(t)
	for _, st := range recordedSteps(t) {
		for _, e := range st.Exchanges {
			name := strings.Join(append([]string{"hostler"}, st.Args...), " ")
			replay(t, s, name, e, vars)
		}
	}
}

func replay(t *testing.T, s *server, command string, e exchange, vars map[string]string) {
	t.Helper()
	fill := func(text string) string {
		return os.Expand(text, func(name string) string {
			if v, ok := vars[name]; ok {
				return v
			}
			return "${" + name + "}"
		})
	}
	var header []string
	for k, v := range e.Header {
		header = append(header, k, fill(v))
	}
	var a answer
	var faults []string
	// A client that waits for something reads again until it is there.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for try := 0; try == 0 || try < 40 && e.Method == http.MethodGet && faults != nil; try++ {
		if try > 0 {
			<-tick.C
		}
		a = s.send(e.Method, fill(e.Path), fill(e.Body), header...)
		faults = e.faults(a)
	}
	for _, f := range faults {
		t.Errorf("%s %s (%s): %s", e.Method, e.Path, command, f)
	}
	if v, ok := parse(a.body); ok {
		at := map[string]string{}
		ids("", v, func(pointer, id string) { at[pointer] = id })
		for name, pointer := range e.Ids {
			vars[name] = at[pointer]
		}
	}
}

// faults lists how an answer differs in form from the recorded one.
func (e exchange) faults(a answer) []string {
	if a.status != e.Status {
		return []string{fmt.Sprintf("status %d, was %d: %.500s", a.status, e.Status, a.body)}
	}
	var out []string
	if got := a.header.Get("Content-Type"); got != e.Type {
		out = append(out, fmt.Sprintf("Content-Type %q, was %q", got, e.Type))
	}
	body, events := form(a)
	if e.Shape != nil && body == nil {
		out = append(out, "the answer is not JSON")
	}
	out = append(out, lost("answer", e.Shape, body)...)
	for _, name := range sortedKeys(e.Events) {
		if events[name] == nil {
			out = append(out, "no event "+name)
		}
		out = append(out, lost("event "+name, e.Events[name], events[name])...)
	}
	return out
}

// TestOldCommands gives the commands to the command line of this tree: they end with
// the same exit codes and print JSON of the same form.
func TestOldCommands(t *testing.T) {
	s := onFolder(t, binary)
	vars := s.variables(t)
	for _, want := range recordedSteps(t) {
		if want.Args == nil {
			for _, e := range want.Exchanges {
				expand := func(text string) string { return os.Expand(text, func(name string) string { return vars[name] }) }
				_ = s.send(e.Method, expand(e.Path), expand(e.Body))
			}
			continue
		}
		stdout, stderr, code := s.command(t, binary, s.url, want, vars)
		if code != want.Code {
			t.Errorf("hostler %s: exit code %d, was %d\n%s%s", strings.Join(want.Args, " "), code, want.Code, stdout, stderr)
		}
		if want.Output == nil {
			continue
		}
		v, ok := parse(stdout)
		if !ok {
			t.Errorf("hostler %s printed no JSON: %.300s", strings.Join(want.Args, " "), stdout)
			continue
		}
		for _, m := range lost("output", want.Output, shapeOf(v)) {
			t.Errorf("hostler %s: %s", strings.Join(want.Args, " "), m)
		}
	}
}

// onFolder starts a server on a copy of the recorded SQLite folder.
func onFolder(t testing.TB, bin string) *server {
	t.Helper()
	home := t.TempDir()
	dir := filepath.Join("testdata", "sqlite")
	unpack(t, filepath.Join(dir, "data.tar.gz"), home)
	var sc scene
	readJSON(t, filepath.Join(dir, "scene.json"), &sc)
	if err := os.WriteFile(filepath.Join(home, "again"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	newReceiver(t, sqliteNet)
	s := start(t, bin, home, "", sc.Keys["admin"], sqliteNet.env()...)
	s.awaitRecovery(sc)
	return s
}

// variables are the variables of the commands at the beginning: the recorded jobs.
func (s *server) variables(t testing.TB) map[string]string {
	t.Helper()
	var sc scene
	readJSON(t, filepath.Join("testdata", "sqlite", "scene.json"), &sc)
	vars := map[string]string{"RECEIVER": "http://" + sqliteNet.receiver(), "FAN": sc.Runs["fan-out"]}
	for name, id := range sc.Jobs {
		vars[strings.ToUpper(strings.ReplaceAll(name, " ", "_"))] = id
	}
	for _, w := range s.items("/api/v1/workers") {
		if w["state"] != "dead" {
			vars["WORKER"], _ = w["id"].(string)
		}
	}
	for _, k := range s.items("/api/v1/keys") {
		if k["name"] == "laptop" {
			vars["KEY"], _ = k["id"].(string)
		}
	}
	for _, d := range s.items("/api/v1/deliveries?webhook=hook&limit=1&until=" + sc.Recorded) {
		vars["DELIVERY"], _ = d["id"].(string)
	}
	for _, a := range objects(s.send(http.MethodGet, "/assets", "").decode(t)) {
		if a["name"] == "site" {
			vars["SITE"] = fmt.Sprint(a["id"])
		}
	}
	var task hostler.JobID
	if err := task.UnmarshalText([]byte(sc.Jobs["succeeded"])); err != nil {
		t.Fatal(err)
	}
	vars["TASK"] = fmt.Sprint(int64(task))
	for _, k := range s.items("/api/v1/assets/web/hostkeys") {
		if k["state"] == "offered" {
			vars["HOSTKEY"], _ = k["id"].(string)
		}
	}
	return vars
}

// command runs the command of a step against url.
func (s *server) command(t testing.TB, bin, url string, st step, vars map[string]string) (stdout, stderr []byte, code int) {
	t.Helper()
	var args []string
	for _, a := range st.Args {
		args = append(args, os.Expand(a, func(name string) string { return vars[name] }))
	}
	cmd := exec.CommandContext(t.Context(), bin, args...) //nolint:gosec // our own binary
	cmd.Env = append(os.Environ(), "HOME="+s.home, "HOSTLER_CONTEXT_FILE="+filepath.Join(s.home, "none.yaml"),
		"HOSTLER_LANG=en", "HOSTLER_URL="+url, "HOSTLER_KEY="+s.key)
	cmd.Dir = s.home
	cmd.Stdin = strings.NewReader(st.Stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	if st.Save != "" {
		vars[st.Save] = strings.TrimSpace(out.String())
	}
	return out.Bytes(), errOut.Bytes(), cmd.ProcessState.ExitCode()
}

func recordedSteps(t testing.TB) []step {
	t.Helper()
	var steps []step
	readGzip(t, filepath.Join("testdata", "exchanges.json.gz"), &steps)
	return steps
}
