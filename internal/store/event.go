package store

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file holds the events: the transactional outbox, and the published events.
//
// A transaction writes the events of its changes to the outbox, packed into a few
// rows. [Tx.Publish], one call at a time, moves them to the event table and gives them
// positions, so that positions grow in the order of commits: a reader that has seen
// one never finds a lower one that is new. (A sequence does not guarantee that:
// transactions commit in another order than they take numbers.) A transaction that
// knows of a change has a later row in the outbox than the change, and is published by
// the same call or a later one; so a cause comes before its effects.

// publishLock is the advisory lock of Publish.
const publishLock = 2

// Event is an event as the store holds it.
type Event struct {
	Pos     int64 // 0 before it is published
	At      time.Time
	Type    hostler.EventType
	Project hostler.ProjectID   // 0: of no project
	Job     hostler.JobEvent    // set for the events of jobs; its id is 0 otherwise
	Object  hostler.ObjectEvent // set for all other events

	// How long a job that ended waited and ran in its last attempt, if it started.
	Started     bool
	Waited, Ran time.Duration
}

// OfJob reports whether it is an event of a job.
func (e *Event) OfJob() bool { return e.Job.Job != 0 }

// IsTest reports whether it is a test of a webhook or channel, for which a person waits.
func (e *Event) IsTest() bool {
	return e.Type == hostler.EventWebhookPing || e.Type == hostler.EventChannelPing
}

// Data is the event's data as JSON.
func (e *Event) Data() (json.RawMessage, error) {
	if e.OfJob() {
		return json.Marshal(&e.Job)
	}
	return json.Marshal(&e.Object)
}

// JobEventType is the type of the event that a job entered a state.
func JobEventType(s hostler.State) hostler.EventType {
	if s == hostler.StateRunning {
		return hostler.EventJobStarted
	}
	return "job." + hostler.EventType(s)
}

// Emit adds an event of an object to the outbox.
func (tx *Tx) Emit(p hostler.ProjectID, t hostler.EventType, o hostler.ObjectEvent) {
	tx.events.add(&Event{Type: t, Project: p, Object: o})
}

// maxEventError limits the text of an error in an event; the job has all of it.
const maxEventError = 2 << 10

func (tx *Tx) emitJob(p hostler.ProjectID, e hostler.JobEvent) {
	tx.addJobEvent(&Event{Project: p, Job: e})
}

func (tx *Tx) addJobEvent(ev *Event) {
	e := &ev.Job
	if e.Error != nil && len(e.Error.Text.EN)+len(e.Error.Text.ZH) > 2*maxEventError {
		e.Error = &hostler.JobError{Kind: e.Error.Kind, Text: hostler.Text{
			EN: cutText(e.Error.Text.EN, maxEventError), ZH: cutText(e.Error.Text.ZH, maxEventError),
		}}
	}
	ev.Type = JobEventType(e.State)
	tx.events.add(ev)
}

// cutText returns at most n bytes of a text, and a mark if there was more.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " …"
}

// emitJobs emits the events of live jobs that all changed in the same way. It reads
// the fields that describe the job; change sets the others.
func (tx *Tx) emitJobs(ids []hostler.JobID, change func(e *hostler.JobEvent)) error {
	if len(ids) == 0 {
		return nil
	}
	return queryEach(tx, `SELECT @cols FROM job WHERE id IN ?*`, []any{ids}, func(s *subject) error {
		e := s.event()
		change(&e)
		tx.emitJob(s.Project, e)
		return nil
	})
}

// subject holds the fields of an event that describe the job.
type subject struct {
	Job       hostler.JobID     `db:"id"`
	Project   hostler.ProjectID `db:"project"`
	Run       hostler.RunID     `db:"run"`
	Action    string            `db:"action"`
	Queue     string            `db:"queue"`
	Asset     int64             `db:"asset"`
	AssetName string            `db:"asset_name"`
	CreatedBy string            `db:"created_by"`
}

func (s *subject) event() hostler.JobEvent {
	return hostler.JobEvent{
		Job: s.Job, Run: s.Run, Action: s.Action, Queue: s.Queue,
		Asset: assetID(s.Asset), AssetName: s.AssetName, CreatedBy: s.CreatedBy,
	}
}

// flushEvents writes the events of the transaction to the outbox.
func (tx *Tx) flushEvents() error {
	for _, p := range tx.events.drain() {
		_, err := tx.Exec(`INSERT INTO outbox (at, n, body) VALUES (?, ?, ?)`, sqldb.Micros(tx.now), p.n, p.body)
		if err != nil {
			return err
		}
		tx.Notify(TopicOutbox)
	}
	return nil
}

// eventRow is a row of table event: N events, the last of them at position Last.
type eventRow struct {
	Last int64     `db:"last"`
	N    int64     `db:"n"`
	At   time.Time `db:"at"`
	Body []byte    `db:"body"`
}

func (r *eventRow) unpack(to []Event) ([]Event, error) {
	from := len(to)
	to, err := unpackEvents(to, r.Body)
	if err == nil && int64(len(to)-from) != r.N {
		err = fmt.Errorf("%d of %d events found", len(to)-from, r.N)
	}
	if err != nil {
		return to[:from], fmt.Errorf("unpack the events up to %d: %w", r.Last, err)
	}
	for i := from; i < len(to); i++ {
		to[i].At, to[i].Pos = r.At, r.Last-r.N+int64(i-from)+1
	}
	return to, nil
}

// publishBytes bounds the size of the rows that one call of Publish moves.
const publishBytes = 4 << 20

// Publish gives positions to the events of up to limit rows of the outbox, and returns
// how many events these are. It waits until another publisher has committed. more
// reports that there may be more. The events are moved unread, so that none of them can
// stop the others.
func (tx *Tx) Publish(limit int) (n int64, more bool, err error) {
	type outboxRow struct {
		ID   int64 `db:"id"`
		N    int64 `db:"n"`
		Size int64 `db:"length(body)"`
	}
	if err := tx.c.Lock(tx.ctx, publishLock, false); err != nil {
		return 0, false, err
	}
	waiting, err := query[outboxRow](tx, `SELECT @cols FROM outbox ORDER BY id LIMIT ?`, limit)
	if err != nil || len(waiting) == 0 {
		return 0, false, err
	}
	last, err := tx.LastEvent()
	if err != nil {
		return 0, false, err
	}
	type move struct {
		ID   int64 `db:"id"`
		Last int64 `db:"last"`
	}
	var moves []move
	var ids []int64
	size := int64(0)
	for _, w := range waiting {
		if size += w.Size; size > publishBytes && len(moves) > 0 {
			break
		}
		n += w.N
		moves, ids = append(moves, move{w.ID, last + n}), append(ids, w.ID)
	}
	if _, err := execRows(tx, `INSERT INTO event (last, n, at, body)
SELECT v.last, o.n, o.at, o.body FROM @rows JOIN outbox o ON o.id = v.id`, moves); err != nil {
		return 0, false, err
	}
	tx.Notify(TopicEvents)
	_, err = tx.Exec(`DELETE FROM outbox WHERE id IN ?*`, ids)
	return n, len(moves) < len(waiting) || len(waiting) == limit, err
}

// Unpublished reports whether the outbox holds events.
func (tx *Tx) Unpublished() (bool, error) {
	return tx.exists(`SELECT id FROM outbox ORDER BY id LIMIT 1`)
}

// LastEvent is the position of the newest published event; 0 before the first.
func (tx *Tx) LastEvent() (pos int64, err error) {
	_, err = tx.one(`SELECT last FROM event ORDER BY last DESC LIMIT 1`, nil, &pos)
	return pos, err
}

// EventTime returns when the transaction of the event at a position began, by which one
// event at a position differs from another: a fail-over may lose events, and their
// positions are then given again. It is zero when the event was deleted, and lost is true
// when the positions have not come so far.
func (tx *Tx) EventTime(pos int64) (at time.Time, lost bool, err error) {
	type row struct {
		Last int64     `db:"last"`
		N    int64     `db:"n"`
		At   time.Time `db:"at"`
	}
	r, err := queryOne[row](tx, `SELECT @cols FROM event WHERE last >= ? ORDER BY last LIMIT 1`, pos)
	switch {
	case err != nil || r == nil:
		return time.Time{}, err == nil && pos > 0, err
	case r.Last-r.N >= pos:
		return time.Time{}, false, nil
	default:
		return r.At, false, nil
	}
}

// EventPage is a part of the published events.
type EventPage struct {
	Events []Event // that match, in order
	Last   int64   // the position up to which the events were read
	// Missed counts events right after the position that were deleted already, or
	// cannot be read.
	Missed int64
}

// EventsAfter reads the published events after a position that match (nil: all): up to
// limit of them, out of up to so many rows. Last does not move when there are none at
// all. A page ends before a row that is damaged; the next one counts its events as
// missed.
func (tx *Tx) EventsAfter(pos int64, rows, limit int, match func(*Event) bool) (EventPage, error) {
	p := EventPage{Last: pos}
	needed := limit
	if match != nil {
		needed = math.MaxInt // of which some match
	}
	list, err := tx.eventRows(pos, rows, needed)
	if err != nil {
		return p, err
	}
	var all []Event // of a row
	for i := range list {
		r := &list[i]
		if all, err = r.unpack(all[:0]); err != nil {
			if p.Last > pos {
				break
			}
			p.Missed, p.Last = r.Last-pos, r.Last
			break
		}
		if p.add(all, limit, match); len(p.Events) == limit {
			break
		}
	}
	return p, nil
}

// eventRows reads the rows of events after a position: up to limit rows, and no more
// than it takes to have so many events.
func (tx *Tx) eventRows(pos int64, limit, events int) ([]eventRow, error) {
	type head struct {
		Last int64 `db:"last"`
	}
	heads, err := query[head](tx, `SELECT @cols FROM event WHERE last > ? ORDER BY last LIMIT ?`, pos, limit)
	if err != nil || len(heads) == 0 {
		return nil, err
	}
	through := heads[len(heads)-1].Last
	for _, h := range heads {
		if h.Last-pos >= int64(events) {
			through = h.Last
			break
		}
	}
	return query[eventRow](tx, `SELECT @cols FROM event WHERE last > ? AND last <= ? ORDER BY last`, pos, through)
}

// add adds the events of a row that are after Last and match.
func (p *EventPage) add(row []Event, limit int, match func(*Event) bool) {
	for i := range row {
		e := &row[i]
		if e.Pos <= p.Last {
			continue
		}
		if len(p.Events) == limit {
			return
		}
		if i == 0 {
			p.Missed += e.Pos - p.Last - 1
		}
		p.Last = e.Pos
		if match == nil || match(e) {
			p.Events = append(p.Events, *e)
		}
	}
}

// EventsKept is how many events are kept, unless they are older than the time that
// DeleteEvents is given.
const EventsKept = 2_000_000

// DeleteEvents deletes, of the oldest limit rows of events, those from before a time
// or beyond EventsKept, and returns how many. The newest row stays: the next positions
// follow from it. So do those whose deliveries are not made yet, and those that the
// statistics have not counted.
func (tx *Tx) DeleteEvents(before time.Time, limit int) (int64, error) {
	last, err := tx.LastEvent()
	if err != nil {
		return 0, err
	}
	return tx.Exec(`DELETE FROM event WHERE last < ?
AND last <= COALESCE((SELECT c.pos FROM delivery_cursor c WHERE c.id = 1), 0)
AND last <= COALESCE((SELECT s.pos FROM stats_cursor s WHERE s.id = 1), 0) AND last IN
(SELECT o.last FROM (SELECT e.last, e.at FROM event e ORDER BY e.last LIMIT ?) o WHERE o.at < ? OR o.last < ?)`,
		last, limit, sqldb.Micros(before), last-EventsKept)
}
