package rest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// slowLine is a connection that remembers the deadline of its reads.
type slowLine struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (s *slowLine) SetReadDeadline(t time.Time) error { s.deadline = t; return nil }

// TestBodyNeedsARate reads a body piece by piece: what has arrived buys time for the
// rest, so that a large upload may take minutes and a stalled one may not.
func TestBodyNeedsARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &slowLine{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat("x", 2<<20)))
		_, in := takeBody(line, r, nil)
		began := time.Now()
		step := make([]byte, 1<<20)
		for i, want := range []time.Duration{bodyGrace, bodyGrace + 64*time.Second, bodyGrace + 128*time.Second} {
			_, err := io.ReadFull(in, step)
			if i < 2 && line.deadline.Sub(began) != want {
				t.Errorf("after %d MiB the deadline is %v, want %v", i, line.deadline.Sub(began), want)
			}
			if i == 2 && (err != io.EOF || !line.deadline.IsZero()) {
				t.Errorf("at the end: %v and a deadline at %v, want EOF and none", err, line.deadline)
			}
		}
	})
}

// TestBudgetIsShared takes a budget: one user gets half of it, and what is released
// can be taken again.
func TestBudgetIsShared(t *testing.T) {
	b := newBudget(100)
	release, err := b.acquire(1, 50)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.acquire(1, 1); err == nil {
		t.Error("one user has more than half")
	}
	if _, err := b.acquire(2, 50); err != nil {
		t.Error(err)
	}
	if _, err := b.acquire(3, 1); err == nil {
		t.Error("more than the budget was taken")
	}
	release()
	if _, err := b.acquire(3, 50); err != nil {
		t.Error(err)
	}
}
