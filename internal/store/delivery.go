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

// attemptsKept bounds the attempts that a delivery keeps; of more, the newest.
const attemptsKept = 20

// dueFirst is when a test is due: before all that waits for its webhook, because
// somebody waits for the test.
const dueFirst = 1

// NewDelivery is a delivery to queue.
type NewDelivery struct {
	Webhook hostler.WebhookID
	Project hostler.ProjectID // the webhook's
	Event   *Event
}

// QueueDeliveries makes deliveries that are due at once. They are made once for an
// event that is published once: the caller is in the transaction of Publish.
func (tx *Tx) QueueDeliveries(list []NewDelivery) ([]hostler.DeliveryID, error) {
	if len(list) == 0 {
		return nil, nil
	}
	raw, err := tx.c.NewIDs(tx.ctx, len(list))
	if err != nil {
		return nil, err
	}
	rows, ids := make([][]any, len(list)), make([]hostler.DeliveryID, len(list))
	for i, d := range list {
		event, err := json.Marshal(d.Event)
		if err != nil {
			return nil, fmt.Errorf("encode an event: %w", err)
		}
		ids[i] = hostler.DeliveryID(raw[i])
		due := sqldb.Micros(tx.now)
		if d.Event.Type == hostler.EventWebhookPing {
			due = dueFirst
		}
		rows[i] = []any{raw[i], int64(d.Webhook), int64(d.Project), d.Event.Pos, int64(d.Event.Job.Job), sqldb.Micros(tx.now), due, string(d.Event.Type), string(event)}
	}
	_, err = tx.c.ExecRows(tx.ctx, `INSERT INTO delivery (id, webhook, project, pos, type, job, event, state, next_at, created_at)
SELECT v.id, v.webhook, v.project, v.pos, v.type, v.job, v.event, 'pending', v.due, v.at FROM @rows`,
		append(sqldb.Ints("id", "webhook", "project", "pos", "job", "at", "due"), sqldb.Texts("type", "event")...), rows)
	tx.Notify(TopicDeliveries)
	return ids, err
}

// DeliveryQuery is a hostler.DeliveryFilter whose names are resolved.
type DeliveryQuery struct {
	Projects []hostler.ProjectID
	Webhook  hostler.WebhookID
	State    hostler.DeliveryState
	Type     hostler.EventType
	Job      hostler.JobID
	Since    time.Time
	Until    time.Time
}

const deliveryFields = `SELECT d.id, d.webhook, COALESCE((SELECT w.name FROM webhook w WHERE w.id = d.webhook), ''),
d.pos, d.type, d.job, d.state, d.tries, d.next_at, d.created_at, d.ended_at, d.attempts`

// Deliveries lists deliveries, newest first, before an id (0 for the first),
// without their bodies and with their last attempts.
func (tx *Tx) Deliveries(q DeliveryQuery, before hostler.DeliveryID, limit int) ([]hostler.Delivery, error) {
	where, args := []string{`d.project IN ?*`}, []any{q.Projects}
	and := func(is bool, condition string, arg any) {
		if is {
			where, args = append(where, condition), append(args, arg)
		}
	}
	and(q.Webhook != 0, `d.webhook = ?`, q.Webhook)
	and(q.State == hostler.DeliveryDelivered, `d.state = ?`, q.State)
	and(q.State != "" && q.State != hostler.DeliveryDelivered, `d.state <> 'delivered' AND d.state = ?`, q.State) // has an index
	and(q.Type != "", `d.type = ?`, q.Type)
	and(q.Job != 0, `d.job <> 0 AND d.job = ?`, q.Job)
	and(!q.Since.IsZero(), `d.created_at >= ?`, sqldb.Micros(q.Since))
	and(!q.Until.IsZero(), `d.created_at < ?`, sqldb.Micros(q.Until))
	and(before != 0, `d.id < ?`, before)
	var out []hostler.Delivery
	err := tx.each(deliveryFields+`, '' FROM delivery d WHERE `+strings.Join(where, ` AND `)+` ORDER BY d.id DESC LIMIT ?`,
		append(args, limit), func(r sqldb.Rows) error {
			d, err := scanDelivery(r)
			d.Attempts = nil
			out = append(out, d)
			return err
		})
	return out, err
}

// Delivery reads one delivery of the projects with body and attempts; nil when
// there is none.
func (tx *Tx) Delivery(projects []hostler.ProjectID, id hostler.DeliveryID) (*hostler.Delivery, error) {
	var out *hostler.Delivery
	err := tx.each(deliveryFields+`, d.body FROM delivery d WHERE d.project IN ?* AND d.id = ?`, []any{projects, id}, func(r sqldb.Rows) error {
		d, err := scanDelivery(r)
		out = &d
		return err
	})
	return out, err
}

func scanDelivery(r sqldb.Rows) (hostler.Delivery, error) {
	var d hostler.Delivery
	var id, webhook, job, next, created, ended int64
	var kind, state, attempts string
	err := r.Scan(&id, &webhook, &d.Name, &d.Pos, &kind, &job, &state, &d.Tries, &next, &created, &ended, &attempts, &d.Body)
	if err != nil {
		return d, err
	}
	d.ID, d.Webhook, d.Job = hostler.DeliveryID(id), hostler.WebhookID(webhook), hostler.JobID(job)
	d.Type, d.State = hostler.EventType(kind), hostler.DeliveryState(state)
	d.Created, d.Ended = sqldb.Time(created), timePtr(ended)
	if d.State == hostler.DeliveryPending {
		d.NextAt = timePtr(max(next, created))
	}
	if d.Attempts, err = decodeAttempts(attempts); err == nil && len(d.Attempts) > 0 {
		d.Last = &d.Attempts[len(d.Attempts)-1]
	}
	return d, err
}

func decodeAttempts(text string) ([]hostler.DeliveryAttempt, error) {
	if text == "" {
		return nil, nil
	}
	var list []hostler.DeliveryAttempt
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("decode attempts: %w", err)
	}
	return list, nil
}

// ResendDelivery makes a delivery due at once, with a fresh schedule of tries.
func (tx *Tx) ResendDelivery(id hostler.DeliveryID) error {
	_, err := tx.Exec(`UPDATE delivery SET state = 'pending', round = 0, claimed = 0, next_at = ?, ended_at = 0 WHERE id = ?`, sqldb.Micros(tx.now), id)
	tx.Notify(TopicDeliveries)
	return err
}

// ClaimedDelivery is a delivery that the caller alone may send until its claim
// ends.
type ClaimedDelivery struct {
	ID      hostler.DeliveryID
	Webhook hostler.WebhookID
	Event   Event
	Tries   int
	Round   int // tries of the schedule that are over
	Body    string
	claim   int64
}

// dueWebhooks steps from one webhook with pending deliveries to the next, and asks
// the index of each for its first: what it costs grows with the webhooks, not with
// the deliveries that wait for a receiver that is down.
const dueWebhooks = `WITH RECURSIVE p(id) AS (
SELECT min(d.webhook) FROM delivery d WHERE d.state = 'pending'
UNION ALL
SELECT (SELECT min(d.webhook) FROM delivery d WHERE d.state = 'pending' AND d.webhook > p.id) FROM p WHERE p.id IS NOT NULL)
SELECT w.id, COALESCE(CASE WHEN w.enabled = 1
THEN (SELECT min(d.next_at) FROM delivery d WHERE d.state = 'pending' AND d.webhook = w.id)
ELSE (SELECT min(d.next_at) FROM delivery d WHERE d.state = 'pending' AND d.type = 'webhook.ping' AND d.webhook = w.id) END, 0)
FROM p JOIN webhook w ON w.id = p.id`

// DueWebhooks lists the webhooks that have deliveries due, and when the next
// delivery is due that is not yet; zero when there is none. Of a disabled webhook
// only tests are sent.
func (tx *Tx) DueWebhooks() (due []hostler.WebhookID, next time.Time, err error) {
	err = tx.each(dueWebhooks, nil, func(r sqldb.Rows) error {
		var id, at int64
		if err := r.Scan(&id, &at); err != nil {
			return err
		}
		switch {
		case at == 0: // disabled, without a test
		case at <= sqldb.Micros(tx.now):
			due = append(due, hostler.WebhookID(id))
		case next.IsZero() || sqldb.Time(at).Before(next):
			next = sqldb.Time(at)
		}
		return nil
	})
	return due, next, err
}

// ClaimDeliveries claims up to limit due deliveries of a webhook, oldest due
// first, for the span. With a rate it claims one, and none before the rate allows
// the next request, whichever server made the last one.
func (tx *Tx) ClaimDeliveries(w WebhookRow, limit int, span time.Duration) ([]ClaimedDelivery, error) {
	if w.Rate == 0 {
		return tx.claimDeliveries(w, limit, span)
	}
	next := sqldb.Micros(tx.now.Add(time.Minute / time.Duration(w.Rate)))
	free, err := tx.Exec(`UPDATE webhook SET free_at = ? WHERE id = ? AND free_at <= ?`, next, w.ID, sqldb.Micros(tx.now))
	if err != nil || free == 0 {
		return nil, err
	}
	return tx.claimDeliveries(w, 1, span)
}

func (tx *Tx) claimDeliveries(w WebhookRow, limit int, span time.Duration) ([]ClaimedDelivery, error) {
	claim := sqldb.Micros(tx.now.Add(span))
	var out []ClaimedDelivery
	err := tx.each(`UPDATE delivery SET next_at = ?, claimed = 1 WHERE id IN (SELECT d.id FROM delivery d WHERE d.webhook = ? AND d.state = 'pending'
AND d.next_at <= ? AND (? = 1 OR d.type = 'webhook.ping') ORDER BY d.next_at, d.id LIMIT ? FOR UPDATE SKIP LOCKED)
RETURNING id, event, tries, round, body`, []any{claim, w.ID, sqldb.Micros(tx.now), w.Enabled, limit}, func(r sqldb.Rows) error {
		c := ClaimedDelivery{Webhook: w.ID, claim: claim}
		var id int64
		var event string
		if err := r.Scan(&id, &event, &c.Tries, &c.Round, &c.Body); err != nil {
			return err
		}
		c.ID = hostler.DeliveryID(id)
		if err := json.Unmarshal([]byte(event), &c.Event); err != nil {
			return fmt.Errorf("decode the event of delivery %v: %w", c.ID, err)
		}
		out = append(out, c)
		return nil
	})
	// RETURNING promises no order.
	slices.SortFunc(out, func(a, b ClaimedDelivery) int { return cmp.Compare(a.ID, b.ID) })
	return out, err
}

// ReleaseDeliveries ends every claim: for a server that is alone and has just
// started, so that whoever claimed them is dead.
func (tx *Tx) ReleaseDeliveries() error {
	_, err := tx.Exec(`UPDATE delivery SET claimed = 0, next_at = ? WHERE state = 'pending' AND claimed = 1`, sqldb.Micros(tx.now))
	return err
}

// DeliveryOutcome is what came of one try.
type DeliveryOutcome struct {
	State   hostler.DeliveryState
	Next    time.Time // when it is pending
	Body    string    // what was sent
	Attempt hostler.DeliveryAttempt
}

// EndTry records one try of a claimed delivery. When it was meant to be sent again
// in the meantime, it stays due.
func (tx *Tx) EndTry(c ClaimedDelivery, o DeliveryOutcome) error {
	var attempts string
	var at int64
	found, err := tx.one(`SELECT attempts, next_at FROM delivery WHERE id = ? FOR UPDATE`, []any{c.ID}, &attempts, &at)
	if err != nil || !found {
		return err
	}
	list, err := decodeAttempts(attempts)
	if err != nil {
		return err
	}
	list = append(list, o.Attempt)
	text, err := json.Marshal(list[max(0, len(list)-attemptsKept):])
	if err != nil {
		return fmt.Errorf("encode attempts: %w", err)
	}
	if at != c.claim {
		_, err = tx.Exec(`UPDATE delivery SET tries = ?, body = ?, attempts = ? WHERE id = ?`, o.Attempt.N, o.Body, string(text), c.ID)
		return err
	}
	next, ended := sqldb.Micros(o.Next), int64(0)
	if o.State != hostler.DeliveryPending {
		next, ended = 0, sqldb.Micros(tx.now)
	}
	_, err = tx.Exec(`UPDATE delivery SET state = ?, tries = ?, round = round + 1, claimed = 0, next_at = ?, ended_at = ?, body = ?, attempts = ? WHERE id = ?`,
		o.State, o.Attempt.N, next, ended, o.Body, string(text), c.ID)
	return err
}

// DropDeliveries deletes up to limit deliveries that ended before a time, as many
// that have been due since before it, because the webhook is disabled or its receiver
// is down, and then the webhooks of runs that are older and have none left. It says
// whether there may be more.
func (tx *Tx) DropDeliveries(before time.Time, limit int) (more bool, err error) {
	at := sqldb.Micros(before)
	for _, drop := range []struct {
		sql  string
		args []any
	}{
		{`DELETE FROM delivery WHERE id IN (SELECT d.id FROM delivery d WHERE d.ended_at <> 0 AND d.ended_at < ? ORDER BY d.ended_at LIMIT ?)`, []any{at, limit}},
		{`DELETE FROM delivery WHERE id IN (SELECT d.id FROM delivery d WHERE d.state = 'pending' AND d.next_at < ? AND d.created_at < ? LIMIT ?)`, []any{at, at, limit}},
		{`DELETE FROM webhook WHERE id IN (SELECT w.id FROM webhook w WHERE w.run <> 0 AND w.created_at < ?
AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.webhook = w.id) AND NOT EXISTS (SELECT 1 FROM job j WHERE j.run = w.run) ORDER BY w.id LIMIT ?)`, []any{at, limit}},
	} {
		n, err := tx.Exec(drop.sql, drop.args...)
		if err != nil {
			return false, err
		}
		more = more || n == int64(limit)
	}
	return more, nil
}
