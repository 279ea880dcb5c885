package ssh_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
	"hostler.dev/hostler/internal/action/ssh"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

// tree makes a folder with files, a file that is left out, and a link out of it.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/a/-b c", 0o755), os.Symlink("/etc/passwd", dir+"/a/link"), os.Symlink("/etc", dir+"/a/etc")); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"/a/-b c/x": "xx", "/a/-y": "y", "/a/z.tmp": "z", "/a/文": "文"} {
		mustWrite(t, dir+name, []byte(content), 0o644)
	}
	return dir
}

func unzip(t *testing.T, b []byte) map[string]string {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f.Name, "/") {
			out[f.Name] = string(content)
		}
	}
	return out
}

func untar(t *testing.T, b []byte) (files map[string]string, links []string) {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for r := tar.NewReader(gz); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, links
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			files[h.Name] = string(content)
		case tar.TypeSymlink:
			links = append(links, h.Name)
		}
	}
}

func TestArchive(t *testing.T) {
	e, s, dir := newEnv(t, ssh.Options{}), startServer(t, sshtest.Options{}), tree(t)
	base := strings.TrimPrefix(dir, "/") + "/a/"
	want := map[string]string{base + "-b c/x": "xx", base + "-y": "y", base + "文": "文"}
	a := e.run(t.Context(), "archive", actiontest.New(s.Asset(), m{"paths": []string{dir + "/a"}, "exclude": []string{"*.tmp"}, "name": "a.tgz"}))
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	files, links := untar(t, a.Artefact(t, "a.tgz"))
	if diff := cmp.Diff(want, files); diff != "" || len(links) != 2 {
		t.Errorf("links %v, files (-want +got):\n%s", links, diff)
	}
	a = e.run(t.Context(), "archive", actiontest.New(s.Asset(), m{"paths": []string{dir + "/a"}, "exclude": []string{"*.tmp"}, "format": "zip"}))
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	got := a.Value.(ssh.Archived)
	if diff := cmp.Diff(want, unzip(t, a.Artefact(t, got.Name))); diff != "" || got.Skipped != 2 {
		t.Errorf("%+v, files (-want +got):\n%s", got, diff)
	}
}

func TestArchiveFailures(t *testing.T) {
	e, s, dir := newEnv(t, ssh.Options{}), startServer(t, sshtest.Options{}), tree(t)
	if err := os.Link(dir+"/a/-y", dir+"/a/y2"); err != nil {
		t.Fatal(err)
	}
	run := func(args m, change ...func(*actiontest.Attempt)) *actiontest.Attempt {
		a := actiontest.New(s.Asset(), args)
		for _, c := range change {
			c(a)
		}
		return e.run(t.Context(), "archive", a)
	}
	run(m{"paths": []string{dir + "/absent"}}).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	run(m{"paths": []string{dir}, "format": "zip"}).MustEnd(t, hostler.OutcomeFailed, ssh.KindFile) // a hard link
	full := func(a *actiontest.Attempt) { a.StoreError = hostler.Errorf(hostler.CodeDiskFull, "full", "已满") }
	for _, format := range []string{"tar", "zip"} {
		run(m{"paths": []string{"/etc/hosts"}, "format": format}, full).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindArtefact)
	}
	// A store that refuses an endless archive ends the program too.
	ctx, cancel := cancellable(t)
	a := actiontest.New(s.Asset(), m{"paths": []string{"/usr"}, "format": "tar"})
	a.Call.Artefacts = refusing{a}
	e.run(ctx, "archive", a).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindArtefact)
	// Cancelled in the middle.
	a = actiontest.New(s.Asset(), m{"paths": []string{"/usr"}, "format": "zip"})
	a.Call.Artefacts = cancelling{a, func() { cancel(action.ErrCancelled) }}
	e.run(ctx, "archive", a).MustEnd(t, hostler.OutcomeCancelled, hostler.ErrKindCancelled)
}

// refusing is a store whose limit is reached early.
type refusing struct{ action.Artefacts }

func (refusing) Store(_ context.Context, _ hostler.ArtefactInput, r io.Reader) (hostler.Artefact, error) {
	_, _ = io.CopyN(io.Discard, r, 1<<16)
	return hostler.Artefact{}, hostler.Errorf(hostler.CodeTooLarge, "too large", "过大")
}

// cancelling is a store that cancels the job once it has got something.
type cancelling struct {
	action.Artefacts
	cancel func()
}

func (s cancelling) Store(ctx context.Context, in hostler.ArtefactInput, r io.Reader) (hostler.Artefact, error) {
	first := readerFunc(func([]byte) (int, error) { s.cancel(); return 0, io.EOF })
	return s.Artefacts.Store(ctx, in, io.MultiReader(io.LimitReader(r, 1<<16), first, r))
}

func TestZipRefusesPathsOutside(t *testing.T) {
	for _, name := range []string{"../x", "/etc/x", "a/../../x"} {
		var b bytes.Buffer
		gz := gzip.NewWriter(&b)
		w := tar.NewWriter(gz)
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg}), w.Close(), gz.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(ssh.TarToZip(&b)); err == nil {
			t.Errorf("%s was packed", name)
		}
	}
	if _, err := io.ReadAll(ssh.TarToZip(strings.NewReader("garbage"))); err == nil {
		t.Error("garbage was packed")
	}
}

// TestZipKeepsToItsDirectory shows that a host cannot fill the memory with names of files,
// which a zip keeps to its end.
func TestZipKeepsToItsDirectory(t *testing.T) {
	pr, pw := io.Pipe()
	defer func() { _ = pr.Close() }()
	go func() {
		gz := gzip.NewWriter(pw)
		w := tar.NewWriter(gz)
		long := strings.Repeat("n", 60_000)
		var err error
		for i := 0; i < 1000 && err == nil; i++ {
			err = w.WriteHeader(&tar.Header{Name: fmt.Sprint(i, long), Typeflag: tar.TypeReg})
		}
		pw.CloseWithError(errors.Join(err, w.Close(), gz.Close()))
	}()
	n, err := io.Copy(io.Discard, ssh.TarToZip(pr))
	if err == nil || !strings.Contains(err.Error(), "more files than a zip") {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// cleanTree makes files of ages in days; links, and a folder.
func cleanTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/sub/-d e", 0o755), os.MkdirAll(dir+"/outside", 0o755), os.MkdirAll(dir+"/in", 0o755)); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for name, days := range map[string]int{
		"in/new.log": 0, "in/-old 1.log": 40, "in/old\\2.log": 50, "in/old.txt": 60, "in/line\nbreak.log": 70, "outside/old.log": 90,
	} {
		mustWrite(t, dir+"/"+name, bytes.Repeat([]byte("x"), days), 0o644)
		at := now.Add(-time.Duration(days) * 24 * time.Hour)
		if err := os.Chtimes(dir+"/"+name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Rename(dir+"/sub", dir+"/in/sub"), os.Symlink(dir+"/outside", dir+"/in/linked"),
		os.Symlink(dir+"/outside/old.log", dir+"/in/link.log")); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, dir+"/in/sub/-d e/old.log", []byte("x"), 0o644)
	at := now.Add(-45 * 24 * time.Hour)
	if err := os.Chtimes(dir+"/in/sub/-d e/old.log", at, at); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFileCleanup(t *testing.T) {
	e, s := newEnv(t, ssh.Options{}), startServer(t, sshtest.Options{})
	for name, c := range map[string]struct {
		args m
		gone []string
	}{
		"age":       {m{"glob": "*.log", "older_than": "30d"}, []string{"-old 1.log", `old\2.log`}},
		"recursive": {m{"glob": "*.log", "older_than": "30d", "recursive": true}, []string{"-old 1.log", `old\2.log`, "sub/-d e/old.log"}},
		"size":      {m{"larger_than": 55}, []string{"old.txt"}},
		"newest":    {m{"glob": "*.log", "keep_newest": 2, "recursive": true}, []string{`old\2.log`, "sub/-d e/old.log"}},
		"both":      {m{"keep_newest": 1, "older_than": "45d"}, []string{"old.txt", `old\2.log`}},
		"none":      {m{"older_than": "300d", "glob": "x"}, nil},
	} {
		for _, dry := range []bool{true, false} {
			dir := cleanTree(t)
			c.args["path"], c.args["dry_run"] = dir+"/in", dry
			a := e.run(t.Context(), "file_cleanup", actiontest.New(s.Asset(), c.args))
			a.MustEnd(t, hostler.OutcomeSucceeded, "")
			got := a.Value.(ssh.Cleaned)
			var listed []string
			for _, f := range got.Files {
				listed = append(listed, f.Path)
				if _, err := os.Lstat(dir + "/in/" + f.Path); (err == nil) != dry {
					t.Errorf("%s, dry run %v: %s: %v", name, dry, f.Path, err)
				}
			}
			slices.Sort(listed)
			slices.Sort(c.gone)
			if diff := cmp.Diff(c.gone, listed); diff != "" || got.Deleted != len(c.gone) {
				t.Errorf("%s: %+v (-want +got):\n%s", name, got, diff)
			}
			for _, kept := range []string{"outside/old.log", "in/link.log", "in/linked", "in/new.log", "in/line\nbreak.log"} {
				if _, err := os.Lstat(dir + "/" + kept); err != nil {
					t.Errorf("%s: %q is gone", name, kept)
				}
			}
		}
	}
}

// TestFileCleanupThroughLinks: a folder that is a link, or becomes one after the list was
// made, is not entered.
func TestFileCleanupThroughLinks(t *testing.T) {
	e, s, dir := newEnv(t, ssh.Options{}), startServer(t, sshtest.Options{}), cleanTree(t)
	a := e.run(t.Context(), "file_cleanup", actiontest.New(s.Asset(), m{"path": dir + "/in/linked", "older_than": "1s"}))
	a.MustEnd(t, hostler.OutcomeFailed, ssh.KindFile)
	if !strings.Contains(a.Error.Text.EN, "symbolic link") {
		t.Error(a)
	}
	for _, step := range []string{"D\nFlinked/old.log\n", "Dlinked\nFold.log\n", "D../outside\nFold.log\n", "D\nF../outside/old.log\n", "D\nFlink.log\n"} {
		a := e.run(t.Context(), "ssh_script", actiontest.New(s.Asset(), m{"script": ssh.DeleteScript, "args": []string{dir + "/in"}, "stdin": step}))
		if _, err := os.Lstat(dir + "/in/link.log"); err != nil {
			t.Errorf("%q deleted a link: %s", step, a)
		}
		if _, err := os.Stat(dir + "/outside/old.log"); err != nil {
			t.Fatalf("%q deleted a file outside: %s", step, a)
		}
	}
}

func TestFileCleanupArgs(t *testing.T) {
	r, err := action.NewRegistry(newEnv(t, ssh.Options{}).family.Actions()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "//", "/.", "/etc", "/usr", "/home", "/var/", "/var/../etc", "relative", "", "/a\nb"} {
		raw, _ := json.Marshal(m{"path": path, "older_than": "1d"})
		if err := r.Validate("file_cleanup", raw); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, raw := range []string{`{"path":"/data"}`, `{"path":"/data","glob":"*"}`, `{"path":"/data","older_than":"x"}`, `{"path":"/data","keep_newest":-1}`, `{"path":"/data","keep_newest":1,"glob":"a/b"}`} {
		if err := r.Validate("file_cleanup", json.RawMessage(raw)); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestFileCleanupOfAHostileHost(t *testing.T) {
	for _, first := range []string{"", "1700000000\n"} {
		chunk := []byte(first + strings.Repeat("x", 32<<10))
		if n := ssh.ListedBytes(100, chunk[:len(first)+32<<10]); n > 256<<10 {
			t.Errorf("%d bytes of a list without an end are in memory", n)
		}
	}
	record := []byte("1 1 " + strings.Repeat("x", 60_000) + "\x00")
	if n, more := ssh.ListedPaths(1000, record); n > 32<<20 || !more {
		t.Errorf("%d bytes of paths are in memory; others were left out: %t", n, more)
	}
}
