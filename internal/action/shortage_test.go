package action_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// TestShortageIsNotTheHosts is a regression test: a server without free file descriptors
// reported its hosts as unreachable.
func TestShortageIsNotTheHosts(t *testing.T) {
	socket := func(no syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", no)}
	}
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"descriptors of the process": {socket(syscall.EMFILE), true},
		"descriptors of the machine": {fmt.Errorf("connect: %w", socket(syscall.ENFILE)), true},
		"in the resolver":            {&net.DNSError{Err: "dial udp 192.0.2.1:53: socket: too many open files"}, true},
		"no such name":               {&net.DNSError{Err: "no such host", IsNotFound: true}, false},
		"the host refuses":           {socket(syscall.ECONNREFUSED), false},
		"no route":                   {socket(syscall.EHOSTUNREACH), false},
		"any other":                  {errors.New("too many open files"), false},
	} {
		f := action.ShortageFault(tt.err)
		if (f != nil) != tt.want || f != nil && (f.Kind != hostler.ErrKindShortage || !errors.Is(f, tt.err)) {
			t.Errorf("%s: %v", name, f)
		}
	}
}
