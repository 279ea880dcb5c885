package store

import (
	"encoding/json"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

var webhookWord = hostler.Text{EN: "webhook", ZH: "回调"}

// WebhookRow is a webhook as stored, with its sealed secrets.
type WebhookRow struct {
	hostler.Webhook
	ProjectID hostler.ProjectID // 0 for the configured one
	Run       hostler.RunID     // of whose jobs alone it is told
	Sealed    []byte
}

// InsertWebhook makes a webhook; seal then seals its secrets for its id.
// CodeConflict: the name is taken.
func (tx *Tx) InsertWebhook(w WebhookRow, seal func(id hostler.WebhookID) ([]byte, error)) (hostler.WebhookID, error) {
	raw, err := tx.NewID()
	if err != nil {
		return 0, err
	}
	w.ID = hostler.WebhookID(raw)
	if w.Sealed, err = seal(w.ID); err != nil {
		return 0, err
	}
	spec, err := w.spec()
	if err != nil {
		return 0, err
	}
	n, err := tx.Exec(`INSERT INTO webhook (id, project, name, run, enabled, spec, sealed, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (project, name) DO NOTHING`,
		w.ID, w.ProjectID, w.Name, w.Run, w.Enabled, spec, w.Sealed, sqldb.Micros(tx.now), sqldb.Micros(tx.now))
	if err == nil && n == 0 {
		err = errTaken(webhookWord, w.Name)
	}
	return w.ID, err
}

// spec is what has no column of its own.
func (w WebhookRow) spec() (string, error) {
	v := w.Webhook
	v.ID, v.Project, v.Name, v.Enabled, v.Counts = 0, "", "", false, hostler.WebhookCounts{}
	v.Created, v.Updated = time.Time{}, time.Time{}
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode a webhook: %w", err)
	}
	return string(b), nil
}

// UpdateWebhook replaces a webhook. CodeConflict: the name is taken.
func (tx *Tx) UpdateWebhook(w WebhookRow) error {
	spec, err := w.spec()
	if err != nil {
		return err
	}
	var other int64
	taken, err := tx.one(`SELECT id FROM webhook WHERE project = ? AND name = ? AND id <> ?`, []any{w.ProjectID, w.Name, w.ID}, &other)
	if err != nil {
		return err
	}
	if taken {
		return errTaken(webhookWord, w.Name)
	}
	_, err = tx.Exec(`UPDATE webhook SET name = ?, enabled = ?, spec = ?, sealed = ?, updated_at = ? WHERE id = ?`,
		w.Name, w.Enabled, spec, w.Sealed, sqldb.Micros(tx.now), w.ID)
	tx.Notify(TopicDeliveries)
	return err
}

// DisableWebhook disables a webhook for a reason and tells of it; a second time
// does nothing. What waits for it is sent when it is enabled again; that of a run
// is given up, because nobody enables it.
func (tx *Tx) DisableWebhook(id hostler.WebhookID, why hostler.Text) error {
	w, err := first(tx.webhooks(`WHERE w.id = ? AND w.enabled = 1 FOR UPDATE`, id))
	if err != nil || w == nil {
		return err
	}
	w.Enabled, w.Reason = false, &why
	if w.Run == 0 {
		tx.Emit(w.ProjectID, hostler.EventWebhookDisabled, hostler.ObjectEvent{Object: w.Name})
	} else if _, err := tx.Exec(`UPDATE delivery SET state = 'failed', next_at = 0, ended_at = ? WHERE webhook = ? AND state = 'pending' AND claimed = 0`,
		sqldb.Micros(tx.now), id); err != nil {
		return err
	}
	return tx.UpdateWebhook(*w)
}

// DeleteWebhook deletes a webhook with its deliveries.
func (tx *Tx) DeleteWebhook(id hostler.WebhookID) error {
	if _, err := tx.Exec(`DELETE FROM delivery WHERE webhook = ?`, id); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM webhook WHERE id = ?`, id)
	return err
}

// Webhook finds a webhook of the projects by its id, or by its name when the id is
// 0; nil when there is none. Those of a run are not found.
func (tx *Tx) Webhook(projects []hostler.ProjectID, id hostler.WebhookID, name string) (*WebhookRow, error) {
	return first(tx.counted(tx.findWebhook(projects, id, name, "")))
}

// LockWebhook is Webhook for a change of it, without counts.
func (tx *Tx) LockWebhook(projects []hostler.ProjectID, id hostler.WebhookID, name string) (*WebhookRow, error) {
	return first(tx.findWebhook(projects, id, name, " FOR UPDATE"))
}

func (tx *Tx) findWebhook(projects []hostler.ProjectID, id hostler.WebhookID, name, lock string) ([]WebhookRow, error) {
	if id != 0 {
		return tx.webhooks(`WHERE w.project IN ?* AND w.id = ? AND w.run = 0`+lock, projects, id)
	}
	return tx.webhooks(`WHERE w.project IN ?* AND w.name = ? AND w.run = 0`+lock, projects, name)
}

// Webhooks lists webhooks of the projects by name after a name. Those of a run are
// not among them.
func (tx *Tx) Webhooks(projects []hostler.ProjectID, after string, limit int) ([]WebhookRow, error) {
	return tx.counted(tx.webhooks(`WHERE w.project IN ?* AND w.run = 0 AND w.name > ? ORDER BY w.name LIMIT ?`, projects, after, limit))
}

// WebhooksByID finds webhooks of any project and of any run.
func (tx *Tx) WebhooksByID(ids []hostler.WebhookID) ([]WebhookRow, error) {
	return tx.webhooks(`WHERE w.id IN ?*`, ids)
}

// DueOf finds those of the webhooks that have deliveries due.
func (tx *Tx) DueOf(ids []hostler.WebhookID) ([]WebhookRow, error) {
	return tx.webhooks(`WHERE w.id IN ?* AND EXISTS (SELECT 1 FROM delivery d WHERE d.state = 'pending' AND d.webhook = w.id AND d.next_at <= ?)`,
		ids, sqldb.Micros(tx.now))
}

// Subscribers lists the enabled webhooks that may be told of events: those that
// belong to no run, and those of these runs. They are not deleted until the
// transaction ends.
func (tx *Tx) Subscribers(runs []hostler.RunID) ([]WebhookRow, error) {
	all, err := tx.webhooks(`WHERE w.run = 0 AND w.enabled = 1 ORDER BY w.id FOR KEY SHARE`)
	if err != nil || len(runs) == 0 {
		return all, err
	}
	own, err := tx.webhooks(`WHERE w.run <> 0 AND w.run IN ?* AND w.enabled = 1 ORDER BY w.id FOR KEY SHARE`, runs)
	return append(all, own...), err
}

func (tx *Tx) webhooks(where string, args ...any) ([]WebhookRow, error) {
	var out []WebhookRow
	err := tx.each(`SELECT w.id, w.project, COALESCE((SELECT p.name FROM project p WHERE p.id = w.project), ''),
w.name, w.run, w.enabled, w.spec, w.sealed, w.created_at, w.updated_at FROM webhook w `+where, args, func(r sqldb.Rows) error {
		w, err := scanWebhook(r)
		out = append(out, w)
		return err
	})
	return out, err
}

func scanWebhook(r sqldb.Rows) (WebhookRow, error) {
	var w WebhookRow
	var id, project, run, enabled, created, updated int64
	var projectName, name, spec string
	if err := r.Scan(&id, &project, &projectName, &name, &run, &enabled, &spec, &w.Sealed, &created, &updated); err != nil {
		return w, err
	}
	if err := json.Unmarshal([]byte(spec), &w.Webhook); err != nil {
		return w, fmt.Errorf("decode webhook %d: %w", id, err)
	}
	w.ProjectID, w.Run = hostler.ProjectID(project), hostler.RunID(run)
	w.ID, w.Project, w.Name, w.Enabled = hostler.WebhookID(id), projectName, name, enabled != 0
	w.Created, w.Updated = sqldb.Time(created), sqldb.Time(updated)
	if w.Events == nil {
		w.Events = []string{}
	}
	return w, nil
}

// counted adds the counts of deliveries.
func (tx *Tx) counted(rows []WebhookRow, err error) ([]WebhookRow, error) {
	if err != nil || len(rows) == 0 {
		return rows, err
	}
	byID := make(map[hostler.WebhookID]*hostler.WebhookCounts, len(rows))
	ids := make([]hostler.WebhookID, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
		byID[rows[i].ID] = &rows[i].Counts
	}
	err = tx.each(`SELECT webhook, state, count(*) FROM delivery WHERE webhook IN ?* GROUP BY webhook, state`, []any{ids}, func(r sqldb.Rows) error {
		var id, n int64
		var state string
		if err := r.Scan(&id, &state, &n); err != nil {
			return err
		}
		c := byID[hostler.WebhookID(id)]
		switch hostler.DeliveryState(state) {
		case hostler.DeliveryPending:
			c.Pending = int(n)
		case hostler.DeliveryDelivered:
			c.Delivered = int(n)
		case hostler.DeliveryFailed:
			c.Failed = int(n)
		}
		return nil
	})
	return rows, err
}
