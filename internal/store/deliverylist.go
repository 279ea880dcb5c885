package store

import (
	"cmp"
	"math"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file lists deliveries, as joblist.go lists jobs: along the index that fits best,
// from the newest id down, with a bound on the rows that are read.

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

// deliveryMatch is 1 for the rows that a query selects. Those of a deleted webhook are
// rows that upkeep has not come to yet.
const deliveryMatch = `CASE WHEN d.project IN ?* AND (? = 1 OR d.webhook = ?) AND (? = 1 OR d.state = ?)
AND (? = 1 OR d.type = ?) AND (? = 1 OR d.job = ?) AND d.created_at >= ? AND d.created_at < ?
AND NOT EXISTS (SELECT 1 FROM webhook w WHERE w.id = d.webhook AND w.sweep = 2) THEN 1 ELSE 0 END`

func (q DeliveryQuery) matchArgs() []any {
	until := int64(math.MaxInt64)
	if !q.Until.IsZero() {
		until = sqldb.Micros(q.Until)
	}
	return []any{
		q.Projects, q.Webhook == 0, q.Webhook, q.State == "", q.State, q.Type == "", q.Type, q.Job == 0, q.Job,
		sqldb.Micros(q.Since), until,
	}
}

// sources are conditions that each have an index, with their arguments; together they
// cover the query.
func (q DeliveryQuery) sources() (where []string, args []any) {
	add := func(condition string, arg any) { where, args = append(where, condition), append(args, arg) }
	state := func() string { return `d.state = '` + string(q.State) + `' AND ` }
	switch {
	case q.Job != 0:
		add(`d.job <> 0 AND d.job = ?`, q.Job)
	case q.Webhook != 0 && q.State != "":
		add(state()+`d.webhook = ?`, q.Webhook)
	case q.Webhook != 0:
		for _, s := range []string{"pending", "delivered", "failed"} {
			add(`d.state = '`+s+`' AND d.webhook = ?`, q.Webhook)
		}
	default:
		condition := `d.project = ?`
		if q.State != "" && q.State != hostler.DeliveryDelivered {
			condition = `d.state <> 'delivered' AND d.project = ?` // as the index delivery_open has it
		}
		for _, p := range q.Projects {
			add(condition, p)
		}
	}
	return where, args
}

// Deliveries lists up to limit deliveries with ids below before (0 for the newest),
// newest first, without their bodies and with their last attempts. next is where to go
// on, 0 at the end: a page may hold fewer than limit, even none, and yet not be the last,
// because the scan of rows that do not match is bounded.
func (tx *Tx) Deliveries(q DeliveryQuery, before hostler.DeliveryID, limit int) (
	list []hostler.Delivery, next hostler.DeliveryID, err error,
) {
	top, bottom := int64(before), int64(0)
	if top == 0 {
		top = math.MaxInt64
	}
	if !q.Until.IsZero() {
		top = min(top, hostler.MakeID(q.Until.Add(idSlack).Unix(), 0))
	}
	if !q.Since.IsZero() {
		bottom = hostler.MakeID(q.Since.Add(-idSlack).Unix(), 0)
	}
	var all []int64
	horizon := int64(0) // every source was searched down to it
	where, args := q.sources()
	for i := range where {
		found, down, err := tx.scanDeliveries(q, where[i], args[i], bottom, top, limit)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, found...)
		horizon = max(horizon, down)
	}
	slices.SortFunc(all, func(a, b int64) int { return cmp.Compare(b, a) })
	all = slices.DeleteFunc(all, func(id int64) bool { return id < horizon })
	next = hostler.DeliveryID(horizon)
	if len(all) >= limit {
		all = all[:limit]
		next = hostler.DeliveryID(all[limit-1])
	}
	list, err = tx.deliveriesByID(all)
	return list, next, err
}

// scanDeliveries searches one source down from an id. It returns the ids that match, and
// the id down to which it has searched: 0 when there are no more.
func (tx *Tx) scanDeliveries(q DeliveryQuery, where string, arg any, bottom, top int64, limit int) (
	found []int64, down int64, err error,
) {
	sql := `SELECT d.id, ` + deliveryMatch + ` FROM delivery d WHERE ` + where +
		` AND d.id < ? AND d.id >= ? ORDER BY d.id DESC LIMIT ?`
	args := append(q.matchArgs(), arg)
	// The first chunk is small: most listings match all that they read.
	for left, chunk := scanBudget, limit+1; left > 0 && len(found) < limit; chunk *= 8 {
		chunk = min(chunk, left)
		left -= chunk
		seen := 0
		err := tx.each(sql, append(slices.Clone(args), top, bottom, chunk), func(r sqldb.Rows) error {
			var hit int64
			seen++
			if err := r.Scan(&top, &hit); err != nil {
				return err
			}
			if hit == 1 {
				found = append(found, top)
			}
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		if seen < chunk {
			return found, 0, nil
		}
	}
	return found, top, nil
}

// deliveriesByID reads deliveries, newest first.
func (tx *Tx) deliveriesByID(ids []int64) ([]hostler.Delivery, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := query[deliveryRow](tx, `SELECT @cols FROM delivery d WHERE d.id IN ?* ORDER BY d.id DESC`, ids)
	if err != nil {
		return nil, err
	}
	out := make([]hostler.Delivery, len(rows))
	for i := range rows {
		if out[i], err = rows[i].delivery(); err != nil {
			return nil, err
		}
		out[i].Attempts = nil
	}
	return out, nil
}
