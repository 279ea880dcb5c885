package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/term"
)

// input is standard input whose reads end with the command: a read of a terminal
// or of a pipe does not end by itself on Ctrl-C.
type input struct {
	io.Reader
	done        <-chan struct{}
	interrupted bool // a read was given up; the command's error says nothing then
}

// read is the outcome of one read of what is behind an input.
type read struct {
	data []byte
	err  error
}

func (in *input) Read(p []byte) (int, error) {
	r := in.await(func() read {
		b := make([]byte, len(p)) // p is the caller's again when the read is given up
		n, err := in.Reader.Read(b)
		return read{b[:n], err}
	})
	return copy(p, r.data), r.err
}

// password reads a line of a terminal without echo.
func (in *input) password() (string, error) {
	f, ok := in.Reader.(*os.File)
	if !ok {
		return "", errors.ErrUnsupported
	}
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	r := in.await(func() read {
		b, err := term.ReadPassword(fd)
		return read{b, err}
	})
	if in.interrupted {
		_ = term.Restore(fd, before) // or the shell would go on without echo
	}
	return string(r.data), r.err
}

// await gives a read up when the command is interrupted. The read itself stays
// behind until the process ends.
func (in *input) await(f func() read) read {
	got := make(chan read, 1)
	go func() { got <- f() }()
	select {
	case r := <-got:
		return r
	case <-in.done:
		in.interrupted = true
		return read{nil, context.Canceled}
	}
}
