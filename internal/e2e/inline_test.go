package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

// onHost returns a request for commands on an ad-hoc host.
func (s *server) onHost(d *sshtest.Server, enable string, commands ...string) hostler.JobRequest {
	s.t.Helper()
	args, err := json.Marshal(map[string]any{"commands": commands})
	if err != nil {
		s.t.Fatal(err)
	}
	return hostler.JobRequest{
		Action: "ssh_command", Args: args,
		Target: &hostler.InlineTarget{Address: "127.0.0.1", Port: d.Port, Username: d.User, PrivateKey: d.PrivateKey, Enable: enable},
	}
}

func (s *server) request(req hostler.JobRequest) hostler.Job {
	s.t.Helper()
	made, err := s.client().CreateJobs(s.t.Context(), req, client.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return *made.Job
}

// became waits until a job is in a state.
func (s *server) became(id hostler.JobID, state hostler.State) (j hostler.Job) {
	s.t.Helper()
	s.await(fmt.Sprintf("job %v to be %s", id, state), func() bool {
		j = s.job(id.String())
		return j.State == state
	})
	return j
}

// prints waits until a job has printed a text.
func (s *server) prints(id hostler.JobID, text string) {
	s.t.Helper()
	s.await(text+" in the job's output", func() bool { return strings.Contains(s.must("job", "log", id.String()), text) })
}

// A request contains a host with its login: commands run there, a secret of it that
// the host prints is redacted, and nothing of it is left when the job has ended.
func TestAdHocHost(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t, sshtest.Options{})
	eachStore(t, func(t *testing.T, s *server) {
		const canary = "canary-inline-71d0"
		leak := filepath.Join(t.TempDir(), "leak")
		if err := os.WriteFile(leak, []byte(canary), 0o600); err != nil {
			t.Fatal(err)
		}
		job := s.request(s.onHost(d, canary, "echo hello", "cat "+leak+"; base64 "+leak))
		job = s.became(job.ID, hostler.StateSucceeded)
		if !strings.Contains(string(job.Result), `"hello\n"`) || !strings.Contains(string(job.Result), "***") {
			t.Errorf("result %s", job.Result)
		}
		if printed, errOut, code := s.run("", "job", "retry", job.ID.String()); code == 0 || !strings.Contains(printed+errOut, "login") {
			t.Errorf("retry: exit code %d, %s%s", code, printed, errOut)
		}
		out := s.must("job", "get", job.ID.String(), "-o", "json") +
			s.must("job", "log", job.ID.String()) + s.must("audit", "list", "-o", "json")
		keyLine := strings.Split(d.PrivateKey, "\n")[2]
		for _, form := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary)), keyLine} {
			if strings.Contains(out, form) {
				t.Errorf("the command line shows %q:\n%s", form, out)
			}
			for path, text := range s.files() {
				if bytes.Contains(text, []byte(form)) {
					t.Errorf("%s holds %q", path, form)
				}
			}
		}
	})
}

// An admin closes the open connection to a host, and then stops the worker: each time
// the running job follows its on_lost setting, and the next one runs.
func TestClosedSessionsAndStoppedWorkers(t *testing.T) {
	d := sshtest.Start(t, sshtest.Options{})
	eachStore(t, func(t *testing.T, s *server) {
		api := s.client()
		var w hostler.Worker
		see := func(what string, holds func() bool) {
			t.Helper()
			s.await(what, func() bool {
				all, err := api.Workers(t.Context())
				if err != nil || len(all) != 1 {
					return false
				}
				w = all[0]
				return holds()
			})
		}
		s.became(s.request(s.onHost(d, "", "true")).ID, hostler.StateSucceeded)
		see("the open connection", func() bool {
			return len(w.Sessions) == 1 && w.Sessions[0].Address == "127.0.0.1" &&
				w.Sessions[0].User == d.User && w.Sessions[0].Succeeded == 1
		})
		if w.MemoryBytes == 0 {
			t.Error("the worker uses no memory")
		}

		first := s.request(s.onHost(d, "", "echo begun; sleep 300"))
		s.prints(first.ID, "begun")
		asked := time.Now()
		closed, err := api.CloseSession(t.Context(), w.ID, "127.0.0.1")
		if err != nil || closed.Interrupted != 1 {
			t.Fatalf("closed %+v, %v", closed, err)
		}
		s.became(first.ID, hostler.StateUnknown)
		if took := time.Since(asked); took > 5*time.Second {
			t.Errorf("the command took %v to arrive", took)
		}
		s.must("job", "resolve", first.ID.String(), "--as", "failed")

		req := s.onHost(d, "", "echo begun; sleep 300")
		req.OnLost = hostler.OnLostFail
		second := s.request(req)
		s.prints(second.ID, "begun")
		stopped, err := api.StopWorker(t.Context(), w.ID)
		if err != nil || stopped.Interrupted != 1 {
			t.Fatalf("stopped %+v, %v", stopped, err)
		}
		if j := s.job(second.ID.String()); j.State != hostler.StateFailed || j.Error == nil || j.Error.Kind != hostler.ErrKindWorkerLost {
			t.Errorf("its job is %s: %+v", j.State, j.Error)
		}
		see("the fresh worker", func() bool { return w.ID != stopped.Worker.ID && w.State == "idle" })
		s.became(s.request(s.onHost(d, "", "true")).ID, hostler.StateSucceeded)
	})
}
