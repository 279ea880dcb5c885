package cli

import (
	"context"
	"io"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/cli/term"
)

// TestInterruptEndsReadsOfStandardInput covers each way of reading it.
func TestInterruptEndsReadsOfStandardInput(t *testing.T) {
	for _, args := range [][]string{
		{"asset", "import", "-"},
		{"credential", "add", "ops", "--kind", "password", "--stdin"},
		{"webhook", "create", "chat", "--url-file", "-"},
		{"webhook", "create", "chat", "http://192.0.2.1/", "--headers-file", "-"},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		r, w := io.Pipe() // blocks until the end of the test
		a, out, errs := newApp(hostler.LangEN)
		a.in = term.NewInput(interruptingReader{r, interrupt}, ctx.Done())
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

// interruptingReader interrupts the command when it is read.
type interruptingReader struct {
	io.Reader
	interrupt func()
}

func (r interruptingReader) Read(p []byte) (int, error) {
	r.interrupt()
	return r.Reader.Read(p)
}
