package store

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/selector"
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
	User      string            // who created the jobs
	Labels    selector.Selector // of the assets of the jobs; without terms, all jobs

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
	live     string // a further condition, when live jobs are searched
	floor    int64  // ids below it are not on the page
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
	q.seen, q.seenArgs = tx.seen(`x.asset`)
	// horizon is the id down to which every source has been searched.
	sources, live := q.liveSources()
	all, horizon, _, err := tx.scanSources(sources, q, top, limit, scanBudget)
	if err != nil {
		return nil, 0, err
	}
	if live != `` {
		found, down, err := tx.scanLive(q, live, top, limit)
		if err != nil {
			return nil, 0, err
		}
		all, horizon = append(all, found...), max(horizon, down)
	}
	q.floor = pageFloor(all, horizon, limit)
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

// pageFloor returns the last id of a page that is full already; 0: it is not. The ids are
// those that were found down to one. New jobs are live ones, so that the first pages need
// little or nothing of the history.
func pageFloor(found []int64, down int64, limit int) int64 {
	ids := slices.Clone(found)
	slices.SortFunc(ids, func(a, b int64) int { return cmp.Compare(b, a) })
	if ids = slices.Compact(ids); len(ids) < limit || ids[limit-1] < down {
		return 0
	}
	return ids[limit-1]
}

// source is a table to search by the ids in a column. Its text ends before the bounds
// on them and contains match, the conditions of the query.
type source struct {
	sql  string
	id   string
	args []any
	any  bool // its rows are read in any order
}

// match is an expression that is 1 for the rows that the query selects, with its
// arguments. It is no condition, so that no index is taken for it.
func (q *JobQuery) match() (expr string, args []any) {
	expr, args = `CASE WHEN x.project = ?`, []any{q.Project}
	and := func(on bool, cond string, more ...any) {
		if on {
			expr, args = expr+` AND `+cond, append(args, more...)
		}
	}
	and(q.Queue != "", `x.queue = ?`, q.Queue)
	and(q.Action != "", `x.action = ?`, q.Action)
	and(q.Asset != 0, `x.asset = ?`, q.Asset)
	and(q.AssetName != "", `x.asset_name = ?`, q.AssetName)
	and(q.Lane != "", `(x.lane_key = ? OR x.lane_key = ?)`, hostler.AssetLaneKey(q.Lane), hostler.OwnLaneKey(q.Project, q.Lane))
	and(q.Run != 0, `x.run = ?`, q.Run)
	and(q.User != "", `x.created_by = ?`, q.User)
	if len(q.Labels) > 0 {
		match, more := labelled(`x.asset`, q.Project, q.Labels)
		expr, args = expr+` AND x.asset > 0`+match, append(args, more...)
	}
	and(q.Host != "", `(x.asset_name = ? OR x.asset IN ?*)`, q.Host, q.Hosts)
	and(len(q.Lanes) > 0, `x.lane_key IN ?*`, q.Lanes)
	and(q.NoLane, `substr(x.lane_key, 1, 7) <> 'device:'`)
	and(!q.Since.IsZero(), `x.created_at >= ?`, sqldb.Micros(q.Since))
	and(!q.Until.IsZero(), `x.created_at < ?`, sqldb.Micros(q.Until))
	return expr + q.seen, append(args, q.seenArgs...)
}

// stateTables are the tables that hold the live jobs of a state, but for queued ones.
var stateTables = map[hostler.State]string{
	hostler.StateScheduled: "sched",
	hostler.StateRunning:   "running",
	hostler.StateUnknown:   "parked",
}

// isLive and isQueued select all of the live jobs, and the queued ones.
const isLive = ` AND 1 = 1`

const isQueued = ` AND NOT EXISTS (SELECT 1 FROM running y WHERE y.id = x.id)
AND NOT EXISTS (SELECT 1 FROM parked y WHERE y.id = x.id) AND NOT EXISTS (SELECT 1 FROM sched y WHERE y.id = x.id)`

// liveSources are the tables that may hold live jobs that the query asks for, each with a
// condition that has an index. live is a condition on the jobs of the project that are
// searched by their groups; empty for none.
func (q JobQuery) liveSources() (out []source, live string) {
	match, args := q.match()
	add := func(from, id, also, where string, more ...any) {
		out = append(out, source{
			sql: `SELECT x.id, ` + match + also + ` THEN 1 ELSE 0 END FROM ` + from + ` WHERE ` + where, id: id,
			args: slices.Concat(args, more),
		})
	}
	// jobs are the jobs of the query by the best index of table job.
	jobs := func(also string) {
		switch {
		case q.Run != 0:
			add(`job x`, `x.id`, also, `x.run = ? AND x.run <> 0 AND `, q.Run)
		case q.Asset > 0:
			add(`job x`, `x.id`, also, `x.asset = ? AND x.asset > 0 AND `, q.Asset)
		default:
			live = also
		}
	}
	any := len(q.States) == 0
	if any && len(q.Workers) == 0 {
		jobs(isLive)
		return out, live
	}
	if slices.Contains(q.States, hostler.StateQueued) && len(q.Workers) == 0 {
		jobs(isQueued)
	}
	for state, table := range stateTables {
		from := table + ` y JOIN job x ON x.id = y.id`
		switch {
		case !any && !slices.Contains(q.States, state):
		case len(q.Workers) == 0:
			add(from, `y.id`, ``, ``)
		case state != hostler.StateScheduled:
			add(from, `y.id`, ``, `y.worker IN ?* AND `, q.Workers)
		}
	}
	return out, live
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

// doneSource searches a part of the history by an index of it.
func (q *JobQuery) doneSource(part, where string, more ...any) source {
	match, args := q.match()
	match += q.live
	if states, _ := q.endedStates(); len(states) > 0 && q.live == `` {
		match, args = match+` AND x.state IN ?*`, append(args, states)
	}
	if len(q.Workers) > 0 {
		match, args = match+` AND x.worker IN ?*`, append(args, q.Workers)
	}
	return source{
		sql: `SELECT x.id, ` + match + ` THEN 1 ELSE 0 END FROM ` + part + ` x WHERE ` + where, id: `x.id`,
		args: append(args, more...),
	}
}

// broad reports that the query selects neither by an index of its own nor by a group: most
// of the jobs of the project match, unless it has other conditions.
func (q *JobQuery) broad() bool {
	states, _ := q.endedStates()
	return q.Run == 0 && q.Asset == 0 && q.Action == "" && q.Queue == "" &&
		(q.live != `` || len(states) == 0 || slices.Contains(states, string(hostler.StateSucceeded)))
}

// doneSources are the searches of one part of the history for what the query asks for.
func (tx *Tx) doneSources(q *JobQuery, part string) ([]source, error) {
	states, _ := q.endedStates()
	switch {
	case q.Run != 0:
		return []source{q.doneSource(part, `x.run = ? AND x.run <> 0 AND `, q.Run)}, nil
	case q.Asset != 0:
		return []source{q.doneSource(part, `x.asset = ? AND x.asset <> 0 AND `, q.Asset)}, nil
	case q.live == `` && len(states) > 0 && !slices.Contains(states, string(hostler.StateSucceeded)):
		var out []source
		for _, state := range states {
			out = append(out, q.doneSource(part, `x.project = ? AND x.state = ? AND x.state <> 'succeeded' AND `, q.Project, state))
		}
		return out, nil
	}
	groups, err := tx.groupsOf(q, part)
	if err != nil {
		return nil, err
	}
	if len(groups) > maxEndedGroups {
		return []source{q.doneSource(part, ``)}, nil
	}
	var out []source
	for _, g := range groups {
		out = append(out, q.doneSource(part, `x.project = ? AND x.action = ? AND x.queue = ? AND `, q.Project, g.Action, g.Queue))
	}
	return out, nil
}

// groupsOf are the groups of a part that the query may select; some may have no jobs.
func (tx *Tx) groupsOf(q *JobQuery, part string) (groups []endedGroup, err error) {
	switch {
	case q.Action != "" && q.Queue != "":
		return []endedGroup{{q.Action, q.Queue}}, nil
	case q.Action != "":
		return tx.queuesOfAction(part, q.Project, q.Action, maxEndedGroups+1)
	case q.Queue != "":
		groups, err = tx.endedActions(part, q.Project, maxEndedGroups+1)
		for i := range groups {
			groups[i].Queue = q.Queue
		}
		return groups, err
	}
	return tx.endedGroups(part, q.Project, endedGroup{}, maxEndedGroups+1)
}

// partBudget limits how many parts of the history one listing reads, beside the open
// ones.
const partBudget = 16

// history is a search of the history for a page of a list.
type history struct {
	tx         *Tx
	q          *JobQuery
	top        int64 // ids are below it
	limit      int
	found      []int64
	down       int64 // the id down to which all sources were searched
	read, rows int   // parts, and what is left of the scan budget
}

// scanLive searches the live jobs of a project as a part of the history, whose groups they
// have.
func (tx *Tx) scanLive(q JobQuery, live string, top int64, limit int) (found []int64, down int64, err error) {
	q.live = live
	h := &history{tx: tx, q: &q, top: top, limit: limit, rows: scanBudget}
	err = h.scan([]part{{Name: "job", MaxID: math.MaxInt64}}, true, 0)
	return h.found, h.down, err
}

// scanHistory searches the history as scanSource does one table: the open parts, then the
// closed ones, a few at a time, until those that are left have older jobs only, or the
// budget is spent.
func (tx *Tx) scanHistory(q JobQuery, top int64, limit int) (found []int64, down int64, err error) {
	if _, none := q.endedStates(); none {
		return nil, 0, nil
	}
	parts, err := tx.parts(q.Project, max(q.bottom(), int64(q.Run)), top-1)
	if err != nil {
		return nil, 0, err
	}
	h := &history{tx: tx, q: &q, top: top, limit: limit, rows: scanBudget}
	take := 1
	if closed := slices.IndexFunc(parts, func(p part) bool { return !p.open() }); closed != 0 {
		if take = closed; closed < 0 {
			take = len(parts)
		}
	}
	for first := true; len(parts) > 0; first = false {
		take = min(take, len(parts))
		// What is left after these has ids up to this.
		left := int64(0)
		if take < len(parts) {
			left = min(parts[take].MaxID, top-1)
		}
		if err := h.scan(parts[:take], first, left); err != nil {
			return nil, 0, err
		}
		if left == 0 || countFrom(h.found, left+1) >= limit || h.down > left || left < top-1 && (h.read >= partBudget || h.rows <= 0) {
			if left != 0 {
				h.down = max(h.down, left+1)
			}
			return h.found, h.down, nil
		}
		parts = parts[take:]
		take = max(1, 3*h.read)
	}
	return h.found, h.down, nil
}

// scan searches some parts; those that are left have ids up to left.
func (h *history) scan(parts []part, first bool, left int64) error {
	for _, p := range parts {
		// Not those that the page before has read, too: with long delayed jobs many parts
		// have old ids.
		if p.MaxID < h.top {
			h.read++
		}
	}
	if h.q.broad() {
		done, err := h.scanBroad(parts, first, left)
		if err != nil || done {
			return err
		}
	}
	var sources []source
	for _, p := range parts {
		some, err := h.tx.doneSources(h.q, p.Name)
		if err != nil {
			return err
		}
		sources = append(sources, some...)
	}
	return h.add(h.tx.scanSources(sources, *h.q, h.top, h.limit, h.rows))
}

func (h *history) add(found []int64, down int64, read int, err error) error {
	h.found = append(h.found, found...)
	h.down = max(h.down, down)
	h.rows -= read
	return err
}

// wholeRows is how many rows of a project in a part are read without order, which needs no
// look at its groups.
const wholeRows = 100

// scanBroad tries what is cheaper than the groups of a project: the newest rows of the first
// parts, which are a page if most of them match, or all rows of a project that has few.
func (h *history) scanBroad(parts []part, first bool, left int64) (done bool, err error) {
	if first {
		byID := make([]source, len(parts))
		for i, p := range parts {
			byID[i] = h.q.doneSource(p.Name, ``)
		}
		try := *h
		all, err := h.tx.scanOnce(byID, *h.q, h.top, h.limit+1)
		for _, s := range all {
			_ = try.add(s.found, s.down, s.read, nil)
		}
		if err != nil || try.down == 0 || countFrom(try.found, max(left+1, try.down)) >= h.limit {
			*h = try
			return true, err
		}
	}
	whole := make([]source, len(parts))
	for i, p := range parts {
		whole[i] = h.q.doneSource(p.Name, `x.project = ? AND `, h.q.Project)
		whole[i].any = true
	}
	all, err := h.tx.scanOnce(whole, *h.q, h.top, wholeRows)
	if err != nil {
		return false, err
	}
	for _, s := range all {
		if s.down != 0 {
			return false, nil // one has more: look at the groups
		}
	}
	for _, s := range all {
		_ = h.add(s.found, 0, s.read, nil)
	}
	return true, nil
}

// bottom is the smallest id of the jobs that the query may ask for.
func (q JobQuery) bottom() int64 {
	if q.Since.IsZero() {
		return q.floor
	}
	return max(q.floor, hostler.MakeID(q.Since.Add(-idSlack).Unix(), 0))
}

// scanned is how far a source was searched.
type scanned struct {
	found []int64 // the ids that match
	last  int64   // the smallest id that was read
	down  int64   // the id down to which it was searched; 0: to its end
	read  int     // rows
}

// scanArms bounds the sources of one statement.
const scanArms = 64

// scanOnce reads the first rows of each of some sources, in one statement for each scanArms.
func (tx *Tx) scanOnce(sources []source, q JobQuery, top int64, chunk int) ([]scanned, error) {
	out := make([]scanned, 0, len(sources))
	for some := range slices.Chunk(sources, scanArms) {
		var args []any
		arms := make([]string, len(some))
		at := len(out)
		for i, src := range some {
			order := ` ORDER BY ` + src.id + ` DESC`
			if src.any {
				order = ``
			}
			arms[i] = `SELECT ` + strconv.Itoa(i) + `, a.* FROM (` + src.sql + src.id + ` < ? AND ` + src.id + ` >= ?` +
				order + ` LIMIT ?) AS a`
			args = append(append(args, src.args...), top, q.bottom(), chunk)
			out = append(out, scanned{})
		}
		err := tx.each(strings.Join(arms, "\nUNION ALL "), args, func(r sqldb.Rows) error {
			var arm, id, hit int64
			if err := r.Scan(&arm, &id, &hit); err != nil {
				return err
			}
			s := &out[at+int(arm)]
			if s.read++; s.read == 1 || id < s.last {
				s.last = id
			}
			if hit == 1 {
				s.found = append(s.found, id)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for i := range out {
		if out[i].read == chunk {
			out[i].down = out[i].last
		}
	}
	return out, nil
}

// scanSources searches tables down from an id, until it has a page of those with the largest
// ids, in about as many rows as the budget, or the first rows of each.
func (tx *Tx) scanSources(sources []source, q JobQuery, top int64, limit, budget int) (
	found []int64, down int64, read int, err error,
) {
	if len(sources) == 0 {
		return nil, 0, 0, nil
	}
	// The first chunks are small: most listings match all that they read.
	first := limit + 1
	if len(sources) > 1 {
		first = min(first, 2*limit/len(sources)+8)
	}
	all, err := tx.scanOnce(sources, q, top, first)
	chunks := make([]int, len(all))
	for i, s := range all {
		read += s.read
		found = append(found, s.found...)
		chunks[i] = first
	}
	for err == nil {
		// The one that was searched the least far.
		least := 0
		for i := range all {
			if all[i].down > all[least].down {
				least = i
			}
		}
		if down = all[least].down; down == 0 || read >= budget || countFrom(found, down) >= limit {
			break
		}
		chunks[least] *= 8
		var more []scanned
		if more, err = tx.scanOnce(sources[least:least+1], q, down, min(chunks[least], budget-read)); err == nil {
			all[least].down = more[0].down
			found = append(found, more[0].found...)
			read += more[0].read
		}
	}
	return found, down, read, err
}

// countFrom counts ids from one on.
func countFrom(ids []int64, from int64) (n int) {
	for _, id := range ids {
		if id >= from {
			n++
		}
	}
	return n
}
