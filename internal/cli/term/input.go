package term

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/term"
)

// Input is a standard input whose reads end when the command is interrupted. A
// read of a terminal or of a pipe does not end by itself on Ctrl-C.
type Input struct {
	io.Reader
	done        <-chan struct{}
	interrupted bool
}

// NewInput returns an Input over r. Its reads end once done is closed; nil never
// interrupts.
func NewInput(r io.Reader, done <-chan struct{}) *Input { return &Input{Reader: r, done: done} }

// Interrupted reports whether a read was given up. The command's own error then
// describes the consequence, not the cause.
func (in *Input) Interrupted() bool { return in.interrupted }

// result is the outcome of one read.
type result struct {
	data []byte
	err  error
}

// Read implements [io.Reader].
func (in *Input) Read(p []byte) (int, error) {
	r := in.await(func() result {
		b := make([]byte, len(p)) // an abandoned read must not write into p
		n, err := in.Reader.Read(b)
		return result{b[:n], err}
	})
	return copy(p, r.data), r.err
}

// ReadPassword reads a line of a terminal without echo.
func (in *Input) ReadPassword() (string, error) {
	f, ok := in.Reader.(*os.File)
	if !ok {
		return "", errors.ErrUnsupported
	}
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	r := in.await(func() result {
		b, err := term.ReadPassword(fd)
		return result{b, err}
	})
	if in.interrupted {
		_ = term.Restore(fd, before) // or the shell continues without echo
	}
	return string(r.data), r.err
}

// await runs read and gives it up when the command is interrupted. The abandoned
// read blocks until the process ends.
func (in *Input) await(read func() result) result {
	got := make(chan result, 1)
	go func() { got <- read() }()
	select {
	case r := <-got:
		return r
	case <-in.done:
		in.interrupted = true
		return result{nil, context.Canceled}
	}
}
