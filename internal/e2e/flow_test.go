package e2e

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

const gameUpdate = "../../examples/game-update.yaml"

// kill kills the server without warning and starts it again.
func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.cmd.Wait()
	s.start()
}

// person creates a user with a role and returns a client with a key of the user.
func (s *server) person(name string, role hostler.Role) string {
	s.t.Helper()
	api := s.client()
	if _, err := api.CreateUser(s.t.Context(), name, map[string]hostler.Role{"default": role}); err != nil {
		s.t.Fatal(err)
	}
	made, err := api.CreateKey(s.t.Context(), hostler.KeyInput{Name: "own", User: name, Project: "default", Role: role})
	if err != nil {
		s.t.Fatal(err)
	}
	return made.Secret
}

// as returns a client with a key; the server may have another address since it restarted.
func (s *server) as(key string) *client.Client {
	s.t.Helper()
	c, err := client.New(s.url, key)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// games publishes the example and adds its hosts.
func (s *server) games(d *sshtest.Server, hosts int) {
	s.t.Helper()
	s.addSSH(d)
	for i := range hosts {
		_, err := s.client().CreateAsset(s.t.Context(), hostler.AssetInput{
			Name: fmt.Sprintf("game%d", i), Address: fmt.Sprintf("127.0.3.%d", i+1), Port: d.Port, Credential: "ops",
			Labels: map[string]string{"role": "game", "region": "eu"},
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	s.must("apply", "-f", gameUpdate)
}

// awaitRun waits until a run is in a state. Jobs whose outcome a crash has made unknown are
// resolved as succeeded, as a person does who has looked at the host.
func (s *server) awaitRun(id hostler.RunID, want hostler.RunState, waits bool) (r hostler.Run) {
	s.t.Helper()
	api := s.client()
	s.await("the run to be "+string(want), func() bool {
		var err error
		if r, err = api.Run(s.t.Context(), id); err != nil {
			s.t.Fatal(err)
		}
		if r.States[hostler.StateUnknown] > 0 {
			_, err := api.ResolveJobs(s.t.Context(), hostler.BulkRequest{
				Filter: &hostler.JobFilter{Run: id}, State: hostler.StateSucceeded,
			})
			if err != nil {
				s.t.Fatal(err)
			}
		}
		if r.State.Ended() && r.State != want {
			s.t.Fatalf("the run is %s, want %s\n%s\n%s", r.State, want, s.must("run", "show", id.String()),
				s.must("job", "list", "--run", id.String()))
		}
		return r.State == want && (!waits || s.waiting(id) != nil)
	})
	return r
}

// waiting returns the approval of a run that waits for people; nil when there is none.
func (s *server) waiting(id hostler.RunID) *hostler.Approval {
	s.t.Helper()
	l, err := s.client().Approvals(s.t.Context(), hostler.ApprovalWaiting, id, hostler.Page{})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(l.Items) == 0 {
		return nil
	}
	return &l.Items[0]
}

// TestGameUpdateSurvivesCrashes runs the example on real hosts. The server is killed right
// after it acknowledged the start, while it waits for the approval, and right after it
// acknowledged the decision: every step runs once on every host.
func TestGameUpdateSurvivesCrashes(t *testing.T) {
	t.Parallel()
	const hosts = 4
	d := sshtest.Start(t, sshtest.Options{AnyAddress: true})
	eachStore(t, func(t *testing.T, s *server) {
		s.games(d, hosts)
		op, qa := s.person("op", hostler.RoleOperator), s.person("qa", hostler.RoleApprover)
		r, err := s.as(op).StartRun(t.Context(), hostler.RunRequest{
			Task: "update-eu-games", Params: []byte(`{"version":"1.3"}`),
		}, "")
		if err != nil {
			t.Fatal(err)
		}
		s.kill()
		s.awaitRun(r.Run, hostler.RunWaiting, true)
		s.kill()
		a := s.waiting(r.Run)
		if a == nil || a.Title != "QA passed for 1.3?" || a.Requester != "op" {
			t.Fatalf("approval %+v", a)
		}
		if _, err := s.as(op).Approve(t.Context(), a.ID, hostler.DecisionInput{Digest: a.Digest}); hostler.CodeOf(err) != hostler.CodeForbidden {
			t.Errorf("the requester approves: %v", err)
		}
		if _, err := s.as(qa).Approve(t.Context(), a.ID, hostler.DecisionInput{Digest: a.Digest, Comment: "fine"}); err != nil {
			t.Fatal(err)
		}
		s.kill()
		r = s.awaitRun(r.Run, hostler.RunSucceeded, false)
		if r.Total != 3*hosts || r.States[hostler.StateSucceeded] != 3*hosts {
			t.Errorf("%d jobs, by state %v, want %d", r.Total, r.States, 3*hosts)
		}
		for _, step := range r.Steps {
			if step.State != hostler.StepSucceeded {
				t.Errorf("step %s is %s", step.ID, step.State)
			}
		}
		out := s.must("run", "show", r.Run.String())
		for _, want := range []string{"✓ stop", "✓ qa", "✓ open", "✓ tell"} {
			if !strings.Contains(out, want) {
				t.Errorf("run show lacks %q:\n%s", want, out)
			}
		}
	})
}

// TestOneDecisionOfManyDeciders: of a hundred who approve or reject at the same time, one
// decides.
func TestOneDecisionOfManyDeciders(t *testing.T) {
	t.Parallel()
	const people = 100
	d := sshtest.Start(t, sshtest.Options{AnyAddress: true})
	eachStore(t, func(t *testing.T, s *server) {
		s.games(d, 1)
		keys := make([]string, people)
		for i := range keys {
			keys[i] = s.person(fmt.Sprintf("qa%d", i), hostler.RoleApprover)
		}
		op := s.person("op", hostler.RoleOperator)
		r, err := s.as(op).StartRun(t.Context(), hostler.RunRequest{Task: "update-eu-games"}, "")
		if err != nil {
			t.Fatal(err)
		}
		s.awaitRun(r.Run, hostler.RunWaiting, true)
		a := s.waiting(r.Run)
		var decided, refused atomic.Int32
		var wg sync.WaitGroup
		for i, key := range keys {
			c := s.as(key)
			wg.Go(func() {
				decide := c.Approve
				if i%2 == 1 {
					decide = c.Reject
				}
				switch _, err := decide(t.Context(), a.ID, hostler.DecisionInput{Digest: a.Digest, Comment: "mine"}); hostler.CodeOf(err) {
				case "":
					decided.Add(1)
				case hostler.CodeConflict:
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if decided.Load() != 1 || refused.Load() != people-1 {
			t.Errorf("%d decided, %d were refused", decided.Load(), refused.Load())
		}
		got, err := s.client().Approval(t.Context(), a.ID)
		if err != nil || len(got.Decisions) != 1 {
			t.Errorf("decisions %+v, %v", got.Decisions, err)
		}
	})
}

// TestChangedHostVoidsTheApproval: what was approved is what runs. An admin cannot decide
// with a key that the admin created for somebody else.
func TestChangedHostVoidsTheApproval(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{AnyAddress: true})
	s := start(t, t.TempDir(), "")
	s.games(d, 2)
	qa := s.person("qa", hostler.RoleApprover)
	op := s.person("op", hostler.RoleOperator)
	own, err := s.client().StartRun(t.Context(), hostler.RunRequest{Task: "update-eu-games"}, "")
	if err != nil {
		t.Fatal(err)
	}
	s.awaitRun(own.Run, hostler.RunWaiting, true)
	a := s.waiting(own.Run)
	if _, err := s.as(qa).Approve(t.Context(), a.ID, hostler.DecisionInput{Digest: a.Digest}); hostler.CodeOf(err) != hostler.CodeForbidden {
		t.Errorf("the admin approves with a key made for somebody else: %v", err)
	}
	s.must("run", "terminate", own.Run.String())
	s.awaitRun(own.Run, hostler.RunCancelled, false)

	r, err := s.as(op).StartRun(t.Context(), hostler.RunRequest{Task: "update-eu-games"}, "")
	if err != nil {
		t.Fatal(err)
	}
	s.awaitRun(r.Run, hostler.RunWaiting, true)
	first := s.waiting(r.Run)
	s.must("asset", "set", "game1", "--address", "127.0.3.77")
	in := hostler.DecisionInput{Digest: first.Digest, Comment: "as seen"}
	if _, err := s.as(qa).Approve(t.Context(), first.ID, in); hostler.CodeOf(err) != hostler.CodeConflict {
		t.Errorf("a changed host is approved: %v", err)
	}
	s.await("another approval", func() bool { next := s.waiting(r.Run); return next != nil && next.ID != first.ID })
	next := s.waiting(r.Run)
	if next.Digest == first.Digest {
		t.Error("the new approval has the old digest")
	}
	if _, err := s.as(qa).Reject(t.Context(), next.ID, hostler.DecisionInput{Digest: next.Digest, Comment: "moved"}); err != nil {
		t.Fatal(err)
	}
	s.awaitRun(r.Run, hostler.RunRejected, false)
}
