package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// vault is a project with a credential that is bound to web1, and a host of an operator.
func vault(t *testing.T, w *env) {
	t.Helper()
	w.password(t, "root-pw", canary)
	w.password(t, "lab-pw", "lab")
	w.allow(t, "lab-pw", hostler.CredentialRuleInput{Uses: []string{hostler.UseSSH}, Addresses: []string{"*"}})
	w.asset(t, hostler.AssetInput{Name: "bastion", Address: "192.0.2.1", Credential: "root-pw"})
	w.asset(t, hostler.AssetInput{Name: "web1", Address: "10.0.0.1", Credential: "root-pw", Jump: "bastion"})
	must(w.CreateAsset(t.Context(), w.operator, hostler.AssetInput{
		Name: "mine", Address: "198.51.100.66", Credential: "lab-pw", Labels: map[string]string{"role": "web"},
	}))(t)
}

// TestOperatorsCannotSendACredentialElsewhere tries every path on which an operator could
// make Hostler send a credential to a host of the operator's choice.
func TestOperatorsCannotSendACredentialElsewhere(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		vault(t, w)
		ctx, c := t.Context(), w.operator
		sudo := hostler.JobRequest{
			Action: "change", Assets: []string{"mine"}, Args: json.RawMessage(`{"sudo":"root-pw"}`),
		}
		request := hostler.JobRequest{Action: "fetch", Args: json.RawMessage(`{"credential":"root-pw"}`)}
		inline := sudo
		inline.Assets, inline.Target = nil, &hostler.InlineTarget{Address: "198.51.100.66", Username: "u", Password: "p"}
		ended := w.ended(t, sudo)
		asset := func(address, jump string) hostler.AssetInput {
			return hostler.AssetInput{Name: "x", Address: address, Jump: jump, Credential: "root-pw"}
		}
		moved := hostler.AssetInput{Name: "web1", Address: "198.51.100.66", Credential: "root-pw", CredentialKept: true}
		mine := must(w.Asset(ctx, c, "mine"))(t)
		attempts := map[string]func() error{
			"a new asset": func() error { return second(w.CreateAsset(ctx, c, asset("198.51.100.66", ""))) },
			"another port": func() error {
				return second(w.CreateAsset(ctx, c, hostler.AssetInput{Name: "x", Address: "192.0.2.1", Port: 2222, Credential: "root-pw"}))
			},
			"another jump host": func() error { return second(w.CreateAsset(ctx, c, asset("10.0.0.1", "mine"))) },
			"no jump host":      func() error { return second(w.CreateAsset(ctx, c, asset("10.0.0.1", ""))) },
			"binding an asset": func() error {
				in := mine.Input()
				in.Credential = "root-pw"
				return second(w.PutAsset(ctx, c, "mine", in))
			},
			"moving an asset": func() error {
				in := asset("198.51.100.66", "bastion")
				in.Name = "web1"
				return second(w.PutAsset(ctx, c, "web1", in))
			},
			"moving it unnamed": func() error { return second(w.PutAsset(ctx, c, "web1", moved)) },
			"importing an asset": func() error {
				return imported(w.ImportAssets(ctx, c, "name,address,credential\nx,198.51.100.66,root-pw\n", hostler.ImportOptions{}))
			},
			"importing a move": func() error {
				return imported(w.ImportAssets(ctx, c, "name,address\nweb1,198.51.100.66\n", hostler.ImportOptions{}))
			},
			"importing a jump": func() error {
				return imported(w.ImportAssets(ctx, c, "name,jump\nweb1,mine\n", hostler.ImportOptions{}))
			},
			"importing it named": func() error {
				return imported(w.ImportAssets(ctx, c, "name,address,credential\nweb1,198.51.100.66,root-pw\n", hostler.ImportOptions{}))
			},
			"sudo": func() error { return second(w.RunJobs(ctx, c, sudo, "")) },
			"sudo by label": func() error {
				r := sudo
				r.Assets, r.Labels = nil, map[string]string{"role": "web"}
				return second(w.RunJobs(ctx, c, r, ""))
			},
			"sudo on a brought one": func() error { return second(w.RunJobs(ctx, c, inline, "")) },
			"sudo in a batch":       func() error { return firstErr(w.RunBatch(ctx, c, []hostler.JobRequest{sudo})) },
			"sudo in a task":        func() error { return second(w.RunTask(ctx, c, mine.ID, "change", sudo.Args)) },
			"retry":                 func() error { return second(w.RetryJob(ctx, c, ended, "")) },
			"bulk retry": func() error {
				return firstItem(w.RetryJobs(ctx, c, hostler.BulkRequest{IDs: []hostler.JobID{ended}}, ""))
			},
			"a secret value": func() error {
				r := sudo
				r.Args = json.RawMessage(`{"stdin":{"$secret":"root-pw"}}`)
				return second(w.RunJobs(ctx, c, r, ""))
			},
			"a request": func() error { return second(w.RunJobs(ctx, c, request, "")) },
		}
		for name, try := range attempts {
			if code := hostler.CodeOf(try()); code != hostler.CodeForbidden && code != hostler.CodeInvalid {
				t.Errorf("%s: %q", name, code)
			}
		}
		for _, l := range w.resolved(t) {
			if strings.Contains(fmt.Sprint(valuesOf(l)), canary) {
				t.Errorf("the lease of job %v holds the credential", l.Job)
			}
		}
	})
}

// TestAMovedJumpHostGetsNoCredential: an operator who moves a jump host gets neither its
// credential nor those of the hosts behind it, until an admin confirms where it is.
func TestAMovedJumpHostGetsNoCredential(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		vault(t, w)
		ctx := t.Context()
		job := hostler.JobRequest{Action: "change", Assets: []string{"web1"}}
		w.run(t, job)
		must(w.PutAsset(ctx, w.operator, "bastion", hostler.AssetInput{
			Name: "bastion", Address: "198.51.100.66", Credential: "lab-pw",
		}))(t)
		for _, c := range []auth.Caller{w.operator, w.admin} {
			_, err := w.RunJobs(ctx, c, job, "")
			wantCode(t, err, hostler.CodeForbidden)
			if !strings.Contains(fmt.Sprint(err), "asset confirm") {
				t.Errorf("the error does not say how to allow it: %v", err)
			}
		}
		for _, l := range w.resolved(t) { // the job that was waiting
			if l.Refused == nil || strings.Contains(fmt.Sprint(valuesOf(l)), canary) {
				t.Errorf("refused %v, secrets %v", l.Refused, valuesOf(l))
			}
		}
		must(w.ConfirmAsset(ctx, w.admin, "bastion"))(t)
		must(w.RunJobs(ctx, w.operator, job, ""))(t)
		for _, l := range w.resolved(t) {
			if l.Refused != nil || !slices.Contains(valuesOf(l), canary) {
				t.Errorf("after the confirmation: %v", l.Refused)
			}
		}
	})
}

// TestAnAdminsOwnActionsNeedNoCeremony: what an admin binds or names is allowed, for
// operators too; but an admin's job does not approve the host of an operator.
func TestAnAdminsOwnActionsNeedNoCeremony(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		vault(t, w)
		ctx := t.Context()
		sudo := hostler.JobRequest{
			Action: "change", Assets: []string{"web1"}, Args: json.RawMessage(`{"sudo":"root-pw"}`),
		}
		_, err := w.RunJobs(ctx, w.operator, sudo, "")
		wantCode(t, err, hostler.CodeForbidden)
		must(w.RunJobs(ctx, w.admin, sudo, ""))(t)
		must(w.RunJobs(ctx, w.operator, sudo, ""))(t)
		fetch := hostler.JobRequest{Action: "fetch", Args: json.RawMessage(`{"credential":"root-pw"}`)}
		must(w.RunJobs(ctx, w.admin, fetch, ""))(t)
		must(w.RunJobs(ctx, w.operator, fetch, ""))(t)
		for _, l := range w.resolved(t) {
			if l.Refused != nil || !slices.Contains(valuesOf(l), canary) {
				t.Errorf("job of %s: %v", l.Action, l.Refused)
			}
		}
		trap := sudo
		trap.Assets, trap.Labels = nil, map[string]string{"role": "web"}
		_, err = w.RunJobs(ctx, w.admin, trap, "")
		wantCode(t, err, hostler.CodeForbidden)

		uses := must(w.CredentialUses(ctx, w.viewer, "root-pw", hostler.Page{}))(t).Items
		var kinds []string
		for _, u := range uses {
			kinds = append(kinds, u.Use)
		}
		slices.Sort(kinds)
		if got := strings.Join(kinds, " "); got != "http ssh ssh sudo" {
			t.Errorf("uses %s", got)
		}
		for _, u := range uses { // a withdrawn use stops the jobs that wait, too
			if u.Use == hostler.UseSudo {
				must(w.RunJobs(ctx, w.operator, sudo, ""))(t)
				if err := w.ForbidCredential(ctx, w.admin, "root-pw", u.ID.String()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, l := range w.resolved(t) {
			if l.Refused == nil {
				t.Error("the job ran after its use was withdrawn")
			}
		}
	})
}

// TestRulesOfACredential checks where a rule allows an operator to bind a credential.
func TestRulesOfACredential(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		ssh := []string{hostler.UseSSH}
		w.asset(t, hostler.AssetInput{Name: "in", Address: "10.0.0.9"})
		w.asset(t, hostler.AssetInput{Name: "out", Address: "192.0.2.9"})
		for i, c := range []struct {
			rule  hostler.CredentialRuleInput
			in    hostler.AssetInput
			allow bool
		}{
			{hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{"10.0.0.0/8"}}, hostler.AssetInput{Address: "10.1.2.3"}, true},
			{hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{"10.0.0.0/8"}}, hostler.AssetInput{Address: "::ffff:10.1.2.3"}, true},
			{hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{"10.0.0.0/8"}}, hostler.AssetInput{Address: "11.1.2.3"}, false},
			{hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{"10.0.0.0/8"}}, hostler.AssetInput{Address: "10.1.2.3", Jump: "in"}, true},
			{hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{"10.0.0.0/8"}}, hostler.AssetInput{Address: "10.1.2.3", Jump: "out"}, false},
			{hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{"10.0.0.0/8"}}, hostler.AssetInput{Address: "10.0.0.1.evil.test"}, false},
			{hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{"*.corp.test"}}, hostler.AssetInput{Address: "a.b.CORP.test."}, true},
			{hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{"*.corp.test"}}, hostler.AssetInput{Address: "corp.test.evil.test"}, false},
			{hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{"web*"}}, hostler.AssetInput{Address: "web1"}, true},
			{hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{"web*"}}, hostler.AssetInput{Address: "web.evil.test"}, false},
			{hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{"db1.*"}}, hostler.AssetInput{Address: "db1.corp.evil.test"}, false},
			{hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{"*"}, Ports: []int{22}}, hostler.AssetInput{Address: "10.1.2.3"}, true},
			{hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{"*"}, Ports: []int{22}}, hostler.AssetInput{Address: "10.1.2.3", Port: 23}, false},
			{hostler.CredentialRuleInput{Uses: []string{hostler.UseSudo}, Addresses: []string{"*"}}, hostler.AssetInput{Address: "10.1.2.3"}, false},
			{hostler.CredentialRuleInput{Uses: ssh, Labels: map[string]string{"a": "b"}}, hostler.AssetInput{Address: "10.1.2.3", Labels: map[string]string{"a": "b"}}, false},
		} {
			name := fmt.Sprintf("c%d", i)
			w.password(t, name, "x")
			w.allow(t, name, c.rule)
			c.in.Name, c.in.Credential = "asset-"+name, name
			_, err := w.CreateAsset(ctx, w.operator, c.in)
			if want := map[bool]hostler.Code{false: hostler.CodeForbidden}[c.allow]; hostler.CodeOf(err) != want {
				t.Errorf("rule %+v, asset %+v: %v", c.rule, c.in, err)
			}
		}
		for _, p := range []string{"10.*", "10.0.0.*", "192.168.*.1"} { // they would match names only
			_, err := w.AddCredentialRule(ctx, w.admin, "c0", hostler.CredentialRuleInput{Uses: ssh, Addresses: []string{p}})
			wantCode(t, err, hostler.CodeInvalid)
		}
		// The labels of an asset count once an admin has confirmed them.
		labelled := hostler.AssetInput{Name: "labelled", Address: "10.9.9.9", Labels: map[string]string{"a": "b"}}
		must(w.CreateAsset(ctx, w.operator, labelled))(t)
		labelled.Credential = "c14"
		_, err := w.PutAsset(ctx, w.operator, "labelled", labelled)
		wantCode(t, err, hostler.CodeForbidden)
		must(w.ConfirmAsset(ctx, w.admin, "labelled"))(t)
		must(w.PutAsset(ctx, w.operator, "labelled", labelled))(t)
	})
}

// TestStrictIsKept: without the right to decide host keys nobody weakens, moves or replaces
// a strict asset, and a key that was pinned as the first one does not satisfy strict.
func TestStrictIsKept(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		vault(t, w)
		ctx := t.Context()
		job := store.LeasedJob{Project: w.admin.Project, Asset: must(w.Asset(ctx, w.admin, "bastion"))(t).ID}
		if err := w.resolver.PinHostKey(ctx, job, offer(t, 1)); err != nil {
			t.Fatal(err) // accept-new: the first key
		}
		strict := hostler.AssetInput{Name: "bastion", Address: "192.0.2.1", Credential: "root-pw", HostKey: "strict"}
		must(w.PutAsset(ctx, w.operator, "bastion", strict))(t)
		wantCode(t, w.resolver.PinHostKey(ctx, job, offer(t, 1)), hostler.CodeConflict)

		weaker := strict
		weaker.HostKey = "accept-new"
		omitted := strict
		omitted.HostKey = ""
		away := strict
		away.Address, away.Credential = "192.0.2.200", ""
		for name, in := range map[string]hostler.AssetInput{"weaker": weaker, "omitted": omitted, "away": away} {
			_, err := w.PutAsset(ctx, w.operator, "bastion", in)
			wantCode(t, err, hostler.CodeForbidden)
			if t.Failed() {
				t.Fatal(name)
			}
		}
		for _, file := range []string{"name,host_key\nbastion,accept-new\n", "name,port\nbastion,2222\n"} {
			if imported(w.ImportAssets(ctx, w.operator, file, hostler.ImportOptions{})) == nil {
				t.Errorf("imported %q", file)
			}
		}
		must(w.CreateAsset(ctx, w.operator, hostler.AssetInput{Name: "s", Address: "192.0.2.77", HostKey: "strict"}))(t)
		_, err := w.DeleteAsset(ctx, w.operator, "s")
		wantCode(t, err, hostler.CodeForbidden)
		must(w.DeleteAsset(ctx, w.admin, "s"))(t)

		w.run(t, hostler.JobRequest{Action: "change", Assets: []string{"bastion"}})
		check := func(state string) {
			t.Helper()
			for _, l := range w.resolved(t) {
				if l.Asset.HostKey != "strict" || l.Asset.HostKeys[0].State != state {
					t.Errorf("policy %s, keys %+v", l.Asset.HostKey, l.Asset.HostKeys)
				}
			}
		}
		check(hostler.HostKeyOffered)
		key := must(w.HostKeys(ctx, w.admin, "bastion"))(t)[0]
		must(w.AcceptHostKey(ctx, w.admin, "bastion", key.ID))(t)
		w.run(t, hostler.JobRequest{Action: "change", Assets: []string{"bastion"}})
		check(hostler.HostKeyPinned)
		if err := w.resolver.PinHostKey(ctx, job, offer(t, 1)); err != nil {
			t.Errorf("after a person accepted it: %v", err)
		}
	})
}

// TestACredentialDemandsStrict: a credential that demands strict is not sent to a host
// whose key was pinned as the first one, whatever the policy of the asset.
func TestACredentialDemandsStrict(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		strict := hostler.HostKeyStrict
		for _, name := range []string{"login", "sudo"} {
			must(w.CreateCredential(ctx, w.admin, hostler.CredentialInput{
				Name: name, Kind: "password", Username: "root", Password: "x", HostKey: &strict,
			}))(t)
		}
		w.password(t, "lax", "x")
		for i, c := range []struct{ login, args string }{
			{"login", `{}`}, {"lax", `{"sudo":"sudo"}`},
		} {
			name := fmt.Sprintf("web%d", i)
			a := w.asset(t, hostler.AssetInput{Name: name, Address: "192.0.2.1", Port: 100 + i, Credential: c.login})
			req := hostler.JobRequest{Action: "change", Assets: []string{name}, Args: json.RawMessage(c.args)}
			must(w.RunJobs(ctx, w.admin, req, ""))(t)
			for _, l := range w.resolved(t) {
				if l.Asset.HostKey != "strict" {
					t.Errorf("%s: policy %s", name, l.Asset.HostKey)
				}
			}
			job := store.LeasedJob{Project: w.admin.Project, Asset: a.ID, Action: "change", Args: req.Args}
			o := offer(t, 1)
			o.Address = hostler.SSHAddress("192.0.2.1", 100+i)
			wantCode(t, w.resolver.PinHostKey(ctx, job, o), hostler.CodeConflict)
			if k := must(w.HostKeys(ctx, w.admin, name))(t); len(k) != 1 || k[0].State != hostler.HostKeyOffered {
				t.Errorf("%s: keys %+v", name, k)
			}
		}
	})
}

// TestSecretValuesStayReferences: a value from a credential is opened for the lease only;
// the job, its events and the audit have the reference.
func TestSecretValuesStayReferences(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		vault(t, w)
		ctx := t.Context()
		args := json.RawMessage(`{"stdin":{"$secret":"root-pw"}}`)
		req := hostler.JobRequest{Action: "change", Assets: []string{"web1"}, Args: args}
		made := must(w.RunJobs(ctx, w.admin, req, ""))(t)
		leases := w.resolved(t)
		if len(leases) != 1 || leases[0].Credentials["root-pw"].Secret.Password != canary {
			t.Fatalf("leases %+v", leases)
		}
		if got := string(leases[0].Args); strings.Contains(got, canary) {
			t.Errorf("args of the lease: %s", got)
		}
		j := must(w.Job(ctx, w.viewer, made.Jobs[0]))(t)
		text, err := json.Marshal([]any{j, must(w.Audit(ctx, w.admin, hostler.AuditFilter{}, hostler.Page{}))(t)})
		if err != nil || strings.Contains(string(text), canary) || !strings.Contains(string(j.Args), "$secret") {
			t.Errorf("job %s, %v", text, err)
		}
		for _, form := range forms() {
			w.searchTables(t, form)
		}
	})
}

// TestMovedSealsAreReported: a sealed value that someone moved to another row in SQL does not
// open, and the jobs that need it say so, instead of that there is no credential.
func TestMovedSealsAreReported(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		vault(t, w)
		ctx := t.Context()
		w.allow(t, "lab-pw", hostler.CredentialRuleInput{
			Uses: []string{hostler.UseSudo, hostler.UseScript}, Addresses: []string{"10.0.0.1"},
		})
		for _, args := range []string{`{}`, `{"sudo":"lab-pw"}`, `{"stdin":{"$secret":"lab-pw"}}`} {
			w.run(t, hostler.JobRequest{Action: "change", Assets: []string{"web1"}, Args: json.RawMessage(args)})
		}
		must(w.CreateWebhook(ctx, w.admin, hostler.WebhookInput{Name: "a", URL: "https://a.example", Token: new(canary)}))(t)
		must(w.CreateWebhook(ctx, w.admin, hostler.WebhookInput{Name: "b", URL: "https://b.example", Token: new("token-b")}))(t)
		for _, table := range []string{"credential", "webhook"} {
			w.tx(t, func(tx *store.Tx) error {
				rows, err := tx.SealedOtherwise(table, 0, []byte("-"), 10)
				if err != nil || len(rows) != 2 {
					return fmt.Errorf("%d rows: %w", len(rows), err)
				}
				return errors.Join(tx.Reseal(table, rows[0], rows[1].Sealed), tx.Reseal(table, rows[1], rows[0].Sealed))
			})
		}
		for _, l := range w.resolved(t) {
			if l.Refused == nil || !strings.Contains(l.Refused.Text.EN, "cannot be opened") || len(valuesOf(l)) > 0 {
				t.Errorf("args %s: refused %+v", l.Args, l.Refused)
			}
		}
		_, err := w.RotateWebhook(ctx, w.admin, "a", hostler.WebhookRotation{})
		wantCode(t, err, hostler.CodeConflict)
		if strings.Contains(fmt.Sprint(err), canary) || !strings.Contains(fmt.Sprint(err), "cannot be opened") {
			t.Errorf("rotation: %v", err)
		}
	})
}

// TestAPlaceIsLeft: a use ends with the last asset at its place.
func TestAPlaceIsLeft(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		vault(t, w)
		ctx := t.Context()
		in := hostler.AssetInput{Name: "web1", Address: "10.0.0.1", Credential: "root-pw", Jump: "bastion"}
		must(w.DeleteAsset(ctx, w.operator, "web1"))(t)
		_, err := w.CreateAsset(ctx, w.operator, in)
		wantCode(t, err, hostler.CodeForbidden)
		must(w.CreateAsset(ctx, w.admin, in))(t)
		// A second asset at the same place needs no admin, and keeps the use.
		in.Name = "web1-again"
		must(w.CreateAsset(ctx, w.operator, in))(t)
		must(w.DeleteAsset(ctx, w.operator, "web1"))(t)
		in.Name = "web1"
		must(w.CreateAsset(ctx, w.operator, in))(t)
	})
}

// ended makes a job with a use that was allowed, ends it, and withdraws the use.
func (w *env) ended(t *testing.T, req hostler.JobRequest) hostler.JobID {
	t.Helper()
	r := w.allow(t, "root-pw", hostler.CredentialRuleInput{Uses: []string{hostler.UseSudo}, Addresses: []string{"*"}})
	id := w.run(t, req).Jobs[0]
	must(w.CancelJob(t.Context(), w.operator, id))(t)
	if err := w.ForbidCredential(t.Context(), w.admin, "root-pw", fmt.Sprint(r.ID)); err != nil {
		t.Fatal(err)
	}
	return id
}

// resolved leases every job that waits, opens what it needs, and ends it.
func (w *env) resolved(t *testing.T) []hostler.Lease {
	t.Helper()
	k := w.worker(t)
	leases := k.lease(t, 100)
	if err := w.resolver.Leases(t.Context(), refs(leases)); err != nil {
		t.Fatal(err)
	}
	k.finish(t, leases, hostler.OutcomeSucceeded)
	return leases
}

// valuesOf lists every secret in a lease.
func valuesOf(l hostler.Lease) []string {
	var out []string
	for a := l.Asset; a != nil; a = a.Jump {
		if a.Credential != nil {
			out = append(out, a.Credential.Secret.Values()...)
		}
	}
	for _, c := range l.Credentials {
		out = append(out, c.Secret.Values()...)
	}
	return out
}

func imported(got hostler.AssetImport, err error) error {
	if err != nil || got.Failed == 0 {
		return err
	}
	return hostler.InvalidFields(got.Rows[0].Errors...)
}

func firstErr(out []app.Outcome, err error) error {
	if err != nil {
		return err
	}
	return out[0].Err
}

func firstItem(res hostler.BulkResult, err error) error {
	if err != nil || res.Items[0].OK {
		return err
	}
	return hostler.Invalid("items", "refused", "拒绝")
}
