package store

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file chooses the jobs of a claim. The ready jobs of one queue and one project
// are a group: a range of the index of ready, ordered by rank. A claim reads the heads
// of the groups, then a few jobs of those that may have its best ones, and lets the
// projects take turns; see fairness.go.

const (
	// claimGroups is how many groups one claim looks at.
	claimGroups = 32
	// spareCandidates is how many jobs a claim may read, and lock, beyond twice the
	// number that it leases.
	spareCandidates = 256
	// reservationBatch is how many lapsed reservations one claim ends.
	reservationBatch = 500
)

// Group names the ready jobs of one queue and one project.
type Group struct {
	Queue   string            `db:"r.queue"`
	Project hostler.ProjectID `db:"r.project"`
}

// groupHead is a group with the ranks of its first jobs.
type groupHead struct {
	Group
	// Owner and Rank are those of the first job: one that any worker may claim, if the
	// group has such a job.
	Owner hostler.WorkerID `db:"r.owner"`
	Rank  int64            `db:"r.rank"`
	// OwnRank is the rank of the first job that is reserved for the claiming worker;
	// noRank: there is none.
	OwnRank int64 `db:"own_rank"`

	stored bool // it has jobs in ready; not only such that become ready
}

const noRank = math.MaxInt64

// best is the rank of the first job that the worker may claim.
func (g *groupHead) best() int64 {
	if g.Owner == 0 {
		return min(g.Rank, g.OwnRank)
	}
	return g.OwnRank
}

// candidate is a ready job that a claim may lease.
type candidate struct {
	entry
	Rank int64 `db:"rank"`

	becoming bool // it is not in ready yet; see directlease.go
}

// byRank orders the ready jobs of a project.
func byRank(a, b candidate) int {
	return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.ID, b.ID))
}

// claim is a claim while it chooses its jobs.
type claim struct {
	tx     *Tx
	worker hostler.WorkerID
	n      int
	slots  int64 // of the worker
	shared bool  // the installation has several projects
	// limitsSet: some project has limits. limits are those of the projects with ready jobs,
	// running how many jobs the limited ones run.
	limitsSet bool
	limits    map[hostler.ProjectID]limitRow
	running   map[hostler.ProjectID]int64
	// withheld: jobs were left because of the slots that are kept free, or because their
	// project runs as many as it may; see fairness.go.
	withheld bool
	// closed are the queues that the claim takes no job from: those that are paused,
	// that run as many jobs as they may, or that the worker does not serve.
	closed []string
	// limited are the open queues that have a limit.
	limited map[string]int64
	// becoming are jobs that are not in ready yet.
	becoming []readyRow
}

// readClosed reads which queues are closed, and which have a limit.
func (c *claim) readClosed(serves []string) error {
	all := slices.Contains(serves, "*")
	queues, err := query[queueRow](c.tx, `SELECT @cols FROM queue WHERE paused = 1 OR lim > 0 OR (? = 0 AND NOT (name IN ?*))`,
		all, serves)
	if err != nil {
		return err
	}
	var busy map[string]int64
	if slices.ContainsFunc(queues, func(q queueRow) bool { return q.Limit > 0 }) {
		if busy, err = c.tx.runningByQueue(); err != nil {
			return err
		}
	}
	for _, q := range queues {
		served := all || slices.Contains(serves, q.Name)
		switch {
		case q.Paused || !served || q.Limit > 0 && busy[q.Name] >= q.Limit:
			c.closed = append(c.closed, q.Name)
		default:
			if c.limited == nil {
				c.limited = map[string]int64{}
			}
			c.limited[q.Name] = q.Limit
		}
	}
	return nil
}

// runningByQueue counts the running jobs of each queue. They are no more than the slots
// of the workers.
func (tx *Tx) runningByQueue() (map[string]int64, error) {
	type busy struct {
		Queue string `db:"queue"`
		N     int64  `db:"count(*)"`
	}
	out := map[string]int64{}
	return out, queryEach(tx, `SELECT @cols FROM running GROUP BY queue`, nil, func(b *busy) error {
		out[b.Queue] = b.N
		return nil
	})
}

// endReservations lets any worker claim the jobs whose reservation for a worker has
// lapsed. One that lasts longer than affinitySpan was made before the clock was set back.
func (tx *Tx) endReservations() error {
	lapsed, err := column[hostler.JobID](tx, `SELECT id FROM ready WHERE owner <> 0 AND (free_at <= ? OR free_at > ?)
ORDER BY free_at LIMIT ? FOR UPDATE SKIP LOCKED`,
		sqldb.Micros(tx.now), sqldb.Micros(tx.now.Add(2*affinitySpan)), reservationBatch)
	if err != nil || len(lapsed) == 0 {
		return err
	}
	_, err = tx.Exec(`UPDATE ready SET owner = 0, free_at = 0 WHERE id IN ?*`, lapsed)
	return err
}

// affinityUntil returns when the next job that is reserved for another worker may
// be claimed.
func (c *claim) affinityUntil() (time.Time, error) {
	var at int64
	_, err := c.tx.one(`SELECT free_at FROM ready WHERE owner <> 0 AND owner <> ? AND free_at > ?
AND NOT (queue IN ?*) ORDER BY free_at LIMIT 1`, []any{c.worker, sqldb.Micros(c.tx.now), c.closed}, &at)
	return sqldb.Time(at), err
}

// groupsOf is the start of a query over the heads of up to claimGroups groups, one step
// of the index for each. All groups of a closed queue are passed in one step, after the
// first.
const groupsOf = `WITH RECURSIVE g (of_queue, of_project, head, n) AS (
SELECT x.queue, x.project, x.id, 1 FROM ready x WHERE x.id = COALESCE(
(SELECT y.id FROM ready y WHERE y.queue = ? AND y.project > ?
ORDER BY y.project, y.owner, y.rank, y.id LIMIT 1),
(SELECT y.id FROM ready y WHERE y.queue > ? ORDER BY y.queue, y.project, y.owner, y.rank, y.id LIMIT 1))
UNION ALL SELECT x.queue, x.project, x.id, g.n + 1 FROM g JOIN ready x ON x.id = COALESCE(
(SELECT y.id FROM ready y WHERE y.queue = g.of_queue AND y.project > g.of_project AND NOT (g.of_queue IN ?*)
ORDER BY y.project, y.owner, y.rank, y.id LIMIT 1),
(SELECT y.id FROM ready y WHERE y.queue > g.of_queue
ORDER BY y.queue, y.project, y.owner, y.rank, y.id LIMIT 1)) WHERE g.n < ?) `

// readyGroups returns up to claimGroups groups, in their order.
func (c *claim) readyGroups(after Group) ([]groupHead, error) {
	groups, err := query[groupHead](c.tx, groupsOf+`SELECT r.queue, r.project, r.owner, r.rank,
COALESCE((SELECT min(y.rank) FROM ready y
WHERE y.queue = r.queue AND y.project = r.project AND y.owner = ?), 9223372036854775807) AS own_rank
FROM g JOIN ready r ON r.id = g.head ORDER BY g.n`,
		after.Queue, after.Project, after.Queue, c.closed, claimGroups, c.worker)
	for i := range groups {
		groups[i].stored = true
	}
	return groups, err
}

// choose returns up to n jobs of the groups, in the order of their turns, and locks them.
func (c *claim) choose(groups []groupHead) ([]candidate, error) {
	byProject := map[hostler.ProjectID][]groupHead{}
	for i := range groups {
		if g := &groups[i]; g.best() != noRank && !slices.Contains(c.closed, g.Queue) {
			byProject[g.Project] = append(byProject[g.Project], *g)
		}
	}
	if len(byProject) == 0 {
		return nil, nil
	}
	from := c.bestGroups(byProject)
	capacity, err := c.lockLimited(from)
	if err != nil {
		return nil, err
	}
	if err := c.readLimits(slices.Sorted(maps.Keys(byProject))); err != nil {
		return nil, err
	}
	from = slices.DeleteFunc(from, func(g groupHead) bool {
		full := c.room(g.Project) <= 0
		c.withheld = c.withheld || full
		return full
	})
	if len(from) == 0 {
		return nil, nil
	}
	found, err := c.candidates(from)
	if err != nil {
		return nil, err
	}
	return c.takeTurns(found, capacity)
}

// bestGroups returns the groups that may have the n best jobs of each project.
func (c *claim) bestGroups(byProject map[hostler.ProjectID][]groupHead) []groupHead {
	// Each group has a job at least: the n best ones of a project are in as many groups.
	var from []groupHead
	for _, project := range slices.Sorted(maps.Keys(byProject)) {
		heads := byProject[project]
		slices.SortStableFunc(heads, func(a, b groupHead) int { return cmp.Compare(a.best(), b.best()) })
		few := min(c.n, len(heads))
		for few < len(heads) && heads[few].best() == heads[few-1].best() {
			few++ // equally ranked
		}
		from = append(from, heads[:few]...)
	}
	return from
}

// lockLimited locks those of the groups' queues that have a limit, and returns how many
// more jobs each of them may run.
func (c *claim) lockLimited(groups []groupHead) (map[string]int64, error) {
	var names []string
	for i := range groups {
		if _, limited := c.limited[groups[i].Queue]; limited {
			names = append(names, groups[i].Queue)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	queues, err := query[queueRow](c.tx, `SELECT @cols FROM queue WHERE name IN ?* AND lim > 0 ORDER BY name FOR UPDATE`, names)
	if err != nil {
		return nil, err
	}
	capacity := make(map[string]int64, len(queues))
	for _, q := range queues {
		capacity[q.Name] = q.Limit
	}
	// In a statement after the lock: it counts the claims that went before.
	busy, err := c.tx.runningByQueue()
	for name := range capacity {
		capacity[name] -= busy[name]
	}
	return capacity, err
}

// candidates reads and locks the first jobs of each group.
func (c *claim) candidates(groups []groupHead) ([]candidate, error) {
	limit := max(1, min(c.n, (2*c.n+spareCandidates)/len(groups)))
	var args []any
	for i := range groups {
		g := &groups[i]
		if !g.stored {
			continue
		}
		if g.Owner == 0 {
			args = append(args, g.Queue, g.Project, hostler.WorkerID(0), limit)
		}
		if g.OwnRank != noRank {
			args = append(args, g.Queue, g.Project, c.worker, limit)
		}
	}
	found := c.becomingOf(groups)
	if len(args) == 0 {
		return found, nil
	}
	stored, err := query[candidate](c.tx, candidatesText(len(args)/4), args...)
	return append(found, stored...), err
}

// candidatesText returns the statement that reads the first jobs of n ranges of ready.
func candidatesText(n int) string {
	return textOf[candidate]("candidates", strconv.Itoa(n), func(string) string {
		cols := columnList("", sqldb.Columns[candidate]())
		ranges := make([]string, n)
		for i := range ranges {
			ranges[i] = `SELECT * FROM (SELECT ` + cols + ` FROM ready WHERE queue = ? AND project = ? AND owner = ?
ORDER BY rank, id LIMIT ? FOR UPDATE SKIP LOCKED) AS range` + strconv.Itoa(i)
		}
		return strings.Join(ranges, "\nUNION ALL ")
	})
}

// oldestReady returns since when the oldest ready job of each queue waits. It looks at
// the first hundred jobs of each project: an urgent job is before some that are older.
func (tx *Tx) oldestReady(project hostler.ProjectID) (map[string]time.Time, error) {
	type waiting struct {
		Group
		Since time.Time `db:"since"`
	}
	oldest := map[string]time.Time{}
	for after := (Group{}); ; {
		groups, err := query[waiting](tx, groupsOf+`SELECT r.queue, r.project,
(SELECT min(z.queued_at) FROM (SELECT y.queued_at FROM ready y
WHERE y.queue = r.queue AND y.project = r.project AND y.owner = r.owner
ORDER BY y.rank, y.id LIMIT 100) z) AS since FROM g JOIN ready r ON r.id = g.head ORDER BY g.n`,
			after.Queue, after.Project, after.Queue, []string{}, claimGroups)
		for _, g := range groups {
			if project != 0 && g.Project != project {
				continue
			}
			if was, known := oldest[g.Queue]; !known || g.Since.Before(was) {
				oldest[g.Queue] = g.Since
			}
		}
		if err != nil || len(groups) < claimGroups {
			return oldest, err
		}
		after = groups[len(groups)-1].Group
	}
}
