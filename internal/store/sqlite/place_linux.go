package sqlite

import (
	"fmt"
	"net"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockPlace takes a lock that no deletion of files releases: an abstract socket, named
// after the folder above and the name in it. The system frees it when the process exits.
func lockPlace(dir string) (unlock func(), err error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	var above unix.Stat_t
	if err := unix.Stat(filepath.Dir(path), &above); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("@hostler-data-%d-%d-%s", above.Dev, above.Ino, filepath.Base(path))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name[:min(len(name), 100)], Net: "unix"})
	if err != nil {
		return nil, err
	}
	return func() { _ = l.Close() }, nil
}
