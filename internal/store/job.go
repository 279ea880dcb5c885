package store

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file reads single jobs for people. A live job is in job and one table of the
// queue, an ended one in done.

// jobView is a job as people see it. Where a column comes from depends on whether the
// job is live or has ended: see liveColumns and endedColumns.
type jobView struct {
	ID          hostler.JobID     `db:"id"`
	Project     string            `db:"project_name"`
	Run         hostler.RunID     `db:"run"`
	Action      string            `db:"action"`
	Args        json.RawMessage   `db:"args,text"`
	SharedArgs  int64             `db:"shared_args"`
	Queue       string            `db:"queue"`
	Asset       int64             `db:"asset"`
	AssetName   string            `db:"asset_name"`
	LaneKey     string            `db:"lane_key"`
	LaneLimit   int               `db:"lane_lim"`
	Priority    int               `db:"prio"`
	State       hostler.State     `db:"state"`
	Attempt     int               `db:"attempt"`
	MaxAttempts int               `db:"max_attempts"`
	Backoff     string            `db:"backoff"`
	Timeout     int64             `db:"timeout"`
	OnLost      hostler.OnLost    `db:"on_lost"`
	OnUnknown   hostler.OnUnknown `db:"on_unknown"`
	OnRetry     hostler.OnRetry   `db:"on_retry"`
	RetryOf     hostler.JobID     `db:"retry_of"`
	CreatedBy   string            `db:"created_by"`
	CreatedByID hostler.UserID    `db:"created_by_id"`
	CreatedAt   time.Time         `db:"created_at"`
	RunAt       *time.Time        `db:"run_at"`
	QueuedAt    *time.Time        `db:"queued_at"`
	StartedAt   *time.Time        `db:"started_at"`
	EndedAt     *time.Time        `db:"ended_at"`
	ExpiresAt   time.Time         `db:"expires_at"`
	CancelAt    *time.Time        `db:"cancel_at"`
	Worker      hostler.WorkerID  `db:"worker"`
	Progress    string            `db:"progress"`
	Result      json.RawMessage   `db:"result,text"`
	Error       string            `db:"error"`
}

// liveState is the state of live job j.
const liveState = `CASE WHEN r.id IS NOT NULL THEN 'running' WHEN k.id IS NOT NULL THEN 'unknown'
WHEN s.id IS NOT NULL THEN 'scheduled' ELSE 'queued' END`

// liveJoins joins live job j with its row in one of the tables of the queue.
const liveJoins = ` FROM job j LEFT JOIN running r ON r.id = j.id LEFT JOIN parked k ON k.id = j.id
LEFT JOIN sched s ON s.id = j.id LEFT JOIN ready q ON q.id = j.id LEFT JOIN wait w ON w.id = j.id `

// liveColumns are the columns of jobView that a live job does not have in job.
var liveColumns = map[string]string{
	"project_name": `p.name`,
	"state":        liveState,
	"attempt":      `COALESCE(r.attempt, k.attempt, s.attempt, q.attempt, w.attempt, 0)`,
	"run_at":       `CASE WHEN s.run_at < 1152921504606846976 THEN s.run_at ELSE j.run_at END`, // see heldFrom
	"queued_at":    `COALESCE(r.queued_at, k.queued_at, q.queued_at, w.queued_at, 0)`,
	"started_at":   `COALESCE(r.started_at, k.started_at, 0)`,
	"ended_at":     `0`,
	"cancel_at":    `COALESCE(r.cancel_at, 0)`,
	"worker":       `COALESCE(r.worker, k.worker, 0)`,
	"progress":     `COALESCE(r.progress, '')`,
	"result":       `COALESCE(k.result, '')`,
	"error":        `COALESCE(k.error, '')`,
}

// endedColumns are the columns of jobView that an ended job does not have in done.
var endedColumns = map[string]string{"project_name": `p.name`, "cancel_at": `0`, "progress": `''`}

// viewColumns lists the columns of jobView: those of a table, but for some.
func viewColumns(table string, but map[string]string) string {
	cols := sqldb.Columns[jobView]()
	for i, name := range cols {
		if expr, ok := but[name]; ok {
			cols[i] = expr
		} else {
			cols[i] = table + "." + name
		}
	}
	return strings.Join(cols, ", ")
}

// selectLiveJobs reads live jobs by id, of one project. "+ 0" keeps the database from an
// index that begins with the project, of which it would read all jobs.
var selectLiveJobs = `SELECT ` + viewColumns("j", liveColumns) + liveJoins +
	`JOIN project p ON p.id = j.project + 0 WHERE j.id IN ?* AND j.project + 0 = ?`

var endedViewColumns = viewColumns("d", endedColumns)

// selectEndedJobs reads jobs by id, of one project, from a part of the history, as
// selectLiveJobs does.
func selectEndedJobs(part string) string {
	return `SELECT ` + endedViewColumns + ` FROM ` + part +
		` d JOIN project p ON p.id = d.project + 0 WHERE d.id IN ?* AND d.project + 0 = ?`
}

func (v *jobView) job() (hostler.Job, error) {
	kind, _, _ := cutLane(v.LaneKey)
	j := hostler.Job{
		ID: v.ID, Project: v.Project, Run: v.Run, Action: v.Action, Args: v.Args, Queue: v.Queue,
		Asset: assetID(v.Asset), AssetName: v.AssetName,
		Lane: DisplayLane(v.LaneKey), LaneLimit: v.LaneLimit, OnDevice: kind == "device",
		Priority: v.Priority, State: v.State, Attempt: v.Attempt, MaxAttempts: v.MaxAttempts,
		TimeoutS: (time.Duration(v.Timeout) * time.Microsecond).Seconds(),
		OnLost:   v.OnLost, OnUnknown: v.OnUnknown, OnRetry: v.OnRetry,
		RetryOf: v.RetryOf, CreatedBy: v.CreatedBy, CreatedByID: v.CreatedByID, CreatedAt: v.CreatedAt,
		RunAt: v.RunAt, QueuedAt: v.QueuedAt, StartedAt: v.StartedAt, EndedAt: v.EndedAt,
		CancelAt: v.CancelAt, Worker: v.Worker, Error: decodeError(v.Error),
	}
	if hasTTL(v.ExpiresAt) {
		j.ExpiresAt = &v.ExpiresAt
	}
	if len(v.Result) > 0 {
		j.Result = v.Result
	}
	var err error
	if j.Progress, err = decodeProgress(v.Progress); err != nil {
		return j, err
	}
	j.Backoff, err = decodeBackoff(v.Backoff)
	return j, err
}

func decodeProgress(s string) (*hostler.Progress, error) {
	if s == "" {
		return nil, nil
	}
	var p hostler.Progress
	if err := json.Unmarshal([]byte(s), &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// Jobs reads the jobs of a project with these ids, newest first. Ids that are
// unknown, or of another project, are left out.
func (tx *Tx) Jobs(project hostler.ProjectID, ids []hostler.JobID) ([]hostler.Job, error) {
	var out []hostler.Job
	var shared sharedArgs
	found := map[hostler.JobID]bool{}
	add := func(column, sql string, args ...any) error {
		seen, seenArgs := tx.seen(column)
		views, err := query[jobView](tx, sql+seen, append(args, seenArgs...)...)
		if err != nil {
			return err
		}
		for i := range views {
			if found[views[i].ID] {
				continue
			}
			found[views[i].ID] = true
			shared.add(views[i].ID, views[i].SharedArgs)
			j, err := views[i].job()
			if err != nil {
				return err
			}
			out = append(out, j)
		}
		return nil
	}
	missing := func() []hostler.JobID {
		return slices.DeleteFunc(slices.Clone(ids), func(id hostler.JobID) bool { return found[id] })
	}
	// Live jobs first: a job that ends between two statements is then found twice
	// rather than not at all.
	if err := add(`j.asset`, selectLiveJobs, ids, project); err != nil {
		return nil, err
	}
	rest := missing()
	err := tx.eachEnded(project, rest, func() bool { return len(rest) == 0 }, func(part string) error {
		err := add(`d.asset`, selectEndedJobs(part), rest, project)
		rest = missing()
		return err
	})
	if err != nil {
		return nil, err
	}
	args, err := shared.read(tx)
	for i := range out {
		if shared[out[i].ID] != 0 {
			out[i].Args = args[out[i].ID]
		}
	}
	slices.SortFunc(out, func(a, b hostler.Job) int { return cmp.Compare(b.ID, a.ID) })
	return out, err
}

// Job reads one job of a project; nil when there is none.
func (tx *Tx) Job(project hostler.ProjectID, id hostler.JobID) (*hostler.Job, error) {
	return first(tx.Jobs(project, []hostler.JobID{id}))
}

// Attempts lists the attempts of a job that are over, oldest first.
func (tx *Tx) Attempts(job hostler.JobID) ([]hostler.Attempt, error) {
	type ended struct {
		Fence     int64            `db:"fence"`
		N         int64            `db:"attempt"`
		Worker    hostler.WorkerID `db:"worker"`
		StartedAt time.Time        `db:"started_at"`
		EndedAt   time.Time        `db:"ended_at"`
		Outcome   string           `db:"state"`
		Error     string           `db:"error"`
	}
	rows, err := query[attemptRow](tx, `SELECT @cols FROM attempt WHERE job = ? ORDER BY fence`, job)
	if err != nil {
		return nil, err
	}
	last, err := endedJob[ended](tx, job, ` AND started_at <> 0`)
	if err != nil {
		return nil, err
	}
	// A job that a person resolved ended with an attempt that is listed already.
	if last != nil && (len(rows) == 0 || rows[len(rows)-1].Fence != last.Fence) {
		rows = append(rows, attemptRow{
			Fence: last.Fence, N: last.N, Worker: last.Worker, StartedAt: last.StartedAt, EndedAt: last.EndedAt,
			Outcome: last.Outcome, Error: last.Error,
		})
	}
	var out []hostler.Attempt
	for _, r := range rows {
		out = append(out, hostler.Attempt{
			N: int(r.N), Worker: r.Worker, StartedAt: r.StartedAt, EndedAt: r.EndedAt, Outcome: r.Outcome,
			Error: decodeError(r.Error),
		})
	}
	return out, nil
}

// JobSpecs reads what ended jobs of a project were created from, to create them again:
// with RetryOf set, and with the time that their ttl gave them. Ids of jobs that have
// not ended are left out.
func (tx *Tx) JobSpecs(project hostler.ProjectID, ids []hostler.JobID) (map[hostler.JobID]hostler.JobSpec, error) {
	out := make(map[hostler.JobID]hostler.JobSpec, len(ids))
	seen, seenArgs := tx.seen(`h.asset`)
	var shared sharedArgs
	err := tx.eachEnded(project, ids, func() bool { return len(out) == len(ids) }, func(part string) error {
		ended := `SELECT @cols FROM ` + part + ` h WHERE id IN ?* AND project + 0 = ?` + seen
		return queryEach(tx, ended, append([]any{ids, project}, seenArgs...), func(r *specRow) error {
			s, err := r.spec(tx.now)
			s.Project = project
			out[r.ID] = s
			shared.add(r.ID, r.SharedArgs)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	args, err := shared.read(tx)
	for id := range shared {
		s := out[id]
		s.Args = args[id]
		out[id] = s
	}
	return out, err
}

// specRow is what an ended job was created from.
type specRow struct {
	ID          hostler.JobID     `db:"id"`
	Queue       string            `db:"queue"`
	Action      string            `db:"action"`
	Args        json.RawMessage   `db:"args,text"`
	SharedArgs  int64             `db:"shared_args"`
	Asset       int64             `db:"asset"`
	AssetName   string            `db:"asset_name"`
	LaneKey     string            `db:"lane_key"`
	LaneLimit   int               `db:"lane_lim"`
	Priority    int               `db:"prio"`
	MaxAttempts int               `db:"max_attempts"`
	Backoff     string            `db:"backoff"`
	Timeout     int64             `db:"timeout"`
	OnLost      hostler.OnLost    `db:"on_lost"`
	OnUnknown   hostler.OnUnknown `db:"on_unknown"`
	OnRetry     hostler.OnRetry   `db:"on_retry"`
	RunAt       time.Time         `db:"run_at"`
	ExpiresAt   time.Time         `db:"expires_at"`
	CreatedAt   time.Time         `db:"created_at"`
}

func (r *specRow) spec(now time.Time) (hostler.JobSpec, error) {
	s := hostler.JobSpec{
		RetryOf: r.ID, Queue: r.Queue, Action: r.Action, Args: r.Args,
		Asset: assetID(r.Asset), AssetName: r.AssetName, LaneKey: r.LaneKey, LaneLimit: r.LaneLimit,
		Priority: r.Priority, MaxAttempts: r.MaxAttempts,
		Timeout: time.Duration(r.Timeout) * time.Microsecond,
		OnLost:  r.OnLost, OnUnknown: r.OnUnknown, OnRetry: r.OnRetry,
	}
	if r.Asset == inlineAsset {
		s.Target = &hostler.JobTarget{} // its content was deleted with the job
	}
	if hasTTL(r.ExpiresAt) {
		waitsFrom := r.CreatedAt
		if r.RunAt.After(waitsFrom) {
			waitsFrom = r.RunAt
		}
		s.ExpiresAt = now.Add(r.ExpiresAt.Sub(waitsFrom))
	}
	var err error
	s.Backoff, err = decodeBackoff(r.Backoff)
	return s, err
}

// DeleteAttempts deletes up to limit attempts that ended before a time, of jobs that are
// not live, and returns how many.
func (tx *Tx) DeleteAttempts(before time.Time, limit int) (int64, error) {
	// Job ids are in the order of time, so the attempts to delete are at the front of
	// the primary key.
	newest := hostler.MakeID(before.Unix(), 0)
	return tx.Exec(`DELETE FROM attempt WHERE (job, fence) IN
(SELECT a.job, a.fence FROM attempt a WHERE a.job < ? AND a.ended_at < ?
AND NOT EXISTS (SELECT 1 FROM job j WHERE j.id = a.job) ORDER BY a.job, a.fence LIMIT ?)`,
		newest, sqldb.Micros(before), limit)
}
