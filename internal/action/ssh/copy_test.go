package ssh_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
	"hostler.dev/hostler/internal/action/ssh"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

// big is more than is sent again when an upload is resumed.
var big = bytes.Repeat([]byte("0123456789abcdef"), 1<<19)

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustWrite(t *testing.T, path string, b []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, b, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// leftovers lists what uploads have left in a folder.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(dir + "/.hostler*")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// upload is an attempt that uploads content as an artefact.
func upload(asset *hostler.LeaseAsset, content []byte, args m) *actiontest.Attempt {
	a := actiontest.New(asset, m{})
	args["direction"], args["artefact"] = "upload", a.Give("x", "", content).ID.String()
	raw, err := json.Marshal(args)
	if err != nil {
		panic(err)
	}
	a.Call.Args = raw
	return a
}

func TestUpload(t *testing.T) {
	e, s, dir := newEnv(t, ssh.Options{}), startServer(t, sshtest.Options{}), t.TempDir()
	path := dir + "/a 'b\".conf"
	copied := func(a *actiontest.Attempt) ssh.Copied {
		t.Helper()
		e.run(t.Context(), "file_copy", a).MustEnd(t, hostler.OutcomeSucceeded, "")
		return a.Value.(ssh.Copied)
	}
	got := copied(upload(s.Asset(), big, m{"path": path, "mode": "0640"}))
	if !bytes.Equal(mustRead(t, path), big) || !got.Changed || got.SHA256 != sumOf(big) || got.Bytes != int64(len(big)) {
		t.Errorf("got %+v", got)
	}
	if info, _ := os.Stat(path); info.Mode() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	if got := copied(upload(s.Asset(), big, m{"path": path})); got.Changed {
		t.Errorf("an equal file was sent again: %+v", got)
	}
	got = copied(upload(s.Asset(), []byte("new"), m{"path": path}))
	if info, _ := os.Stat(path); string(mustRead(t, path)) != "new" || info.Mode() != 0o640 || !got.Changed {
		t.Errorf("replaced: %+v, %v", got, info.Mode())
	}
	got = copied(actiontest.New(s.Asset(), m{"direction": "upload", "path": path, "content": ""}))
	if len(mustRead(t, path)) != 0 || !got.Changed {
		t.Errorf("an empty text: %+v", got)
	}
	if l := leftovers(t, dir); len(l) != 0 {
		t.Errorf("left: %v", l)
	}
}

// TestUploadResumes continues what an attempt left that was killed, and starts again where
// that is not its own, or wrong.
func TestUploadResumes(t *testing.T) {
	e, s := newEnv(t, ssh.Options{}), startServer(t, sshtest.Options{})
	secret := filepath.Join(t.TempDir(), "secret")
	mustWrite(t, secret, []byte("secret"), 0o600)
	for name, c := range map[string]struct {
		leave   func(part string)
		resumed bool
	}{
		"half":        {func(p string) { mustWrite(t, p, big[:6<<20], 0o600) }, true},
		"wrong":       {func(p string) { mustWrite(t, p, make([]byte, 6<<20), 0o600) }, false},
		"longer":      {func(p string) { mustWrite(t, p, make([]byte, 20<<20), 0o600) }, false},
		"unreadable":  {func(p string) { mustWrite(t, p, []byte("x"), 0o444) }, false},
		"link":        {func(p string) { _ = os.Symlink(secret, p) }, false},
		"broken link": {func(p string) { _ = os.Symlink("/nonexistent", p) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.leave(dir + "/.hostler-" + sumOf(big)[:16])
			a := e.run(t.Context(), "file_copy", upload(s.Asset(), big, m{"path": dir + "/f"}))
			a.MustEnd(t, hostler.OutcomeSucceeded, "")
			if got := a.Value.(ssh.Copied); !bytes.Equal(mustRead(t, dir+"/f"), big) || got.Resumed > 0 != c.resumed {
				t.Errorf("got %+v", got)
			}
			if l := leftovers(t, dir); len(l) != 0 {
				t.Errorf("left: %v", l)
			}
		})
	}
	if string(mustRead(t, secret)) != "secret" {
		t.Error("an upload was written through a link")
	}
}

// TestUploadTakesNoFileOfOthers plants what looks like an unfinished upload of root: a file of
// another user, and in a folder that all may write to, a hard link to a file of root.
func TestUploadTakesNoFileOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not checked: only root can give a file away; run the tests as root")
	}
	e, s := newEnv(t, ssh.Options{}), startServer(t, sshtest.Options{})
	for name, shared := range map[string]bool{"another's file": false, "hard link": true} {
		dir := t.TempDir()
		part, victim := dir+"/.hostler-"+sumOf(big)[:16], dir+"/victim"
		mustWrite(t, victim, big[:6<<20], 0o600)
		err := os.Link(victim, part)
		if shared {
			err = errors.Join(err, os.Chmod(dir, 0o777)) //nolint:gosec // the fault that is looked for
		} else {
			err = errors.Join(err, os.Chown(victim, 65534, 65534))
		}
		if err != nil {
			t.Fatal(err)
		}
		a := e.run(t.Context(), "file_copy", upload(s.Asset(), big, m{"path": dir + "/f"}))
		a.MustEnd(t, hostler.OutcomeSucceeded, "")
		old, err1 := os.Stat(victim)
		made, err2 := os.Stat(dir + "/f")
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if os.SameFile(old, made) || old.Size() != 6<<20 || a.Value.(ssh.Copied).Resumed != 0 {
			t.Errorf("%s was used: %s", name, a)
		}
		if l := leftovers(t, dir); len(l) != 0 {
			t.Errorf("%s: left: %v", name, l)
		}
	}
}

// TestUploadReplacesALink: a link in place of the target is replaced, and what it points to
// stays.
func TestUploadReplacesALink(t *testing.T) {
	e, s, dir := newEnv(t, ssh.Options{}), startServer(t, sshtest.Options{}), t.TempDir()
	mustWrite(t, dir+"/other", []byte("other"), 0o600)
	if err := os.Symlink(dir+"/other", dir+"/f"); err != nil {
		t.Fatal(err)
	}
	e.run(t.Context(), "file_copy", upload(s.Asset(), []byte("new"), m{"path": dir + "/f"})).MustEnd(t, hostler.OutcomeSucceeded, "")
	if string(mustRead(t, dir+"/other")) != "other" || string(mustRead(t, dir+"/f")) != "new" {
		t.Error("the link was followed")
	}
}

func TestUploadFailures(t *testing.T) {
	e, s, dir := newEnv(t, ssh.Options{}), startServer(t, sshtest.Options{}), t.TempDir()
	for name, c := range map[string]struct {
		path, text string
	}{
		"no folder": {dir + "/absent/f", "no such file"},
		"a folder":  {dir, "is a folder"},
		"full disk": {"/dev/full/f", "failed"},
	} {
		a := e.run(t.Context(), "file_copy", upload(s.Asset(), []byte("x"), m{"path": c.path}))
		a.MustEnd(t, hostler.OutcomeFailed, ssh.KindFile)
		if !strings.Contains(a.Error.Text.EN, c.text) {
			t.Errorf("%s: %s", name, a)
		}
	}
	a := upload(s.Asset(), []byte("x"), m{"path": dir + "/f"})
	a.Call.Args = json.RawMessage(strings.Replace(string(a.Call.Args), "art_00000000001", "art_00000000009", 1))
	e.run(t.Context(), "file_copy", a).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindArtefact)
	noSFTP := startServer(t, sshtest.Options{Config: []string{"Match all", "ForceCommand exit 3"}})
	a = e.run(t.Context(), "file_copy", upload(noSFTP.Asset(), []byte("x"), m{"path": dir + "/f"}))
	if a.Outcome != hostler.OutcomeFailed {
		t.Errorf("a host without SFTP: %s", a)
	}
}

// TestUploadIsStopped kills the server and cancels the job in the middle of an upload: the
// target is as it was, and the next attempt goes on.
func TestUploadIsStopped(t *testing.T) {
	e, s, dir := newEnv(t, ssh.Options{}), startServer(t, sshtest.Options{}), t.TempDir()
	mustWrite(t, dir+"/f", []byte("old"), 0o600)
	part := dir + "/.hostler-" + sumOf(big)[:16]
	for name, stop := range map[string]func(cancel func(error)){
		"cancelled": func(cancel func(error)) { cancel(action.ErrCancelled) },
		"lost":      func(func(error)) { s.DropConnections() },
	} {
		ctx, cancel := cancellable(t)
		a := upload(s.Asset(), big, m{"path": dir + "/f"})
		a.Call.Artefacts = stalling{a, func() { stop(cancel) }}
		e.run(ctx, "file_copy", a)
		if name == "cancelled" && a.Outcome != hostler.OutcomeCancelled || name == "lost" && a.Kind() != hostler.ErrKindConnLost {
			t.Errorf("%s: %s", name, a)
		}
		if _, err := os.Stat(part); err != nil || string(mustRead(t, dir+"/f")) != "old" {
			t.Errorf("%s: %v", name, err)
		}
	}
	a := e.run(t.Context(), "file_copy", upload(s.Asset(), big, m{"path": dir + "/f"}))
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
}

func TestDownload(t *testing.T) {
	e, s, dir := newEnv(t, ssh.Options{}), startServer(t, sshtest.Options{}), t.TempDir()
	mustWrite(t, dir+"/-f 1", big, 0o600)
	a := e.run(t.Context(), "file_copy", actiontest.New(s.Asset(), m{"direction": "download", "path": dir + "/-f 1"}))
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	if got := a.Value.(ssh.Copied); !bytes.Equal(a.Artefact(t, "-f 1"), big) || got.SHA256 != sumOf(big) || got.Artefact == 0 {
		t.Errorf("got %+v", got)
	}
	for _, path := range []string{"/dev/zero", dir, dir + "/absent", "/proc/self/mem"} {
		a := e.run(t.Context(), "file_copy", actiontest.New(s.Asset(), m{"direction": "download", "path": path}))
		if a.Outcome != hostler.OutcomeFailed {
			t.Errorf("%s: %s", path, a)
		}
	}
	a = actiontest.New(s.Asset(), m{"direction": "download", "path": dir + "/-f 1"})
	a.StoreError = hostler.Errorf(hostler.CodeDiskFull, "full", "已满")
	e.run(t.Context(), "file_copy", a).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindArtefact)
	if a.NoRetry {
		t.Error("a full disk is for ever")
	}
}

func TestCopyAsRoot(t *testing.T) {
	asset := sudoer(t, "ALL=(ALL:ALL) ALL")
	e, dir := newEnv(t, ssh.Options{}), t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder
		t.Fatal(err)
	}
	args := func() m {
		return m{"path": dir + "/f", "sudo": true, "sudo_credential": "sudo", "owner": "nobody", "mode": "0400"}
	}
	for _, changed := range []bool{true, false} {
		a := e.run(t.Context(), "file_copy", withSudo(upload(asset, big, args()), sudoPassword))
		a.MustEnd(t, hostler.OutcomeSucceeded, "")
		if got := a.Value.(ssh.Copied); got.Changed != changed {
			t.Errorf("got %+v", got)
		}
	}
	info, err := os.Stat(dir + "/f")
	if err != nil || info.Mode() != 0o400 || !bytes.Equal(mustRead(t, dir+"/f"), big) || info.Sys().(*syscall.Stat_t).Uid == 0 {
		t.Errorf("%v, %v", info, err)
	}
	if l := leftovers(t, dir); len(l) != 0 {
		t.Errorf("left: %v", l)
	}
	a := withSudo(actiontest.New(asset, m{"direction": "download", "path": dir + "/f", "sudo": true, "sudo_credential": "sudo"}), sudoPassword)
	e.run(t.Context(), "file_copy", a).MustEnd(t, hostler.OutcomeSucceeded, "")
	if !bytes.Equal(a.Artefact(t, "f"), big) {
		t.Error("downloaded something else")
	}
	a = withSudo(upload(asset, big, args()), "wrong")
	e.run(t.Context(), "file_copy", a)
	if a.Outcome != hostler.OutcomeFailed {
		t.Errorf("with a wrong password: %s", a)
	}
}

// TestCopyAsRootIntoAFolderOfOthers: who owns the folder cannot lead root to another file.
func TestCopyAsRootIntoAFolderOfOthers(t *testing.T) {
	asset := sudoer(t, "ALL=(ALL:ALL) ALL")
	e, dir := newEnv(t, ssh.Options{}), t.TempDir()
	folder, victim := dir+"/theirs", dir+"/victim"
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.Mkdir(folder, 0o755), os.Chown(folder, 65534, 65534), //nolint:gosec // folders
		os.WriteFile(victim, []byte("victim"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // replaces what root makes in the folder by a link
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			found, _ := filepath.Glob(folder + "/.hostler-*")
			for _, f := range found {
				_ = os.RemoveAll(f)
				_ = os.Symlink(victim, f)
			}
		}
	}()
	args := m{"path": folder + "/f", "sudo": true, "sudo_credential": "sudo", "owner": "nobody"}
	a := e.run(t.Context(), "file_copy", withSudo(upload(asset, big, args), sudoPassword))
	close(stop)
	<-stopped
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	info, err := os.Lstat(victim)
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 || string(mustRead(t, victim)) != "victim" {
		t.Errorf("root changed another file: %v, %v", info, err)
	}
	if !bytes.Equal(mustRead(t, folder+"/f"), big) || len(leftovers(t, dir)) != 0 {
		t.Errorf("uploaded something else, or left %v", leftovers(t, dir))
	}
}

func TestCopyArgs(t *testing.T) {
	r, err := action.NewRegistry(newEnv(t, ssh.Options{}).family.Actions()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{
		`{"direction":"upload","path":"/a"}`, `{"direction":"upload","path":"/a","artefact":"x"}`,
		`{"direction":"upload","path":"a","content":""}`, `{"direction":"upload","path":"/","content":""}`,
		`{"direction":"upload","path":"/a/../b","content":""}`, `{"direction":"upload","path":"/a/","content":""}`,
		`{"direction":"upload","path":"/a\nb","content":""}`, `{"direction":"upload","path":"/a","content":"","mode":"4755"}`,
		`{"direction":"upload","path":"/a","content":"","owner":"x"}`, `{"direction":"upload","path":"/a","content":"","owner":"-x","sudo":true}`,
		`{"direction":"upload","path":"/a","content":"","artefact":"art_00000000001"}`, `{"direction":"upload","path":"/a","content":"","name":"x"}`,
		`{"direction":"download","path":"/a","content":""}`, `{"direction":"download","path":"/a","name":"../x"}`,
		`{"direction":"download","path":"/a","mode":"0600"}`, `{"direction":"move","path":"/a"}`,
	} {
		if err := r.Validate("file_copy", json.RawMessage(raw)); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("%s: %v", raw, err)
		}
	}
	for _, raw := range []string{
		`{"direction":"upload","path":"/a","content":{"$secret":"x"}}`, `{"direction":"download","path":"/a b","sudo":true}`,
	} {
		if err := r.Validate("file_copy", json.RawMessage(raw)); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// stalling gives an artefact whose second half comes only after the job was stopped.
type stalling struct {
	action.Artefacts
	stop func()
}

func (s stalling) Open(ctx context.Context, id hostler.ArtefactID) (hostler.Artefact, io.ReadCloser, error) {
	a, r, err := s.Artefacts.Open(ctx, id)
	half := io.LimitReader(r, a.Size/2)
	stop := readerFunc(func([]byte) (int, error) { s.stop(); return 0, io.EOF })
	return a, io.NopCloser(io.MultiReader(half, stop, r)), err
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
