package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// A row of events is stored as
//
//	version  1 byte   eventsPlain or eventsZstd: how the body is packed
//	body: per event
//	  project, job  uvarint each
//	  of a job (job is not 0):
//	    run, asset, worker, attempt                               uvarint each
//	    state, cause, action, queue, asset_name, created_by, error  texts
//	  of an object:
//	    type, object, by                                          texts
//	  by may be followed by NUL and the channel of a message of a run, that by NUL and a
//	  notice of alerts as JSON, and cause by NUL and the microseconds that a job that ended
//	  waited and ran, both as uvarint
//
// A text is a uvarint length and bytes; the error is JSON or empty. The version
// byte covers the body too: a new form of the body gets new versions.
const (
	eventsPlain = 1
	eventsZstd  = 2
)

// textEnd is between a text and what follows it; no name has it.
const textEnd = "\x00"

// Limits of one row.
const (
	maxRowEvents = 1000
	maxRowBytes  = 256 << 10
	// eventsPlainBelow is the size below which compression does not pay.
	eventsPlainBelow = 512
)

// eventBuffer collects the events of a transaction.
type eventBuffer struct {
	rows []packedEvents // full
	n    int64
	b    []byte
}

// packedEvents is one row.
type packedEvents struct {
	n    int64
	body []byte
}

// drain returns the rows and empties the buffer.
func (b *eventBuffer) drain() []packedEvents {
	b.seal()
	rows := b.rows
	b.rows = nil
	return rows
}

// seal packs the events that are in no row yet into one.
func (b *eventBuffer) seal() {
	if b.n > 0 {
		b.rows = append(b.rows, packedEvents{b.n, b.pack()})
		b.n, b.b = 0, nil
	}
}

func (b *eventBuffer) add(e *Event) {
	if b.n >= maxRowEvents || len(b.b) >= maxRowBytes {
		b.seal()
	}
	if b.n == 0 {
		b.b = append(make([]byte, 0, 256), eventsPlain)
	}
	b.n++
	b.ints(int64(e.Project), int64(e.Job.Job))
	if !e.OfJob() {
		by := e.Object.By
		if e.Object.Channel != "" || e.Object.Alert != nil {
			by += textEnd + e.Object.Channel
		}
		if e.Object.Alert != nil {
			by += textEnd + encodeAlert(e.Object.Alert)
		}
		b.texts(string(e.Type), e.Object.Object, by)
		return
	}
	j := &e.Job
	b.ints(int64(j.Run), int64(j.Asset), int64(j.Worker), int64(j.Attempt))
	cause := string(j.Cause)
	if e.Started {
		t := append(make([]byte, 0, 32), cause+textEnd...)
		t = binary.AppendUvarint(t, uint64(max(0, e.Waited.Microseconds())))
		cause = string(binary.AppendUvarint(t, uint64(max(0, e.Ran.Microseconds()))))
	}
	b.texts(string(j.State), cause, j.Action, j.Queue, j.AssetName, j.CreatedBy, encodeError(j.Error))
}

func (b *eventBuffer) ints(vs ...int64) {
	for _, v := range vs {
		b.b = binary.AppendUvarint(b.b, uint64(v))
	}
}

func (b *eventBuffer) texts(ts ...string) {
	for _, t := range ts {
		b.b = binary.AppendUvarint(b.b, uint64(len(t)))
		b.b = append(b.b, t...)
	}
}

func encodeAlert(n *hostler.AlertNotice) string {
	b, err := json.Marshal(n)
	if err != nil {
		return "" // no value of it can fail
	}
	return string(b)
}

// pack is the row's body.
func (b *eventBuffer) pack() []byte {
	if len(b.b) < eventsPlainBelow {
		return b.b
	}
	enc, err := packer()
	if err != nil {
		return b.b
	}
	return enc.EncodeAll(b.b[1:], []byte{eventsZstd})
}

var errEvents = errors.New("the row is damaged")

// unpackEvents appends the events of a row to a slice.
func unpackEvents(to []Event, body []byte) ([]Event, error) {
	if len(body) == 0 {
		return to, errEvents
	}
	u := eventReader{b: body[1:]}
	switch body[0] {
	case eventsPlain:
	case eventsZstd:
		dec, err := unpacker()
		if err != nil {
			return to, err
		}
		if u.b, err = dec.DecodeAll(body[1:], nil); err != nil {
			return to, err
		}
	default:
		return to, errEvents
	}
	for len(u.b) > 0 {
		e := u.event()
		if u.bad {
			return to, errEvents
		}
		to = append(to, e)
	}
	return to, nil
}

// eventReader reads fields one after the other. bad is set when one is malformed.
type eventReader struct {
	b   []byte
	bad bool
}

func (u *eventReader) event() Event {
	e := Event{Project: hostler.ProjectID(u.int())}
	if id := u.int(); id != 0 {
		e.Job = hostler.JobEvent{
			Job: hostler.JobID(id), Run: hostler.RunID(u.int()), Asset: hostler.AssetID(u.int()),
			Worker:  hostler.WorkerID(u.int()),
			Attempt: int(u.int()), State: hostler.State(u.text()),
		}
		cause, times, started := strings.Cut(u.text(), textEnd)
		e.Job.Cause, e.Job.Action, e.Job.Queue = hostler.Cause(cause), u.text(), u.text()
		e.Job.AssetName, e.Job.CreatedBy = u.text(), u.text()
		if started {
			t := eventReader{b: []byte(times)}
			e.Started = true
			e.Waited, e.Ran = time.Duration(t.int())*time.Microsecond, time.Duration(t.int())*time.Microsecond
			u.bad = u.bad || t.bad
		}
		if t := u.text(); t != "" {
			e.Job.Error = &hostler.JobError{}
			u.bad = u.bad || json.Unmarshal([]byte(t), e.Job.Error) != nil
		}
		e.Type = JobEventType(e.Job.State)
		return e
	}
	e.Type = hostler.EventType(u.text())
	e.Object.Object = u.text()
	var to, notice string
	e.Object.By, to, _ = strings.Cut(u.text(), textEnd)
	if e.Object.Channel, notice, _ = strings.Cut(to, textEnd); notice != "" {
		e.Object.Alert = &hostler.AlertNotice{}
		u.bad = u.bad || json.Unmarshal([]byte(notice), e.Object.Alert) != nil
	}
	return e
}

func (u *eventReader) int() int64 {
	v, n := binary.Uvarint(u.b)
	if n <= 0 || v > 1<<63-1 {
		u.bad, u.b = true, nil
		return 0
	}
	u.b = u.b[n:]
	return int64(v)
}

func (u *eventReader) text() string {
	n := u.int()
	if n > int64(len(u.b)) {
		u.bad, u.b = true, nil
		return ""
	}
	t := string(u.b[:n])
	u.b = u.b[n:]
	return t
}
