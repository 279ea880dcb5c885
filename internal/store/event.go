package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file holds the events. A transaction leaves those of its changes in the
// outbox, packed into a few rows. Publish, of which one runs at a time, moves
// them to the event table and gives them positions, so that positions grow in
// the order of commits: a reader that has seen one will never find a lower one
// that is new. (A sequence alone does not give that, for transactions commit in
// another order than they take numbers.) What knows of a change has a later row
// in the outbox than the change, and is published in the same call or a later
// one; so cause stands before effect.

// publishLock is the advisory lock of Publish.
const publishLock = 2

// Event is an event as the store has it.
type Event struct {
	Pos     int64 // 0 before it is published
	At      time.Time
	Type    hostler.EventType
	Project hostler.ProjectID   // 0 for what belongs to no project
	Job     hostler.JobEvent    // of an event of a job; else its id is 0
	Object  hostler.ObjectEvent // of any other
}

// OfJob reports whether it is an event of a job.
func (e *Event) OfJob() bool { return e.Job.Job != 0 }

// Data is the event's data as JSON.
func (e *Event) Data() (json.RawMessage, error) {
	if e.OfJob() {
		return json.Marshal(&e.Job)
	}
	return json.Marshal(&e.Object)
}

// JobEventType is the type of the event that a job came into a state.
func JobEventType(s hostler.State) hostler.EventType {
	if s == hostler.StateRunning {
		return hostler.EventJobStarted
	}
	return "job." + hostler.EventType(s)
}

// Emit leaves an event of an object in the outbox.
func (tx *Tx) Emit(p hostler.ProjectID, t hostler.EventType, o hostler.ObjectEvent) {
	tx.events.add(&Event{Type: t, Project: p, Object: o})
}

// maxEventError bounds the text of an error in an event; the job has all of it.
const maxEventError = 2 << 10

func (tx *Tx) emitJob(p hostler.ProjectID, e hostler.JobEvent) {
	if e.Error != nil && len(e.Error.Text.EN)+len(e.Error.Text.ZH) > 2*maxEventError {
		e.Error = &hostler.JobError{Kind: e.Error.Kind, Text: hostler.Text{
			EN: cutText(e.Error.Text.EN, maxEventError), ZH: cutText(e.Error.Text.ZH, maxEventError),
		}}
	}
	tx.events.add(&Event{Type: JobEventType(e.State), Project: p, Job: e})
}

// cutText is at most n bytes of a text, and a sign that there was more.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " …"
}

// emitJobs is emitJob for jobs that all changed in the same way; what differs is
// read from their rows.
func (tx *Tx) emitJobs(ids []int64, change func(id int64, e *hostler.JobEvent)) error {
	if len(ids) == 0 {
		return nil
	}
	return tx.each(`SELECT id, project, run, action, queue, asset, asset_name, created_by FROM job WHERE id IN ?*`,
		[]any{ids}, func(r sqldb.Rows) error {
			s, err := scanSubject(r)
			if err != nil {
				return err
			}
			change(int64(s.Job), &s.JobEvent)
			tx.emitJob(s.project, s.JobEvent)
			return nil
		})
}

// subject is what an event says of the job itself.
type subject struct {
	hostler.JobEvent
	project hostler.ProjectID
	inline  bool // it brought its own host
}

// scanSubject reads id, project, run, action, queue, asset, asset_name and
// created_by.
func scanSubject(r sqldb.Rows) (subject, error) {
	var id, project, run, asset int64
	var s subject
	err := r.Scan(&id, &project, &run, &s.Action, &s.Queue, &asset, &s.AssetName, &s.CreatedBy)
	s.Job, s.Run, s.Asset = hostler.JobID(id), hostler.RunID(run), assetID(asset)
	s.project, s.inline = hostler.ProjectID(project), asset == inlineAsset
	return s, err
}

// flushEvents writes the events of the transaction to the outbox.
func (tx *Tx) flushEvents() error {
	for _, p := range tx.events.take() {
		if _, err := tx.Exec(`INSERT INTO outbox (at, n, body) VALUES (?, ?, ?)`, sqldb.Micros(tx.now), p.n, p.body); err != nil {
			return err
		}
		tx.Notify(TopicOutbox)
	}
	return nil
}

// Published are the events that one call of Publish gave positions.
type Published struct {
	N    int // events
	rows []eventRow
}

type eventRow struct {
	id, last, n, at int64
	body            []byte
}

// Events unpacks them, in order.
func (p *Published) Events() ([]Event, error) {
	out := make([]Event, 0, p.N)
	for i := range p.rows {
		var err error
		if out, err = p.rows[i].unpack(out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *eventRow) unpack(to []Event) ([]Event, error) {
	from := len(to)
	to, err := unpackEvents(to, r.body)
	if err == nil && int64(len(to)-from) != r.n {
		err = fmt.Errorf("%d of %d events found", len(to)-from, r.n)
	}
	if err != nil {
		return to[:from], fmt.Errorf("unpack the events up to %d: %w", r.last, err)
	}
	at := sqldb.Time(r.at)
	for i := from; i < len(to); i++ {
		to[i].At, to[i].Pos = at, r.last-r.n+int64(i-from)+1
	}
	return to, nil
}

// Publish gives positions to the events of up to limit rows of the outbox. It
// waits for whoever publishes already. Full says that there may be more.
func (tx *Tx) Publish(limit int) (p Published, full bool, err error) {
	if err := tx.c.Lock(tx.ctx, publishLock, false); err != nil {
		return p, false, err
	}
	err = tx.each(`DELETE FROM outbox WHERE id IN (SELECT o.id FROM outbox o ORDER BY o.id LIMIT ?) RETURNING id, at, n, body`,
		[]any{limit}, func(r sqldb.Rows) error {
			var row eventRow
			err := r.Scan(&row.id, &row.at, &row.n, &row.body)
			p.rows = append(p.rows, row)
			return err
		})
	if err != nil || len(p.rows) == 0 {
		return p, false, err
	}
	slices.SortFunc(p.rows, func(a, b eventRow) int { return cmp.Compare(a.id, b.id) })
	last, err := tx.LastEvent()
	if err != nil {
		return p, false, err
	}
	rows := make([][]any, len(p.rows))
	for i := range p.rows {
		r := &p.rows[i]
		last += r.n
		r.last = last
		p.N += int(r.n)
		rows[i] = []any{r.last, r.n, r.at, r.body}
	}
	_, err = tx.c.ExecRows(tx.ctx, `INSERT INTO event (last, n, at, body) SELECT v.last, v.n, v.at, v.body FROM @rows`,
		append(sqldb.Ints("last", "n", "at"), sqldb.Col{Name: "body", Type: sqldb.Bytes}), rows)
	tx.Notify(TopicEvents)
	return p, len(p.rows) == limit, err
}

// Unpublished reports whether there is anything in the outbox.
func (tx *Tx) Unpublished() (bool, error) {
	var id int64
	return tx.one(`SELECT id FROM outbox ORDER BY id LIMIT 1`, nil, &id)
}

// LastEvent is the position of the newest published event; 0 before the first.
func (tx *Tx) LastEvent() (pos int64, err error) {
	_, err = tx.one(`SELECT last FROM event ORDER BY last DESC LIMIT 1`, nil, &pos)
	return pos, err
}

// EventPage is a part of the published events.
type EventPage struct {
	Events []Event // those that were asked for, in order
	Last   int64   // the position up to which they were looked for
	Missed int64   // events right behind the position that are no longer kept
}

// EventsAfter reads the published events behind a position that keep asks for (nil:
// all): up to limit of them, out of up to so many rows. Last does not move when
// there are none at all.
func (tx *Tx) EventsAfter(pos int64, rows, limit int, keep func(*Event) bool) (EventPage, error) {
	p := EventPage{Last: pos}
	var all []Event // of a row
	err := tx.each(`SELECT last, n, at, body FROM event WHERE last > ? ORDER BY last LIMIT ?`, []any{pos, rows}, func(r sqldb.Rows) error {
		var row eventRow
		err := r.Scan(&row.last, &row.n, &row.at, &row.body)
		if err != nil || len(p.Events) == limit {
			return err
		}
		if all, err = row.unpack(all[:0]); err != nil {
			return err
		}
		p.take(all, limit, keep)
		return nil
	})
	return p, err
}

// take adds those events of a row that are behind Last and asked for.
func (p *EventPage) take(row []Event, limit int, keep func(*Event) bool) {
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
		if keep == nil || keep(e) {
			p.Events = append(p.Events, *e)
		}
	}
}

// EventsKept is how many events are kept at least as long as they are not older
// than the time that ForgetEvents is given.
const EventsKept = 2_000_000

// ForgetEvents deletes up to limit rows of events from before a time, or beyond
// EventsKept. The newest row stays: positions go on from it.
func (tx *Tx) ForgetEvents(before time.Time, limit int) error {
	last, err := tx.LastEvent()
	if err != nil {
		return err
	}
	_, err = tx.Exec(`DELETE FROM event WHERE last < ? AND last IN (SELECT e.last FROM event e WHERE e.at < ? OR e.last < ? ORDER BY e.last LIMIT ?)`,
		last, sqldb.Micros(before), last-EventsKept, limit)
	return err
}
