package runlog

import (
	"bytes"
	"context"
	"testing"
	"time"

	"hostler.dev/hostler"
)

// TestTailsShareMemory runs many jobs with long output at once. Together they keep little
// more than the bound, each the end of its output, and nothing after their end.
func TestTailsShareMemory(t *testing.T) {
	const jobs, most = 20, 8 << 20
	tails := NewTails(most)
	var last string
	sink := func(_ context.Context, c hostler.LogChunk) error {
		last = c.Lines[len(c.Lines)-1].Text
		return nil
	}
	logs := make([]Log, jobs)
	line := append(bytes.Repeat([]byte("x"), 1023), '\n')
	for i := range logs {
		logs[i].Init(t.Context(), Config{Sink: sink, Limit: 4 << 20, Tails: tails})
		logs[i].mu.Lock()
		logs[i].headFull = true
		logs[i].mu.Unlock()
		for range 8 << 10 {
			_, _ = logs[i].Stdout().Write(line)
		}
	}
	if used, bound := tails.used.Load(), int64(most+jobs*leastTail+2<<20); used > bound {
		t.Errorf("%d bytes are held, want at most %d", used, bound)
	}
	for i := range logs {
		_, _ = logs[i].Stdout().Write([]byte("the end\n"))
		if _, err := logs[i].Close(time.Minute, false); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix([]byte(last), []byte("the end\n")) {
			t.Errorf("job %d ends with %q", i, last[max(0, len(last)-20):])
		}
	}
	if used := tails.used.Load(); used != 0 {
		t.Errorf("%d bytes are held after the end", used)
	}
}
