package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// logBench is a store with a job that runs.
type logBench struct {
	*storetest.Harness
	t      *testing.T
	worker hostler.WorkerID
	job    hostler.JobID
}

func newLogBench(t *testing.T, h *storetest.Harness) *logBench {
	t.Helper()
	b := &logBench{Harness: h, t: t}
	b.tx(func(tx *store.Tx) error {
		if _, err := tx.SetQueue("default", store.QueueSettings{}); err != nil {
			return err
		}
		var err error
		b.worker, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 9})
		if err != nil {
			return err
		}
		ids, err := tx.Enqueue([]hostler.JobSpec{{
			Project: testProject, Queue: "default", Action: "say", Args: []byte(`{}`), Priority: 5, MaxAttempts: 5,
			OnLost: hostler.OnLostRetry, OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold,
		}})
		if err == nil {
			b.job = ids[0]
		}
		return err
	})
	return b
}

func (b *logBench) tx(fn func(tx *store.Tx) error) {
	b.t.Helper()
	if err := b.Store.InTx(b.t.Context(), fn); err != nil {
		b.t.Fatal(err)
	}
}

// put stores a block of output.
func (b *logBench) put(job hostler.JobID, fence int64, attempt, seq int, lines []hostler.LogLine) error {
	return b.Store.AppendLogs(b.t.Context(), []hostler.LogChunk{{
		LeaseRef: hostler.LeaseRef{Job: job, Fence: fence}, Attempt: attempt, Seq: seq, Lines: lines,
	}})
}

// lease leases the job and returns its fence and attempt.
func (b *logBench) lease() (ref hostler.LeaseRef, attempt int) {
	b.t.Helper()
	b.Advance(time.Hour)
	b.tx(func(tx *store.Tx) error {
		if _, _, err := tx.DueJobs(10); err != nil {
			return err
		}
		c, err := tx.Claim(b.worker, 1)
		if err == nil && len(c.Leases) != 1 {
			return fmt.Errorf("%d leases", len(c.Leases))
		}
		if err == nil {
			ref, attempt = c.Leases[0].LeaseRef, c.Leases[0].Attempt
		}
		return err
	})
	return ref, attempt
}

func (b *logBench) finish(r hostler.Report) {
	b.t.Helper()
	b.tx(func(tx *store.Tx) error {
		acks, err := tx.Finish(b.worker, []hostler.Report{r})
		if err == nil {
			err = acks[0]
		}
		return err
	})
}

func (b *logBench) append(ref hostler.LeaseRef, attempt, seq int, texts ...string) {
	b.t.Helper()
	if err := b.put(ref.Job, ref.Fence, attempt, seq, b.lines(texts...)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *logBench) lines(texts ...string) []hostler.LogLine {
	lines := make([]hostler.LogLine, len(texts))
	for i, s := range texts {
		lines[i] = hostler.LogLine{At: b.Now(), Stream: hostler.StreamStdout, Text: s}
	}
	return lines
}

// read reads the whole log, a few lines at a time.
func (b *logBench) read(step int) (all []hostler.LogEntry) {
	b.t.Helper()
	for after := int64(0); ; {
		part, next, err := b.Store.ReadLog(b.t.Context(), b.job, after, step)
		if err != nil {
			b.t.Fatal(err)
		}
		if len(part) == 0 {
			if next != after {
				b.t.Fatalf("nothing after %d, but next is %d", after, next)
			}
			return all
		}
		if next != part[len(part)-1].Pos || next <= after {
			b.t.Fatalf("next is %d after %d", next, after)
		}
		all, after = append(all, part...), next
	}
}

func brief(entries []hostler.LogEntry) (out []string) {
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%d:%s", e.Attempt, e.Text))
	}
	return out
}

func TestLogOverAttempts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		b := newLogBench(t, h)
		ref, n := b.lease()
		b.append(ref, n, 1, "a", "b\x00")
		b.append(ref, n, 2, "c")
		b.append(ref, n, 1, "a repeated chunk")
		mark := b.read(10)
		b.finish(hostler.Report{LeaseRef: ref, Outcome: hostler.OutcomeFailed, Error: &hostler.JobError{Kind: "x"}})
		ref, n = b.lease()
		b.append(ref, n, 1, "d")
		b.finish(hostler.Report{LeaseRef: ref, Outcome: hostler.OutcomeFailed, Error: &hostler.JobError{Kind: "x"}})
		ref, _ = b.lease()
		b.finish(hostler.Report{LeaseRef: ref, Outcome: hostler.OutcomeSucceeded, Output: b.lines("e", "f")})

		want := []string{"1:a", "1:b\x00", "1:c", "2:d", "3:e", "3:f"}
		for step := 1; step <= 7; step++ {
			if d := cmp.Diff(want, brief(b.read(step))); d != "" {
				t.Errorf("%d at a time (-want +got):\n%s", step, d)
			}
		}
		rest, _, err := b.Store.ReadLog(t.Context(), b.job, mark[len(mark)-1].Pos, 10)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want[3:], brief(rest)); d != "" {
			t.Errorf("resumed (-want +got):\n%s", d)
		}
		for n := range 8 {
			tail, err := b.Store.TailLog(t.Context(), b.job, n)
			if err != nil {
				t.Fatal(err)
			}
			joined := cmp.Transformer("", func(s []string) string { return strings.Join(s, " ") })
			if d := cmp.Diff(want[max(0, 6-n):], brief(tail), joined); d != "" {
				t.Errorf("tail of %d (-want +got):\n%s", n, d)
			}
		}
	})
}

func TestLogOfManyBlocks(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		b := newLogBench(t, h)
		ref, n := b.lease()
		var want []string
		for seq := 1; seq <= 50; seq++ {
			b.append(ref, n, seq, fmt.Sprint(seq, "x"), fmt.Sprint(seq, "y"))
			want = append(want, fmt.Sprintf("1:%dx", seq), fmt.Sprintf("1:%dy", seq))
		}
		for _, step := range []int{3, 32, 99, 1000} {
			if d := cmp.Diff(want, brief(b.read(step))); d != "" {
				t.Errorf("%d at a time (-want +got):\n%s", step, d)
			}
		}
		tail, err := b.Store.TailLog(t.Context(), b.job, 71)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want[100-71:], brief(tail)); d != "" {
			t.Errorf("tail (-want +got):\n%s", d)
		}
	})
}

func TestLogOfNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		b := newLogBench(t, h)
		if got := b.read(10); len(got) != 0 {
			t.Errorf("%v", got)
		}
		if tail, err := b.Store.TailLog(t.Context(), b.job, 5); err != nil || len(tail) != 0 {
			t.Errorf("tail %v, %v", tail, err)
		}
	})
}

func TestAppendLogRefusesWhatDoesNotFit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		b := newLogBench(t, h)
		long := b.lines(strings.Repeat("x", 1<<20+1))
		for _, c := range []struct {
			seq   int
			lines []hostler.LogLine
			want  hostler.Code
		}{
			{0, b.lines("x"), hostler.CodeInvalid},
			{1 << 24, b.lines("x"), hostler.CodeTooLarge},
			{1, make([]hostler.LogLine, 5000), hostler.CodeTooLarge},
			{1, long, hostler.CodeTooLarge},
		} {
			err := b.put(b.job, 1, 1, c.seq, c.lines)
			if got := hostler.CodeOf(err); got != c.want {
				t.Errorf("chunk %d of %d lines: %q, want %q", c.seq, len(c.lines), got, c.want)
			}
		}
	})
}
