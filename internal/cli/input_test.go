package cli

import (
	"context"
	"io"
	"strings"
	"testing"

	"hostler.dev/hostler"
)

// Ctrl-C ends a command that waits for standard input, whatever it reads.
func TestInterruptedInput(t *testing.T) {
	for _, args := range [][]string{
		{"asset", "import", "-"},
		{"credential", "add", "ops", "--kind", "password", "--stdin"},
		{"webhook", "create", "chat", "--url-file", "-"},
		{"webhook", "create", "chat", "http://192.0.2.1/", "--headers-file", "-"},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		r, w := io.Pipe() // which nobody closes
		a, out, errs := newApp(hostler.LangEN)
		a.in = &input{Reader: reading{r, interrupt}, done: ctx.Done()}
		t.Setenv("HOSTLER_CONTEXT_FILE", "/dev/null")
		if code := a.run(ctx, args); code != exitInterrupted {
			t.Errorf("%v: exit code %d", args, code)
		}
		if out.Len() > 0 || errs.String() != "interrupted\n" {
			t.Errorf("%v: stdout %q, stderr %q", args, out, errs)
		}
		_ = w.Close()
	}
}

// reading interrupts when it is read.
type reading struct {
	io.Reader
	interrupt func()
}

func (r reading) Read(p []byte) (int, error) {
	r.interrupt()
	return r.Reader.Read(p)
}

func TestInputReadsAll(t *testing.T) {
	want := strings.Repeat("name,address\n", 1000)
	got, err := io.ReadAll(&input{Reader: strings.NewReader(want)})
	if err != nil || string(got) != want {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
}
