package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// mountSmall mounts a file system of 96 MiB for a data folder. kind is tmpfs, or ext4 for
// one in a file, which becomes read-only at its first error.
func mountSmall(t *testing.T, kind string) (dir, image string) {
	t.Helper()
	dir = t.TempDir()
	if os.Getuid() != 0 {
		t.Skip("not checked: only root can mount a file system; run the tests as root")
	}
	switch kind {
	case "tmpfs":
		if err := unix.Mount("tmpfs", dir, kind, 0, "size=96m"); err != nil {
			t.Skipf("not checked: mount a tmpfs: %v; run the tests where root may mount", err)
		}
	case "ext4":
		image = filepath.Join(t.TempDir(), "disk")
		for _, cmd := range [][]string{
			{"truncate", "-s", "96M", image},
			{"mkfs.ext4", "-q", "-F", image},
			{"mount", "-o", "loop,errors=remount-ro", image, dir},
		} {
			if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil { //nolint:gosec // fixed commands
				t.Skipf("not checked: %v: %v: %s; it takes e2fsprogs and loop devices", cmd, err, out)
			}
		}
		t.Cleanup(func() {
			if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil { //nolint:gosec // our own folder
				t.Errorf("umount: %v: %s", err, out)
			}
		})
		return dir, image
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir, ""
}

// awaitReady waits until /readyz answers so: it looks at the store once a second.
func (r *rig) awaitReady(status int, text string) {
	r.t.Helper()
	r.until(fmt.Sprintf("/readyz to answer %d with %q", status, text), func() bool {
		res, err := http.Get("http://" + r.addr + "/readyz") //nolint:noctx // a test
		if err != nil {
			return false
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		return err == nil && res.StatusCode == status && strings.Contains(string(body), text)
	})
}

// local creates a job that runs a script of the shell.
func (r *rig) local(script string) (hostler.JobID, error) {
	args, err := json.Marshal(map[string]any{"argv": []string{"sh", "-c", script}})
	if err != nil {
		return 0, err
	}
	made, err := r.client.CreateJobs(r.t.Context(), hostler.JobRequest{Action: "local_command", Args: args}, client.CreateOptions{})
	if err != nil {
		return 0, err
	}
	return made.Jobs[0], nil
}

// post asks for a job once, without the client's patience, and returns the answer.
func (r *rig) post() string {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.addr+"/api/v1/jobs",
		strings.NewReader(`{"action":"local_command","args":{"argv":["true"]}}`))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+r.key())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return fmt.Sprint(res.StatusCode, " ", string(body))
}

// mustEnd waits for the end of jobs that succeed and print a line.
func (r *rig) mustEnd(line string, ids ...hostler.JobID) {
	r.t.Helper()
	for _, id := range ids {
		var j hostler.Job
		r.until("the end of "+id.String(), func() (ended bool) {
			var err error
			j, err = r.client.Job(r.t.Context(), id)
			return err == nil && j.State.Terminal()
		})
		log, err := r.client.Log(r.t.Context(), id, client.LogQuery{Tail: 1})
		if err != nil {
			r.t.Fatal(err)
		}
		if lines := log.Items; j.State != hostler.StateSucceeded || len(lines) != 1 || !strings.Contains(lines[0].Text, line) {
			r.t.Errorf("job %v is %s %+v and its output ends with %v, want %q", id, j.State, j.Error, lines, line)
		}
	}
}

// fill writes a file until the disk is full.
func fill(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			return err
		}
	}
	return nil
}

// TestFullDisk fills the disk of the data folder while a job runs. The server then says so,
// and refuses new jobs, whichever of its files finds out; what runs ends with its whole
// output, in the space that was reserved for that. Once there is space again it goes on
// by itself.
func TestFullDisk(t *testing.T) {
	dir, _ := mountSmall(t, "tmpfs")
	r := newRig(t, "", "HOSTLER_DATA="+filepath.Join(dir, "data"))
	flag := filepath.Join(t.TempDir(), "flag")
	running, err := r.local(fmt.Sprintf("until test -e %s; do sleep 0.1; done; seq 20000; echo done", flag))
	if err != nil {
		t.Fatal(err)
	}
	r.until("the job to run", func() bool {
		j, err := r.client.Job(t.Context(), running)
		return err == nil && j.State == hostler.StateRunning
	})
	r.awaitReady(http.StatusOK, "ok")
	for round := range 2 {
		if err := fill(filepath.Join(dir, "fill")); err != nil {
			t.Fatal(err)
		}
		var accepted []hostler.JobID
		r.until("a job to be refused", func() bool {
			id, err := r.local("echo done")
			if err == nil {
				accepted = append(accepted, id)
				return false
			}
			if code := hostler.CodeOf(err); code != hostler.CodeDiskFull {
				t.Fatalf("refused with %s: %v", code, err)
			}
			return true
		})
		r.awaitReady(http.StatusServiceUnavailable, "full")
		if round == 0 {
			if err := os.WriteFile(flag, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			r.mustEnd("done", running)
		}
		r.mustEnd("done", accepted...)
		if _, err := r.local("true"); hostler.CodeOf(err) != hostler.CodeDiskFull {
			t.Errorf("a job on a full disk: %v", err)
		}
		if err := os.Remove(filepath.Join(dir, "fill")); err != nil {
			t.Fatal(err)
		}
		r.awaitReady(http.StatusOK, "ok")
		id, err := r.local("echo done")
		if err != nil {
			t.Fatalf("a job once there is space: %v", err)
		}
		r.mustEnd("done", id)
	}
}

// TestReadOnlyDisk makes the disk of the data folder read-only while a job runs, as Linux
// does after an error of the file system. The server says so and refuses new jobs; once
// the file system is repaired, the next server has all that was acknowledged.
func TestReadOnlyDisk(t *testing.T) {
	dir, image := mountSmall(t, "ext4")
	r := newRig(t, "", "HOSTLER_DATA="+filepath.Join(dir, "data"))
	ended, err := r.local("echo done")
	if err != nil {
		t.Fatal(err)
	}
	r.mustEnd("done", ended)
	waiting, err := r.client.CreateJobs(t.Context(), hostler.JobRequest{
		Action: "local_command", Args: json.RawMessage(`{"argv":["echo","done"]}`), Delay: hostler.Duration(time.Hour),
	}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	device, err := exec.Command("findmnt", "-n", "-o", "SOURCE", dir).Output() //nolint:gosec // our own folder
	if err != nil {
		t.Fatal(err)
	}
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(strings.TrimSpace(string(device))), "trigger_fs_error")
	if err := os.WriteFile(trigger, []byte("1"), 0); err != nil {
		t.Skipf("not checked: %v; it takes a kernel that can make file systems fail", err)
	}
	r.until("a job to be refused", func() bool { return strings.Contains(r.post(), "read-only") })
	r.awaitReady(http.StatusServiceUnavailable, "read-only")
	for range 20 {
		if body := r.post(); !strings.Contains(body, "read-only") {
			t.Fatalf("a job on a read-only disk: %s", body)
		}
	}
	if j, err := r.client.Job(t.Context(), ended); err != nil || j.State != hostler.StateSucceeded {
		t.Errorf("an ended job on a read-only disk: %s, %v", j.State, err)
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		t.Logf("the server ended with %v", err)
	}
	for _, cmd := range [][]string{{"umount", dir}, {"e2fsck", "-fy", image}, {"mount", "-o", "loop", image, dir}} {
		out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput() //nolint:gosec // fixed commands
		if err != nil && cmd[0] != "e2fsck" {                         // which fails when it repaired something
			t.Fatalf("%v: %v: %s", cmd, err, out)
		}
	}
	r.start()
	r.mustEnd("done", ended)
	if j, err := r.client.Job(t.Context(), waiting.Jobs[0]); err != nil || j.State != hostler.StateScheduled {
		t.Errorf("the delayed job after the repair: %s, %v", j.State, err)
	}
	id, err := r.local("echo done")
	if err != nil {
		t.Fatal(err)
	}
	r.mustEnd("done", id)
}
