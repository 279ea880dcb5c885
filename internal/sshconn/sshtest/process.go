package sshtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// eventuallyLimit is how long Eventually polls. It is long, as machines are slow.
const eventuallyLimit = time.Minute

// Eventually polls until cond holds, and stops the test if it never does.
func Eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	deadline := time.Now().Add(eventuallyLimit)
	for !cond() {
		if time.Now().After(deadline) {
			tb.Fatalf("%s: not within %v", what, eventuallyLimit)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// PIDFile is the path to which a command on the server writes its process id:
//
//	"echo $$ >" + path + "; exec sleep 300"
type PIDFile string

// NewPIDFile returns a path in a folder of the test.
func NewPIDFile(tb testing.TB) PIDFile {
	return PIDFile(filepath.Join(tb.TempDir(), "pid"))
}

// PID waits for the process id. The test's end kills the process.
func (f PIDFile) PID(tb testing.TB) int {
	tb.Helper()
	var pid int
	Eventually(tb, "pid in "+string(f), func() bool {
		b, err := os.ReadFile(string(f))
		if err != nil || !strings.HasSuffix(string(b), "\n") {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil
	})
	tb.Cleanup(func() {
		if Running(pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return pid
}

// Running reports whether a process exists and is not a zombie.
func Running(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return len(fields) > 0 && fields[0] != "Z" && fields[0] != "X"
}
