package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
)

const hostSecret = "Kanarien\"vogel+9c1e"

// inlineBody is a request for a job on an ad-hoc host. The secret needs
// escapes in every notation.
const inlineBody = `{"action":"noop","target":{"address":"SW1.example","port":2222,"username":"root","password":"Kanarien\"vogel+9c1e","enable":"Kanarien\"vogel+9c1e"}}`

// TestInlineTarget sends a host in a request, and searches all answers of the API for
// its secret.
func TestInlineTarget(t *testing.T) { eachEnv(t, inlineTarget) }

func inlineTarget(t *testing.T, w *env) {
	var made hostler.JobsCreated
	req := w.request(t, operator, "POST", "/api/v1/jobs", inlineBody)
	req.Header.Set("Idempotency-Key", "k")
	first := w.send(t, req)
	var answers []string
	if again := w.do(t, operator, "POST", "/api/v1/jobs", inlineBody); first.Status != http.StatusCreated || again.Status != http.StatusCreated {
		t.Fatalf("%d %s, %d %s", first.Status, first.Body, again.Status, again.Body)
	} else {
		answers = append(answers, first.Body, again.Body)
	}
	w.mustDo(t, operator, "POST", "/api/v1/jobs", inlineBody, &made)
	if made.Job == nil || made.Job.AssetName != "sw1.example" || made.Job.Asset != 0 {
		t.Fatalf("made %+v", made.Job)
	}
	d := w.manualWorker(t)
	leases, err := d.e.Lease(t.Context(), hostler.LeaseRequest{Worker: d.id, Slots: 10})
	if err != nil || len(leases) != 3 {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	reports := make([]hostler.Report, len(leases))
	for i, l := range leases {
		if l.Asset == nil || l.Asset.Credential == nil || l.Asset.Credential.Secret.Password != hostSecret {
			t.Errorf("the lease is on %+v", l.Asset)
		}
		reports[i] = hostler.Report{LeaseRef: l.LeaseRef, Outcome: hostler.OutcomeFailed, Error: &hostler.JobError{Kind: "x"}}
	}
	if _, err := d.e.Report(t.Context(), d.id, reports); err != nil {
		t.Fatal(err)
	}
	id := made.Job.ID.String()
	retry := w.do(t, operator, "POST", "/api/v1/jobs/"+id+"/retry", "")
	if retry.Status != http.StatusConflict || !strings.Contains(retry.Body, "login") {
		t.Errorf("retry: %d %s", retry.Status, retry.Body)
	}
	answers = append(answers, retry.Body)
	for _, path := range []string{
		"/api/v1/jobs", "/api/v1/jobs/" + id, "/api/v1/jobs/" + id + "/attempts", "/api/v1/jobs/" + id + "/log", "/api/v1/runs/" + made.Run.String(),
		"/api/v1/jobs?asset=sw1.example", "/api/v1/audit", "/api/v1/workers", "/api/v1/assets", "/tasks", "/metrics", "/api/v1/openapi.json",
	} {
		a := w.do(t, admin, "GET", path, "")
		if a.Status != http.StatusOK {
			t.Errorf("%s: %d", path, a.Status)
		}
		answers = append(answers, a.Body)
	}
	for _, text := range append(answers, w.log.String()) {
		if strings.Contains(text, "vogel") {
			t.Errorf("the secret is in: %s", text)
		}
	}
}

func TestBadTargets(t *testing.T) {
	w := newEnv(t)
	for target, want := range map[string][]string{
		`{}`:                              {"target.address"},
		`{"address":""}`:                  {"target.address"},
		`{"address":"a b"}`:               {"target.address"},
		`{"address":"h","port":65536}`:    {"target.port"},
		`{"address":"h","secret":"x"}`:    {"target.secret"},
		`{"address":"h","username":1}`:    {"target.username"},
		`{"address":"h","password":"x"}`:  {"target.username"},
		`{"address":"h","asset":"ast_1"}`: {"target.asset"},
		`{"address":"h","username":"u","password":"` + strings.Repeat("vogel", 1000) + `"}`: {"target.password"},
		`{"address":"h","username":"u","private_key":"vogel"}`:                              {"target.private_key"},
	} {
		a := w.do(t, operator, "POST", "/api/v1/jobs", `{"action":"noop","target":`+target+`}`)
		if a.Status != http.StatusUnprocessableEntity {
			t.Errorf("%.80s: %d %s, want 422", target, a.Status, a.Body)
			continue
		}
		if diff := cmp.Diff(want, a.problem(t).paths()); diff != "" {
			t.Errorf("%.80s: paths (-want +got):\n%s", target, diff)
		}
		if strings.Contains(a.Body, "vogel") {
			t.Errorf("the answer repeats the secret: %s", a.Body)
		}
	}
	if a := w.do(t, viewer, "POST", "/api/v1/jobs", inlineBody); a.Status != http.StatusForbidden {
		t.Errorf("a viewer: %d", a.Status)
	}
}
