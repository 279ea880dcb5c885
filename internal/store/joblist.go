package store

import (
	"cmp"
	"math"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file lists jobs. A listing searches the tables that may hold what it asks for,
// each from the newest id down, with a bound on the rows that it reads.

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

	// Conditions of the compatible endpoints.
	Host    string   // the asset name of the jobs, or one of Hosts
	Hosts   []int64  // ids of assets, beside Host
	Lanes   []string // full keys, any of them
	NoLane  bool     // not in the lane of a device
	Workers []int64  // that run or ran the job; jobs that have not started are left out
	Since   time.Time
	Until   time.Time

	seen     string // a further condition on the asset, with its arguments
	seenArgs []any
}

// scanBudget limits how many rows one listing reads from each table.
const scanBudget = 20_000

// idSlack covers the time that may pass between the creation of a job and the
// allocation of its id.
const idSlack = time.Minute

// ListJobIDs finds up to limit jobs with ids below before (0 for the newest),
// newest first. next is where to go on, 0 at the end: a page may hold fewer jobs
// than limit, even none, and yet not be the last, because the scan of rows that do not
// match is bounded.
func (tx *Tx) ListJobIDs(q JobQuery, before hostler.JobID, limit int) (
	ids []hostler.JobID, next hostler.JobID, err error,
) {
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
	q.seen, q.seenArgs = tx.seen(`x.asset`)
	for _, src := range q.liveSources() {
		found, down, _, err := tx.scanSource(src, q, top, limit, scanBudget)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, found...)
		horizon = max(horizon, down)
	}
	found, down, err := tx.scanHistory(q, top, limit)
	if err != nil {
		return nil, 0, err
	}
	all = append(all, found...)
	horizon = max(horizon, down)
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

// source is a table to search by the ids in a column. Its text ends before the bounds
// on them and contains match, the conditions of the query.
type source struct {
	sql  string
	id   string
	args []any
}

// match is 1 for the rows that the query selects. A parameter switches off each
// condition that the query does not have, so that there are few different statements.
const match = `CASE WHEN x.project = ? AND (? = 1 OR x.queue = ?) AND (? = 1 OR x.action = ?)
AND (? = 1 OR x.asset = ?) AND (? = 1 OR x.asset_name = ?)
AND (? = 1 OR x.lane_key = ? OR x.lane_key = ?) AND (? = 1 OR x.run = ?)
AND (? = 1 OR x.asset_name = ? OR x.asset IN ?*) AND (? = 1 OR x.lane_key IN ?*)
AND (? = 1 OR substr(x.lane_key, 1, 7) <> 'device:') AND x.created_at >= ? AND x.created_at < ?`

func (q JobQuery) matchArgs() []any {
	until := int64(math.MaxInt64)
	if !q.Until.IsZero() {
		until = sqldb.Micros(q.Until)
	}
	return append([]any{
		q.Project, q.Queue == "", q.Queue, q.Action == "", q.Action,
		q.Asset == 0, q.Asset, q.AssetName == "", q.AssetName,
		q.Lane == "", hostler.AssetLaneKey(q.Lane), hostler.OwnLaneKey(q.Project, q.Lane), q.Run == 0, q.Run,
		q.Host == "", q.Host, q.Hosts, len(q.Lanes) == 0, q.Lanes,
		!q.NoLane, sqldb.Micros(q.Since), until,
	}, q.seenArgs...)
}

// stateTables are the tables that hold the live jobs of a state, but for queued ones.
var stateTables = map[hostler.State]string{
	hostler.StateScheduled: "sched",
	hostler.StateRunning:   "running",
	hostler.StateUnknown:   "parked",
}

// isQueued selects the queued of the live jobs.
const isQueued = `NOT EXISTS (SELECT 1 FROM running y WHERE y.id = x.id)
AND NOT EXISTS (SELECT 1 FROM parked y WHERE y.id = x.id) AND NOT EXISTS (SELECT 1 FROM sched y WHERE y.id = x.id)`

// liveSources are the tables that may hold live jobs that the query asks for, each with a
// condition that has an index.
func (q JobQuery) liveSources() []source {
	var out []source
	args := q.matchArgs()
	live := func(from, id, also, where string, more ...any) {
		out = append(out, source{
			`SELECT x.id, ` + match + q.seen + also + ` THEN 1 ELSE 0 END FROM ` + from + ` WHERE ` + where, id,
			append(slices.Clone(args), more...),
		})
	}
	// jobs are the jobs of the query by the best index of table job.
	jobs := func(also string) {
		switch {
		case q.Run != 0:
			live(`job x`, `x.id`, also, `x.run = ? AND x.run <> 0 AND `, q.Run)
		case q.Asset > 0:
			live(`job x`, `x.id`, also, `x.asset = ? AND x.asset > 0 AND `, q.Asset)
		default:
			live(`job x`, `x.id`, also, `x.project = ? AND `, q.Project)
		}
	}
	any := len(q.States) == 0
	if any && len(q.Workers) == 0 {
		jobs(``)
		return out
	}
	if slices.Contains(q.States, hostler.StateQueued) && len(q.Workers) == 0 {
		jobs(` AND ` + isQueued)
	}
	for state, table := range stateTables {
		from := table + ` y JOIN job x ON x.id = y.id`
		switch {
		case !any && !slices.Contains(q.States, state):
		case len(q.Workers) == 0:
			live(from, `y.id`, ``, ``)
		case state != hostler.StateScheduled:
			live(from, `y.id`, ``, `y.worker IN ?* AND `, q.Workers)
		}
	}
	return out
}

// endedStates are the states of ended jobs that the query asks for; none reports that it
// asks for live jobs only.
func (q JobQuery) endedStates() (states []string, none bool) {
	for _, s := range q.States {
		if s.Terminal() {
			states = append(states, string(s))
		}
	}
	return states, len(q.States) > 0 && len(states) == 0
}

// doneSources are the searches of one part of the history for what the query asks for,
// each by an index of the part.
func (tx *Tx) doneSources(q JobQuery, part string) ([]source, error) {
	states, _ := q.endedStates()
	args := append(q.matchArgs(), len(states) == 0, states, len(q.Workers) == 0, q.Workers)
	by := func(where string, more ...any) source {
		return source{`SELECT x.id, ` + match + q.seen + ` AND (? = 1 OR x.state IN ?*) AND (? = 1 OR x.worker IN ?*)
THEN 1 ELSE 0 END FROM ` + part + ` x WHERE ` + where, `x.id`, append(slices.Clone(args), more...)}
	}
	switch {
	case q.Run != 0:
		return []source{by(`x.run = ? AND x.run <> 0 AND `, q.Run)}, nil
	case q.Asset != 0:
		return []source{by(`x.asset = ? AND x.asset <> 0 AND `, q.Asset)}, nil
	case len(states) > 0 && !slices.Contains(states, string(hostler.StateSucceeded)):
		var out []source
		for _, state := range states {
			out = append(out, by(`x.project = ? AND x.state = ? AND x.state <> 'succeeded' AND `, q.Project, state))
		}
		return out, nil
	}
	groups, err := tx.endedGroups(part, q.Project, endedGroup{}, maxEndedGroups+1)
	if err != nil {
		return nil, err
	}
	if len(groups) > maxEndedGroups {
		return []source{by(``)}, nil
	}
	var out []source
	for _, g := range groups {
		if (q.Action == "" || q.Action == g.Action) && (q.Queue == "" || q.Queue == g.Queue) {
			out = append(out, by(`x.project = ? AND x.action = ? AND x.queue = ? AND `, q.Project, g.Action, g.Queue))
		}
	}
	return out, nil
}

// partBudget limits how many parts of the history one listing reads, beside the open
// ones.
const partBudget = 16

// scanHistory searches the history as scanSource does one table: part by part, until
// those that are left have older jobs only, or the budget is spent.
func (tx *Tx) scanHistory(q JobQuery, top int64, limit int) (found []int64, down int64, err error) {
	if _, none := q.endedStates(); none {
		return nil, 0, nil
	}
	parts, err := tx.parts(q.Project, max(q.bottom(), int64(q.Run)), top-1)
	if err != nil {
		return nil, 0, err
	}
	read, budget := 0, scanBudget
	for i, p := range parts {
		sources, err := tx.doneSources(q, p.Name)
		if err != nil {
			return nil, 0, err
		}
		for _, src := range sources {
			some, to, n, err := tx.scanSource(src, q, top, limit, max(budget, 2*limit))
			if err != nil {
				return nil, 0, err
			}
			found = append(found, some...)
			down = max(down, to)
			budget -= n
		}
		// Not those that the page before has read, too: with long delayed jobs many parts
		// have old ids.
		if p.MaxID < top {
			read++
		}
		if i+1 == len(parts) || parts[i+1].open() {
			continue
		}
		// What is left has ids up to this.
		left := min(parts[i+1].MaxID, top-1)
		above := 0
		for _, id := range found {
			if id > left {
				above++
			}
		}
		if above >= limit || down > left || left < top-1 && (read >= partBudget || budget <= 0) {
			return found, max(down, left+1), nil
		}
	}
	return found, down, nil
}

// bottom is the smallest id of the jobs that the query may ask for.
func (q JobQuery) bottom() int64 {
	if q.Since.IsZero() {
		return 0
	}
	return hostler.MakeID(q.Since.Add(-idSlack).Unix(), 0)
}

// scanSource searches one table down from an id, in about as many rows as the budget. It
// returns the ids that match, the id down to which it has searched, 0 when there are no
// more, and how many rows it read.
func (tx *Tx) scanSource(src source, q JobQuery, top int64, limit, budget int) (
	found []int64, down int64, read int, err error,
) {
	sql := src.sql + src.id + ` < ? AND ` + src.id + ` >= ? ORDER BY ` + src.id + ` DESC LIMIT ?`
	// The first chunk is small: most listings match all that they read.
	for chunk := limit + 1; read < budget && len(found) < limit; chunk *= 8 {
		chunk = min(chunk, budget-read)
		seen := 0
		err := tx.each(sql, append(slices.Clone(src.args), top, q.bottom(), chunk), func(r sqldb.Rows) error {
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
		read += seen
		if err != nil {
			return nil, 0, read, err
		}
		if seen < chunk {
			return found, 0, read, nil
		}
	}
	return found, top, read, nil
}
