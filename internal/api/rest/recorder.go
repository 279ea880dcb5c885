package rest

import (
	"net/http"
	"slices"
	"time"
)

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int  // 0 until the answer begins
	held   bool // see Answer.Held
	body   *inflow
	after  []func() // see onFinish
	wait   time.Duration
	end    time.Time // of an answer that is not held
}

// onFinish calls f when the request has been answered.
func (w *recorder) onFinish(f func()) { w.after = append(w.after, f) }

func (w *recorder) finish() {
	w.body.finish()
	for _, f := range w.after {
		f()
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		w.body.closing(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

// pieceBytes is how much of an answer has a deadline of its own; see Write.
const pieceBytes = 64 << 10

// Write implements http.ResponseWriter. A large answer is written in pieces, each
// within wait: a client that does not read at all holds its memory no longer.
func (w *recorder) Write(b []byte) (written int, err error) {
	if w.status == 0 {
		w.status = http.StatusOK
		w.body.closing(w.Header())
	}
	if w.held || len(b) <= pieceBytes {
		return w.ResponseWriter.Write(b)
	}
	rc := http.NewResponseController(w.ResponseWriter)
	for piece := range slices.Chunk(b, pieceBytes) {
		if end := time.Now().Add(w.wait); end.Before(w.end) {
			_ = rc.SetWriteDeadline(end) // the recorder of a test has none
		}
		n, err := w.ResponseWriter.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
	}
	_ = rc.SetWriteDeadline(w.end)
	return written, nil
}

// Unwrap gives http.ResponseController the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// hold marks an answer that is a stream or is held back; see [Answer.Held].
func (w *recorder) hold() {
	if w != nil {
		w.held = true
	}
}
