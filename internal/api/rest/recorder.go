package rest

import "net/http"

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int  // 0 until the answer begins
	held   bool // see Answer.Held
	body   *inflow
}

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		w.body.closing(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
		w.body.closing(w.Header())
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// hold marks an answer that is a stream or is held back; see [Answer.Held].
func (w *recorder) hold() {
	if w != nil {
		w.held = true
	}
}
