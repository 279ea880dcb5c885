package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

// webs adds hosts of one sshd, and publishes an example.
func (s *server) webs(d *sshtest.Server, example string, hosts int, labels map[string]string) {
	s.t.Helper()
	s.addSSH(d)
	for i := range hosts {
		_, err := s.client().CreateAsset(s.t.Context(), hostler.AssetInput{
			Name: fmt.Sprintf("host%d", i), Address: fmt.Sprintf("127.0.4.%d", i+1), Port: d.Port, Credential: "ops", Labels: labels,
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	s.must("apply", "-f", "../../examples/"+example)
}

func (s *server) startRun(in hostler.RunRequest) hostler.RunID {
	s.t.Helper()
	r, err := s.client().StartRun(s.t.Context(), in, "")
	if err != nil {
		s.t.Fatal(err)
	}
	return r.Run
}

func params(t *testing.T, v map[string]any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stepOf returns a step of a run.
func stepOf(t *testing.T, r hostler.Run, id string) hostler.RunStep {
	t.Helper()
	for _, s := range r.Steps {
		if s.ID == id {
			return s
		}
	}
	t.Fatalf("the run has no step %s: %+v", id, r.Steps)
	return hostler.RunStep{}
}

// TestExampleRollingRestart restarts fifty hosts in waves, with a gate between them.
func TestExampleRollingRestart(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{AnyAddress: true})
	s := start(t, t.TempDir(), "")
	s.webs(d, "rolling-restart.yaml", 50, map[string]string{"role": "web"})
	r := s.awaitRun(s.startRun(hostler.RunRequest{
		Template: "rolling-restart", Params: params(t, map[string]any{"dir": t.TempDir()}),
	}), hostler.RunSucceeded, false)
	if step := stepOf(t, r, "restart"); step.Succeeded != 50 || step.Waves[0] != 1 || step.Waves[1] != 5 {
		t.Errorf("restart %+v", step)
	}
	if gate := stepOf(t, r, "restart.gate"); gate.State != hostler.StepSucceeded || gate.Succeeded == 0 {
		t.Errorf("gate %+v", gate)
	}
}

// TestExampleCleanup measures and cleans, by the numbers that the hosts report.
func TestExampleCleanup(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{AnyAddress: true})
	s := start(t, t.TempDir(), "")
	s.webs(d, "cleanup.yaml", 3, map[string]string{"role": "web", "region": "eu"})
	dir := t.TempDir()
	for i := range 4 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.old", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	id := s.startRun(hostler.RunRequest{Task: "nightly-cleanup", Params: params(t, map[string]any{"dir": dir})})
	s.awaitRun(id, hostler.RunSucceeded, false)
	hosts, err := s.client().RunHosts(t.Context(), id, "measure", hostler.Page{})
	if err != nil || len(hosts.Items) != 3 || !strings.Contains(string(hosts.Items[0].Outputs), `"files":4`) {
		t.Errorf("outputs %+v, %v", hosts.Items, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

// TestExampleMigration migrates in a flow within a flow; other people agree to the release.
func TestExampleMigration(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{AnyAddress: true})
	s := start(t, t.TempDir(), "")
	s.webs(d, "migration.yaml", 1, map[string]string{"role": "db"})
	op, qa := s.person("op", hostler.RoleOperator), s.person("qa", hostler.RoleApprover)
	started, err := s.as(op).StartRun(t.Context(), hostler.RunRequest{
		Template: "release-database", Params: params(t, map[string]any{"to": 3}),
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	r := s.awaitRun(started.Run, hostler.RunWaiting, true)
	if stepOf(t, r, "migrate").State != hostler.StepSucceeded || stepOf(t, r, "migrate.version").Succeeded != 1 {
		t.Errorf("steps %+v", r.Steps)
	}
	if _, err := s.as(op).SkipStep(t.Context(), r.Run, "agree", "in a hurry"); hostler.CodeOf(err) != hostler.CodeForbidden {
		t.Errorf("the requester skips the approval: %v", err)
	}
	a := s.waiting(r.Run)
	if _, err := s.as(qa).Approve(t.Context(), a.ID, hostler.DecisionInput{Digest: a.Digest}); err != nil {
		t.Fatal(err)
	}
	s.awaitRun(r.Run, hostler.RunSucceeded, false)
}

// TestExampleNetworkChange changes devices of two makes, and takes the change back on all
// when one make rejects it.
func TestExampleNetworkChange(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "")
	devices := s.devices(4)
	s.must("apply", "-f", "../../examples/network-change.yaml")
	r := s.awaitRun(s.startRun(hostler.RunRequest{
		Template: "network-change", Params: params(t, map[string]any{"vlan": "7"}),
	}), hostler.RunSucceeded, false)
	if undo := stepOf(t, r, "undo-ios"); undo.State != hostler.StepSkipped {
		t.Errorf("undo-ios is %s", undo.State)
	}
	for _, d := range devices {
		if d.Saved() != 0 {
			t.Error("a device was rolled back in a run that succeeded")
		}
	}
}
