package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hostler.dev/hostler"
)

// LockFolder takes the exclusive lock of a data folder, which only one server may use.
// The operating system releases it when the process exits for any reason.
func LockFolder(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "hostler.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	err = retryLock(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked(dir, f.Name())
		}
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	// The lock file may have been deleted under a live server: this one is bound to the
	// place of the folder.
	var unlock func()
	err = retryLock(func() (err error) {
		unlock, err = lockPlace(dir)
		return err
	})
	if err != nil {
		defer f.Close()
		if errors.Is(err, unix.EADDRINUSE) {
			return nil, errLockedPlace(dir)
		}
		return nil, fmt.Errorf("lock the place of the data folder: %w", err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return func() {
		unlock()
		_ = f.Close()
	}, nil
}

// retryLock retries for a second to take a lock that is held. When a server is killed while
// it starts a program, the child has the locks for another moment, until it executes the
// program.
func retryLock(lock func() error) error {
	for tries := 0; ; tries++ {
		err := lock()
		if held := errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EADDRINUSE); !held || tries == 50 {
			return err
		}
		<-time.After(20 * time.Millisecond)
	}
}

func errLockedPlace(dir string) error {
	return hostler.Errorf(hostler.CodeConflict,
		"another Hostler server still runs on the data folder %s, which was deleted or replaced under it: stop it first",
		"另一个 Hostler 服务仍在使用数据目录 %s（该目录在其运行期间被删除或替换）：请先停止它", dir)
}

func errLocked(dir, file string) error {
	pid := "?"
	if b, err := os.ReadFile(file); err == nil {
		pid = strings.TrimSpace(string(b))
	}
	return hostler.Errorf(hostler.CodeConflict,
		"another Hostler server (pid %s) is using the data folder %s: "+
			"stop it, choose another --data, or use PostgreSQL for several servers",
		"数据目录 %[2]s 正被另一个 Hostler 服务进程（pid %[1]s）使用："+
			"请停止它、改用其他 --data，或使用 PostgreSQL 运行多个服务", pid, dir)
}
