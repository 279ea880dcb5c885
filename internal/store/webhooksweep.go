package store

import (
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file holds what upkeep does with deliveries, in steps that are bounded however
// many there are.

// What is left to do with the deliveries of a webhook.
const (
	sweepFail   = 1 // those that wait fail
	sweepDelete = 2 // all are deleted, and then the webhook
)

// SweptWebhook is a webhook whose deliveries upkeep deals with.
type SweptWebhook struct {
	ID    hostler.WebhookID `db:"id"`
	Sweep int               `db:"sweep"`
}

// SweptWebhooks lists up to limit webhooks with deliveries to deal with, by id after one.
func (tx *Tx) SweptWebhooks(after hostler.WebhookID, limit int) ([]SweptWebhook, error) {
	return query[SweptWebhook](tx, `SELECT @cols FROM webhook WHERE sweep <> 0 AND id > ? ORDER BY id LIMIT ?`, after, limit)
}

// SweepCursor is how far a sweep has come. A sweep that starts over passes the rows that
// it deleted once more, which the database may not have removed yet.
type SweepCursor struct {
	state int
	id    hostler.DeliveryID
}

// sweptStates are the states in the order of a sweep.
var sweptStates = []hostler.DeliveryState{
	hostler.DeliveryPending, hostler.DeliveryDelivered, hostler.DeliveryFailed,
}

// SweepWebhook deals with up to limit deliveries of a webhook after the cursor. more
// reports that there may be others. The webhook itself goes with the last one.
func (tx *Tx) SweepWebhook(w SweptWebhook, at SweepCursor, limit int) (next SweepCursor, more bool, err error) {
	if w.Sweep == sweepFail {
		more, err = tx.failPending(w.ID, limit)
		return at, more, err
	}
	for ; at.state < len(sweptStates); at = (SweepCursor{state: at.state + 1}) {
		ids, err := column[hostler.DeliveryID](tx, `DELETE FROM delivery WHERE id IN (SELECT d.id FROM delivery d
WHERE d.webhook = ? AND d.state = ? AND d.id > ? ORDER BY d.id LIMIT ? FOR UPDATE SKIP LOCKED) RETURNING id`,
			w.ID, sweptStates[at.state], at.id, limit)
		if err != nil {
			return at, false, err
		}
		if limit -= len(ids); limit == 0 {
			at.id = slices.Max(ids)
			return at, true, nil
		}
	}
	// A try that ended meanwhile may have moved a delivery to a state that was done.
	left, err := tx.exists(`SELECT id FROM delivery WHERE webhook = ? LIMIT 1`, w.ID)
	if err != nil || left {
		return at, false, err
	}
	_, err = tx.Exec(`DELETE FROM webhook WHERE id = ? AND sweep = ?`, w.ID, sweepDelete)
	return at, false, err
}

func (tx *Tx) failPending(id hostler.WebhookID, limit int) (more bool, err error) {
	n, err := tx.Exec(`UPDATE delivery SET state = 'failed', next_at = 0, ended_at = ? WHERE id IN (
SELECT d.id FROM delivery d WHERE d.webhook = ? AND d.state = 'pending' AND d.claimed = 0
ORDER BY d.next_at LIMIT ? FOR UPDATE SKIP LOCKED)`, sqldb.Micros(tx.now), id, limit)
	if err != nil || n == int64(limit) {
		return err == nil, err
	}
	left, err := tx.exists(`SELECT id FROM delivery WHERE webhook = ? AND state = 'pending' LIMIT 1`, id)
	if err != nil || left {
		return false, err
	}
	_, err = tx.Exec(`UPDATE webhook SET sweep = 0 WHERE id = ? AND sweep = ?`, id, sweepFail)
	return false, err
}

// DeleteDeliveries deletes up to limit deliveries that ended before a time, and as many
// that have been due since before it: the webhook is disabled or its receiver is down.
// more reports that there may be more.
func (tx *Tx) DeleteDeliveries(before time.Time, limit int) (more bool, err error) {
	at := sqldb.Micros(before)
	n, err := tx.Exec(`DELETE FROM delivery WHERE id IN (
SELECT d.id FROM delivery d WHERE d.ended_at <> 0 AND d.ended_at < ? ORDER BY d.ended_at LIMIT ? FOR UPDATE SKIP LOCKED)`,
		at, limit)
	if err != nil {
		return false, err
	}
	// An id is not older than its second, so only rows from before the time are read. Few
	// of them are left: those that ended are deleted.
	m, err := tx.Exec(`DELETE FROM delivery WHERE id IN (
SELECT d.id FROM delivery d WHERE d.id < ? AND d.state = 'pending' AND d.next_at < ? AND d.created_at < ?
ORDER BY d.id LIMIT ? FOR UPDATE SKIP LOCKED)`, hostler.MakeID(before.Unix()+1, 0), at, at, limit)
	return n == int64(limit) || m == int64(limit), err
}

// EndedRunWebhooks lists up to limit webhooks of runs from before a time, by id after
// one, that have no delivery and whose jobs have all ended. Their last events may not be
// published yet; see [Tx.DeleteRunWebhooks].
func (tx *Tx) EndedRunWebhooks(before time.Time, after hostler.WebhookID, limit int) ([]hostler.WebhookID, error) {
	return column[hostler.WebhookID](tx, `SELECT w.id FROM webhook w WHERE w.run <> 0 AND w.id > ? AND w.id < ?
AND w.created_at < ?
AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.webhook = w.id)
AND NOT EXISTS (SELECT 1 FROM job j WHERE j.run = w.run) ORDER BY w.id LIMIT ?`,
		after, hostler.MakeID(before.Unix()+1, 0), sqldb.Micros(before), limit)
}

// EventMark is a point in the order of events: all that were committed before it was
// taken.
type EventMark struct{ outbox, pos int64 }

// MarkEvents takes a mark.
func (tx *Tx) MarkEvents() (m EventMark, err error) {
	if _, err := tx.one(`SELECT id FROM outbox ORDER BY id DESC LIMIT 1`, nil, &m.outbox); err != nil {
		return m, err
	}
	m.pos, err = tx.LastEvent()
	return m, err
}

// MadeUpTo reports whether the deliveries of all events before a mark are made. The mark
// moves on when the events are published.
func (tx *Tx) MadeUpTo(m *EventMark) (bool, error) {
	if m.outbox != 0 {
		waiting, err := tx.exists(`SELECT id FROM outbox WHERE id <= ? LIMIT 1`, m.outbox)
		if err != nil || waiting {
			return false, err
		}
		last, err := tx.LastEvent()
		if err != nil {
			return false, err
		}
		*m = EventMark{pos: last}
	}
	return tx.exists(`SELECT id FROM delivery_cursor WHERE id = 1 AND pos >= ?`, m.pos)
}

// DeleteRunWebhooks deletes webhooks of runs. The caller has seen that their jobs had
// ended before a mark, and that the deliveries up to it are made. Those that got a
// delivery, or another job, stay.
func (tx *Tx) DeleteRunWebhooks(ids []hostler.WebhookID) error {
	_, err := tx.Exec(`DELETE FROM webhook WHERE id IN ?* AND run <> 0
AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.webhook = webhook.id)
AND NOT EXISTS (SELECT 1 FROM event_aside a WHERE a.target = webhook.id)
AND NOT EXISTS (SELECT 1 FROM job j WHERE j.run = webhook.run)`, ids)
	return err
}
