package store

import (
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file holds the durable cursor behind which deliveries are made of events.
//
// A window is a run of events after the cursor. Its deliveries are made webhook by
// webhook, in as many transactions as it takes, and each transaction moves the cursor:
// so no delivery is lost or made twice, whichever server makes the next one. The row of
// the cursor is locked meanwhile, so that one server makes them at a time.
//
// Events that cannot be made into deliveries are set aside, with their row: the cursor
// moves on, and a person may retry them.

const (
	// windowEvents and windowRows bound the events of a window and the rows that hold
	// them, windowBytes the size of their deliveries to one webhook.
	windowEvents = 1000
	windowRows   = 256
	windowBytes  = 1 << 20
)

// progress is how far a range of events has its deliveries: all up to Pos; those after
// it up to Upto for the webhooks below Webhook, and for that one up to Event.
type progress struct {
	Pos     int64             `db:"pos"`
	Upto    int64             `db:"upto"`
	Webhook hostler.WebhookID `db:"webhook"`
	Event   int64             `db:"event"`
}

// Window is a run of events whose deliveries are being made.
type Window struct {
	Events []Event // in order
	// Damaged is why the events cannot be read.
	Damaged error
	// Only is the webhook that deliveries are made for; 0: all.
	Only hostler.WebhookID

	at    progress
	row   eventRow // holds the first event
	aside int64    // the key of events set aside that are retried; 0: of the cursor
}

// Progress returns where the window continues: with the events after a position for a
// webhook, and all for the webhooks after it.
func (w *Window) Progress() (hostler.WebhookID, int64) { return w.at.Webhook, w.at.Event }

// Range returns the first and the last position of the window.
func (w *Window) Range() (first, last int64) { return w.at.Pos + 1, w.at.Upto }

// UnmadeEvents returns how many events wait for their deliveries. retry reports that
// some that were set aside are to be retried.
func (tx *Tx) UnmadeEvents() (n int64, retry bool, err error) {
	last, err := tx.LastEvent()
	if err != nil {
		return 0, false, err
	}
	var pos int64
	if _, err := tx.one(`SELECT pos FROM delivery_cursor WHERE id = 1`, nil, &pos); err != nil {
		return 0, false, err
	}
	retry, err = tx.exists(`SELECT last FROM event_aside WHERE retry = 1 LIMIT 1`)
	return max(0, last-pos), retry, err
}

// OpenWindow locks the next window of up to limit events, or the rest of the one that
// was begun; nil when there is none, or another server is at it.
func (tx *Tx) OpenWindow(limit int) (*Window, error) {
	if w, err := tx.openAside(); err != nil || w != nil {
		return w, err
	}
	at, err := tx.lockCursor()
	if err != nil || at == nil {
		return nil, err
	}
	rows, err := tx.eventRows(at.Pos, windowRows, windowEvents)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	w := &Window{at: *at, row: rows[0]}
	w.read(rows, min(limit, windowEvents))
	return w, nil
}

// lockCursor locks the cursor; nil when another server has done so.
func (tx *Tx) lockCursor() (*progress, error) {
	at, err := queryOne[progress](tx, `SELECT @cols FROM delivery_cursor WHERE id = 1 FOR UPDATE SKIP LOCKED`)
	if err != nil || at != nil {
		return at, err
	}
	_, err = tx.Exec(`INSERT INTO delivery_cursor (id, pos) VALUES (1, 0) ON CONFLICT (id) DO NOTHING`)
	return nil, err
}

// read unpacks the rows, up to the end of the window if it was begun. Else it begins
// the window, with up to limit events.
func (w *Window) read(rows []eventRow, limit int) {
	begun, size := w.at.Upto > w.at.Pos, 0
	if !begun {
		w.at.Upto, w.at.Webhook, w.at.Event = w.row.Last, 0, 0
	}
	var all []Event
	for i := range rows {
		from := len(all)
		var err error
		if all, err = rows[i].unpack(all); err != nil {
			if i == 0 {
				w.Damaged = err
				return
			}
			break
		}
		for _, e := range all[from:] {
			size += e.Size()
			switch {
			case e.Pos <= w.at.Pos:
				continue
			case begun && e.Pos > w.at.Upto, !begun && len(w.Events) > 0 && (len(w.Events) == limit || size > windowBytes):
				return
			}
			w.Events = append(w.Events, e)
			if !begun {
				w.at.Upto = e.Pos
			}
		}
	}
}

// Size is about how many bytes a delivery of the event takes in the database, and no less
// than its texts do.
func (e *Event) Size() int {
	n := 300 + jsonSize(e.Object.Object) + jsonSize(e.Job.AssetName)
	if e.Job.Error != nil {
		n += jsonSize(e.Job.Error.Text.EN) + jsonSize(e.Job.Error.Text.ZH)
	}
	return n
}

// jsonSize is at least the size of a text in JSON.
func jsonSize(s string) int {
	n := len(s)
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c == '<', c == '>', c == '&', c == 0x7f:
			n += 5
		case c == '"', c == '\\':
			n++
		}
	}
	return n
}

// AdvanceWindow records that the deliveries are made for the webhooks before one, and
// for that one up to a position.
func (tx *Tx) AdvanceWindow(w *Window, webhook hostler.WebhookID, event int64) error {
	w.at.Webhook, w.at.Event = webhook, event
	return tx.saveProgress(w)
}

// CloseWindow records that all deliveries of the window are made.
func (tx *Tx) CloseWindow(w *Window) error {
	w.at = progress{Pos: w.at.Upto}
	if w.aside != 0 && w.at.Pos >= w.aside {
		_, err := tx.Exec(`DELETE FROM event_aside WHERE last = ? AND target = ?`, w.aside, w.Only)
		return err
	}
	return tx.saveProgress(w)
}

func (tx *Tx) saveProgress(w *Window) error {
	p := w.at
	sql, args := `UPDATE delivery_cursor SET pos = ?, upto = ?, webhook = ?, event = ? WHERE id = 1`,
		[]any{p.Pos, p.Upto, p.Webhook, p.Event}
	if w.aside != 0 {
		sql = `UPDATE event_aside SET pos = ?, upto = ?, webhook = ?, event = ? WHERE last = ? AND target = ?`
		args = append(args, w.aside, w.Only)
	}
	_, err := tx.Exec(sql, args...)
	return err
}

// SkipEvents moves the cursor to the newest event if no webhook is enabled that could
// get one. done is false when there is one, or another server makes deliveries.
func (tx *Tx) SkipEvents() (done bool, err error) {
	at, err := tx.lockCursor()
	if err != nil || at == nil {
		return false, err
	}
	// Read before the webhooks: that of a run is committed before the first event of it
	// is published.
	last, err := tx.LastEvent()
	if err != nil {
		return false, err
	}
	if some, err := tx.AnyWebhook(); err != nil || some {
		return false, err
	}
	return true, tx.saveProgress(&Window{at: progress{Pos: max(last, at.Pos)}})
}

// asideRow is a row of table event_aside.
type asideRow struct {
	progress
	Last    int64             `db:"last"`
	Target  hostler.WebhookID `db:"target"`
	RowLast int64             `db:"row_last"`
	N       int64             `db:"n"`
	At      time.Time         `db:"at"`
	Body    []byte            `db:"body"`
	Since   time.Time         `db:"since"`
	Error   string            `db:"error"`
	Retry   bool              `db:"retry"`
}

// openAside locks events that were set aside and are to be retried.
func (tx *Tx) openAside() (*Window, error) {
	r, err := queryOne[asideRow](tx, `SELECT @cols FROM event_aside WHERE retry = 1 ORDER BY last LIMIT 1
FOR UPDATE SKIP LOCKED`)
	if err != nil || r == nil {
		return nil, err
	}
	w := &Window{
		at: r.progress, Only: r.Target, aside: r.Last,
		row: eventRow{Last: r.RowLast, N: r.N, At: r.At, Body: r.Body},
	}
	if w.at.Upto <= w.at.Pos { // a retry begins: of all that was set aside
		w.at.Upto, w.at.Webhook, w.at.Event = r.Last, r.Target, 0
	}
	w.read([]eventRow{w.row}, windowEvents)
	return w, nil
}

// SetAside sets the events of a window aside that cannot be read. Events of a retry stay
// set aside.
func (tx *Tx) SetAside(w *Window, why error) error {
	return tx.setAside(w, asideRow{progress: progress{Pos: w.at.Pos}, Last: w.at.Upto}, why)
}

// SetAsideFor sets one event aside for one webhook.
func (tx *Tx) SetAsideFor(w *Window, webhook hostler.WebhookID, event int64, why error) error {
	return tx.setAside(w, asideRow{progress: progress{Pos: event - 1}, Last: event, Target: webhook}, why)
}

func (tx *Tx) setAside(w *Window, r asideRow, why error) error {
	if w.aside != 0 {
		_, err := tx.Exec(`UPDATE event_aside SET retry = 0, error = ? WHERE last = ? AND target = ?`,
			why.Error(), w.aside, w.Only)
		return err
	}
	row, err := queryOne[eventRow](tx, `SELECT @cols FROM event WHERE last >= ? ORDER BY last LIMIT 1`, r.Last)
	if err != nil || row == nil {
		return err
	}
	r.RowLast, r.N, r.At, r.Body = row.Last, row.N, row.At, row.Body
	r.Since, r.Error = tx.now, why.Error()
	if _, err := insertNew(tx, "event_aside", "last, target", []asideRow{r}); err != nil {
		return err
	}
	if r.Target != 0 {
		return tx.AdvanceWindow(w, r.Target, r.Last)
	}
	return tx.CloseWindow(w)
}

// EventsAside are events that were set aside, because their deliveries could not be made.
type EventsAside struct {
	First, Last int64             // positions
	Webhook     hostler.WebhookID // 0: any
	At          time.Time         // when they were set aside
	Error       string
	Retry       bool // a retry was asked for
}

// EventsAside lists events that were set aside, with positions after one.
func (tx *Tx) EventsAside(after int64, limit int) ([]EventsAside, error) {
	type row struct {
		Pos    int64             `db:"pos"`
		Last   int64             `db:"last"`
		Target hostler.WebhookID `db:"target"`
		Since  time.Time         `db:"since"`
		Error  string            `db:"error"`
		Retry  bool              `db:"retry"`
	}
	rows, err := query[row](tx, `SELECT @cols FROM event_aside WHERE last > ? ORDER BY last, target LIMIT ?`, after, limit)
	out := make([]EventsAside, len(rows))
	for i, r := range rows {
		out[i] = EventsAside{First: r.Pos + 1, Last: r.Last, Webhook: r.Target, At: r.Since, Error: r.Error, Retry: r.Retry}
	}
	return out, err
}

// CountAside counts the rows that were set aside, up to a limit.
func (tx *Tx) CountAside(limit int) (n int, err error) {
	_, err = tx.one(`SELECT count(*) FROM (SELECT 1 FROM event_aside LIMIT ?) a`, []any{limit}, &n)
	return n, err
}

// RetryAside asks for a retry of the events that were set aside up to a position; found
// is false when there are none.
func (tx *Tx) RetryAside(last int64) (found bool, err error) {
	n, err := tx.Exec(`UPDATE event_aside SET retry = 1 WHERE last = ?`, last)
	tx.Notify(TopicEvents)
	return n > 0, err
}

// DropAside deletes events that were set aside; found is false when there are none.
func (tx *Tx) DropAside(last int64) (found bool, err error) {
	n, err := tx.Exec(`DELETE FROM event_aside WHERE last = ?`, last)
	return n > 0, err
}

// DeleteAside deletes up to limit rows that were set aside before a time.
func (tx *Tx) DeleteAside(before time.Time, limit int) (int64, error) {
	return tx.Exec(`DELETE FROM event_aside WHERE (last, target) IN
(SELECT a.last, a.target FROM event_aside a WHERE a.since < ? ORDER BY a.last LIMIT ?)`, sqldb.Micros(before), limit)
}
