package api_test

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

const approvalDocuments = `
apiVersion: hostler/v1
kind: Template
name: roll
steps:
  - {id: agree, approval: {title: "QA <passed>?"}}
  - {id: look, action: noop}
`

// asked starts a run that waits for an approval, and returns it with the path of its link.
func (w *env) asked(t *testing.T) (a store.ApprovalRow, path string) {
	t.Helper()
	ctx := t.Context()
	w.mustDo(t, admin, "POST", "/api/v1/apply", `{"documents":`+quoted(approvalDocuments)+`}`, nil)
	var run hostler.Run
	w.mustDo(t, operator, "POST", "/api/v1/runs", `{"template":"roll"}`, &run)
	var requester hostler.UserID
	err := w.store.InTx(ctx, func(tx *store.Tx) error {
		r, err := tx.LockRun(run.Run)
		if err != nil {
			return err
		}
		requester = r.Requester
		steps, err := tx.RunSteps(run.Run)
		if err != nil {
			return err
		}
		err = tx.InsertApproval(store.ApprovalRow{
			Project: r.Project, Run: run.Run, Step: steps[0].ID, Title: "QA <passed>?", Approvers: `["role:approver"]`,
			Quorum: 1, Requester: requester,
		})
		if err != nil {
			return err
		}
		open, err := tx.PreparingApprovals(1)
		if err == nil {
			a = open[0]
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.resolver.Plan(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	a.Digest = p.Digest
	err = w.store.InTx(ctx, func(tx *store.Tx) error {
		_, err := tx.SetPlan(a.ID, p.Digest, string(p.Text))
		return err
	})
	box, boxErr := secret.NewBox(bytes.Repeat([]byte{7}, 32))
	if err != nil || boxErr != nil {
		t.Fatal(err, boxErr)
	}
	return a, "/approve/" + a.ID.String() + "/" + app.ApprovalToken(box, a.ID)
}

func quoted(s string) string {
	return `"` + strings.NewReplacer("\n", `\n`, `"`, `\"`).Replace(s) + `"`
}

func (w *env) stateOf(t *testing.T, a store.ApprovalRow) (state hostler.ApprovalState) {
	t.Helper()
	err := w.store.View(t.Context(), func(tx *store.Tx) error {
		row, _, err := tx.ApprovalByID(a.ID)
		state = row.State
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// post sends the form of the page.
func (w *env) post(t *testing.T, path string, form url.Values, headers ...string) answer {
	t.Helper()
	req := w.request(t, nobody, "POST", path, form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return w.send(t, req)
}

// TestApprovalLink attacks the page of a notice: only its form decides, with the key of a
// person who may, once.
func TestApprovalLink(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		a, path := w.asked(t)
		form := func(key, decision string) url.Values {
			return url.Values{"digest": {a.Digest}, "key": {key}, "decision": {decision}, "comment": {"seen"}}
		}
		page := w.do(t, nobody, "GET", path, "")
		for _, want := range []string{"QA &lt;passed&gt;?", operator, a.Digest, `type="password"`, "noop"} {
			if !strings.Contains(page.Body, want) {
				t.Errorf("the page lacks %q:\n%s", want, page.Body)
			}
		}
		policy := page.Header.Get("Content-Security-Policy")
		if page.Status != http.StatusOK || !strings.Contains(policy, "default-src 'none'") ||
			!strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") ||
			page.Header.Get("Cache-Control") != "no-store" || page.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%d %v", page.Status, page.Header)
		}
		w.do(t, nobody, "HEAD", path, "")
		w.do(t, approver, "GET", path+"?decision=approve&digest="+a.Digest, "")
		zh := w.request(t, nobody, "GET", path, "")
		zh.Header.Set("Accept-Language", "zh-CN")
		if body := w.send(t, zh).Body; !strings.Contains(body, "发起人") {
			t.Errorf("no Chinese:\n%s", body)
		}
		key := w.keys[approver]
		for _, c := range []struct {
			name    string
			path    string
			form    url.Values
			headers []string
			status  int
		}{
			{"without a key", path, form("", "approve"), nil, http.StatusUnauthorized},
			{"with a wrong key", path, form("hst_wrong", "approve"), nil, http.StatusUnauthorized},
			{"by the requester", path, form(w.keys[operator], "approve"), nil, http.StatusForbidden},
			{"by another project", path, form(w.keys[stranger], "approve"), nil, 0},
			{"from another site", path, form(key, "approve"), []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
			{"with a wrong token", path + "x", form(key, "approve"), nil, http.StatusNotFound},
			{"with another token", strings.Replace(path, a.ID.String(), "apv_00000000001", 1), form(key, "approve"), nil, http.StatusNotFound},
			{"without a decision", path, form(key, "maybe"), nil, http.StatusUnprocessableEntity},
			{"rejected without a reason", path, url.Values{"digest": {a.Digest}, "key": {key}, "decision": {"reject"}}, nil, http.StatusUnprocessableEntity},
			{"with another digest", path, url.Values{"digest": {strings.Repeat("0", 64)}, "key": {key}, "decision": {"approve"}}, nil, http.StatusConflict},
		} {
			got := w.post(t, c.path, c.form, c.headers...)
			if c.status != 0 && got.Status != c.status || got.Status < 400 {
				t.Errorf("%s: %d, want %d:\n%s", c.name, got.Status, c.status, got.Body)
			}
			if strings.Contains(got.Body, key) {
				t.Errorf("%s: the answer repeats the key", c.name)
			}
		}
		if s := w.stateOf(t, a); s != hostler.ApprovalWaiting {
			t.Fatalf("it is %s before anybody who may decided", s)
		}
		if got := w.post(t, path, form(key, "approve"), "Sec-Fetch-Site", "same-origin"); got.Status != http.StatusOK {
			t.Fatalf("%d\n%s", got.Status, got.Body)
		}
		if s := w.stateOf(t, a); s != hostler.ApprovalApproved {
			t.Errorf("it is %s", s)
		}
		if got := w.do(t, nobody, "GET", path, ""); got.Status != http.StatusNotFound {
			t.Errorf("the used link: %d", got.Status)
		}
		token := path[strings.LastIndex(path, "/")+1:]
		if log := w.log.String(); strings.Contains(log, token) || strings.Contains(log, key) {
			t.Error("the log has the link or the key")
		}
	})
}

// TestGuessesAtApprovalLinksAreLimited tries keys in the form of a valid link, and links: an
// address is limited as with keys in headers, each kind is in the audit and in the log, and a
// valid key decides all the same.
func TestGuessesAtApprovalLinksAreLimited(t *testing.T) {
	for name, guess := range map[string]func(w *env, path, digest string) answer{
		"keys": func(w *env, path, digest string) answer {
			return w.post(t, path, url.Values{"digest": {digest}, "key": {auth.NewKey()}, "decision": {"approve"}})
		},
		"links": func(w *env, path, _ string) answer {
			return w.do(t, nobody, "GET", path[:len(path)-8]+rand.Text()[:8], "")
		},
		"links by forms": func(w *env, path, digest string) answer {
			return w.post(t, path+"x", url.Values{"digest": {digest}, "key": {w.keys[approver]}, "decision": {"approve"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newEnv(t)
			a, path := w.asked(t)
			statuses := map[int]int{}
			for range 60 {
				statuses[guess(w, path, a.Digest).Status]++
			}
			if n := statuses[http.StatusTooManyRequests]; n < 30 || statuses[http.StatusOK] > 0 {
				t.Errorf("answers %v", statuses)
			}
			var audit hostler.List[hostler.Audit]
			w.mustDo(t, admin, "GET", "/api/v1/audit?verb=auth.refuse", "", &audit)
			kinds := map[string]int{}
			for _, row := range audit.Items {
				kinds[row.Object]++
			}
			if kinds["unauthenticated"] != 1 || kinds["rate_limited"] != 1 {
				t.Errorf("records %v", kinds)
			}
			if n := strings.Count(w.log.String(), `"msg":"refused"`); n != 2 {
				t.Errorf("%d lines in the log, want 2", n)
			}
			metrics := w.do(t, viewer, "GET", "/metrics", "").Body
			if !strings.Contains(metrics, `hostler_refusals_total{code="rate_limited"} `) {
				t.Error("the metrics do not count them")
			}
			form := url.Values{"digest": {a.Digest}, "key": {w.keys[approver]}, "decision": {"approve"}}
			if got := w.post(t, path, form); got.Status != http.StatusOK {
				t.Errorf("a valid key: %d\n%s", got.Status, got.Body)
			}
		})
	}
}
