package runlog_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/runlog"
	"hostler.dev/hostler/internal/secret"
)

// Output of a job is redacted and stored in chunks. The output of a short job never becomes a
// chunk: Close returns it, for the job's report.
func ExampleLog() {
	store := func(_ context.Context, c hostler.LogChunk) error {
		fmt.Printf("chunk %d of %d bytes\n", c.Seq, len(c.Lines[0].Text))
		return nil
	}
	start := func() *runlog.Log {
		var l runlog.Log
		l.Init(context.Background(), runlog.Config{
			Sink: store, Redactor: func() runlog.Redactor { return secret.NewRedactor("hunter2") },
		})
		return &l
	}

	short := start()
	_, _ = io.WriteString(short.Stdout(), "password: hunter2\n")
	lines, _ := short.Close(time.Second, true)
	fmt.Printf("%d line: %q\n", len(lines), lines[0].Text)

	long := start()
	_, _ = io.WriteString(long.Stdout(), strings.Repeat("x", 10_000))
	lines, _ = long.Close(time.Second, true)
	fmt.Printf("%d lines\n", len(lines))
	// Output:
	// 1 line: "password: ******\n"
	// chunk 1 of 10000 bytes
	// 0 lines
}
