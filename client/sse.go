package client

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// maxEvent bounds one server-sent event.
const maxEvent = 16 << 20

// event is one server-sent event.
type event struct {
	name string
	id   string
	data string
}

var errEventTooLarge = errors.New("server-sent event over the limit")

// eventReader parses a stream by the rules of the HTML standard, §9.2.6: the
// fields it does not know are skipped, comments too, and an event that the
// stream's end cuts off is dropped.
type eventReader struct {
	r      *bufio.Reader
	lastID string
}

func newEventReader(r io.Reader) *eventReader {
	return &eventReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next event that has data; io.EOF at the stream's end.
func (e *eventReader) next() (event, error) {
	var ev event
	var data []string
	size := 0
	for {
		line, err := e.line()
		if err != nil {
			return event{}, err
		}
		if size += len(line); size > maxEvent {
			return event{}, errEventTooLarge
		}
		if line == "" {
			if data == nil {
				ev = event{}
				size = 0
				continue
			}
			ev.id = e.lastID
			ev.data = strings.Join(data, "\n")
			return ev, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			ev.name = value
		case "data":
			data = append(data, value)
		case "id":
			if !strings.ContainsRune(value, 0) {
				e.lastID = value
			}
		}
	}
}

// line reads to the next LF or CRLF, which it drops. (A lone CR ends a line in
// the standard, too; Hostler never sends one.)
func (e *eventReader) line() (string, error) {
	var b strings.Builder
	for {
		chunk, err := e.r.ReadSlice('\n')
		if b.Len()+len(chunk) > maxEvent {
			return "", errEventTooLarge
		}
		b.Write(chunk)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return "", err // a line without its end is incomplete
		}
		return strings.TrimSuffix(strings.TrimSuffix(b.String(), "\n"), "\r"), nil
	}
}
