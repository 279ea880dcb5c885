package app_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/inbound"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

const pushedDocuments = `
apiVersion: hostler/v1
kind: Template
name: deploy
params: {type: object, required: [port, ref], properties: {port: {type: integer}, ref: {type: string}}}
steps:
  - {id: look, action: check_port, target: {assets: [web1, web2]}, args: {port: "${{ params.port }}"}}
---
apiVersion: hostler/v1
kind: Task
name: deploy-web
template: deploy
params: {port: 22}
`

// sender sends to an inbound trigger as its kind signs.
type sender struct {
	w      *env
	app    *app.App
	token  string
	secret string
}

func (w *env) sender(t *testing.T, c auth.Caller, in hostler.InboundInput) sender {
	t.Helper()
	made := must(w.CreateInbound(t.Context(), c, in))(t)
	token, ok := strings.CutPrefix(made.Path, app.InboundPath)
	if !ok || len(token) < 40 || len(made.Secret) < 40 {
		t.Fatalf("created %+v", made)
	}
	return sender{w, w.App, token, made.Secret}
}

func github(secret, body, event string) http.Header {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	h := http.Header{}
	h.Set("X-GitHub-Event", event)
	h.Set("X-GitHub-Delivery", "d1")
	h.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	return h
}

func standard(secret, id, body string, at time.Time) http.Header {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_")) // it was generated
	mac, when := hmac.New(sha256.New, key), strconv.FormatInt(at.Unix(), 10)
	mac.Write([]byte(id + "." + when + "." + body))
	h := http.Header{}
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", when)
	h.Set("Webhook-Signature", "v1,AAAA v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return h
}

func (s sender) send(t *testing.T, h http.Header, body string) (hostler.InboundAnswer, error) {
	t.Helper()
	return s.app.ReceiveInbound(t.Context(), s.token, inbound.Request{Header: h.Get, Body: []byte(body)}, "198.51.100.7")
}

// log is the log of a trigger, newest first, as states.
func (w *env) triggerLog(t *testing.T, name string) (calls []hostler.InboundCall, states string) {
	t.Helper()
	calls = must(w.InboundCalls(t.Context(), w.viewer, name, hostler.Page{}))(t).Items
	for _, c := range calls {
		states += string(c.State) + " "
	}
	return calls, strings.TrimSpace(states)
}

func (w *env) pushed(t *testing.T) {
	t.Helper()
	w.asset(t, hostler.AssetInput{Name: "web1"})
	w.asset(t, hostler.AssetInput{Name: "web2"})
	must(w.Apply(t.Context(), w.admin, hostler.ApplyInput{Documents: pushedDocuments}))(t)
}

func push(branch, commit string) string {
	return `{"ref":"refs/heads/` + branch + `","after":"` + commit + `","port":8080,"repository":{"full_name":"a/b"},` +
		`"hosts":["web2"],"pusher":{"name":"li"}}`
}

// TestInboundPush runs a task by a push: with a typed value of the payload, on the hosts that
// it names, as the owner of the trigger, once.
func TestInboundPush(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.pushed(t)
		s := w.sender(t, w.operator, hostler.InboundInput{
			Name: "deploy", Kind: hostler.InboundGitHub, Task: "deploy-web", When: "push.branch == 'main' && !push.deleted",
			Params:  json.RawMessage(`{"port":"${{ payload.port }}","ref":"${{ push.repository }}@${{ push.commit }}"}`),
			Targets: &hostler.StepTarget{Assets: []string{"${{ payload.hosts.0 }}"}},
		})
		body := push("main", "c1")
		out := must(s.send(t, github(s.secret, body, "push"), body))(t)
		if out.State != hostler.InboundAccepted || out.Run == 0 {
			t.Fatalf("answer %+v", out)
		}
		run := must(w.Run(ctx, w.viewer, out.Run))(t)
		if string(run.Params) != `{"port":8080,"ref":"a/b@c1"}` || run.Requester != "olga" || run.Origin != "trigger:deploy" ||
			run.Name != "deploy-web" || run.Steps[0].Hosts != 1 {
			t.Errorf("run %+v, params %s", run, run.Params)
		}
		// A sender names hosts, and selects no others by a pattern.
		wild := strings.Replace(body, "web2", "web*", 1)
		if _, err := s.send(t, github(s.secret, wild, "push"), wild); hostler.CodeOf(err) != hostler.CodeConflict {
			t.Errorf("a pattern: %v", err)
		}
		// Sent again, also under another id of the delivery, which is not signed.
		again := github(s.secret, body, "push")
		again.Set("X-GitHub-Delivery", "d2")
		if out2 := must(s.send(t, again, body))(t); out2.State != hostler.InboundRepeated || out2.Run != out.Run {
			t.Errorf("sent again: %+v", out2)
		}
		for _, c := range []struct{ body, event string }{
			{push("dev", "c2"), "push"}, {`{"zen":"x"}`, "ping"},
		} {
			if out := must(s.send(t, github(s.secret, c.body, c.event), c.body))(t); out.State != hostler.InboundFiltered {
				t.Errorf("%s: %+v", c.event, out)
			}
		}
		if _, states := w.triggerLog(t, "deploy"); states != "filtered filtered repeated refused accepted" {
			t.Errorf("log %s", states)
		}
		if n := len(must(w.Runs(ctx, w.viewer, app.RunFilter{}, hostler.Page{}))(t).Items); n != 1 {
			t.Errorf("%d runs", n)
		}
	})
}

// TestInboundAttacks sends what must start nothing, and looks at the answers and the log.
func TestInboundAttacks(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.pushed(t)
		in := hostler.InboundInput{
			Name: "std", Kind: hostler.InboundStandard, Task: "deploy-web",
			Params: json.RawMessage(`{"port":"${{ payload.port }}","ref":"x"}`),
		}
		s := w.sender(t, w.operator, in)
		now, body := w.h.Now(), `{"type":"deploy","port":80}`
		good := standard(s.secret, "m1", body, now)
		tampered := standard(s.secret, "m2", body, now)
		tampered.Set("Webhook-Id", "m3")
		refused := map[string]struct {
			s    sender
			h    http.Header
			body string
		}{
			"no signature":       {s, http.Header{}, body},
			"another secret":     {s, standard(inbound.NewSecret(in.Kind), "m1", body, now), body},
			"another body":       {s, good, body + " "},
			"another id":         {s, tampered, body},
			"an hour old":        {s, standard(s.secret, "m4", body, now.Add(-time.Hour)), body},
			"an hour ahead":      {s, standard(s.secret, "m5", body, now.Add(time.Hour)), body},
			"no such URL":        {sender{w, w.App, s.token[1:] + "A", s.secret}, good, body},
			"an empty URL":       {sender{w, w.App, "", s.secret}, good, body},
			"an id with a point": {s, standard(s.secret, "m.6", body, now), body},
		}
		answers := map[string]bool{}
		for what, c := range refused {
			_, err := c.s.send(t, c.h, c.body)
			if hostler.CodeOf(err) != hostler.CodeUnauthenticated {
				t.Errorf("%s: %v", what, err)
			} else {
				answers[err.Error()] = true
			}
		}
		if len(answers) != 1 {
			t.Errorf("the answers differ: %v", answers)
		}
		if _, err := s.send(t, standard(s.secret, "m7", `{"port":"x"}`, now), `{"port":"x"}`); hostler.CodeOf(err) != hostler.CodeConflict ||
			strings.Contains(err.Error(), "port") {
			t.Errorf("a wrong parameter: %v", err)
		}
		for what, body := range map[string]string{"no JSON": `x`, "a list": `[1]`, "two": `{} {}`, "nothing": ``, "no value": `{}`} {
			if _, err := s.send(t, standard(s.secret, what, body, now), body); hostler.CodeOf(err) != hostler.CodeConflict {
				t.Errorf("%s: %v", what, err)
			}
		}
		w.wantNoRuns(t, 0)
		// What was refused can be sent again: nothing is known of it as done.
		must(s.send(t, standard(s.secret, "m7", body, now), body))(t)
		w.wantNoRuns(t, 1)
		calls, _ := w.triggerLog(t, "std")
		if len(calls) > 10 || calls[0].State != hostler.InboundAccepted {
			t.Errorf("the log has %d entries: refusals of strangers are not limited", len(calls))
		}
		for _, c := range calls {
			if strings.Contains(c.Delivery+c.Event, s.secret) {
				t.Error("the log has the secret")
			}
		}
		w.searchTables(t, s.secret)
		w.searchTables(t, s.token)
	})
}

func (w *env) wantNoRuns(t *testing.T, want int) {
	t.Helper()
	if n := len(must(w.Runs(t.Context(), w.viewer, app.RunFilter{}, hostler.Page{}))(t).Items); n != want {
		t.Errorf("%d runs, want %d", n, want)
	}
}

// TestInboundRace sends one request a hundred times at once, to two servers: one run.
func TestInboundRace(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.pushed(t)
		s := w.sender(t, w.operator, hostler.InboundInput{
			Name: "race", Kind: hostler.InboundGitHub, Task: "deploy-web", Rate: 600, Params: json.RawMessage(`{"ref":"x"}`),
		})
		other := s
		other.app = app.New(w.cfg)
		body := push("main", "c9")
		h := github(s.secret, body, "push")
		var wg sync.WaitGroup
		var mu sync.Mutex
		accepted := 0
		for i := range 100 {
			to := s
			if i%2 == 1 {
				to = other
			}
			wg.Go(func() {
				out, err := to.send(t, h, body)
				mu.Lock()
				defer mu.Unlock()
				if err == nil && out.State == hostler.InboundAccepted {
					accepted++
				}
			})
		}
		wg.Wait()
		if accepted != 1 {
			t.Errorf("%d were accepted", accepted)
		}
		w.wantNoRuns(t, 1)
	})
}

// TestInboundOwner: the run has the rights that its owner has then, and calendars, pauses and
// the rate of the trigger hold.
func TestInboundOwner(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.pushed(t)
		s := w.sender(t, w.operator, hostler.InboundInput{
			Name: "own", Kind: hostler.InboundGitLab, Task: "deploy-web", Rate: 5, Params: json.RawMessage(`{"ref":"x"}`),
		})
		n := 0
		send := func() (hostler.InboundState, error) {
			n++
			h := http.Header{}
			h.Set("X-Gitlab-Token", s.secret)
			h.Set("X-Gitlab-Event", "Push Hook")
			out, err := s.send(t, h, push("main", strconv.Itoa(n)))
			return out.State, err
		}
		refused := func(what string) {
			t.Helper()
			if state, err := send(); hostler.CodeOf(err) != hostler.CodeConflict {
				t.Errorf("%s: %s, %v", what, state, err)
			}
		}
		disable := func(v bool) {
			must(w.ChangeUser(ctx, w.admin, "olga", hostler.UserChange{Disabled: &v}))(t)
		}
		disable(true)
		refused("a disabled owner")
		if calls, _ := w.triggerLog(t, "own"); !strings.Contains(calls[0].Reason.EN, "olga") {
			t.Errorf("reason %+v", calls[0].Reason)
		}
		disable(false)
		w.closedFor(t, "freeze", time.Hour, hostler.ClosedSkip, &hostler.CalendarScope{Project: true})
		refused("a closed calendar")
		if err := w.DeleteCalendar(ctx, w.admin, "freeze"); err != nil {
			t.Fatal(err)
		}
		must(w.HoldDispatch(ctx, w.admin, hostler.HoldTerms{Reason: "restored"}))(t)
		if _, err := send(); hostler.CodeOf(err) != hostler.CodeUnavailable {
			t.Errorf("dispatch is held: %v", err)
		}
		must(w.ReleaseDispatch(ctx, w.admin, hostler.ReleaseRequest{}))(t)
		must(w.PauseInbound(ctx, w.operator, "own"))(t)
		refused("a paused trigger")
		must(w.ResumeInbound(ctx, w.operator, "own"))(t)
		for range 3 {
			if state, err := send(); state != hostler.InboundAccepted {
				t.Errorf("within the rate: %v", err)
			}
		}
		if _, err := send(); hostler.CodeOf(err) != hostler.CodeRateLimited {
			t.Errorf("over the rate: %v", err)
		}
		w.h.Advance(time.Minute)
		if state, err := send(); state != hostler.InboundAccepted {
			t.Errorf("a minute later: %v", err)
		}
		// A new secret, with the old one for a while. Whoever sets it runs as itself.
		hour := hostler.Duration(time.Hour)
		made := must(w.RotateInbound(ctx, w.admin, "own", hostler.InboundRotation{Overlap: &hour}))(t)
		if made.Trigger.Owner != "admin" || made.Secret == s.secret {
			t.Errorf("rotated %+v", made.Trigger)
		}
		if state, err := send(); state != hostler.InboundAccepted {
			t.Errorf("the old secret: %v", err)
		}
		w.h.Advance(time.Hour)
		if _, err := send(); hostler.CodeOf(err) != hostler.CodeUnauthenticated {
			t.Errorf("the old secret, later: %v", err)
		}
		s.secret = made.Secret
		if state, err := send(); state != hostler.InboundAccepted {
			t.Errorf("the new secret: %v", err)
		}
		if err := w.DeleteInbound(ctx, w.operator, "own"); err != nil {
			t.Fatal(err)
		}
		if _, err := send(); hostler.CodeOf(err) != hostler.CodeUnauthenticated {
			t.Errorf("deleted: %v", err)
		}
	})
}

// TestInboundCommandsAreJudged: what a sender puts into a command is judged like a request.
func TestInboundCommandsAreJudged(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		must(w.Apply(t.Context(), w.admin, hostler.ApplyInput{Documents: `
apiVersion: hostler/v1
kind: Template
name: say
params: {type: object, properties: {what: {type: string}}}
steps: [{id: say, action: shell, args: {command: "echo ${{ params.what }}"}}]
---
{apiVersion: hostler/v1, kind: Task, name: say, template: say}
`}))(t)
		s := w.sender(t, w.admin, hostler.InboundInput{
			Name: "say", Kind: hostler.InboundAlertmanager, Task: "say", Params: json.RawMessage(`{"what":"${{ alert.name }}"}`),
		})
		for name, want := range map[string]hostler.Code{"x; rm -r -f /": hostler.CodeConflict, "disk full": ""} {
			body := `{"status":"firing","commonLabels":{"alertname":"` + name + `"}}`
			_, err := s.send(t, http.Header{"Authorization": {"Bearer " + s.secret}}, body)
			wantCode(t, err, want)
		}
		calls, states := w.triggerLog(t, "say")
		for _, c := range calls {
			if c.State == hostler.InboundRefused && !strings.Contains(c.Reason.EN, "delete-system-files") {
				t.Errorf("reason %s", c.Reason.EN)
			}
		}
		if !strings.Contains(states, "refused") || !strings.Contains(states, "accepted") {
			t.Errorf("log %s", states)
		}
	})
}

// TestInboundLogIsBounded: refused requests remove no accepted one from the log, whose digest
// is what refuses a repetition.
func TestInboundLogIsBounded(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.pushed(t)
		w.sender(t, w.operator, hostler.InboundInput{Name: "log", Kind: hostler.InboundGitea, Task: "deploy-web"})
		w.tx(t, func(tx *store.Tx) error {
			row, err := tx.Inbound(w.admin.Project, "log")
			if err != nil {
				return err
			}
			call := store.InboundCallRow{InboundCall: hostler.InboundCall{State: hostler.InboundAccepted}, Digest: "first"}
			if err := tx.AddInboundCall(row, call); err != nil {
				return err
			}
			call.State, call.Digest = hostler.InboundRefused, ""
			for range 520 {
				if err := tx.NoteInboundCall(row.ID, call); err != nil {
					return err
				}
			}
			all, err := tx.InboundCalls(row.ID, 1<<62, 1000)
			if err != nil || len(all) != 501 || all[500].Digest != "first" {
				t.Errorf("%d in the log, %v", len(all), err)
			}
			return nil
		})
	})
}

// TestInboundSecretIsResealed: a change of the master key takes the secrets of triggers along.
func TestInboundSecretIsResealed(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.pushed(t)
		w.sender(t, w.operator, hostler.InboundInput{Name: "sealed", Kind: hostler.InboundGitea, Task: "deploy-web"})
		w.tx(t, func(tx *store.Tx) error {
			rows, err := tx.SealedOtherwise("inbound", 0, []byte("-"), 10)
			if err != nil || len(rows) != 1 {
				t.Fatalf("%d sealed, %v", len(rows), err)
			}
			_, err = w.cfg.Box.Open(rows[0].Sealed, secret.InboundOwner(rows[0].Project, rows[0].ID))
			return err
		})
	})
}

func TestCheckInbound(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		_, err := w.CreateInbound(t.Context(), w.operator, hostler.InboundInput{
			Name: "x", Kind: "smtp", Task: "t", Rate: 601, When: "filter(payload.a, true)",
			Params: json.RawMessage(`{"a":"${{ params.b }}","c":"${{ x"}`), Targets: &hostler.StepTarget{FromRun: &hostler.FromRun{}},
		})
		e, ok := err.(*hostler.Error) //nolint:errorlint // it is not wrapped
		if !ok {
			t.Fatal(err)
		}
		var paths []string
		for _, f := range e.Fields {
			paths = append(paths, f.Path)
		}
		if got := strings.Join(paths, " "); got != "kind rate targets.from_run when params.a params.c" {
			t.Errorf("faults %s", got)
		}
		_, err = w.CreateInbound(t.Context(), w.operator, hostler.InboundInput{Name: "x", Kind: "gitea", Task: "none"})
		wantCode(t, err, hostler.CodeNotFound)
	})
}
