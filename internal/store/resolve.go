package store

import (
	"encoding/json"

	"hostler.dev/hostler"
)

// ResolveJob sets the outcome of a job whose outcome is unknown. CodeConflict: the
// outcome is not unknown.
func (tx *Tx) ResolveJob(id hostler.JobID, to hostler.State, by, note string) error {
	if !hostler.CanChange(hostler.StateUnknown, hostler.CauseResolve, to) {
		return hostler.Invalid("state", "must be succeeded or failed", "必须为 succeeded 或 failed")
	}
	c, err := tx.changeQueue()
	if err != nil {
		return err
	}
	lanes, err := column[laneID](tx, `SELECT lane FROM job WHERE id = ? AND lane <> 0`, id)
	if err != nil {
		return err
	}
	if err := c.lockLanes(lanes); err != nil {
		return err
	}
	e, err := tx.takeUnresolved(id)
	if err != nil {
		return err
	}
	e.state, e.cause = to, hostler.CauseResolve
	e.err = resolution(e.err, to, by, note)
	if err := c.complete([]completion{e}); err != nil {
		return err
	}
	return c.flush()
}

// takeUnresolved deletes a job from table parked.
func (tx *Tx) takeUnresolved(id hostler.JobID) (completion, error) {
	r, err := queryOne[unresolvedRow](tx, `DELETE FROM parked WHERE id = ? RETURNING @cols`, id)
	if err != nil {
		return completion{}, err
	}
	if r == nil {
		return completion{}, hostler.Errorf(hostler.CodeConflict,
			"the outcome of the job is not unknown; only an unknown outcome can be set",
			"只有结果未知的作业才能确认结果")
	}
	return completion{
		entry: entry{
			ID: r.ID, Lane: r.Lane, HoldsLane: r.HoldsLane,
			Attempt: r.Attempt, Losses: r.Losses, Fence: r.Fence, QueuedAt: r.QueuedAt,
		},
		startedAt: r.StartedAt, worker: r.Worker,
		result: json.RawMessage(r.Result), err: decodeError(r.Error),
	}, nil
}

// resolution returns the error of a job whose outcome a person set: none for a success
// without a note.
func resolution(was *hostler.JobError, to hostler.State, by, note string) *hostler.JobError {
	if to == hostler.StateSucceeded && note == "" {
		return nil
	}
	en, zh := "resolved as %s by %s", "由 %[2]s 确认为 %[1]s"
	args := []any{to, by}
	if note != "" {
		en, zh = en+": %s", zh+"：%[3]s"
		args = append(args, note)
	}
	t := hostler.Textf(en, zh, args...)
	if was != nil {
		t.EN += " (" + was.Text.EN + ")"
		t.ZH += "（" + was.Text.ZH + "）"
	}
	return &hostler.JobError{Kind: hostler.ErrKindResolved, Text: t}
}
