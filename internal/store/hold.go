package store

import (
	"encoding/json"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/schema"
)

// This file holds dispatch: while the row [schema.HoldKey] exists, no claim takes a job.
// A restored database has it, so that what waited at the time of the backup, and may
// have run since, does not run again unasked.

// identityKey is the row of meta with the database's own mark; see [Tx.HoldCopy].
const identityKey = "identity"

// heldCount is how many waiting jobs a summary counts.
const heldCount = 100_000

// Hold returns why dispatch of the installation is held; nil while it is not.
func (tx *Tx) Hold() (*schema.Hold, error) {
	h, err := tx.readHold()
	if h != nil && !holds(h, tx.now) {
		return nil, err
	}
	return h, err
}

// holds reports whether a hold has not ended by itself.
func holds(h *schema.Hold, now time.Time) bool { return h.Until == nil || h.Until.After(now) }

func (tx *Tx) readHold() (*schema.Hold, error) {
	var text string
	found, err := tx.one(`SELECT value FROM meta WHERE key = ?`, []any{schema.HoldKey}, &text)
	if err != nil || !found {
		return nil, err
	}
	return decodeHold(text)
}

func decodeHold(text string) (*schema.Hold, error) {
	var h schema.Hold
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return nil, fmt.Errorf("decode the hold of dispatch: %w", err)
	}
	return &h, nil
}

// HoldDispatch holds dispatch from its commit on, unless it is held already. An admin's
// hold is replaced by another of an admin.
func (tx *Tx) HoldDispatch(h schema.Hold) error {
	// Exclusive, as for the pause of a queue: no claim is in between.
	if err := tx.c.Lock(tx.ctx, queueLock, false); err != nil {
		return err
	}
	was, err := tx.Hold()
	if err != nil {
		return err
	}
	if was != nil && (was.Reason != hostler.HoldAdmin || h.Reason != hostler.HoldAdmin) {
		return nil
	}
	h.Since = tx.now
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
		schema.HoldKey, string(text))
	return err
}

// ReleaseDispatch lets dispatch go on.
func (tx *Tx) ReleaseDispatch() error {
	if err := tx.c.Lock(tx.ctx, queueLock, false); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM meta WHERE key = ?`, schema.HoldKey)
	tx.notifyWork(true)
	return err
}

// ReleaseLate releases dispatch if the time of its hold is over.
func (tx *Tx) ReleaseLate() error {
	if h, err := tx.readHold(); err != nil || h == nil || holds(h, tx.now) {
		return err
	}
	if err := tx.ReleaseDispatch(); err != nil {
		return err
	}
	project, err := tx.defaultProject()
	if err != nil {
		return err
	}
	tx.Emit(0, hostler.EventDispatchReleased, hostler.ObjectEvent{Object: InstallationObject})
	return tx.AppendAudit(project, hostler.Audit{User: serverUser, Verb: "dispatch.release", Object: InstallationObject})
}

// InstallationObject is the object of events of the hold of the whole installation.
const InstallationObject = "installation"

// HoldCopy holds dispatch if the database is not the one that its rows were written in:
// its identity, which the driver knows, differs from the stored one. It stores the
// present one.
func (tx *Tx) HoldCopy(identity string) error {
	var known string
	found, err := tx.one(`SELECT value FROM meta WHERE key = ? FOR UPDATE`, []any{identityKey}, &known)
	if err != nil || known == identity {
		return err
	}
	_, err = tx.Exec(`INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
		identityKey, identity)
	if err != nil || !found {
		return err
	}
	return tx.HoldDispatch(schema.Hold{Reason: hostler.HoldCopy})
}

// HeldJobs counts the jobs that wait, by project and queue; project 0 means all. more
// reports that there are older ones than it counts.
func (tx *Tx) HeldJobs(project hostler.ProjectID) (out []hostler.HeldJobs, more bool, err error) {
	type held struct {
		Project string    `db:"p.name"`
		Queue   string    `db:"j.queue"`
		Jobs    int       `db:"count(*)"`
		Due     int       `db:"sum(CASE WHEN COALESCE(s.run_at, 0) <= ? OR s.run_at >= 1152921504606846976 THEN 1 ELSE 0 END)"`
		Oldest  time.Time `db:"min(j.created_at)"`
	}
	counted := 0
	err = queryEach(tx, `SELECT @cols FROM (SELECT id, project, queue, created_at FROM job
WHERE project = ? OR ? = 0 ORDER BY id LIMIT ?) j
JOIN project p ON p.id = j.project LEFT JOIN sched s ON s.id = j.id
WHERE NOT EXISTS (SELECT 1 FROM running r WHERE r.id = j.id)
AND NOT EXISTS (SELECT 1 FROM parked k WHERE k.id = j.id)
GROUP BY p.name, j.queue ORDER BY p.name, j.queue`,
		[]any{sqldb.Micros(tx.now), project, project, heldCount}, func(h *held) error {
			out = append(out, hostler.HeldJobs{
				Project: h.Project, Queue: h.Queue, Jobs: h.Jobs, Due: h.Due, Oldest: h.Oldest,
			})
			counted += h.Jobs
			return nil
		})
	return out, counted >= heldCount, err
}

// explainHeld is the reason that comes before all others of a job that is due.
func (tx *Tx) explainHeld(id hostler.JobID) (out []hostler.Waiting, err error) {
	h, err := tx.Hold()
	if err != nil {
		return nil, err
	}
	if h != nil {
		out = append(out, hostler.Waiting{Reason: hostler.WaitHeld, Until: h.Until, Text: HoldText(*h)})
	}
	jobs, err := query[jobOrigin](tx, `SELECT @cols FROM job WHERE id = ?`, id)
	if err != nil {
		return nil, err
	}
	held, err := tx.heldJobs(jobs)
	if own := held[id]; own != nil {
		out = append(out, own.waiting())
	}
	return out, err
}

// waiting is the hold as the reason why a job waits.
func (h *HoldRow) waiting() hostler.Waiting {
	w := hostler.Waiting{Reason: hostler.WaitHold, Text: h.Text()}
	if !h.Until.IsZero() {
		w.Until = &h.Until
	}
	return w
}

// HoldText explains a hold and says how to end it.
func HoldText(h schema.Hold) hostler.Text {
	since := h.Since.UTC().Format(time.RFC3339)
	switch h.Reason {
	case hostler.HoldBackup:
		return hostler.Textf("dispatch is held: this is the backup of %s, and what waited then may have run since; "+
			"see 'hostler dispatch', cancel what must not run, then 'hostler dispatch release'",
			"作业分派已暂停：这是 %s 的备份，当时等待的作业之后可能已经执行；"+
				"请执行 'hostler dispatch' 查看并取消不应执行的作业，然后执行 'hostler dispatch release'", since)
	case hostler.HoldCopy:
		return hostler.Textf("dispatch is held since %s: the database was restored or copied, and what waits may have run; "+
			"see 'hostler dispatch', cancel what must not run, then 'hostler dispatch release'",
			"作业分派自 %s 起暂停：数据库是恢复或复制而来的，等待中的作业可能已经执行；"+
				"请执行 'hostler dispatch' 查看并取消不应执行的作业，然后执行 'hostler dispatch release'", since)
	case hostler.HoldStart:
		return hostler.Textf("dispatch is held since %s: a server was started with --hold; "+
			"end it with 'hostler dispatch release'",
			"作业分派自 %s 起暂停：服务以 --hold 启动；执行 'hostler dispatch release' 恢复", since)
	}
	var until, note hostler.Text
	if h.Until != nil {
		until = hostler.Textf(" until %[1]s", "，至 %[1]s", h.Until.UTC().Format(time.RFC3339))
	}
	if h.Note != "" {
		note = hostler.Text{EN: ": " + h.Note, ZH: "：" + h.Note}
	}
	return hostler.Text{
		EN: "dispatch is held since " + since + " by " + h.By + until.EN + note.EN + "; end it with 'hostler dispatch release'",
		ZH: "作业分派自 " + since + " 起由 " + h.By + " 暂停" + until.ZH + note.ZH + "；执行 'hostler dispatch release' 恢复",
	}
}
