package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file moves ended jobs from the queue to the history, the table done.

// completion is a job that ends.
type completion struct {
	entry
	state     hostler.State
	cause     hostler.Cause
	startedAt time.Time
	worker    hostler.WorkerID
	result    json.RawMessage
	err       *hostler.JobError
	output    []byte // encoded by EncodeBlock
}

// doneRow holds the columns of the history that the completion brings; the others
// are copied from the job.
type doneRow struct {
	ID        hostler.JobID    `db:"id"`
	State     hostler.State    `db:"state"`
	Attempt   int64            `db:"attempt"`
	QueuedAt  int64            `db:"queued_at"`
	StartedAt time.Time        `db:"started_at"`
	EndedAt   time.Time        `db:"ended_at"`
	Worker    hostler.WorkerID `db:"worker"`
	Fence     int64            `db:"fence"`
	Result    string           `db:"result"`
	Error     string           `db:"error"`
	Output    []byte           `db:"output"`
}

// historyColumns are the columns that the history copies from the job: all but its
// id, which the completion has, and its lane, which is only known by its key there.
var historyColumns = slices.DeleteFunc(sqldb.Columns[jobRow](), func(name string) bool {
	return name == "id" || name == "lane"
})

// insertDone returns the statement that copies jobs to the history: to the segment
// of SQLite that is current.
func (c *queueChange) insertDone() string {
	return textOf[doneRow]("insert from job", c.tx.c.InsertTable("done"), func(table string) string {
		ended := sqldb.Columns[doneRow]()
		return `INSERT INTO ` + table + ` (` + columnList("", ended) + `, ` + columnList("", historyColumns) + `)
SELECT ` + columnList("v.", ended) + `, ` + columnList("j.", historyColumns) + ` FROM @rows JOIN job j ON j.id = v.id`
	})
}

// complete moves jobs to the history and gives back the lanes that they held. The
// caller has deleted their rows from the queue.
func (c *queueChange) complete(completions []completion) error {
	if len(completions) == 0 {
		return nil
	}
	rows := make([]doneRow, len(completions))
	for i := range completions {
		e := &completions[i]
		c.releaseLane(e.entry)
		rows[i] = doneRow{
			ID: e.ID, State: e.state, Attempt: e.Attempt, QueuedAt: e.QueuedAt,
			StartedAt: e.startedAt, EndedAt: c.tx.now, Worker: e.worker, Fence: e.Fence,
			Result: validText(e.result), Error: encodeError(e.err), Output: e.output,
		}
	}
	n, err := execRows(c.tx, c.insertDone(), rows)
	if err != nil {
		return err
	}
	if n != int64(len(rows)) {
		return fmt.Errorf("%d jobs to complete, %d found: the queue and its jobs disagree", len(rows), n)
	}
	return c.tx.deleteJobs(completions)
}

// completeAll completes withdrawn jobs that no worker ran, and flushes.
func (c *queueChange) completeAll(entries []entry, state hostler.State, cause hostler.Cause,
	reason *hostler.JobError,
) error {
	completions := make([]completion, len(entries))
	for i, e := range entries {
		completions[i] = completion{entry: e, state: state, cause: cause, err: reason}
	}
	if err := c.complete(completions); err != nil {
		return err
	}
	return c.flush()
}

// deleteJobs deletes the rows of jobs that ended, with the hosts that some of them
// brought along, and emits their events.
func (tx *Tx) deleteJobs(completions []completion) error {
	ids := make([]hostler.JobID, len(completions))
	at := make(map[hostler.JobID]*completion, len(completions))
	for i := range completions {
		ids[i] = completions[i].ID
		at[ids[i]] = &completions[i]
	}
	inline := false
	emit := func(s *subject) error {
		inline = inline || s.Asset == inlineAsset
		c, e := at[s.Job], s.event()
		e.State, e.Cause, e.Attempt, e.Worker, e.Error = c.state, c.cause, int(c.Attempt), c.worker, c.err
		ev := Event{Project: s.Project, Job: e}
		if !c.startedAt.IsZero() {
			ev.Waited, ev.Ran, ev.Started = spans(c.QueuedAt, c.startedAt.UnixMicro(), tx.now.UnixMicro())
		}
		tx.addJobEvent(&ev)
		tx.jobOfRunEnded(s.Run, s.Job, c.state, !c.startedAt.IsZero() || c.Attempt > 0 || c.Losses > 0)
		return nil
	}
	var err error
	if cached := tx.specs.subjects(ids); cached != nil {
		for i := range cached {
			_ = emit(&cached[i]) // never fails
		}
		_, err = tx.Exec(`DELETE FROM job WHERE id IN ?*`, ids)
		tx.onCommit = append(tx.onCommit, func() { tx.specs.drop(ids) })
	} else {
		err = queryEach(tx, `DELETE FROM job WHERE id IN ?* RETURNING @cols`, []any{ids}, emit)
	}
	if err != nil || !inline {
		return err
	}
	_, err = tx.Exec(`DELETE FROM job_target WHERE job IN ?*`, ids)
	return err
}

// validText returns a result as text that every database accepts: one that it refused
// would fail all that is finished in the same transaction.
func validText(b []byte) string {
	return strings.ReplaceAll(strings.ToValidUTF8(string(b), "\uFFFD"), "\x00", "\uFFFD")
}

// encodeError is a job error as stored: JSON, or nothing.
func encodeError(e *hostler.JobError) string {
	if e == nil {
		return ""
	}
	// A struct of strings always encodes.
	b, _ := json.Marshal(e)
	return string(b)
}

func decodeError(s string) *hostler.JobError {
	if s == "" {
		return nil
	}
	var e hostler.JobError
	if err := json.Unmarshal([]byte(s), &e); err != nil {
		return &hostler.JobError{Kind: hostler.ErrKindInternal, Text: hostler.Text{EN: s, ZH: s}}
	}
	return &e
}
