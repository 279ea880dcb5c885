package rest

import (
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// bodyGrace is how long a body may take at least.
	bodyGrace = 15 * time.Second
	// leastRate is how many bytes per second of a body must arrive after that. An
	// honest upload over a slow line takes minutes; a fixed deadline would refuse it.
	leastRate = 16 << 10
	// bodyStep is how much memory a body begins with. It grows as bytes arrive, since a
	// client may announce more than it sends.
	bodyStep = 8 << 10
)

// longPast is a deadline that has passed, which ends a read at once.
var longPast = time.Unix(1, 0)

var errOverLimit = errors.New("the body is over the limit")

// inflow is the body of a request on its way in. It demands a minimum rate, and ends
// the connection when the body was not read to its end: net/http would read on, for as
// long as the client likes to send. A nil inflow is that of a request without a body.
type inflow struct {
	io.ReadCloser
	w     http.ResponseWriter
	r     *http.Request
	conn  *conn
	began time.Time
	got   int64
	ended bool // at its end
}

// takeBody returns the request with its body replaced by an inflow. It is a copy:
// net/http looks at the original.
func takeBody(w http.ResponseWriter, r *http.Request, c *conn) (*http.Request, *inflow) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, nil
	}
	in := &inflow{ReadCloser: r.Body, w: w, r: r, conn: c, began: time.Now()}
	r = r.WithContext(r.Context())
	r.Body = in
	return r, in
}

// Read implements io.Reader. It fails with os.ErrDeadlineExceeded when the body
// arrives too slowly.
func (in *inflow) Read(b []byte) (int, error) {
	allowed := bodyGrace + time.Duration(in.got)*time.Second/leastRate
	in.deadline(in.began.Add(allowed))
	in.conn.end() // it waits for its client
	n, err := in.ReadCloser.Read(b)
	in.conn.begin()
	in.got += int64(n)
	if errors.Is(err, io.EOF) {
		in.ended = true
		in.deadline(time.Time{}) // it would end a long answer
	}
	return n, err
}

func (in *inflow) deadline(t time.Time) {
	_ = http.NewResponseController(in.w).SetReadDeadline(t) // the recorder of a test has none
}

// readAll reads the body, which is over the limit with errOverLimit. It asks reserve
// before it takes memory.
func (in *inflow) readAll(limit int64, reserve func(n int64) error) ([]byte, error) {
	var body []byte
	for {
		if len(body) == cap(body) {
			most := min(max(2*int64(cap(body)), bodyStep), limit+1)
			if int64(len(body)) >= most {
				return nil, errOverLimit
			}
			if err := reserve(most - int64(cap(body))); err != nil {
				return nil, err
			}
			grown := make([]byte, len(body), most)
			copy(grown, body)
			body = grown
		}
		n, err := in.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > limit:
			return nil, errOverLimit
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, err
		}
	}
}

// closing announces that the connection is closed after the answer, unless the body was
// read to its end. It also closes one whose request had a Transfer-Encoding: net/http
// does not report if it had a Content-Length as well, which is how requests are
// smuggled past a proxy (RFC 9112, section 6.1).
func (in *inflow) closing(h http.Header) {
	if in != nil && in.r.ProtoMajor == 1 && (!in.ended || len(in.r.TransferEncoding) > 0) {
		h.Set("Connection", "close")
	}
}

// finish ends the reading of a body that was not read to its end.
func (in *inflow) finish() {
	if in == nil {
		return
	}
	if !in.ended {
		in.deadline(longPast)
		in.conn.discardOnClose()
	}
}
