package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/schema"
)

// Claimed is the result of one claim.
type Claimed struct {
	Leases []hostler.Lease // assets and credentials are not filled in yet
	// Overdue reports that the claim passed over jobs whose ttl has expired: run
	// [Tx.ExpireJobs].
	Overdue bool
	// Forbidden are the jobs that the claim passed over because their users may not run
	// them now: run [Tx.HoldJobs].
	Forbidden []hostler.JobID
	// AffinityUntil is when this worker may claim the first of the jobs that are
	// reserved for another worker. It is set when the claim found nothing, because
	// no notification is sent at that time; zero: no job is reserved.
	AffinityUntil time.Time
}

// candidate is a ready job that a claim may lease.
type candidate struct {
	entry
	Rank int64 `db:"rank"`
}

// byRank orders the jobs of a claim.
func byRank(a, b candidate) int {
	return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.ID, b.ID))
}

// Claim leases up to n ready jobs to a worker. CodeStale: the worker is fenced.
//
// It locks the worker's row, so that a rescue cannot overtake the claim; the rows of
// limited queues; and the ready rows, skipping those that another claim holds.
func (tx *Tx) Claim(w hostler.WorkerID, n int) (Claimed, error) {
	if err := tx.c.Lock(tx.ctx, queueLock, true); err != nil {
		return Claimed{}, err
	}
	serves, rights, err := tx.lockClaimant(w)
	if err != nil {
		return Claimed{}, err
	}
	open, err := tx.openQueues(serves, n)
	if err != nil {
		return Claimed{}, err
	}
	var found []candidate
	for _, q := range open {
		if found, err = tx.candidates(found, q, w); err != nil {
			return Claimed{}, err
		}
	}
	slices.SortFunc(found, byRank)
	if len(found) > n {
		found = found[:n]
	}
	if len(found) == 0 {
		until, err := tx.affinityUntil(open, w)
		return Claimed{AffinityUntil: until}, err
	}
	return tx.lease(w, rights, found)
}

// affinityUntil returns when the next job that is reserved for another worker may
// be claimed. A reservation that has lapsed is not counted: another claim has the job.
func (tx *Tx) affinityUntil(open []openQueue, worker hostler.WorkerID) (time.Time, error) {
	names := make([]string, len(open))
	for i, q := range open {
		names[i] = q.name
	}
	var at int64
	_, err := tx.one(`SELECT free_at FROM ready WHERE owner <> 0 AND owner <> ? AND free_at > ? AND queue IN ?*
ORDER BY free_at LIMIT 1`, []any{worker, sqldb.Micros(tx.now), names}, &at)
	return sqldb.Time(at), err
}

// lockClaimant locks the row of a live worker and returns the queues it serves, and the
// number of the rights; see rights.go.
func (tx *Tx) lockClaimant(w hostler.WorkerID) (queues []string, rights string, err error) {
	type claimant struct {
		Queues string `db:"queues"` // JSON
		Dead   bool   `db:"dead"`
		Rights string `db:"COALESCE((SELECT m.value FROM meta m WHERE m.key = 'rights'), '')"`
	}
	row, err := queryOne[claimant](tx, `SELECT @cols FROM worker WHERE id = ? FOR SHARE`, w)
	if err != nil {
		return nil, "", err
	}
	if row == nil || row.Dead {
		return nil, "", errFenced()
	}
	if err := json.Unmarshal([]byte(row.Queues), &queues); err != nil {
		return nil, "", fmt.Errorf("decode the queues of worker %v: %w", w, err)
	}
	return queues, row.Rights, nil
}

func errFenced() error {
	return hostler.Errorf(hostler.CodeStale,
		"the worker's lease has expired: stop its jobs and register again",
		"工作节点的租约已失效：请停止其作业并重新注册")
}

// openQueue is a queue that a claim may take jobs from, and how many.
type openQueue struct {
	name     string
	capacity int64
}

// openQueues lists the queues that the worker serves, that are not paused, and
// that have capacity under their limit. Limits are counted under the queue's row.
func (tx *Tx) openQueues(serves []string, n int) ([]openQueue, error) {
	all := slices.Contains(serves, "*")
	var open []openQueue
	var limited []string
	queues, err := query[queueRow](tx, `SELECT @cols FROM queue WHERE paused = 0
AND NOT EXISTS (SELECT 1 FROM meta WHERE key = ?) ORDER BY name`, schema.HoldKey)
	for _, q := range queues {
		switch {
		case !all && !slices.Contains(serves, q.Name):
		case q.Limit > 0:
			limited = append(limited, q.Name)
		default:
			open = append(open, openQueue{q.Name, int64(n)})
		}
	}
	if err != nil || len(limited) == 0 {
		return open, err
	}
	return tx.openLimited(open, limited, n)
}

// openLimited adds those of the limited queues that have capacity left.
func (tx *Tx) openLimited(open []openQueue, limited []string, n int) ([]openQueue, error) {
	queues, err := query[queueRow](tx, `SELECT @cols FROM queue WHERE name IN ?* AND paused = 0 ORDER BY name FOR UPDATE`,
		limited)
	if err != nil {
		return nil, err
	}
	for _, q := range queues {
		capacity := int64(n)
		if q.Limit > 0 {
			// In a statement after the lock: it counts the claims that went before.
			var busy int64
			if _, err := tx.one(`SELECT count(*) FROM running WHERE queue = ?`, []any{q.Name}, &busy); err != nil {
				return nil, err
			}
			capacity = min(capacity, q.Limit-busy)
		}
		if capacity > 0 {
			open = append(open, openQueue{q.Name, capacity})
		}
	}
	return open, nil
}

// candidates adds the best ready jobs of a queue: those that any worker may claim,
// those reserved for this worker, and those whose reservation for another lapsed.
func (tx *Tx) candidates(found []candidate, q openQueue, worker hostler.WorkerID) ([]candidate, error) {
	first := len(found)
	for _, owner := range []hostler.WorkerID{0, worker} {
		more, err := query[candidate](tx, `SELECT @cols FROM ready WHERE queue = ? AND owner = ?
ORDER BY rank, id LIMIT ? FOR UPDATE SKIP LOCKED`, q.name, owner, q.capacity)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	// A reservation that lasts longer than affinitySpan was made before the clock was
	// set back: it has lapsed.
	more, err := query[candidate](tx, `SELECT @cols FROM ready WHERE owner <> 0 AND owner <> ?
AND (free_at <= ? OR free_at > ?) AND queue = ? ORDER BY free_at, rank, id LIMIT ? FOR UPDATE SKIP LOCKED`,
		worker, sqldb.Micros(tx.now), sqldb.Micros(tx.now.Add(2*affinitySpan)), q.name, q.capacity)
	if err != nil {
		return nil, err
	}
	found = append(found, more...)
	if mine := found[first:]; int64(len(mine)) > q.capacity {
		slices.SortFunc(mine, byRank)
		found = found[:first+int(q.capacity)]
	}
	return found, nil
}

// runningRow is a row of table running as a claim creates it.
type runningRow struct {
	entry
	Worker    hostler.WorkerID `db:"worker"`
	StartedAt time.Time        `db:"started_at"`
}

// leaseSource is what a lease takes from the job.
type leaseSource struct {
	jobOrigin
	Run         hostler.RunID   `db:"run"`
	AssetName   string          `db:"asset_name"`
	MaxAttempts int             `db:"max_attempts"`
	Timeout     int64           `db:"timeout"`
	OnLost      hostler.OnLost  `db:"on_lost"`
	ExpiresAt   time.Time       `db:"expires_at"`
	Args        json.RawMessage `db:"args,text"`
	SharedArgs  int64           `db:"shared_args"`
}

// leasing collects the rows that the leases of one claim write.
type leasing struct {
	claimed Claimed
	ids     []hostler.JobID // of the leased jobs
	withTTL []hostler.JobID // of those that have a ttl
	rows    []runningRow
	shared  sharedArgs // of the leased jobs
}

// lease moves candidates from ready to running.
func (tx *Tx) lease(worker hostler.WorkerID, rights string, found []candidate) (Claimed, error) {
	ids := make([]hostler.JobID, len(found))
	byID := make(map[hostler.JobID]*candidate, len(found))
	for i := range found {
		ids[i] = found[i].ID
		byID[found[i].ID] = &found[i]
	}
	jobs, err := query[leaseSource](tx, `SELECT @cols FROM job WHERE id IN ?*`, ids)
	if err != nil {
		return Claimed{}, err
	}
	var l leasing
	if err := l.forbid(tx, rights, jobs); err != nil {
		return Claimed{}, err
	}
	for i := range jobs {
		switch j := &jobs[i]; {
		case slices.Contains(l.claimed.Forbidden, j.ID):
		case hasTTL(j.ExpiresAt) && !j.ExpiresAt.After(tx.now):
			l.claimed.Overdue = true
		default:
			l.add(tx, worker, j, byID[j.ID])
		}
	}
	if len(l.ids) == 0 {
		return l.claimed, nil
	}
	if err := l.readArgs(tx); err != nil {
		return l.claimed, err
	}
	slices.SortFunc(l.claimed.Leases, func(a, b hostler.Lease) int { return byRank(*byID[a.Job], *byID[b.Job]) })
	return l.claimed, l.write(tx)
}

// forbid sets the jobs that may not start.
func (l *leasing) forbid(tx *Tx, rights string, jobs []leaseSource) error {
	origins := make([]jobOrigin, len(jobs))
	for i := range jobs {
		origins[i] = jobs[i].jobOrigin
	}
	forbidden, err := tx.forbidden(rights, origins)
	l.claimed.Forbidden = slices.Sorted(maps.Keys(forbidden))
	return err
}

// add leases one job: a new fence, and the next attempt.
func (l *leasing) add(tx *Tx, worker hostler.WorkerID, j *leaseSource, c *candidate) {
	c.Fence++
	c.Attempt++
	lease := hostler.Lease{
		LeaseRef: hostler.LeaseRef{Job: j.ID, Fence: c.Fence},
		Project:  j.Project, Run: j.Run, Queue: c.Queue, Action: j.Action, Args: j.Args,
		Attempt: int(c.Attempt), MaxAttempts: j.MaxAttempts, OnLost: j.OnLost,
		Timeout: time.Duration(j.Timeout) * time.Microsecond, StartedAt: tx.now,
	}
	if j.Asset != 0 {
		lease.Asset = &hostler.LeaseAsset{ID: assetID(j.Asset)}
	}
	l.claimed.Leases = append(l.claimed.Leases, lease)
	l.ids = append(l.ids, j.ID)
	if hasTTL(j.ExpiresAt) {
		l.withTTL = append(l.withTTL, j.ID)
	}
	l.rows = append(l.rows, runningRow{c.entry, worker, tx.now})
	l.shared.add(j.ID, j.SharedArgs)
	tx.emitJob(j.Project, hostler.JobEvent{
		Job: j.ID, Run: j.Run, Action: j.Action, Queue: c.Queue,
		Asset: assetID(j.Asset), AssetName: j.AssetName,
		State: hostler.StateRunning, Cause: hostler.CauseLease,
		Attempt: lease.Attempt, Worker: worker, CreatedBy: j.CreatedBy,
	})
}

// readArgs adds the args that the jobs share with others of their run.
func (l *leasing) readArgs(tx *Tx) error {
	args, err := l.shared.read(tx)
	for i := range l.claimed.Leases {
		if lease := &l.claimed.Leases[i]; l.shared[lease.Job] != 0 {
			lease.Args = args[lease.Job]
		}
	}
	return err
}

func (l *leasing) write(tx *Tx) error {
	if _, err := tx.Exec(`DELETE FROM ready WHERE id IN ?*`, l.ids); err != nil {
		return err
	}
	if err := tx.suspendTTL(l.withTTL); err != nil {
		return err
	}
	return insert(tx, "running", l.rows)
}

// hasTTL reports whether a ttl counts. An earlier version that runs beside this one
// negates the time to suspend it.
func hasTTL(expiresAt time.Time) bool { return expiresAt.Unix() > 0 }

// suspendTTL suspends the ttl of jobs that start: a ttl limits the wait for the
// first start only. When that start does not happen, resumeTTL lets it count again.
func (tx *Tx) suspendTTL(ids []hostler.JobID) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.Exec(`UPDATE job SET suspended_expires_at = expires_at, expires_at = 0 WHERE id IN ?*`, ids)
	return err
}

// resumeTTL lets the ttl of jobs that never started count again.
func (tx *Tx) resumeTTL(ids []hostler.JobID) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.Exec(`UPDATE job SET expires_at = suspended_expires_at, suspended_expires_at = 0
WHERE id IN ?* AND suspended_expires_at <> 0`, ids)
	return err
}
