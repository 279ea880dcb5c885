package store

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file reads jobs for people. A live job is in job and one table of the
// queue, an ended one in done; a listing walks both from the newest id down.

// liveState says where a live job j is.
const liveState = `CASE WHEN r.id IS NOT NULL THEN 'running' WHEN k.id IS NOT NULL THEN 'unknown' WHEN s.id IS NOT NULL THEN 'scheduled' ELSE 'queued' END`

const liveJoins = ` FROM job j LEFT JOIN running r ON r.id = j.id LEFT JOIN parked k ON k.id = j.id LEFT JOIN sched s ON s.id = j.id
LEFT JOIN ready q ON q.id = j.id LEFT JOIN wait w ON w.id = j.id `

// liveFields and doneFields are one row each of scanJob.
const liveFields = `j.id, p.name, j.run, j.action, j.args, j.queue, j.asset, j.asset_name, j.lane_key, j.lane_lim, j.prio, ` + liveState + `,
COALESCE(r.attempt, k.attempt, s.attempt, q.attempt, w.attempt, 0), j.max_attempts, j.backoff, j.timeout, j.on_lost, j.on_unknown, j.on_retry,
j.retry_of, j.created_by, j.created_at, COALESCE(s.run_at, j.run_at), COALESCE(r.queued_at, k.queued_at, q.queued_at, w.queued_at, 0),
COALESCE(r.started_at, k.started_at, 0), 0, j.expires_at, COALESCE(r.cancel_at, 0), COALESCE(r.worker, k.worker, 0),
COALESCE(r.progress, ''), COALESCE(k.result, ''), COALESCE(k.error, '')`

const doneFields = `d.id, p.name, d.run, d.action, d.args, d.queue, d.asset, d.asset_name, d.lane_key, d.lane_lim, d.prio, d.state,
d.attempt, d.max_attempts, d.backoff, d.timeout, d.on_lost, d.on_unknown, d.on_retry,
d.retry_of, d.created_by, d.created_at, d.run_at, d.queued_at, d.started_at, d.ended_at, d.expires_at, 0, d.worker, '', d.result, d.error`

func scanJob(r sqldb.Rows) (hostler.Job, error) {
	var j hostler.Job
	var id, run, asset, timeout, retryOf, created, runAt, queued, started, ended, expires, cancel, worker int64
	var args, state, backoff, onLost, onUnknown, onRetry, progress, result, jobErr string
	err := r.Scan(&id, &j.Project, &run, &j.Action, &args, &j.Queue, &asset, &j.AssetName, &j.Lane, &j.LaneLimit, &j.Priority, &state,
		&j.Attempt, &j.MaxAttempts, &backoff, &timeout, &onLost, &onUnknown, &onRetry,
		&retryOf, &j.CreatedBy, &created, &runAt, &queued, &started, &ended, &expires, &cancel, &worker, &progress, &result, &jobErr)
	if err != nil {
		return j, err
	}
	kind, _, _ := cutLane(j.Lane)
	j.OnDevice = kind == "device"
	j.ID, j.Run, j.Asset, j.RetryOf, j.Worker = hostler.JobID(id), hostler.RunID(run), assetID(asset), hostler.JobID(retryOf), hostler.WorkerID(worker)
	j.Args, j.State, j.Lane = json.RawMessage(args), hostler.State(state), DisplayLane(j.Lane)
	j.OnLost, j.OnUnknown, j.OnRetry = hostler.OnLost(onLost), hostler.OnUnknown(onUnknown), hostler.OnRetry(onRetry)
	j.TimeoutS = (time.Duration(timeout) * time.Microsecond).Seconds()
	j.CreatedAt = sqldb.Time(created)
	j.RunAt, j.QueuedAt, j.StartedAt, j.EndedAt = timePtr(runAt), timePtr(queued), timePtr(started), timePtr(ended)
	j.ExpiresAt, j.CancelAt = timePtr(max(0, expires)), timePtr(cancel)
	j.Error = decodeError(jobErr)
	if result != "" {
		j.Result = json.RawMessage(result)
	}
	if j.Progress, err = decodeProgress(progress); err != nil {
		return j, err
	}
	j.Backoff, err = decodeBackoff(backoff)
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
	seen := map[hostler.JobID]bool{}
	for _, sql := range []string{
		// Live jobs first: one that ends between the two statements is then
		// found twice rather than not at all.
		`SELECT ` + liveFields + liveJoins + `JOIN project p ON p.id = j.project WHERE j.id IN ?* AND j.project = ?`,
		`SELECT ` + doneFields + ` FROM done d JOIN project p ON p.id = d.project WHERE d.id IN ?* AND d.project = ?`,
	} {
		err := tx.each(sql, []any{ids, project}, func(r sqldb.Rows) error {
			j, err := scanJob(r)
			if !seen[j.ID] {
				seen[j.ID] = true
				out = append(out, j)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b hostler.Job) int { return cmp.Compare(b.ID, a.ID) })
	return out, nil
}

// Job reads one job of a project; nil when there is none.
func (tx *Tx) Job(project hostler.ProjectID, id hostler.JobID) (*hostler.Job, error) {
	return first(tx.Jobs(project, []hostler.JobID{id}))
}

// JobQuery is a hostler.JobFilter whose names are resolved.
type JobQuery struct {
	Project   hostler.ProjectID
	States    []hostler.State
	Queue     string
	Action    string
	Asset     hostler.AssetID // or AssetName, for one that was deleted
	AssetName string
	Lane      string // as DisplayLane shows it
	Run       hostler.RunID

	// What the compatible endpoints ask for.
	Host    string   // the name that the jobs have for their asset, or an asset of Hosts
	Hosts   []int64  // ids of assets, beside Host
	Lanes   []string // full keys, any of them
	NoLane  bool     // not in the lane of a device
	Workers []int64  // ran or runs on any of them; those that have not started are left out
	Since   time.Time
	Until   time.Time
}

// scanBudget is how many rows one listing looks at, at most, in each table.
const scanBudget = 20_000

// idSlack covers the time that may pass between a job's creation and the making
// of its id.
const idSlack = time.Minute

// ListJobIDs finds up to limit jobs with ids below before (0 for the newest),
// newest first, and where to go on (0 at the end). A page may hold fewer jobs
// than limit, even none, and yet not be the last: the scan of rows that do not
// match is bounded.
func (tx *Tx) ListJobIDs(q JobQuery, before hostler.JobID, limit int) (ids []hostler.JobID, next hostler.JobID, err error) {
	top := int64(before)
	if top == 0 {
		top = math.MaxInt64
	}
	if !q.Until.IsZero() {
		top = min(top, hostler.MakeID(q.Until.Add(idSlack).Unix(), 0))
	}
	var all []int64
	// horizon is the id down to which every source has been searched.
	horizon := int64(0)
	for _, src := range q.sources() {
		found, down, err := tx.scanSource(src, q, top, limit)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, found...)
		horizon = max(horizon, down)
	}
	slices.SortFunc(all, func(a, b int64) int { return cmp.Compare(b, a) })
	all = slices.Compact(all)
	for _, id := range all {
		if id < horizon || len(ids) == limit {
			break
		}
		ids = append(ids, hostler.JobID(id))
	}
	switch {
	case len(ids) == limit:
		next = ids[limit-1]
	case horizon > 0:
		next = hostler.JobID(horizon)
	}
	return ids, next, nil
}

// source is a table to search, by the ids in a column: its text ends before the
// bound on them, and uses the filter's conditions through match.
type source struct {
	sql  string
	id   string
	args []any
}

// match is 1 for the rows that the filter selects; the texts of the program
// stay few because absent conditions are switched off by a parameter.
const match = `CASE WHEN x.project = ? AND (? = 1 OR x.queue = ?) AND (? = 1 OR x.action = ?) AND (? = 1 OR x.asset = ?) AND (? = 1 OR x.asset_name = ?)
AND (? = 1 OR x.lane_key = ? OR x.lane_key = ?) AND (? = 1 OR x.run = ?)
AND (? = 1 OR x.asset_name = ? OR x.asset IN ?*) AND (? = 1 OR x.lane_key IN ?*) AND (? = 1 OR substr(x.lane_key, 1, 7) <> 'device:') AND x.created_at >= ? AND x.created_at < ?`

func (q JobQuery) matchArgs() []any {
	until := int64(math.MaxInt64)
	if !q.Until.IsZero() {
		until = sqldb.Micros(q.Until)
	}
	return []any{
		q.Project, q.Queue == "", q.Queue, q.Action == "", q.Action, q.Asset == 0, q.Asset, q.AssetName == "", q.AssetName,
		q.Lane == "", hostler.AssetLaneKey(q.Lane), hostler.OwnLaneKey(q.Project, q.Lane), q.Run == 0, q.Run,
		q.Host == "", q.Host, q.Hosts, len(q.Lanes) == 0, q.Lanes, !q.NoLane, sqldb.Micros(q.Since), until,
	}
}

// liveSources are the tables that hold the live jobs of each state.
var liveSources = map[hostler.State][]string{
	hostler.StateScheduled: {"sched"},
	hostler.StateQueued:    {"ready", "wait"},
	hostler.StateRunning:   {"running"},
	hostler.StateUnknown:   {"parked"},
}

// sources are the tables that may hold what the query asks for, each with the
// condition that an index can help with.
func (q JobQuery) sources() []source {
	var out []source
	args := q.matchArgs()
	live := func(from, id, where string, more ...any) {
		out = append(out, source{
			`SELECT x.id, ` + match + ` THEN 1 ELSE 0 END FROM ` + from + ` WHERE ` + where, id, append(slices.Clone(args), more...),
		})
	}
	switch {
	case len(q.Workers) > 0:
		for state, table := range map[hostler.State]string{hostler.StateRunning: "running", hostler.StateUnknown: "parked"} {
			if len(q.States) == 0 || slices.Contains(q.States, state) {
				live(table+` y JOIN job x ON x.id = y.id`, `y.id`, `y.worker IN ?* AND `, q.Workers)
			}
		}
	case q.Run != 0 && len(q.States) == 0:
		live(`job x`, `x.id`, `x.run = ? AND x.run <> 0 AND `, q.Run)
	case len(q.States) == 0:
		live(`job x`, `x.id`, ``)
	}
	for state, tables := range liveSources {
		if !slices.Contains(q.States, state) || len(q.Workers) > 0 {
			continue
		}
		for _, t := range tables {
			live(t+` y JOIN job x ON x.id = y.id`, `y.id`, ``)
		}
	}
	if s, ok := q.doneSource(args); ok {
		out = append(out, s)
	}
	return out
}

func (q JobQuery) doneSource(args []any) (source, bool) {
	states := make([]string, 0, len(q.States))
	for _, s := range q.States {
		if s.Terminal() {
			states = append(states, string(s))
		}
	}
	if len(q.States) > 0 && len(states) == 0 {
		return source{}, false
	}
	args = append(slices.Clone(args), len(states) == 0, states, len(q.Workers) == 0, q.Workers)
	where := ``
	switch {
	case q.Run != 0:
		where = `x.run = ? AND x.run <> 0 AND `
		args = append(args, q.Run)
	case q.Asset != 0:
		where = `x.asset = ? AND x.asset <> 0 AND `
		args = append(args, q.Asset)
	case len(states) == 1 && states[0] != string(hostler.StateSucceeded):
		where = `x.state = ? AND x.state <> 'succeeded' AND `
		args = append(args, states[0])
	}
	return source{`SELECT x.id, ` + match + ` AND (? = 1 OR x.state IN ?*) AND (? = 1 OR x.worker IN ?*) THEN 1 ELSE 0 END FROM done x WHERE ` + where, `x.id`, args}, true
}

// scanSource searches one table down from an id. It returns matching ids, and
// the id down to which it has looked: 0 when there is nothing more.
func (tx *Tx) scanSource(src source, q JobQuery, top int64, limit int) (found []int64, down int64, err error) {
	bottom := int64(0)
	if !q.Since.IsZero() {
		bottom = hostler.MakeID(q.Since.Add(-idSlack).Unix(), 0)
	}
	sql := src.sql + src.id + ` < ? AND ` + src.id + ` >= ? ORDER BY ` + src.id + ` DESC LIMIT ?`
	// The first look is small, because most listings match what they see.
	for left, chunk := scanBudget, limit+1; left > 0 && len(found) < limit; chunk *= 8 {
		chunk = min(chunk, left)
		left -= chunk
		seen := 0
		err := tx.each(sql, append(slices.Clone(src.args), top, bottom, chunk), func(r sqldb.Rows) error {
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

// ActionStats is what became of the jobs of one action.
type ActionStats struct {
	Count, Success, Failure int
	Total                   time.Duration // that the ended ones took
	Last                    time.Time     // the latest end
}

// ActionStats counts the jobs of a project that ended, by action. It looks at no
// more than the newest jobs of all projects, so that its cost is bounded.
func (tx *Tx) ActionStats(project hostler.ProjectID, newest int) (map[string]ActionStats, error) {
	out := map[string]ActionStats{}
	err := tx.each(`SELECT action, count(*), sum(CASE WHEN state = 'succeeded' THEN 1 ELSE 0 END),
CAST(sum(CASE WHEN started_at > 0 THEN ended_at - started_at ELSE 0 END) AS BIGINT), max(ended_at)
FROM (SELECT project, action, state, started_at, ended_at FROM done ORDER BY id DESC LIMIT ?) d WHERE project = ? GROUP BY action`,
		[]any{newest, project}, func(r sqldb.Rows) error {
			var name string
			var took, last int64
			var st ActionStats
			err := r.Scan(&name, &st.Count, &st.Success, &took, &last)
			st.Failure, st.Total, st.Last = st.Count-st.Success, time.Duration(took)*time.Microsecond, sqldb.Time(last)
			out[name] = st
			return err
		})
	return out, err
}

// RunSummary counts the jobs of a run of a project by state; Total 0 when there
// is no such run.
func (tx *Tx) RunSummary(project hostler.ProjectID, run hostler.RunID) (hostler.RunSummary, error) {
	sum := hostler.RunSummary{Run: run, States: map[hostler.State]int{}, Done: true}
	for _, sql := range []string{
		`SELECT ` + liveState + ` AS state, count(*)` + liveJoins + `WHERE j.run = ? AND j.run <> 0 AND j.project = ? GROUP BY 1`,
		// Materialized, because SQLite would group the segments before it looks
		// into their indexes.
		`WITH d AS MATERIALIZED (SELECT state FROM done WHERE run = ? AND run <> 0 AND project = ?) SELECT state, count(*) FROM d GROUP BY state`,
	} {
		err := tx.each(sql, []any{run, project}, func(r sqldb.Rows) error {
			var state string
			var n int
			err := r.Scan(&state, &n)
			s := hostler.State(state)
			sum.States[s] += n
			sum.Total += n
			sum.Done = sum.Done && s.Settled()
			return err
		})
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// Attempts lists the tries of a job that are over, oldest first.
func (tx *Tx) Attempts(job hostler.JobID) ([]hostler.Attempt, error) {
	var out []hostler.Attempt
	last := int64(-1)
	add := func(r sqldb.Rows) error {
		var worker, started, ended, fence int64
		var jobErr string
		var a hostler.Attempt
		err := r.Scan(&fence, &a.N, &worker, &started, &ended, &a.Outcome, &jobErr)
		if err != nil || fence == last {
			return err
		}
		last = fence
		a.Worker, a.StartedAt, a.EndedAt, a.Error = hostler.WorkerID(worker), sqldb.Time(started), sqldb.Time(ended), decodeError(jobErr)
		out = append(out, a)
		return nil
	}
	if err := tx.each(`SELECT fence, n, worker, started_at, ended_at, outcome, error FROM attempt WHERE job = ? ORDER BY fence`, []any{job}, add); err != nil {
		return nil, err
	}
	// A job that was resolved ended with an attempt that is listed above.
	err := tx.each(`SELECT fence, attempt, worker, started_at, ended_at, state, error FROM done WHERE id = ? AND started_at <> 0`, []any{job}, add)
	return out, err
}

// JobSpecs reads what ended jobs of a project were made from, to make them again:
// with RetryOf set, and with the time that their ttl gave them. Ids of jobs that
// have not ended are left out.
func (tx *Tx) JobSpecs(project hostler.ProjectID, ids []hostler.JobID) (map[hostler.JobID]hostler.JobSpec, error) {
	out := make(map[hostler.JobID]hostler.JobSpec, len(ids))
	err := tx.each(`SELECT id, queue, action, args, asset, asset_name, lane_key, lane_lim, prio, max_attempts, backoff, timeout,
on_lost, on_unknown, on_retry, run_at, expires_at, created_at FROM done WHERE id IN ?* AND project = ?`, []any{ids, project}, func(r sqldb.Rows) error {
		s := hostler.JobSpec{Project: project}
		var id, asset, timeout, runAt, expires, created int64
		var args, backoff, onLost, onUnknown, onRetry string
		err := r.Scan(&id, &s.Queue, &s.Action, &args, &asset, &s.AssetName, &s.LaneKey, &s.LaneLimit, &s.Priority, &s.MaxAttempts, &backoff, &timeout,
			&onLost, &onUnknown, &onRetry, &runAt, &expires, &created)
		if err != nil {
			return err
		}
		s.RetryOf, s.Asset, s.Args = hostler.JobID(id), assetID(asset), json.RawMessage(args)
		if asset == inlineAsset {
			s.Target = &hostler.JobTarget{} // its content went with the job
		}
		s.Timeout = time.Duration(timeout) * time.Microsecond
		s.OnLost, s.OnUnknown, s.OnRetry = hostler.OnLost(onLost), hostler.OnUnknown(onUnknown), hostler.OnRetry(onRetry)
		if expires != 0 {
			s.ExpiresAt = tx.now.Add(time.Duration(expires-max(runAt, created)) * time.Microsecond)
		}
		s.Backoff, err = decodeBackoff(backoff)
		out[s.RetryOf] = s
		return err
	})
	return out, err
}

// CancelAsked says which of the jobs run and were asked to stop.
func (tx *Tx) CancelAsked(ids []hostler.JobID) (map[hostler.JobID]bool, error) {
	asked := map[hostler.JobID]bool{}
	err := tx.each(`SELECT id FROM running WHERE id IN ?* AND cancel_at <> 0`, []any{ids}, func(r sqldb.Rows) error {
		var id int64
		err := r.Scan(&id)
		asked[hostler.JobID(id)] = true
		return err
	})
	return asked, err
}
