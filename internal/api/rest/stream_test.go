package rest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hostler.dev/hostler/internal/auth"
)

// call returns a call for tests of streams.
func call(t *testing.T, cfg Config) *Call {
	t.Helper()
	c := newCore(cfg)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	return &Call{core: &c, dialect: &Dialect{}, Request: r, answer: &recorder{body: &inflow{}}}
}

// stuckClient is the connection of a client that does not read.
type stuckClient struct {
	*httptest.ResponseRecorder
	deadline time.Time
	writes   int
}

func (s *stuckClient) SetWriteDeadline(t time.Time) error { s.deadline = t; return nil }

func (s *stuckClient) Write([]byte) (int, error) {
	s.writes++
	return 0, os.ErrDeadlineExceeded
}

func (s *stuckClient) WriteString(text string) (int, error) { return s.Write([]byte(text)) }

func TestSlowClientIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuckClient{ResponseRecorder: httptest.NewRecorder()}
		const wait = 20 * time.Second
		out := call(t, Config{StreamWait: wait}).NewWriter(w)
		out.WriteText("one")
		if want := time.Now().Add(wait); !w.deadline.Equal(want) {
			t.Errorf("deadline %v, want %v", w.deadline, want)
		}
		out.WriteText("two")
		if out.Flush() || w.writes != 1 {
			t.Errorf("after a failed write: flush %v, %d writes", out.Flush(), w.writes)
		}
	})
}

// slowClient reads each piece for as long as it takes.
type slowClient struct {
	*httptest.ResponseRecorder
	takes    time.Duration
	deadline time.Time
}

func (s *slowClient) SetWriteDeadline(t time.Time) error { s.deadline = t; return nil }

func (s *slowClient) Write(b []byte) (int, error) {
	time.Sleep(s.takes) //nolint:forbidigo // the bubble's clock
	if time.Now().After(s.deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	return len(b), nil
}

// A client that reads an export a little at a time holds a share of what all users have.
// It is disconnected, although each piece is sent in time; one that keeps to the least
// rate is not.
func TestExportDemandsARate(t *testing.T) {
	for takes, complete := range map[time.Duration]bool{10 * time.Second: false, time.Second: true} {
		synctest.Test(t, func(t *testing.T) {
			c := call(t, Config{StreamWait: 20 * time.Second})
			out := c.NewExport(&slowClient{ResponseRecorder: httptest.NewRecorder(), takes: takes})
			piece := make([]byte, leastRate)
			n, began := 0, time.Now()
			for ; n < 100; n++ {
				if _, err := out.Write(piece); err != nil {
					break
				}
			}
			if took := time.Since(began); (n == 100) != complete || took > 2*time.Minute {
				t.Errorf("pieces of %v: %d written in %v", takes, n, took)
			}
		})
	}
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := httptest.NewRecorder()
		c := call(t, Config{
			StreamWait:   time.Second,
			Authenticate: func(context.Context, string, string, string) (auth.Caller, error) { return auth.Caller{}, nil },
		})
		s := c.NewEventStream(rec, "")
		defer func() {
			for _, end := range c.answer.after {
				end()
			}
		}()
		rec.Body.Reset()
		s.KeepAlive()
		if rec.Body.Len() != 0 {
			t.Errorf("at once: %q", rec.Body)
		}
		time.Sleep(heartbeat) //nolint:forbidigo // the bubble's clock
		if !s.KeepAlive() || !strings.HasPrefix(rec.Body.String(), ": ") || !rec.Flushed {
			t.Errorf("after %v: %q", heartbeat, rec.Body)
		}
	})
}
