package rest

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// call returns a call for tests of streams.
func call(cfg Config) *Call {
	c := newCore(cfg)
	return &Call{core: &c, dialect: &Dialect{}}
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
		out := call(Config{StreamWait: wait}).NewWriter(w)
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

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := httptest.NewRecorder()
		s := call(Config{StreamWait: time.Second}).NewEventStream(rec, "")
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
