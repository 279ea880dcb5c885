package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A server whose wall clock steps: the clock of the machine is everybody's, and the
// programs that fake it do not work with Go. So the server is built with another time.Now
// in its own packages, to which signals add an hour or from which they take one. As with a
// clock that is set, timers and monotonic readings go on.
const (
	stepForward = syscall.SIGUSR1
	stepBack    = syscall.SIGUSR2
)

// stepper is the package that replaces time.Now. [time.Time.Add] changes the monotonic
// reading too, the second word of a Time: it gets its own again.
const stepper = `package clockstep

import (
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

var hours atomic.Int64

func init() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range signals {
			if s == syscall.SIGUSR1 {
				hours.Add(1)
			} else {
				hours.Add(-1)
			}
			_, _ = os.Stderr.WriteString("the clock has stepped\n")
		}
	}()
}

func Now() time.Time {
	t := time.Now()
	stepped := t.Add(time.Duration(hours.Load()) * time.Hour)
	(*[2]uint64)(unsafe.Pointer(&stepped))[1] = (*[2]uint64)(unsafe.Pointer(&t))[1]
	return stepped
}
`

// steppable builds the server with the clock that steps, once.
var steppable = sync.OnceValues(func() (string, error) {
	dir := filepath.Dir(binary)
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", err
	}
	module := strings.TrimSpace(string(root))
	overlay := map[string]string{}
	replace := func(path, text string) error {
		copied := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(path, module), "/", "_"))
		overlay[path] = copied
		return os.WriteFile(copied, []byte(text), 0o600)
	}
	err = filepath.WalkDir(filepath.Join(module, "internal"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // our own sources
		if err != nil || !strings.Contains(string(text), "time.Now") {
			return err
		}
		changed := strings.ReplaceAll(string(text), "time.Now", "clockstep.Now")
		changed = strings.Replace(changed, "import (\n", "import (\n\t\"hostler.dev/hostler/internal/clockstep\"\n", 1)
		return replace(path, changed+"\nvar _ time.Duration\n")
	})
	if err != nil {
		return "", err
	}
	if len(overlay) == 0 {
		return "", errors.New("no file of the server reads the clock")
	}
	if err := replace(filepath.Join(module, "internal", "clockstep", "clockstep.go"), stepper); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return "", err
	}
	file, out := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "hostler-steppable")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-overlay", file, "-o", out, "hostler.dev/hostler/cmd/hostler") //nolint:gosec // our own package
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, text)
	}
	return out, nil
})

// newSteppableRig is newRig with a server whose clock steps; see stepForward.
func newSteppableRig(t *testing.T, db string, more ...string) *rig {
	t.Helper()
	path, err := steppable()
	if err != nil {
		t.Fatal(err)
	}
	return newRigOf(t, path, db, more...)
}

// step sets the clock of the server forward or back by an hour.
func (r *rig) step(by syscall.Signal) {
	r.t.Helper()
	steps := func() int {
		log, err := os.ReadFile(filepath.Join(filepath.Dir(r.dir), "server.log"))
		if err != nil {
			r.t.Fatal(err)
		}
		return strings.Count(string(log), "the clock has stepped")
	}
	before := steps()
	if err := r.cmd.Process.Signal(by); err != nil {
		r.t.Fatal(err)
	}
	r.until("the clock to step", func() bool { return steps() > before })
}
