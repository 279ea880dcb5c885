package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file holds runs with a row: what they were started from, their steps, hosts and
// state. The engine advances a run under the lock of its row (LockRun), and never waits for
// the lock of a step while it holds a lane; see runcount.go.

// RunRow is a row of run.
type RunRow struct {
	ID            hostler.RunID     `db:"id"`
	Project       hostler.ProjectID `db:"project"`
	Source        hostler.RunSource `db:"source"`
	Origin        string            `db:"origin"`
	Name          string            `db:"name"`
	Template      string            `db:"template"`
	Version       int               `db:"version"`
	Params        string            `db:"params"`
	State         hostler.RunState  `db:"state"`
	Paused        bool              `db:"paused"`
	Stop          hostler.RunState  `db:"stop"`
	Requester     hostler.UserID    `db:"requester"`
	RequesterName string            `db:"requester_name"`
	RetryOf       hostler.RunID     `db:"retry_of"`
	CreatedAt     time.Time         `db:"created_at"`
	StartedAt     time.Time         `db:"started_at"`
	EndedAt       time.Time         `db:"ended_at"`
	WakeAt        time.Time         `db:"wake_at"`
	Targets       string            `db:"targets"` // of the request: a hostler.StepTarget as JSON, or ''
	Depth         int               `db:"depth"`   // how many runs came before in a chain
	Follows       bool              `db:"follows"` // it has follow-ups
	OutputOf      string            `db:"output_of"`
	OutputChanged int               `db:"output_changed"` // see [Tx.OutputChanged]
	Chain         hostler.RunID     `db:"chain"`          // the first run of the chain; 0: it followed none
	StartAt       time.Time         `db:"start_at"`       // it begins not earlier; zero: at once
}

// RunStepRow is a row of run_step.
type RunStepRow struct {
	ID        hostler.RunStepID `db:"id"`
	Run       hostler.RunID     `db:"run"`
	N         int               `db:"n"`
	Step      string            `db:"step"`
	Spec      string            `db:"spec"` // a hostler.Step as JSON, rendered
	Jobs      string            `db:"jobs"` // StepJobs as JSON; '' for a step without jobs
	HostSet   int               `db:"host_set"`
	Total     int               `db:"total"` // hosts of the set; 1 for a job without an asset
	State     hostler.StepState `db:"state"`
	Reason    string            `db:"reason"` // a hostler.Text as JSON, or ''
	Round     int64             `db:"round"`
	NextSeq   int64             `db:"next_seq"` // of the host that this round looks at next
	Hosts     int               `db:"hosts"`
	Parallel  int               `db:"parallel"`
	Kept      int               `db:"kept"`
	Started   int               `db:"started"`
	Succeeded int               `db:"succeeded"`
	Failed    int               `db:"failed"`
	Cancelled int               `db:"cancelled"`
	Unknown   int               `db:"unknown"`
	Until     time.Time         `db:"until"`
	Decision  hostler.RunState  `db:"decision"`
	StartedAt time.Time         `db:"started_at"`
	EndedAt   time.Time         `db:"ended_at"`
	Gated     int               `db:"gated"` // hosts that had started when its gate began

	// Missing is how many hosts SaveSteps adds to Failed that have no asset any more.
	Missing int
}

// StepJobs is what the jobs of a step are created from, frozen when the run starts.
type StepJobs struct {
	Queue       string            `json:"queue"`
	Action      string            `json:"action"`
	Args        json.RawMessage   `json:"args"`
	OnAsset     bool              `json:"on_asset"`
	AssetLane   bool              `json:"asset_lane,omitempty"`
	LaneKey     string            `json:"lane_key,omitempty"`
	LaneLimit   int               `json:"lane_limit,omitempty"`
	Priority    int               `json:"priority"`
	MaxAttempts int               `json:"max_attempts"`
	Backoff     hostler.Backoff   `json:"backoff,omitzero"`
	Timeout     hostler.Duration  `json:"timeout,omitempty"`
	OnLost      hostler.OnLost    `json:"on_lost"`
	OnUnknown   hostler.OnUnknown `json:"on_unknown"`
	OnRetry     hostler.OnRetry   `json:"on_retry"`
	// DefaultTimeout tells that nobody chose Timeout.
	DefaultTimeout bool `json:"default_timeout,omitempty"`
	// Approved tells that its jobs start only after other people approved them.
	Approved bool `json:"approved,omitempty"`
}

// RunHost is a host of a run, by its place in a set.
type RunHost struct {
	ID   hostler.AssetID `json:"id"`
	Name string          `json:"name"`
	Bind string          `json:"bind,omitempty"` // see SetBindings
}

// hostsPerPart is how many hosts a row of run_target has.
const hostsPerPart = 500

// InsertRun stores a new run with its steps and the sets of its hosts, and wakes it.
func (tx *Tx) InsertRun(r *RunRow, steps []RunStepRow, sets [][]RunHost) error {
	r.CreatedAt = tx.now
	if err := insert(tx, "run", []RunRow{*r}); err != nil {
		return err
	}
	ids, err := tx.c.NewIDs(tx.ctx, len(steps))
	if err != nil {
		return err
	}
	for i := range steps {
		steps[i].ID, steps[i].Run, steps[i].N = hostler.RunStepID(ids[i]), r.ID, i
	}
	if err := insertSteps(tx, steps); err != nil {
		return err
	}
	for n, hosts := range sets {
		if err := tx.insertTargetsOf(r.ID, n+1, hosts); err != nil {
			return err
		}
	}
	return tx.WakeRuns(r.ID)
}

func insertSteps(tx *Tx, steps []RunStepRow) error {
	for chunk := range slices.Chunk(steps, 50) {
		if err := insert(tx, "run_step", chunk); err != nil {
			return err
		}
	}
	return nil
}

type runTargetRow struct {
	Run     hostler.RunID `db:"run"`
	HostSet int           `db:"host_set"`
	Part    int           `db:"part"`
	Hosts   string        `db:"hosts"`
}

func (tx *Tx) insertTargetsOf(run hostler.RunID, set int, hosts []RunHost) error {
	part := 0
	for chunk := range slices.Chunk(hosts, hostsPerPart) {
		b, err := json.Marshal(chunk)
		if err != nil {
			return fmt.Errorf("encode hosts: %w", err)
		}
		if err := insert(tx, "run_target", []runTargetRow{{run, set, part, string(b)}}); err != nil {
			return err
		}
		part++
	}
	return nil
}

// RunHosts reads up to limit hosts of a set from a place on; a set has no gaps.
func (tx *Tx) RunHosts(run hostler.RunID, set int, from int64, limit int) ([]RunHost, error) {
	first := int(from / hostsPerPart)
	last := int((from + int64(limit) - 1) / hostsPerPart)
	rows, err := query[runTargetRow](tx, `SELECT @cols FROM run_target
WHERE run = ? AND host_set = ? AND part >= ? AND part <= ? ORDER BY part`, run, set, first, last)
	if err != nil {
		return nil, err
	}
	var all []RunHost
	for _, r := range rows {
		var part []RunHost
		if err := json.Unmarshal([]byte(r.Hosts), &part); err != nil {
			return nil, fmt.Errorf("decode hosts: %w", err)
		}
		all = append(all, part...)
	}
	skip := min(int(from)-first*hostsPerPart, len(all))
	all = all[skip:]
	return all[:min(limit, len(all))], nil
}

// Run returns a run of a project; nil when it has no row.
func (tx *Tx) Run(project hostler.ProjectID, id hostler.RunID) (*RunRow, error) {
	return queryOne[RunRow](tx, `SELECT @cols FROM run WHERE id = ? AND project = ?`, id, project)
}

// RunQuery selects runs.
type RunQuery struct {
	Project hostler.ProjectID
	State   hostler.RunState // "": all
	Name    string           // of the template or task; "": all
}

// Runs lists runs before an id, the newest first; it looks at up to scan of them.
func (tx *Tx) Runs(q RunQuery, before hostler.RunID, limit int) ([]RunRow, error) {
	sql, args := `SELECT @cols FROM run WHERE project = ?`, []any{q.Project}
	if before != 0 {
		sql, args = sql+` AND id < ?`, append(args, before)
	}
	if q.State != "" {
		sql, args = sql+` AND state = ?`, append(args, q.State)
	}
	if q.Name != "" {
		sql, args = sql+` AND name = ?`, append(args, q.Name)
	}
	return query[RunRow](tx, sql+` ORDER BY id DESC LIMIT ?`, append(args, limit)...)
}

// LockRun locks a run, and returns it; nil when it has no row.
func (tx *Tx) LockRun(id hostler.RunID) (*RunRow, error) {
	return queryOne[RunRow](tx, `SELECT @cols FROM run WHERE id = ? FOR UPDATE`, id)
}

// RunSteps returns the steps of a run in their order.
func (tx *Tx) RunSteps(run hostler.RunID) ([]RunStepRow, error) {
	return query[RunStepRow](tx, `SELECT @cols FROM run_step WHERE run = ? ORDER BY n`, run)
}

// AwakeRuns lists up to limit runs that must be looked at, and when the next timer of a run
// is due; zero: none.
func (tx *Tx) AwakeRuns(limit int) (runs []hostler.RunID, next time.Time, err error) {
	runs, err = column[hostler.RunID](tx, `SELECT run FROM run_wake GROUP BY run ORDER BY min(id) LIMIT ?`, limit)
	if err != nil {
		return nil, next, err
	}
	type timer struct {
		ID     hostler.RunID `db:"id"`
		WakeAt time.Time     `db:"wake_at"`
	}
	timers, err := query[timer](tx, `SELECT @cols FROM run WHERE wake_at <> 0 ORDER BY wake_at LIMIT ?`, limit)
	for _, t := range timers {
		if t.WakeAt.After(tx.now) {
			return runs, t.WakeAt, err
		}
		if !slices.Contains(runs, t.ID) {
			runs = append(runs, t.ID)
		}
	}
	return runs, next, err
}

// TakeWakes deletes the notes that a run must be looked at. The caller holds its lock, and
// reads its steps after this.
func (tx *Tx) TakeWakes(run hostler.RunID) error {
	_, err := tx.Exec(`DELETE FROM run_wake WHERE run = ?`, run)
	return err
}

// SaveRun stores the state of a locked run.
func (tx *Tx) SaveRun(r *RunRow) error {
	_, err := execRows(tx, `UPDATE run SET state = v.state, paused = v.paused, stop = v.stop, started_at = v.started_at,
ended_at = v.ended_at, wake_at = v.wake_at, start_at = v.start_at FROM @rows WHERE run.id = v.id`, []RunRow{*r})
	return err
}

// SaveSteps stores what the engine decides of steps of a locked run. Their counters change
// by Missing only, because transactions that end jobs change them at the same time.
func (tx *Tx) SaveSteps(steps []RunStepRow) error {
	type change struct {
		ID        hostler.RunStepID `db:"id"`
		State     hostler.StepState `db:"state"`
		Reason    string            `db:"reason"`
		NextSeq   int64             `db:"next_seq"`
		Started   int               `db:"started"`
		Missing   int               `db:"failed"`
		Until     time.Time         `db:"until"`
		StartedAt time.Time         `db:"started_at"`
		EndedAt   time.Time         `db:"ended_at"`
		Gated     int               `db:"gated"`
	}
	rows := make([]change, len(steps))
	for i, s := range steps {
		rows[i] = change{
			s.ID, s.State, s.Reason, s.NextSeq, s.Started, s.Missing, s.Until, s.StartedAt, s.EndedAt, s.Gated,
		}
	}
	_, err := execRows(tx, `UPDATE run_step SET state = v.state, reason = v.reason, next_seq = v.next_seq,
started = v.started, failed = run_step.failed + v.failed, until = v.until,
started_at = v.started_at, ended_at = v.ended_at, gated = v.gated FROM @rows WHERE run_step.id = v.id`, rows)
	return err
}

// RestartSteps begins a new round of steps that have ended, whose jobs have all ended, or
// sets them back. The caller holds the lock of the run.
func (tx *Tx) RestartSteps(steps []RunStepRow) error {
	type change struct {
		ID    hostler.RunStepID `db:"id"`
		State hostler.StepState `db:"state"`
		Round int64             `db:"round"`
		Hosts int               `db:"hosts"`
		Kept  int               `db:"kept"`
	}
	rows := make([]change, len(steps))
	for i, s := range steps {
		rows[i] = change{s.ID, s.State, s.Round, s.Hosts, s.Kept}
	}
	_, err := execRows(tx, `UPDATE run_step SET state = v.state, reason = '', round = v.round, hosts = v.hosts,
kept = v.kept, next_seq = 0, started = 0, succeeded = 0, failed = 0, cancelled = 0, unknown = 0, until = 0,
decision = '', ended_at = 0, gated = 0 FROM @rows WHERE run_step.id = v.id`, rows)
	return err
}

// StartedHosts returns the states of the hosts of a step that were started, by their place,
// from one place to another, which is not included.
func (tx *Tx) StartedHosts(step hostler.RunStepID, from, to int64) (map[int64]StartedHost, error) {
	rows, err := query[hostRow](tx, `SELECT @cols FROM run_host WHERE step = ? AND seq >= ? AND seq < ?`, step, from, to)
	out := make(map[int64]StartedHost, len(rows))
	for _, r := range rows {
		out[r.Seq] = StartedHost{Job: r.Job, Round: r.Round, State: string(r.State), Ran: r.Ran, Note: r.Note}
	}
	return out, err
}

// StartedHost is a host of a step that was started.
type StartedHost struct {
	Job   hostler.JobID
	Round int64
	State string
	Ran   bool   // its job has begun
	Note  string // a hostler.Text as JSON, or ''
}

// HostStart is a host of a step that starts. It has no job when its asset is missing, or
// when the job is refused, which Note tells.
type HostStart struct {
	Step  hostler.RunStepID
	Seq   int64
	Round int64
	Job   hostler.JobID
	Bind  string
	About hostler.JobID // the job that a probe looks at
	Note  string
}

// StartHosts records the jobs of hosts; the caller counts them.
func (tx *Tx) StartHosts(starts []HostStart) error {
	rows := make([]hostRow, len(starts))
	for i, h := range starts {
		rows[i] = hostRow{Step: h.Step, Seq: h.Seq, Job: h.Job, Round: h.Round, State: hostQueued, Bind: h.Bind, About: h.About, Note: h.Note}
		if h.Job == 0 {
			if rows[i].State = hostMissing; h.Note != "" {
				rows[i].State = hostFailed
			}
		}
	}
	cols := sqldb.Columns[hostRow]()
	_, err := execRows(tx, `INSERT INTO run_host (`+columnList("", cols)+`) SELECT `+columnList("v.", cols)+` FROM @rows
WHERE true ON CONFLICT (step, seq) DO UPDATE SET job = excluded.job, round = excluded.round,
state = excluded.state, bind = excluded.bind, about = excluded.about, note = excluded.note`, rows)
	return err
}

// WaitingJobsOf lists up to limit jobs of steps that have not started.
func (tx *Tx) WaitingJobsOf(steps []hostler.RunStepID, limit int) ([]hostler.JobID, error) {
	return column[hostler.JobID](tx, `SELECT h.job FROM run_host h WHERE h.step IN ?* AND h.state = 'queued'
AND NOT EXISTS (SELECT 1 FROM running r WHERE r.id = h.job) ORDER BY h.job LIMIT ?`, steps, limit)
}

// RequestCancelOf asks the workers to stop up to limit running jobs of steps, and returns
// how many it asked for now.
func (tx *Tx) RequestCancelOf(steps []hostler.RunStepID, by string, limit int) (int, error) {
	ids, err := column[hostler.JobID](tx, `SELECT h.job FROM run_host h JOIN running r ON r.id = h.job
WHERE h.step IN ?* AND h.state = 'queued' AND r.cancel_at = 0 ORDER BY h.job LIMIT ?`, steps, limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	n, err := tx.Exec(`UPDATE running SET cancel_at = ?, cancel_by = ? WHERE id IN ?* AND cancel_at = 0`,
		sqldb.Micros(tx.now), by, ids)
	return int(n), err
}

// BindingsOf returns what the approved jobs among some were bound to; see SetBindings.
func (tx *Tx) BindingsOf(jobs []hostler.JobID) (map[hostler.JobID]string, error) {
	rows, err := query[hostRow](tx, `SELECT @cols FROM run_host WHERE job IN ?* AND bind <> ''`, jobs)
	out := make(map[hostler.JobID]string, len(rows))
	for _, r := range rows {
		out[r.Job] = r.Bind
	}
	return out, err
}

// HasRow reports whether a run has a row of its own.
func HasRow(run hostler.RunID) bool { return recorded(run) }

// DeleteRuns deletes rows of a run that ended before a time, at most limit of those that
// grow with its hosts. It returns how many rows it deleted.
func (tx *Tx) DeleteRuns(before time.Time, limit int) (int64, error) {
	var run hostler.RunID
	found, err := tx.one(`SELECT id FROM run WHERE ended_at <> 0 AND ended_at < ? ORDER BY ended_at LIMIT 1`,
		[]any{sqldb.Micros(before)}, &run)
	if err != nil || !found {
		return 0, err
	}
	n, err := tx.Exec(`DELETE FROM run_host WHERE (step, seq) IN (SELECT h.step, h.seq FROM run_host h
WHERE h.step IN (SELECT s.id FROM run_step s WHERE s.run = ?) LIMIT ?)`, run, limit)
	if err != nil || n > 0 {
		return int64(limit), err
	}
	n, err = tx.Exec(`DELETE FROM run_output WHERE (step, seq) IN (SELECT o.step, o.seq FROM run_output o
WHERE o.step IN (SELECT s.id FROM run_step s WHERE s.run = ?) LIMIT ?)`, run, limit)
	if err != nil || n > 0 {
		return int64(limit), err
	}
	for _, sql := range []string{
		`DELETE FROM approval_decision WHERE approval IN (SELECT id FROM approval WHERE run = ?)`,
		`DELETE FROM approval WHERE run = ?`, `DELETE FROM run_wake WHERE run = ?`, `DELETE FROM follow_up WHERE run = ?`,
		`DELETE FROM run_target WHERE run = ?`, `DELETE FROM run_step WHERE run = ?`, `DELETE FROM run WHERE id = ?`,
	} {
		if _, err := tx.Exec(sql, run); err != nil {
			return 0, err
		}
	}
	return int64(limit), nil
}

// RunByID returns a run of any project; nil when it has no row.
func (tx *Tx) RunByID(id hostler.RunID) (*RunRow, error) {
	return queryOne[RunRow](tx, `SELECT @cols FROM run WHERE id = ?`, id)
}

// LastEndedRun returns the newest ended run of a task or template; 0: none.
func (tx *Tx) LastEndedRun(project hostler.ProjectID, name string) (id hostler.RunID, err error) {
	_, err = tx.one(`SELECT id FROM run WHERE project = ? AND name = ? AND ended_at <> 0 ORDER BY id DESC LIMIT 1`,
		[]any{project, name}, &id)
	return id, err
}
