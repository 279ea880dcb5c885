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

// attemptsKept limits the attempts that a delivery lists, to the newest.
const attemptsKept = 20

// dueFirst is when a test is due: before all other deliveries of its webhook, because
// a person waits for the test.
const dueFirst = 1

// NewDelivery is a delivery to queue.
type NewDelivery struct {
	Webhook hostler.WebhookID
	Project hostler.ProjectID // the webhook's
	Event   *Event
}

// QueueDeliveries creates deliveries that are due at once. For published events, call it
// in the transaction that moves the cursor; see [Tx.OpenWindow].
func (tx *Tx) QueueDeliveries(list []NewDelivery) ([]hostler.DeliveryID, error) {
	if len(list) == 0 {
		return nil, nil
	}
	raw, err := tx.c.NewIDs(tx.ctx, len(list))
	if err != nil {
		return nil, err
	}
	rows, ids := make([]newDeliveryRow, len(list)), make([]hostler.DeliveryID, len(list))
	for i, d := range list {
		event, err := json.Marshal(d.Event)
		if err != nil {
			return nil, fmt.Errorf("encode an event: %w", err)
		}
		ids[i] = hostler.DeliveryID(raw[i])
		due := sqldb.Micros(tx.now)
		if d.Event.IsTest() {
			due = dueFirst
		}
		rows[i] = newDeliveryRow{
			ID: ids[i], Webhook: d.Webhook, Project: d.Project, Pos: d.Event.Pos, Type: d.Event.Type,
			Job: d.Event.Job.Job, Event: event, State: hostler.DeliveryPending, NextAt: due, CreatedAt: tx.now,
		}
	}
	tx.Notify(TopicDeliveries)
	return ids, insert(tx, "delivery", rows)
}

type newDeliveryRow struct {
	ID        hostler.DeliveryID    `db:"id"`
	Webhook   hostler.WebhookID     `db:"webhook"`
	Project   hostler.ProjectID     `db:"project"`
	Pos       int64                 `db:"pos"`
	Type      hostler.EventType     `db:"type"`
	Job       hostler.JobID         `db:"job"`
	Event     []byte                `db:"event,text"`
	State     hostler.DeliveryState `db:"state"`
	NextAt    int64                 `db:"next_at"`
	CreatedAt time.Time             `db:"created_at"`
}

// deliveryRow is a delivery as it is listed.
type deliveryRow struct {
	ID        hostler.DeliveryID    `db:"d.id"`
	Webhook   hostler.WebhookID     `db:"d.webhook"`
	Name      string                `db:"COALESCE((SELECT w.name FROM webhook w WHERE w.id = d.webhook), '')"`
	Pos       int64                 `db:"d.pos"`
	Type      hostler.EventType     `db:"d.type"`
	Job       hostler.JobID         `db:"d.job"`
	State     hostler.DeliveryState `db:"d.state"`
	Tries     int                   `db:"d.tries"`
	NextAt    time.Time             `db:"d.next_at"`
	CreatedAt time.Time             `db:"d.created_at"`
	EndedAt   *time.Time            `db:"d.ended_at"`
	Attempts  string                `db:"d.attempts"`
}

func (r *deliveryRow) delivery() (hostler.Delivery, error) {
	d := hostler.Delivery{
		ID: r.ID, Webhook: r.Webhook, Name: r.Name, Pos: r.Pos, Type: r.Type, Job: r.Job, State: r.State,
		Tries: r.Tries, Created: r.CreatedAt, Ended: r.EndedAt,
	}
	if name, ok := strings.CutPrefix(r.Name, channelMark); ok {
		d.Channel, d.ChannelName, d.Name = hostler.ChannelID(r.Webhook), name, name
	}
	if d.State == hostler.DeliveryPending {
		next := r.NextAt
		if next.Before(r.CreatedAt) { // dueFirst
			next = r.CreatedAt
		}
		d.NextAt = &next
	}
	var err error
	if d.Attempts, err = decodeAttempts(r.Attempts); err == nil && len(d.Attempts) > 0 {
		d.Last = &d.Attempts[len(d.Attempts)-1]
	}
	return d, err
}

// Delivery reads one delivery of the projects with body and attempts; nil when
// there is none.
func (tx *Tx) Delivery(projects []hostler.ProjectID, id hostler.DeliveryID) (*hostler.Delivery, error) {
	type full struct {
		deliveryRow
		Body string `db:"d.body"`
	}
	r, err := queryOne[full](tx, `SELECT @cols FROM delivery d WHERE d.project IN ?* AND d.id = ?
AND NOT EXISTS (SELECT 1 FROM webhook w WHERE w.id = d.webhook AND w.sweep = 2)`, projects, id)
	if err != nil || r == nil {
		return nil, err
	}
	d, err := r.delivery()
	d.Body = r.Body
	return &d, err
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

// ResendDelivery makes a delivery due at once, with a new schedule of tries.
func (tx *Tx) ResendDelivery(id hostler.DeliveryID) error {
	_, err := tx.Exec(`UPDATE delivery SET state = 'pending', round = 0, claimed = 0, next_at = ?, ended_at = 0
WHERE id = ?`, sqldb.Micros(tx.now), id)
	tx.Notify(TopicDeliveries)
	return err
}

// ClaimedDelivery is a delivery that only the caller may send until its claim ends.
type ClaimedDelivery struct {
	ID      hostler.DeliveryID
	Webhook hostler.WebhookID
	Event   Event
	Tries   int
	Round   int // finished tries of the current schedule
	Body    string
	claim   int64
}

// dueWebhooks steps from one webhook with pending deliveries to the next, and reads
// the first delivery of each from the index: its cost grows with the number of
// webhooks, not with the deliveries that wait for a receiver that is down.
const dueWebhooks = `WITH RECURSIVE p(id) AS (
SELECT min(d.webhook) FROM delivery d WHERE d.state = 'pending'
UNION ALL
SELECT (SELECT min(d.webhook) FROM delivery d WHERE d.state = 'pending' AND d.webhook > p.id)
FROM p WHERE p.id IS NOT NULL)
SELECT w.id, COALESCE(CASE WHEN w.enabled = 1
THEN (SELECT min(d.next_at) FROM delivery d WHERE d.state = 'pending' AND d.webhook = w.id)
ELSE (SELECT min(d.next_at) FROM delivery d
WHERE d.state = 'pending' AND d.type IN ('webhook.ping', 'channel.ping') AND d.webhook = w.id) END, 0)
FROM p JOIN webhook w ON w.id = p.id WHERE w.sweep <> 2`

// DueWebhooks lists the webhooks that have deliveries due, and when the next delivery
// after these is due; zero when there is none. A disabled webhook only sends tests.
func (tx *Tx) DueWebhooks() (due []hostler.WebhookID, next time.Time, err error) {
	type webhookDue struct {
		ID hostler.WebhookID `db:"id"`
		At time.Time         `db:"at"`
	}
	err = queryEach(tx, dueWebhooks, nil, func(w *webhookDue) error {
		switch {
		case w.At.IsZero(): // disabled, without a test
		case !w.At.After(tx.now):
			due = append(due, w.ID)
		case next.IsZero() || w.At.Before(next):
			next = w.At
		}
		return nil
	})
	return due, next, err
}

// mergeLimit is how many events one message of a channel may stand for.
const mergeLimit = 1000

// ClaimDeliveries claims up to limit due deliveries of a webhook, oldest due
// first, for the span. With a rate it claims one, and none before the rate allows
// the next request; the rate holds across servers.
//
// Of a channel it claims all that are due, up to 1,000, which become one message: what
// exceeds the rate is merged. A test is a message of its own.
func (tx *Tx) ClaimDeliveries(w WebhookRow, limit int, span time.Duration) ([]ClaimedDelivery, error) {
	if w.Rate == 0 {
		return tx.claimDeliveries(w, limit, span)
	}
	next := sqldb.Micros(tx.now.Add(time.Minute / time.Duration(w.Rate)))
	free, err := tx.Exec(`UPDATE webhook SET free_at = ? WHERE id = ? AND free_at <= ?`, next, w.ID, sqldb.Micros(tx.now))
	if err != nil || free == 0 {
		return nil, err
	}
	if w.Channel == nil {
		return tx.claimDeliveries(w, 1, span)
	}
	tests := w
	tests.Enabled = false // a disabled one sends tests only
	list, err := tx.claimDeliveries(tests, 1, span)
	if err != nil || len(list) > 0 || !w.Enabled {
		return list, err
	}
	return tx.claimDeliveries(w, mergeLimit, span)
}

// HoldWebhook sends nothing to a webhook with a rate for a time: its receiver asked so.
func (tx *Tx) HoldWebhook(id hostler.WebhookID, span time.Duration) error {
	until := sqldb.Micros(tx.now.Add(span))
	_, err := tx.Exec(`UPDATE webhook SET free_at = ? WHERE id = ? AND free_at < ?`, until, id, until)
	return err
}

// PendingDeliveries counts the deliveries of a webhook that wait and are not being sent,
// up to 10,000.
func (tx *Tx) PendingDeliveries(id hostler.WebhookID) (n int, err error) {
	_, err = tx.one(`SELECT count(*) FROM (SELECT 1 FROM delivery d WHERE d.webhook = ? AND d.state = 'pending'
AND d.claimed = 0 LIMIT ?) c`, []any{id, countedDeliveries}, &n)
	return n, err
}

func (tx *Tx) claimDeliveries(w WebhookRow, limit int, span time.Duration) ([]ClaimedDelivery, error) {
	type claimed struct {
		ID    hostler.DeliveryID `db:"id"`
		Event []byte             `db:"event,text"`
		Tries int                `db:"tries"`
		Round int                `db:"round"`
		Body  string             `db:"body"`
	}
	claim := sqldb.Micros(tx.now.Add(span))
	rows, err := query[claimed](tx, `UPDATE delivery SET next_at = ?, claimed = 1 WHERE id IN (
SELECT d.id FROM delivery d WHERE d.webhook = ? AND d.state = 'pending' AND d.next_at <= ?
AND (? = 1 OR d.type IN ('webhook.ping', 'channel.ping')) ORDER BY d.next_at, d.id LIMIT ? FOR UPDATE SKIP LOCKED)
RETURNING @cols`, claim, w.ID, sqldb.Micros(tx.now), w.Enabled, limit)
	if err != nil {
		return nil, err
	}
	out := make([]ClaimedDelivery, len(rows))
	for i, r := range rows {
		out[i] = ClaimedDelivery{ID: r.ID, Webhook: w.ID, Tries: r.Tries, Round: r.Round, Body: r.Body, claim: claim}
		if err := json.Unmarshal(r.Event, &out[i].Event); err != nil {
			return nil, fmt.Errorf("decode the event of delivery %v: %w", r.ID, err)
		}
	}
	// RETURNING guarantees no order.
	slices.SortFunc(out, func(a, b ClaimedDelivery) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// ReleaseDeliveries ends every claim. A server that is alone calls it when it starts:
// the process that claimed them is dead.
func (tx *Tx) ReleaseDeliveries() error {
	_, err := tx.Exec(`UPDATE delivery SET claimed = 0, next_at = ? WHERE claimed = 1 AND state = 'pending'`,
		sqldb.Micros(tx.now))
	return err
}

// DeliveryOutcome is the outcome of one try.
type DeliveryOutcome struct {
	State   hostler.DeliveryState
	Next    time.Time // the next try, when it is pending
	Body    string    // what was sent
	Attempt hostler.DeliveryAttempt
}

// EndTry records one try of a claimed delivery. If a person asked to send it again in
// the meantime, it stays due.
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
		_, err = tx.Exec(`UPDATE delivery SET tries = ?, body = ?, attempts = ? WHERE id = ?`,
			o.Attempt.N, o.Body, string(text), c.ID)
		return err
	}
	next, ended := sqldb.Micros(o.Next), int64(0)
	if o.State != hostler.DeliveryPending {
		next, ended = 0, sqldb.Micros(tx.now)
	}
	_, err = tx.Exec(`UPDATE delivery SET state = ?, tries = ?, round = round + 1, claimed = 0, next_at = ?, ended_at = ?,
body = ?, attempts = ? WHERE id = ?`,
		o.State, o.Attempt.N, next, ended, o.Body, string(text), c.ID)
	return err
}

// EndMerged records the try of a message for deliveries that were merged into it. Those
// of one call have the same outcome, whose attempt replaces the ones before.
func (tx *Tx) EndMerged(list []ClaimedDelivery, o DeliveryOutcome) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]hostler.DeliveryID, len(list))
	for i, c := range list {
		ids[i] = c.ID
	}
	text, err := json.Marshal([]hostler.DeliveryAttempt{o.Attempt})
	if err != nil {
		return fmt.Errorf("encode attempts: %w", err)
	}
	next, ended := sqldb.Micros(o.Next), int64(0)
	if o.State != hostler.DeliveryPending {
		next, ended = 0, sqldb.Micros(tx.now)
	}
	_, err = tx.Exec(`UPDATE delivery SET state = ?, tries = tries + 1, round = round + 1, claimed = 0, next_at = ?,
ended_at = ?, attempts = ? WHERE id IN ?* AND next_at = ?`, o.State, next, ended, string(text), ids, list[0].claim)
	return err
}
