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
	return []any{
		q.Project, q.Queue == "", q.Queue, q.Action == "", q.Action,
		q.Asset == 0, q.Asset, q.AssetName == "", q.AssetName,
		q.Lane == "", hostler.AssetLaneKey(q.Lane), hostler.OwnLaneKey(q.Project, q.Lane), q.Run == 0, q.Run,
		q.Host == "", q.Host, q.Hosts, len(q.Lanes) == 0, q.Lanes,
		!q.NoLane, sqldb.Micros(q.Since), until,
	}
}

// liveSources are the tables that hold the live jobs of each state.
var liveSources = map[hostler.State][]string{
	hostler.StateScheduled: {"sched"},
	hostler.StateQueued:    {"ready", "wait"},
	hostler.StateRunning:   {"running"},
	hostler.StateUnknown:   {"parked"},
}

// sources are the tables that may hold what the query asks for, each with a condition
// that has an index.
func (q JobQuery) sources() []source {
	var out []source
	args := q.matchArgs()
	live := func(from, id, where string, more ...any) {
		out = append(out, source{
			`SELECT x.id, ` + match + ` THEN 1 ELSE 0 END FROM ` + from + ` WHERE ` + where, id,
			append(slices.Clone(args), more...),
		})
	}
	switch {
	case len(q.Workers) > 0:
		for _, state := range []hostler.State{hostler.StateRunning, hostler.StateUnknown} {
			if len(q.States) == 0 || slices.Contains(q.States, state) {
				live(liveSources[state][0]+` y JOIN job x ON x.id = y.id`, `y.id`, `y.worker IN ?* AND `, q.Workers)
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
	return source{`SELECT x.id, ` + match + ` AND (? = 1 OR x.state IN ?*) AND (? = 1 OR x.worker IN ?*)
THEN 1 ELSE 0 END FROM done x WHERE ` + where, `x.id`, args}, true
}

// scanSource searches one table down from an id. It returns the ids that match, and
// the id down to which it has searched: 0 when there are no more.
func (tx *Tx) scanSource(src source, q JobQuery, top int64, limit int) (found []int64, down int64, err error) {
	bottom := int64(0)
	if !q.Since.IsZero() {
		bottom = hostler.MakeID(q.Since.Add(-idSlack).Unix(), 0)
	}
	sql := src.sql + src.id + ` < ? AND ` + src.id + ` >= ? ORDER BY ` + src.id + ` DESC LIMIT ?`
	// The first chunk is small: most listings match all that they read.
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
