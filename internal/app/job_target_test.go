package app_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

func inline(address, password string) *hostler.InlineTarget {
	return &hostler.InlineTarget{
		Address:  address,
		Port:     2222,
		Platform: "linux",
		Username: "root",
		Password: password,
	}
}

// TestInlineTargetSharesTheDevice creates jobs on ad-hoc hosts in every way while a job of
// another project's asset, which is the same device, runs: none of them starts, and none of
// them tells the key of the device.
func TestInlineTargetSharesTheDevice(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		k := w.worker(t)
		must(w.CreateAsset(t.Context(), w.stranger, hostler.AssetInput{
			Name: "core", Address: "192.0.2.7", DeviceKey: "vault-7",
		}))(t)
		must(w.RunJobs(t.Context(), w.stranger, hostler.JobRequest{Action: "change", Assets: []string{"core"}}, ""))(t)
		first := k.lease(t, 10)
		if len(first) != 1 {
			t.Fatalf("%d jobs run, want 1", len(first))
		}
		req := hostler.JobRequest{Action: "change", Target: inline("192.0.2.7", "pw")}
		// An admin, who may share a device of another project.
		waiting := []hostler.JobID{must(w.RunJobs(t.Context(), w.admin, req, ""))(t).Job.ID}
		for _, out := range must(w.RunBatch(t.Context(), w.admin, []hostler.JobRequest{req, req}))(t) {
			if out.Err != nil {
				t.Fatal(out.Err)
			}
			waiting = append(waiting, out.Job.ID)
		}
		if got := k.lease(t, 10); len(got) != 0 {
			t.Fatalf("%d jobs start beside the one of the asset", len(got))
		}
		for _, id := range waiting {
			j, why := must(w.Job(t.Context(), w.operator, id))(t), must(w.Waiting(t.Context(), w.operator, id))(t)
			if text := fmt.Sprintf("%+v %+v", j, why); j.Lane != "192.0.2.7" || strings.Contains(text, "vault") {
				t.Errorf("the job is shown as %s", text)
			}
		}
		k.finish(t, first, hostler.OutcomeSucceeded)
		if got := k.lease(t, 10); len(got) != 1 {
			t.Errorf("%d jobs run on the device, want 1", len(got))
		}
	})
}

// resolve leases what there is and fills the leases in.
func (k worker) resolve(t *testing.T, n int) []hostler.Lease {
	t.Helper()
	leases := k.lease(t, n)
	if err := k.w.resolver.Leases(t.Context(), refs(leases)); err != nil {
		t.Fatal(err)
	}
	return leases
}

// TestInlineTargetReachesTheLeaseAndNothingElse runs a job on a host that is no
// asset, from the request to its end.
func TestInlineTargetReachesTheLeaseAndNothingElse(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		made := w.run(t, hostler.JobRequest{Action: "change", Target: inline("SW1.Example", "pw-1")})
		if got := []any{made.Count, made.Job.Asset, made.Job.AssetName, made.Job.Lane}; !cmp.Equal(
			got,
			[]any{1, hostler.AssetID(0), "sw1.example", "sw1.example"},
		) {
			t.Errorf("the job is %v", got)
		}
		k := w.worker(t)
		leases := k.resolve(t, 10)
		want := &hostler.LeaseAsset{
			Name: "sw1.example", Address: "sw1.example", Port: 2222, Platform: "linux", HostKey: hostler.HostKeyAcceptNew,
			Credential: &hostler.LeaseCredential{
				Kind:     hostler.CredentialPassword,
				Username: "root",
				Secret:   hostler.Secret{Password: "pw-1"},
			},
		}
		if len(leases) != 1 || !cmp.Equal(want, leases[0].Asset) {
			t.Fatalf("leases (-want +got): %s", cmp.Diff(want, leases[0].Asset))
		}
		if n := w.targets(t); n != 1 {
			t.Errorf("%d targets are stored, want 1", n)
		}
		k.finish(t, leases, hostler.OutcomeFailed)
		if n := w.targets(t); n != 0 {
			t.Errorf("%d targets outlive their job", n)
		}
		_, err := w.RetryJob(t.Context(), w.operator, made.Job.ID, "")
		wantCode(t, err, hostler.CodeConflict)
		res := must(
			w.RetryJobs(t.Context(), w.operator, hostler.BulkRequest{IDs: []hostler.JobID{made.Job.ID}}, ""),
		)(t)
		if len(res.Items) != 1 || res.Items[0].OK || !strings.Contains(res.Items[0].Error.EN, "login") {
			t.Errorf("bulk retry: %+v", res.Items)
		}
	})
}

// targets counts the hosts that jobs brought along.
func (w *env) targets(t *testing.T) (n int64) {
	t.Helper()
	w.tx(t, func(tx *store.Tx) (err error) {
		n, err = tx.Exec(`UPDATE job_target SET port = port`)
		return err
	})
	return n
}

// TestInlineJobAndAssetShareTheDevice starts one of two jobs that change one
// address, one of which names it as an asset.
func TestInlineJobAndAssetShareTheDevice(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.7"})
		w.run(t, hostler.JobRequest{Action: "change", Assets: []string{"web1"}})
		w.run(t, hostler.JobRequest{Action: "change", Target: inline("192.0.2.7", "p")})
		w.run(t, hostler.JobRequest{Action: "check_port", Target: &hostler.InlineTarget{Address: "192.0.2.7"}})
		k := w.worker(t)
		first := k.resolve(t, 10)
		if len(first) != 2 {
			t.Fatalf("%d jobs run, want the first change and the look", len(first))
		}
		if first[0].Asset.Name != "web1" || first[1].Asset.Credential != nil {
			t.Errorf("leases of %q and with credential %v", first[0].Asset.Name, first[1].Asset.Credential)
		}
		k.finish(t, first, hostler.OutcomeSucceeded)
		if next := k.resolve(t, 10); len(next) != 1 || next[0].Asset.ID != 0 {
			t.Errorf("then %d jobs run, want the one that brought its host", len(next))
		}
	})
}

// TestEveryEndDeletesTheLogin ends inline jobs in each way there is.
func TestEveryEndDeletesTheLogin(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		req := func(edit func(*hostler.JobRequest)) hostler.JobID {
			r := hostler.JobRequest{Action: "change", Target: inline("192.0.2.7", "p"), Lane: hostler.LaneNone}
			edit(&r)
			return w.run(t, r).Job.ID
		}
		waits := req(func(r *hostler.JobRequest) { r.Delay = hostler.Duration(day) })
		must(w.CancelJob(ctx, w.operator, waits))(t)
		req(func(r *hostler.JobRequest) { r.TTL = hostler.Duration(1) })
		w.h.Advance(day)
		w.tx(t, func(tx *store.Tx) error {
			_, err := tx.ExpireJobs(10)
			return err
		})
		if n := w.targets(t); n != 0 {
			t.Errorf("%d targets outlive a cancelled and an expired job", n)
		}
		unknown := req(func(*hostler.JobRequest) {})
		k := w.worker(t)
		k.finish(t, k.lease(t, 1), hostler.OutcomeUnknown)
		if n := w.targets(t); n != 1 {
			t.Errorf("%d targets, want that of the unknown job", n)
		}
		must(w.ResolveJob(ctx, w.operator, unknown, hostler.ResolveInput{State: hostler.StateFailed}))(t)
		req(func(r *hostler.JobRequest) { r.OnLost = hostler.OnLostFail })
		k.lease(t, 1)
		w.tx(t, func(tx *store.Tx) error {
			_, err := tx.RetireWorker(k.id)
			return err
		})
		w.tx(t, func(tx *store.Tx) error {
			_, err := tx.RescueJobs(10)
			return err
		})
		if n := w.targets(t); n != 0 {
			t.Errorf("%d targets outlive a resolved and a lost job", n)
		}
	})
}

func TestBadTargetsAreRefused(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.7"})
		for name, c := range map[string]struct {
			req  hostler.JobRequest
			want []string
		}{
			"with assets": {hostler.JobRequest{Action: "change", Assets: []string{"web1"}, Target: inline("h", "p")}, []string{"target"}},
			"with labels": {hostler.JobRequest{Action: "change", Labels: map[string]string{"a": "b"}, Target: inline("h", "p")}, []string{"target"}},
			"no address":  {hostler.JobRequest{Action: "change", Target: &hostler.InlineTarget{}}, []string{"target.address"}},
			"an option for an address": {
				hostler.JobRequest{Action: "change", Target: inline("-oProxyCommand=x", "p")}, []string{"target.address"},
			},
			"port": {hostler.JobRequest{Action: "change", Target: &hostler.InlineTarget{Address: "h", Port: 70000}}, []string{"target.port"}},
			"both secrets": {
				hostler.JobRequest{Action: "change", Target: &hostler.InlineTarget{Address: "h", Username: "u", Password: canary, PrivateKey: canary}},
				[]string{"target.private_key", "target.private_key"},
			},
			"passphrase alone": {
				hostler.JobRequest{Action: "change", Target: &hostler.InlineTarget{Address: "h", Username: "u", Passphrase: canary}},
				[]string{"target.passphrase"},
			},
			"no user":      {hostler.JobRequest{Action: "change", Target: &hostler.InlineTarget{Address: "h", Password: canary}}, []string{"target.username"}},
			"enable alone": {hostler.JobRequest{Action: "change", Target: &hostler.InlineTarget{Address: "h", Enable: canary}}, []string{"target.enable"}},
			"NUL":          {hostler.JobRequest{Action: "change", Target: inline("h", canary+"\x00")}, []string{"target.password"}},
			"no host":      {hostler.JobRequest{Action: "nowhere", Target: inline("h", "p")}, []string{"target"}},
		} {
			_, err := w.RunJobs(t.Context(), w.operator, c.req, "")
			wantCode(t, err, hostler.CodeInvalid)
			if diff := cmp.Diff(c.want, paths(err)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			if e, ok := errors.AsType[*hostler.Error](err); ok &&
				strings.Contains(fmt.Sprintf("%+v %#v", e, e.Fields), canary) {
				t.Errorf("%s: the error repeats the secret", name)
			}
		}
		_, err := w.RunJobs(t.Context(), w.viewer, hostler.JobRequest{Action: "change", Target: inline("h", "p")}, "")
		wantCode(t, err, hostler.CodeForbidden)
	})
}

// TestHostKeysOfInlineTargets pins the first key at the address that the job
// brought, and at no other.
func TestHostKeysOfInlineTargets(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.run(
			t,
			hostler.JobRequest{
				Action: "change",
				Target: &hostler.InlineTarget{Address: "192.0.2.1", Username: "u", Password: "p"},
			},
		)
		k := w.worker(t)
		leases := k.lease(t, 1)
		var job store.LeasedJob
		w.tx(t, func(tx *store.Tx) (err error) {
			job, err = tx.LeasedJob(k.id, leases[0].LeaseRef)
			return err
		})
		if err := w.resolver.PinHostKey(ctx, job, offer(t, 1)); err != nil {
			t.Fatal(err)
		}
		wantCode(t, w.resolver.PinHostKey(ctx, job, offer(t, 2)), hostler.CodeConflict)
		other := offer(t, 3)
		other.Address = "192.0.2.9:22"
		wantCode(t, w.resolver.PinHostKey(ctx, job, other), hostler.CodeForbidden)
		k.finish(t, leases, hostler.OutcomeSucceeded)

		// The key is the project's: the next job comes with it, and so does an asset.
		w.run(
			t,
			hostler.JobRequest{
				Action: "change",
				Target: &hostler.InlineTarget{Address: "192.0.2.1", Username: "u", Password: "p"},
			},
		)
		if keys := k.resolve(t, 1)[0].Asset.HostKeys; len(keys) != 2 || keys[0].State != hostler.HostKeyPinned {
			t.Errorf("the next job knows the keys %v", keys)
		}
		w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.1"})
		if diff := cmp.Diff([]string{"pinned accept-new", "offered "}, w.states(t, "web1")); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
	})
}

// TestInlineTargetsDoNotLoosenStrictAssets has a job bring the address of a strict
// asset: the key waits for a person all the same.
func TestInlineTargetsDoNotLoosenStrictAssets(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.1", HostKey: hostler.HostKeyStrict})
		loose := w.asset(
			t,
			hostler.AssetInput{Name: "again", Address: "192.0.2.1", Port: 22, HostKey: hostler.HostKeyAcceptNew},
		)
		w.asset(
			t,
			hostler.AssetInput{Name: "other", Address: "192.0.2.1", Port: 2222, HostKey: hostler.HostKeyAcceptNew},
		)
		for _, job := range []store.LeasedJob{
			{Project: w.admin.Project, Target: &store.SealedTarget{Address: "192.0.2.1"}},
			{Project: w.admin.Project, Asset: loose.ID},
		} {
			wantCode(t, w.resolver.PinHostKey(t.Context(), job, offer(t, 1)), hostler.CodeConflict)
		}
		if diff := cmp.Diff([]string{"offered "}, w.states(t, "web1")); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		elsewhere := offer(t, 2)
		elsewhere.Address = "192.0.2.1:2222"
		job := store.LeasedJob{
			Project: w.admin.Project,
			Target:  &store.SealedTarget{Address: "192.0.2.1", Port: 2222},
		}
		if err := w.resolver.PinHostKey(t.Context(), job, elsewhere); err != nil {
			t.Error(err)
		}
	})
}

// TestInlineSecretsLeaveNoTrace sends recognisable secrets along, repeats the
// request, ends the jobs, and then looks for the secrets in every form everywhere.
func TestInlineSecretsLeaveNoTrace(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		var outputs []any
		collect := func(v any, err error) {
			outputs = append(outputs, v)
			if err != nil {
				var e *hostler.Error
				errors.As(err, &e)
				outputs = append(outputs, err.Error(), e, fmt.Sprintf("%+v %#v", err, e))
			}
		}
		req := hostler.JobRequest{Action: "change", Target: inline("192.0.2.7", canary), Lane: hostler.LaneNone}
		req.Target.Enable = canary
		collect(w.RunJobs(ctx, w.operator, req, "key-1"))
		collect(w.RunJobs(ctx, w.operator, req, "key-1"))
		other := req
		other.Target = inline("192.0.2.7", canary+"2")
		_, err := w.RunJobs(ctx, w.operator, other, "key-1")
		wantCode(t, err, hostler.CodeConflict)
		collect(nil, err)
		collect(w.RunJobs(ctx, w.viewer, req, ""))
		collect(fmt.Sprintf("%v %+v %#v", req, req.Target, *req.Target), nil)

		k := w.worker(t)
		leases := k.resolve(t, 10)
		if len(leases) != 1 || leases[0].Asset.Credential.Secret.Password != canary ||
			leases[0].Asset.Credential.Secret.Enable != canary {
			t.Fatalf("the repeated request made %d jobs, or their login is another", len(leases))
		}
		collect(leases, nil)
		k.finish(t, leases, hostler.OutcomeSucceeded)
		collect(w.Jobs(ctx, w.viewer, hostler.JobFilter{}, hostler.Page{}))
		collect(w.RetryJob(ctx, w.operator, leases[0].Job, ""))
		collect(w.Audit(ctx, w.admin, hostler.AuditFilter{}, hostler.Page{}))

		text, err := json.Marshal(outputs)
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		// Nor may a hash of the request stay, against which guesses could be tried.
		forms := append(
			forms(),
			fmt.Sprintf("%x", sha256.Sum256(body)),
			url.QueryEscape(canary),
			base64.RawURLEncoding.EncodeToString([]byte(canary))[:20],
		)
		for _, form := range forms {
			if strings.Contains(string(text), form) {
				t.Errorf("an answer or an error holds the secret: %s", text)
			}
			if strings.Contains(string(w.log.text), form) {
				t.Errorf("the log holds the secret: %s", w.log.text)
			}
			w.searchTables(t, form)
			searchFiles(t, filepath.Dir(t.TempDir()), form)
		}
	})
}

// searchFiles looks for a text in every file below a folder: database, WAL, logs.
func searchFiles(t *testing.T, folder, text string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), text) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
