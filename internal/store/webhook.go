package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

var (
	webhookWord = hostler.Text{EN: "webhook", ZH: "回调"}
	channelWord = hostler.Text{EN: "channel", ZH: "通知渠道"}
)

func (w *WebhookRow) word() hostler.Text {
	if w.Channel != nil {
		return channelWord
	}
	return webhookWord
}

// WebhookRow is a webhook as stored, with its sealed secrets.
type WebhookRow struct {
	hostler.Webhook
	ProjectID hostler.ProjectID // 0 for the configured one
	Run       hostler.RunID     // it receives only the events of this run; 0: of all
	Since     int64             // it receives only events after this position
	Sealed    []byte
	// Channel describes a notification channel. Channels are webhooks whose messages are
	// for people, with names of their own; nil for the others.
	Channel *ChannelSpec
}

// ChannelSpec is what a channel has besides the fields of a webhook.
type ChannelSpec struct {
	Kind  hostler.ChannelKind `json:"kind"`
	From  string              `json:"from,omitempty"`
	To    []string            `json:"to,omitempty"`
	Title string              `json:"title,omitempty"`
	Text  string              `json:"text,omitempty"`
}

// channelMark is before the name of a channel in the database: no webhook has such a
// name, so a channel and a webhook may have the same.
const channelMark = "#"

// storedName is the name in the database.
func (w *WebhookRow) storedName() string {
	if w.Channel != nil {
		return channelMark + w.Name
	}
	return w.Name
}

// InsertWebhook creates a webhook; seal seals its secrets for the id that it gets.
// CodeConflict: the name is taken.
func (tx *Tx) InsertWebhook(w WebhookRow, seal func(id hostler.WebhookID) ([]byte, error)) (hostler.WebhookID, error) {
	raw, err := tx.NewID()
	if err != nil {
		return 0, err
	}
	w.ID, w.Created, w.Updated = hostler.WebhookID(raw), tx.now, tx.now
	if w.Run == 0 { // the events of a run are later than its webhook
		if w.Since, err = tx.LastEvent(); err != nil {
			return 0, err
		}
	}
	if w.Sealed, err = seal(w.ID); err != nil {
		return 0, err
	}
	cols, err := w.columns()
	if err != nil {
		return 0, err
	}
	n, err := insertNew(tx, "webhook", "project, name", []webhookColumns{cols})
	if err == nil && n == 0 {
		err = errTaken(w.word(), w.Name)
	}
	return w.ID, err
}

// webhookColumns are the columns of table webhook.
type webhookColumns struct {
	ID        hostler.WebhookID `db:"id"`
	Project   hostler.ProjectID `db:"project"`
	Name      string            `db:"name"`
	Run       hostler.RunID     `db:"run"`
	Enabled   bool              `db:"enabled"`
	Spec      []byte            `db:"spec,text"` // what has no column of its own, as JSON
	Sealed    []byte            `db:"sealed"`
	CreatedAt time.Time         `db:"created_at"`
	UpdatedAt time.Time         `db:"updated_at"`
	Since     int64             `db:"since"`
	Channel   bool              `db:"channel"`
}

// webhookSpec is the JSON of a webhook or channel.
type webhookSpec struct {
	*hostler.Webhook
	Channel *ChannelSpec `json:"channel,omitempty"`
}

func (w *WebhookRow) columns() (webhookColumns, error) {
	v := w.Webhook
	v.ID, v.Project, v.Name, v.Enabled, v.Counts = 0, "", "", false, hostler.WebhookCounts{}
	v.Created, v.Updated = time.Time{}, time.Time{}
	spec, err := json.Marshal(webhookSpec{&v, w.Channel})
	if err != nil {
		return webhookColumns{}, fmt.Errorf("encode a webhook: %w", err)
	}
	return webhookColumns{
		w.ID, w.ProjectID, w.storedName(), w.Run, w.Enabled, spec, w.Sealed, w.Created, w.Updated, w.Since,
		w.Channel != nil,
	}, nil
}

// row is the webhook. One that cannot be read is shown as disabled: it must not stop the
// others, and a person can change or delete it.
func (c *webhookColumns) row(project string) WebhookRow {
	w := WebhookRow{ProjectID: c.Project, Run: c.Run, Since: c.Since, Sealed: c.Sealed}
	enabled := c.Enabled
	spec := webhookSpec{Webhook: &w.Webhook}
	if err := json.Unmarshal(c.Spec, &spec); err != nil {
		why := hostler.Textf("it cannot be read: set or delete it", "无法读取：请重新设置或删除")
		w.Webhook, enabled = hostler.Webhook{Reason: &why}, false
	}
	if c.Channel {
		w.Channel = cmp.Or(spec.Channel, &ChannelSpec{})
	}
	w.ID, w.Project, w.Name, w.Enabled = c.ID, project, strings.TrimPrefix(c.Name, channelMark), enabled
	w.Created, w.Updated = c.CreatedAt, c.UpdatedAt
	if w.Events == nil {
		w.Events = []string{}
	}
	return w
}

// UpdateWebhook replaces a webhook. If that enables it, it receives the events from now
// on. CodeConflict: the name is taken.
func (tx *Tx) UpdateWebhook(w WebhookRow) error {
	cols, err := w.columns()
	if err != nil {
		return err
	}
	taken, err := tx.exists(`SELECT id FROM webhook WHERE project = ? AND name = ? AND id <> ?`, w.ProjectID, w.storedName(), w.ID)
	if err != nil {
		return err
	}
	if taken {
		return errTaken(w.word(), w.Name)
	}
	last, err := tx.LastEvent()
	if err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE webhook SET since = CASE WHEN enabled = 0 AND ? = 1 THEN ? ELSE since END,
name = ?, enabled = ?, spec = ?, sealed = ?, updated_at = ? WHERE id = ?`,
		w.Enabled, last, w.storedName(), w.Enabled, string(cols.Spec), w.Sealed, sqldb.Micros(tx.now), w.ID)
	tx.Notify(TopicDeliveries)
	return err
}

// DisableWebhook disables a webhook for a reason and emits an event; a second call
// does nothing. Pending deliveries are sent when it is enabled again. Those of a run's
// webhook fail, by and by: it cannot be enabled.
func (tx *Tx) DisableWebhook(id hostler.WebhookID, why hostler.Text) error {
	w, err := first(tx.webhooks(`WHERE w.id = ? AND w.enabled = 1 AND w.sweep = 0 FOR UPDATE`, id))
	if err != nil || w == nil {
		return err
	}
	w.Enabled, w.Reason = false, &why
	switch {
	case w.Channel != nil:
		tx.Emit(w.ProjectID, hostler.EventChannelDisabled, hostler.ObjectEvent{Object: w.Name})
	case w.Run == 0:
		tx.Emit(w.ProjectID, hostler.EventWebhookDisabled, hostler.ObjectEvent{Object: w.Name})
	default:
		if _, err := tx.Exec(`UPDATE webhook SET sweep = ? WHERE id = ?`, sweepFail, id); err != nil {
			return err
		}
	}
	return tx.UpdateWebhook(*w)
}

// DeleteWebhook deletes a webhook with its deliveries: nobody finds them any more, and
// [Tx.SweepWebhook] removes the rows.
func (tx *Tx) DeleteWebhook(id hostler.WebhookID) error {
	// No name has the form of an id.
	_, err := tx.Exec(`UPDATE webhook SET sweep = ?, enabled = 0, name = ?, sealed = ?, updated_at = ? WHERE id = ?`,
		sweepDelete, id.String(), []byte{}, sqldb.Micros(tx.now), id)
	return err
}

// Webhook finds a webhook of the projects by its id, or by its name when the id is
// 0; nil when there is none. Those of a run are not found.
func (tx *Tx) Webhook(projects []hostler.ProjectID, id hostler.WebhookID, name string) (*WebhookRow, error) {
	return first(tx.withCounts(tx.findWebhook(projects, id, name, "")))
}

// LockWebhook is Webhook for a change of it, without counts.
func (tx *Tx) LockWebhook(projects []hostler.ProjectID, id hostler.WebhookID, name string) (*WebhookRow, error) {
	return first(tx.findWebhook(projects, id, name, " FOR UPDATE"))
}

// Channel is Webhook for a channel.
func (tx *Tx) Channel(projects []hostler.ProjectID, id hostler.WebhookID, name string) (*WebhookRow, error) {
	return first(tx.withCounts(tx.findChannel(projects, id, name, "")))
}

// LockChannel is LockWebhook for a channel.
func (tx *Tx) LockChannel(projects []hostler.ProjectID, id hostler.WebhookID, name string) (*WebhookRow, error) {
	return first(tx.findChannel(projects, id, name, " FOR UPDATE"))
}

func (tx *Tx) findWebhook(projects []hostler.ProjectID, id hostler.WebhookID, name, lock string) ([]WebhookRow, error) {
	if id != 0 {
		return tx.webhooks(`WHERE w.project IN ?* AND w.id = ? AND w.run = 0 AND w.sweep = 0 AND w.channel = 0`+lock,
			projects, id)
	}
	return tx.webhooks(`WHERE w.project IN ?* AND w.name = ? AND w.run = 0 AND w.sweep = 0 AND w.channel = 0`+lock,
		projects, name)
}

func (tx *Tx) findChannel(projects []hostler.ProjectID, id hostler.WebhookID, name, lock string) ([]WebhookRow, error) {
	if id != 0 {
		return tx.webhooks(`WHERE w.project IN ?* AND w.id = ? AND w.sweep = 0 AND w.channel = 1`+lock, projects, id)
	}
	return tx.webhooks(`WHERE w.project IN ?* AND w.name = ? AND w.sweep = 0 AND w.channel = 1`+lock,
		projects, channelMark+name)
}

// Webhooks lists webhooks of the projects by name after a name, without those of runs.
func (tx *Tx) Webhooks(projects []hostler.ProjectID, after string, limit int) ([]WebhookRow, error) {
	return tx.withCounts(tx.webhooks(`WHERE w.project IN ?* AND w.run = 0 AND w.sweep = 0 AND w.channel = 0
AND w.name > ? ORDER BY w.name LIMIT ?`, projects, after, limit))
}

// Channels lists channels of the projects by name after a name.
func (tx *Tx) Channels(projects []hostler.ProjectID, after string, limit int) ([]WebhookRow, error) {
	return tx.withCounts(tx.webhooks(`WHERE w.project IN ?* AND w.sweep = 0 AND w.channel = 1
AND w.name > ? ORDER BY w.name LIMIT ?`, projects, channelMark+after, limit))
}

// WebhooksByID finds webhooks of any project and of any run.
func (tx *Tx) WebhooksByID(ids []hostler.WebhookID) ([]WebhookRow, error) {
	return tx.webhooks(`WHERE w.id IN ?* AND w.sweep <> 2`, ids)
}

// DueOf finds those of the webhooks that have deliveries due.
func (tx *Tx) DueOf(ids []hostler.WebhookID) ([]WebhookRow, error) {
	return tx.webhooks(`WHERE w.id IN ?* AND w.sweep <> 2 AND EXISTS
(SELECT 1 FROM delivery d WHERE d.state = 'pending' AND d.webhook = w.id AND d.next_at <= ?)`,
		ids, sqldb.Micros(tx.now))
}

// AnyWebhook reports whether a webhook is enabled.
func (tx *Tx) AnyWebhook() (bool, error) {
	return tx.exists(`SELECT id FROM webhook WHERE enabled = 1 LIMIT 1`)
}

// Subscribers lists enabled webhooks that may receive events, by id from one on: up to
// limit of those that belong to no run, and of those of these runs. more reports that
// there are others with larger ids. They are locked: no other transaction deletes them
// before this one ends. One that cannot be read is among them, and not Enabled.
func (tx *Tx) Subscribers(from hostler.WebhookID, runs []hostler.RunID, limit int) (list []WebhookRow, more bool, err error) {
	list, err = tx.webhooks(`WHERE w.run = 0 AND w.enabled = 1 AND w.id >= ? ORDER BY w.id LIMIT ? FOR KEY SHARE`,
		from, limit)
	if err != nil {
		return nil, false, err
	}
	through := lastOf(list, limit)
	if len(runs) > 0 {
		own, err := tx.webhooks(`WHERE w.run <> 0 AND w.run IN ?* AND w.enabled = 1 AND w.id >= ?
ORDER BY w.id LIMIT ? FOR KEY SHARE`, runs, from, limit)
		if err != nil {
			return nil, false, err
		}
		through = min(through, lastOf(own, limit))
		list = append(list, own...)
		slices.SortFunc(list, func(a, b WebhookRow) int { return cmp.Compare(a.ID, b.ID) })
	}
	all := len(list)
	list = slices.DeleteFunc(list, func(w WebhookRow) bool { return w.ID > through })
	return list, through != math.MaxInt64 || len(list) < all, nil
}

// lastOf returns the id up to which a list is complete.
func lastOf(list []WebhookRow, limit int) hostler.WebhookID {
	if len(list) < limit {
		return math.MaxInt64
	}
	return list[len(list)-1].ID
}

const selectWebhooks = `SELECT w.@cols, COALESCE((SELECT p.name FROM project p WHERE p.id = w.project), '')
FROM webhook w `

func (tx *Tx) webhooks(where string, args ...any) ([]WebhookRow, error) {
	var out []WebhookRow
	err := scanRows(tx, withColumns[webhookColumns](selectWebhooks+where), args,
		func(r sqldb.Rows, s *sqldb.Scanner[webhookColumns]) error {
			var cols webhookColumns
			var project string
			if err := s.Scan(r, &cols, &project); err != nil {
				return err
			}
			out = append(out, cols.row(project))
			return nil
		})
	return out, err
}

// Deliveries are counted up to so many in each state, for one webhook and for those of a
// list: a webhook may have millions.
const (
	countedDeliveries       = 10_000
	countedDeliveriesInList = 1_000
)

// withCounts adds the counts of deliveries.
func (tx *Tx) withCounts(rows []WebhookRow, err error) ([]WebhookRow, error) {
	if err != nil {
		return rows, err
	}
	limit := countedDeliveriesInList
	if len(rows) == 1 {
		limit = countedDeliveries
	}
	for i := range rows {
		c := &rows[i].Counts
		for state, n := range map[hostler.DeliveryState]*int{
			hostler.DeliveryPending: &c.Pending, hostler.DeliveryDelivered: &c.Delivered, hostler.DeliveryFailed: &c.Failed,
		} {
			if _, err := tx.one(`SELECT count(*) FROM
(SELECT 1 FROM delivery d WHERE d.webhook = ? AND d.state = ? LIMIT ?) c`, []any{rows[i].ID, state, limit}, n); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}
