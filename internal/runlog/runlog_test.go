package runlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ref = hostler.LeaseRef{Job: 7, Fence: 3}

// fakeSink stores chunks as a store does: by number, each once.
type fakeSink struct {
	mu     sync.Mutex
	chunks []hostler.LogChunk
	calls  int
	// fail returns the error of the nth call (from 1); nil never fails.
	fail func(n int) error
}

func (s *fakeSink) put(ctx context.Context, c hostler.LogChunk) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.fail != nil {
		if err := s.fail(s.calls); err != nil {
			return err
		}
	}
	if c.Seq <= len(s.chunks) {
		return nil // stored before; the answer was lost
	}
	if c.Seq != len(s.chunks)+1 {
		return fmt.Errorf("chunk %d after %d", c.Seq, len(s.chunks))
	}
	s.chunks = append(s.chunks, c)
	return nil
}

func (s *fakeSink) lines() (all []hostler.LogLine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.chunks {
		all = append(all, c.Lines...)
	}
	return all
}

func text(lines []hostler.LogLine, stream string) string {
	var b strings.Builder
	for _, l := range lines {
		if stream == "" || l.Stream == stream {
			b.WriteString(l.Text)
		}
	}
	return b.String()
}

func start(t *testing.T, cfg Config) *Log {
	t.Helper()
	l := new(Log)
	cfg.Ref, cfg.Attempt = ref, 1
	l.Init(t.Context(), cfg)
	return l
}

func mustClose(t *testing.T, l *Log, inline bool) []hostler.LogLine {
	t.Helper()
	lines, err := l.Close(time.Minute, inline)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestSmallOutputIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(fakeSink)
		l := start(t, Config{Sink: s.put})
		io.WriteString(l.Stdout(), "hello\n")
		io.WriteString(l.Stderr(), "oh\n")
		now := time.Now()
		want := []hostler.LogLine{
			{At: now, Stream: "stdout", Text: "hello\n"},
			{At: now, Stream: "stderr", Text: "oh\n"},
		}
		if d := cmp.Diff(want, mustClose(t, l, true)); d != "" {
			t.Error(d)
		}
		if s.calls != 0 {
			t.Errorf("%d chunks went to the sink", s.calls)
		}
	})
}

func TestOutputOfALongJobIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(fakeSink)
		l := start(t, Config{Sink: s.put})
		io.WriteString(l.Stdout(), "one\n")
		wait.Sleep(t.Context(), flushInterval)
		synctest.Wait()
		if got := text(s.lines(), ""); got != "one\n" {
			t.Fatalf("after the flush time: %q", got)
		}
		io.WriteString(l.Stdout(), "two\n")
		if left := mustClose(t, l, true); len(left) != 0 {
			t.Errorf("left for the report: %v", left)
		}
		if got := text(s.lines(), ""); got != "one\ntwo\n" {
			t.Errorf("stored: %q", got)
		}
		io.WriteString(l.Stdout(), "late")
		if got := text(s.lines(), ""); got != "one\ntwo\n" {
			t.Errorf("a late write was stored: %q", got)
		}
	})
}

func TestSmallOutputIsStoredWithoutInline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(fakeSink)
		l := start(t, Config{Sink: s.put})
		io.WriteString(l.Stdout(), "x")
		if left := mustClose(t, l, false); len(left) != 0 {
			t.Errorf("left for the report: %v", left)
		}
		if got := text(s.lines(), ""); got != "x" {
			t.Errorf("stored: %q", got)
		}
	})
}

func TestAFailingSinkLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("connection reset")
		s := &fakeSink{}
		s.fail = func(n int) error {
			if n%3 != 0 {
				return lost
			}
			return nil
		}
		l := start(t, Config{Sink: s.put})
		var want strings.Builder
		for i := range 20_000 {
			fmt.Fprintf(io.MultiWriter(&want, l.Stdout()), "line %d of the output\n", i)
		}
		mustClose(t, l, true)
		if got := text(s.lines(), ""); got != want.String() {
			t.Errorf("got %d bytes, want %d", len(got), want.Len())
		}
	})
}

func TestLongOutputIsStoredInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 100_000
		s := new(fakeSink)
		l := start(t, Config{Sink: s.put, Limit: limit})
		var all strings.Builder
		for i := range 50_000 {
			fmt.Fprintf(io.MultiWriter(&all, l.Stdout()), "%d: 中文\n", i)
		}
		mustClose(t, l, true)
		got := s.lines()
		stored := text(got, hostler.StreamStdout)
		var dropped int
		marker := text(got, hostler.StreamSystem)
		i := strings.Index(marker, "\n… ")
		for i >= 0 {
			if n, _ := fmt.Sscanf(marker[i:], "\n… %d bytes left out … 省略", &dropped); n == 1 {
				break
			}
			next := strings.Index(marker[i+1:], "\n… ")
			if next < 0 {
				break
			}
			i += 1 + next
		}
		if dropped == 0 || dropped+len(stored) != all.Len() {
			t.Fatalf("%d bytes written, %d stored, marker %q", all.Len(), len(stored), marker)
		}
		if len(stored) > limit || len(stored) < limit*3/4 {
			t.Errorf("stored %d bytes of a limit of %d", len(stored), limit)
		}
		head := stored[:limit/2-4]
		if !strings.HasPrefix(all.String(), head) {
			t.Error("the head is not the start of the output")
		}
		if tail := stored[limit/2:]; !strings.HasSuffix(all.String(), tail) {
			t.Error("the tail is not the end of the output")
		}
	})
}

// A job may write without end; the worker must not run out of memory.
func TestUnboundedOutputInBoundedMemory(t *testing.T) {
	s := new(fakeSink)
	l := start(t, Config{Sink: s.put})
	block := []byte(strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz中\n", 1600))
	const blocks = 3000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range blocks {
		l.Stdout().Write(block)
	}
	runtime.ReadMemStats(&after)
	if made := after.TotalAlloc - before.TotalAlloc; made > 90<<20 {
		t.Errorf("%d MiB of output took %d MiB of allocations", blocks*len(block)>>20, made>>20)
	}
	mustClose(t, l, true)
	if stored := len(text(s.lines(), hostler.StreamStdout)); stored > DefaultLimit || stored < DefaultLimit*9/10 {
		t.Errorf("stored %d bytes", stored)
	}
}

func TestTinyPiecesStayBounded(t *testing.T) {
	s := new(fakeSink)
	l := start(t, Config{Sink: s.put, Limit: 1 << 18})
	for range 100_000 {
		l.Stdout().Write([]byte("a"))
		l.Stderr().Write([]byte("b"))
	}
	l.mu.Lock()
	cost := l.head.cost() + l.tail.cost()
	l.mu.Unlock()
	if most := maxPending + 2*writeStep + 1<<19; cost > most {
		t.Errorf("%d bytes are held, want at most %d", cost, most)
	}
	mustClose(t, l, true)
}

func TestAStalledSinkBlocksWritesBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		var mu sync.Mutex
		s := &fakeSink{fail: func(int) error {
			mu.Lock()
			defer mu.Unlock()
			if down {
				return hostler.Errorf(hostler.CodeUnavailable, "unavailable", "不可用")
			}
			return nil
		}}
		l := start(t, Config{Sink: s.put})
		began := time.Now()
		line := strings.Repeat("x", 999) + "\n"
		for range 3000 {
			io.WriteString(l.Stdout(), line)
		}
		if d := time.Since(began); d > 2*stallTime {
			t.Errorf("writing took %v", d)
		}
		mu.Lock()
		down = false
		mu.Unlock()
		mustClose(t, l, true)
		if got := len(text(s.lines(), hostler.StreamStdout)); got != 3000*1000 {
			t.Errorf("%d bytes stored, want all", got)
		}
	})
}

func TestLostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSink{fail: func(int) error { return hostler.Errorf(hostler.CodeStale, "lost", "已失效") }}
		stale := 0
		l := start(t, Config{Sink: s.put, Stale: func() { stale++ }})
		io.WriteString(l.Stdout(), strings.Repeat("x", chunkBytes))
		synctest.Wait()
		io.WriteString(l.Stdout(), "more")
		left, err := l.Close(time.Minute, true)
		if len(left) != 0 || err != nil || stale != 1 || s.calls != 1 {
			t.Errorf("left %v, err %v, Stale %d times, %d calls of the sink", left, err, stale, s.calls)
		}
	})
}

func TestCloseTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSink{fail: func(int) error { return hostler.Errorf(hostler.CodeDiskFull, "full", "已满") }}
		l := start(t, Config{Sink: s.put})
		io.WriteString(l.Stdout(), strings.Repeat("x", chunkBytes+100))
		began := time.Now()
		left, err := l.Close(10*time.Second, true)
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("it took %v", took)
		}
		if err == nil || !strings.Contains(text(left, hostler.StreamSystem), fmt.Sprint(chunkBytes+100)) {
			t.Errorf("left %v, err %v", left, err)
		}
	})
}

func TestDiscardStopsSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSink{fail: func(int) error { return errors.New("unavailable") }}
		l := start(t, Config{Sink: s.put})
		io.WriteString(l.Stdout(), strings.Repeat("x", chunkBytes))
		wait.Sleep(t.Context(), time.Second)
		l.Discard()
		synctest.Wait()
		calls := s.calls
		wait.Sleep(t.Context(), time.Minute)
		if s.calls != calls {
			t.Error("the sink is still called")
		}
	})
}

func TestSecretsAreNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(fakeSink)
		l := start(t, Config{Sink: s.put, Redactor: func() Redactor { return secret.NewRedactor("hunter2") }})
		l.AddSecrets("swordfish")
		for _, part := range []string{"a hun", "ter2 b sword", "fish c hunt"} {
			io.WriteString(l.Stdout(), part)
			wait.Sleep(t.Context(), time.Second)
		}
		mustClose(t, l, true)
		if got, want := text(s.lines(), ""), "a ****** b ****** c hunt"; got != want {
			t.Errorf("stored %q, want %q", got, want)
		}
	})
}

// The text does not depend on how the bytes are split into writes.
func TestRunesSplitOverWrites(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		valid := rapid.StringOfN(rapid.RuneFrom([]rune("aé中𝄞\x00\n")), 1, 40, -1).Draw(rt, "text")
		l := new(Log)
		l.Init(t.Context(), Config{Sink: new(fakeSink).put})
		for rest := []byte(valid); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "n")
			l.Stdout().Write(rest[:n])
			rest = rest[n:]
		}
		lines, _ := l.Close(time.Minute, true)
		if got := text(lines, ""); got != valid {
			rt.Fatalf("got %q, want %q", got, valid)
		}
	})
}

func TestInvalidUTF8IsReplaced(t *testing.T) {
	for in, want := range map[string]string{
		"a\xffb":         "a\ufffdb",
		"end \xe4\xb8":   "end \ufffd",
		"\xc3\x28":       "\ufffd(",
		"\xed\xa0\x80 x": "\ufffd x", // a surrogate
	} {
		l := start(t, Config{Sink: new(fakeSink).put})
		for i := range len(in) {
			io.WriteString(l.Stdout(), in[i:i+1])
		}
		got := text(mustClose(t, l, true), "")
		if strings.ReplaceAll(got, "\ufffd\ufffd", "\ufffd") != want &&
			strings.ReplaceAll(got, "\ufffd\ufffd\ufffd", "\ufffd") != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
