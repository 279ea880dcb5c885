package api_test

import (
	"slices"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/store"
)

// ok unwraps what must not fail.
func ok[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestClientAndServerAgree calls every method of the Go client, which the command
// line uses, against the real server.
func TestClientAndServerAgree(t *testing.T) {
	w := newEnv(t)
	ctx, c := t.Context(), w.client(t, admin)

	if v := ok(c.Version(ctx))(t); v.Version != "test" || v.Store != "sqlite" {
		t.Errorf("version %+v", v)
	}
	if me := ok(c.Me(ctx))(t); me.User != "admin" || me.Role != hostler.RoleAdmin || me.Projects["other"] == "" {
		t.Errorf("me %+v", me)
	}
	if p := ok(c.CreateProject(ctx, "third"))(t); p.Name != "third" || p.ID == 0 {
		t.Errorf("project %+v", p)
	}
	if l := ok(c.Projects(ctx, hostler.Page{Limit: 1}))(t); len(l.Items) != 1 || l.Next == "" {
		t.Errorf("first page of projects %+v", l)
	}
	ok(c.CreateUser(ctx, "ulla", map[string]hostler.Role{"default": hostler.RoleViewer}))(t)
	yes := true
	if u := ok(c.ChangeUser(ctx, "ulla", hostler.UserChange{Disabled: &yes}))(t); !u.Disabled {
		t.Errorf("user %+v", u)
	}
	ok(c.User(ctx, "ulla"))(t)
	ok(c.Users(ctx, hostler.Page{}))(t)
	made := ok(c.CreateKey(ctx, hostler.KeyInput{Name: "spare", ExpiresIn: hostler.Duration(3600e9)}))(t)
	second := ok(c.RotateKey(ctx, made.Key.ID))(t)
	if err := c.RevokeKey(ctx, second.Key.ID); err != nil {
		t.Error(err)
	}
	ok(c.Keys(ctx, hostler.Page{}))(t)

	ok(c.CreateCredential(ctx, hostler.CredentialInput{Name: "root", Kind: "password", Username: "root", Password: "p"}))(t)
	ok(c.PutCredential(ctx, "root", hostler.CredentialInput{Name: "root", Kind: "password", Username: "root", Password: "q"}))(t)
	if cr := ok(c.Credential(ctx, "root"))(t); cr.Version != 2 {
		t.Errorf("credential %+v", cr)
	}
	ok(c.Credentials(ctx, hostler.Page{}))(t)
	if err := c.DeleteCredential(ctx, "root"); err != nil {
		t.Error(err)
	}

	a := ok(c.CreateAsset(ctx, hostler.AssetInput{Name: "web1", Address: "192.0.2.1", Labels: map[string]string{"role": "web"}}))(t)
	in := a.Input()
	in.Port = 22
	if a := ok(c.PutAsset(ctx, "web1", in))(t); a.Port != 22 {
		t.Errorf("asset %+v", a)
	}
	if l := ok(c.AssetsWith(map[string]string{"role": "web"})(ctx, hostler.Page{}))(t); len(l.Items) != 1 {
		t.Errorf("assets by label %+v", l)
	}
	ok(c.Assets(ctx, hostler.Page{}))(t)
	ok(c.Asset(ctx, a.ID.String()))(t)
	err := w.resolver.PinHostKey(ctx, store.LeasedJob{Project: w.caller(t, admin).Project, Asset: a.ID}, hostler.HostKeyOffer{
		Address: "192.0.2.1:22", Type: "ssh-ed25519",
		PublicKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPBGwJHbkT3cAyBwZzHmpBfYg7AzAGiM+dWgHfZRPXKf",
	})
	if err != nil {
		t.Fatal(err)
	}
	keys := ok(c.HostKeys(ctx, "web1"))(t)
	if k := ok(c.RevokeHostKey(ctx, "web1", keys[0].ID))(t); k.State != hostler.HostKeyRevoked {
		t.Errorf("host key %+v", k)
	}
	if k := ok(c.AcceptHostKey(ctx, "web1", keys[0].ID))(t); k.State != hostler.HostKeyPinned {
		t.Errorf("host key %+v", k)
	}

	if l := ok(c.Actions(ctx))(t); !slices.ContainsFunc(l, func(a hostler.ActionInfo) bool { return a.Name == "check_port" }) {
		t.Errorf("actions %+v", l)
	}
	ok(c.Action(ctx, "check_port"))(t)
	limit := 3
	if q := ok(c.PutQueue(ctx, "slow", hostler.QueueLimits{Limit: &limit}))(t); q.Limit != 3 {
		t.Errorf("queue %+v", q)
	}
	ok(c.HoldDispatch(ctx, hostler.HoldTerms{Reason: "move", For: hostler.Duration(time.Hour)}))(t)
	ok(c.Dispatch(ctx))(t)
	ok(c.ReleaseDispatch(ctx, hostler.ReleaseRequest{}))(t)
	hold := ok(c.CreateHold(ctx, hostler.HoldInput{Labels: map[string]string{"rack": "7"}, HoldTerms: hostler.HoldTerms{Reason: "power"}}))(t)
	if l := ok(c.Holds(ctx))(t); len(l) != 1 || l[0].ID != hold.ID {
		t.Errorf("holds %+v", l)
	}
	if err := c.EndHold(ctx, hold.ID); err != nil {
		t.Error(err)
	}
	ok(c.PauseQueue(ctx, "slow"))(t)
	ok(c.ResumeQueue(ctx, "slow"))(t)
	ok(c.Queue(ctx, "slow"))(t)
	ok(c.Queues(ctx))(t)

	t.Run("jobs", func(t *testing.T) { w.clientJobs(t, c) })

	ok(c.Workers(ctx))(t)
	manualWorker := w.manualWorker(t)
	if r := ok(c.CloseSession(ctx, manualWorker.id, "192.0.2.1"))(t); r.Interrupted != 0 {
		t.Errorf("closed %+v", r)
	}
	if r := ok(c.StopWorker(ctx, manualWorker.id))(t); r.Worker.ID != manualWorker.id {
		t.Errorf("stopped %+v", r)
	}
	if l := ok(c.Audit(ctx, hostler.Page{}))(t); len(l.Items) < 10 {
		t.Errorf("%d rows of audit", len(l.Items))
	}
	if doc := ok(c.OpenAPI(ctx))(t); len(doc) < 1000 {
		t.Errorf("document of %d bytes", len(doc))
	}
	if err := c.DeleteAsset(ctx, "web1"); err != nil {
		t.Error(err)
	}
}

func (w *env) clientJobs(t *testing.T, c *client.Client) {
	ctx := t.Context()
	run := func(req hostler.JobRequest) hostler.Job {
		t.Helper()
		return *ok(c.CreateJobs(ctx, req, client.CreateOptions{}))(t).Job
	}
	first := run(hostler.JobRequest{Action: "noop", Labels: map[string]string{"role": "web"}})
	ok(c.Waiting(ctx, first.ID))(t)
	if j := ok(c.Cancel(ctx, first.ID))(t); j.State != hostler.StateCancelled {
		t.Errorf("cancelled: %s", j.State)
	}
	if j := ok(c.Retry(ctx, first.ID))(t); j.RetryOf != first.ID {
		t.Errorf("retry of %v", j.RetryOf)
	}
	if sum := ok(c.Run(ctx, first.Run))(t); sum.Total != 1 || !sum.Done {
		t.Errorf("run %+v", sum)
	}
	if res := ok(c.CancelJobs(ctx, hostler.BulkRequest{Filter: &hostler.JobFilter{States: []hostler.State{hostler.StateQueued}}}))(t); res.Matched != 1 {
		t.Errorf("bulk cancel %+v", res)
	}
	if res := ok(c.RetryJobs(ctx, hostler.BulkRequest{IDs: []hostler.JobID{first.ID}}))(t); len(res.Items) != 1 || !res.Items[0].OK {
		t.Errorf("bulk retry %+v", res)
	}

	d := w.manualWorker(t)
	d.report(t, d.lease(t), hostler.OutcomeSucceeded)
	var lost []hostler.Job
	for range 2 {
		lost = append(lost, run(hostler.JobRequest{Action: "noop", OnLost: hostler.OnLostAsk}))
		l := d.lease(t)
		d.appendLog(t, l, 1, "hello\n")
		d.report(t, l, hostler.OutcomeUnknown)
	}
	if j := ok(c.Resolve(ctx, lost[0].ID, hostler.StateFailed, "looked"))(t); j.State != hostler.StateFailed {
		t.Errorf("resolved: %s", j.State)
	}
	if res := ok(c.ResolveJobs(ctx, hostler.BulkRequest{IDs: []hostler.JobID{lost[1].ID}, State: hostler.StateSucceeded}))(t); !res.Items[0].OK {
		t.Errorf("bulk resolve %+v", res)
	}
	if l := ok(c.Attempts(ctx, lost[0].ID))(t); len(l) != 1 {
		t.Errorf("attempts %+v", l)
	}
	if l := ok(c.Log(ctx, lost[0].ID, client.LogQuery{}))(t); len(l.Items) != 1 || l.Items[0].Text != "hello\n" {
		t.Errorf("log %+v", l)
	}
	ok(c.Job(ctx, lost[0].ID))(t)
	if l := ok(c.Jobs(ctx, hostler.JobFilter{Action: "noop"}, hostler.Page{}))(t); len(l.Items) != 5 {
		t.Errorf("%d jobs, want 5", len(l.Items))
	}
	err := w.store.View(ctx, func(tx *store.Tx) error {
		faults, err := tx.CheckInvariants()
		if len(faults) > 0 {
			t.Errorf("invariants: %v", faults)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
