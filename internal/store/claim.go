package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"hostler.dev/hostler"
)

// Claimed is the result of one claim.
type Claimed struct {
	Leases []hostler.Lease // assets and credentials are not filled in yet
	// Overdue reports that the claim passed over jobs whose ttl has expired: run
	// [Tx.ExpireJobs].
	Overdue bool
	// Forbidden are the jobs that the claim passed over because their users may not run
	// them now, or because a hold is about them: run [Tx.HoldJobs].
	Forbidden []hostler.JobID
	// AffinityUntil is when this worker may claim the first of the jobs that are
	// reserved for another worker. It is set when the claim found nothing, because
	// no notification is sent at that time; zero: no job is reserved.
	AffinityUntil time.Time
	// Withheld reports that the claim left ready jobs because their projects may not use
	// the last slots of the worker: claim again when jobs of the worker end.
	Withheld bool
	// More is the last group that the claim looked at, when there may be others after it.
	More *Group
}

// None reports whether the claim found nothing, and has looked at all groups.
func (c *Claimed) None() bool {
	return len(c.Leases) == 0 && !c.Overdue && len(c.Forbidden) == 0 && c.More == nil
}

// Claim is ClaimAfter from the first group of ready jobs.
func (tx *Tx) Claim(w hostler.WorkerID, n int) (Claimed, error) { return tx.ClaimAfter(w, n, Group{}) }

// ClaimAfter leases up to n ready jobs to a worker: of up to claimGroups groups after a
// given one. CodeStale: the worker is fenced.
//
// How many statements it takes does not depend on the number of queues, projects and
// jobs. It locks the worker's row, so that a rescue cannot overtake the claim; the rows
// of limited queues; and the ready rows, skipping those that another claim holds.
func (tx *Tx) ClaimAfter(w hostler.WorkerID, n int, after Group) (Claimed, error) {
	if err := tx.c.Lock(tx.ctx, queueLock, true); err != nil {
		return Claimed{}, err
	}
	by, err := tx.claimant(w, `FOR SHARE`)
	if err != nil {
		return Claimed{}, err
	}
	if by == nil || by.Dead {
		return Claimed{}, errFenced()
	}
	if by.Hold != "" {
		if h, err := decodeHold(by.Hold); err != nil || holds(h, tx.now) {
			return Claimed{}, err
		}
	}
	c := by.claim(tx, w, n)
	if err := c.readClosed(by.queues); err != nil {
		return Claimed{}, err
	}
	if err := tx.endReservations(); err != nil {
		return Claimed{}, err
	}
	groups, err := c.readyGroups(after)
	if err != nil {
		return Claimed{}, err
	}
	found, err := c.choose(groups)
	if err != nil {
		return Claimed{}, err
	}
	claimed := Claimed{}
	if len(found) > 0 {
		claimed, err = tx.lease(w, by, found)
	} else {
		claimed.AffinityUntil, err = c.affinityUntil()
	}
	claimed.Withheld = c.withheld
	if len(groups) == claimGroups {
		claimed.More = &groups[len(groups)-1].Group
	}
	return claimed, err
}

// claimant is the row of a worker that claims.
type claimant struct {
	Queues string `db:"queues"` // JSON
	Dead   bool   `db:"dead"`
	Slots  int64  `db:"slots"`
	// Rights is the number of the rights; see rights.go.
	Rights string `db:"COALESCE((SELECT m.value FROM meta m WHERE m.key = 'rights'), '')"`
	// Hold is that of the installation: empty for none. Holds: some project has holds.
	Hold  string `db:"COALESCE((SELECT m.value FROM meta m WHERE m.key = 'hold'), '')"`
	Holds bool   `db:"CASE WHEN EXISTS (SELECT 1 FROM dispatch_hold) THEN 1 ELSE 0 END"`
	// Limits: some project has limits.
	Limits bool `db:"CASE WHEN EXISTS (SELECT 1 FROM project_limit) THEN 1 ELSE 0 END"`
	// Projects counts the projects of the installation, to two.
	Projects int `db:"(SELECT count(*) FROM (SELECT 1 FROM project LIMIT 2) p)"`

	queues []string
}

func (by *claimant) claim(tx *Tx, w hostler.WorkerID, n int) claim {
	return claim{tx: tx, worker: w, n: n, slots: by.Slots, shared: by.Projects > 1, limitsSet: by.Limits}
}

// claimant reads the row of a worker and locks it; nil: there is none, or it was skipped.
func (tx *Tx) claimant(w hostler.WorkerID, lock string) (*claimant, error) {
	row, err := queryOne[claimant](tx, `SELECT @cols FROM worker WHERE id = ? `+lock, w)
	if err != nil || row == nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(row.Queues), &row.queues); err != nil {
		return nil, fmt.Errorf("decode the queues of worker %v: %w", w, err)
	}
	return row, nil
}

func errFenced() error {
	return hostler.Errorf(hostler.CodeStale,
		"the worker's lease has expired: stop its jobs and register again",
		"工作节点的租约已失效：请停止其作业并重新注册")
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

func (j *leaseSource) subject() subject {
	return subject{j.ID, j.Project, j.Run, j.Action, j.Queue, j.Asset, j.AssetName, j.CreatedBy}
}

// leasing collects the rows that the leases of one claim write.
type leasing struct {
	claimed Claimed
	stored  []hostler.JobID // of the leased jobs, those in ready
	withTTL []hostler.JobID // of those that have a ttl
	rows    []runningRow
	shared  sharedArgs // of the leased jobs
	// specs are cached once the leases are durable.
	specs []leaseSource
}

// lease moves candidates from ready to running.
func (tx *Tx) lease(worker hostler.WorkerID, by *claimant, found []candidate) (Claimed, error) {
	ids := make([]hostler.JobID, len(found))
	byID := make(map[hostler.JobID]*candidate, len(found))
	for i := range found {
		ids[i] = found[i].ID
		byID[found[i].ID] = &found[i]
	}
	jobs, missing := tx.specs.toLease(ids)
	if len(missing) > 0 {
		read, err := query[leaseSource](tx, `SELECT @cols FROM job WHERE id IN ?*`, missing)
		if err != nil {
			return Claimed{}, err
		}
		jobs = append(jobs, read...)
	}
	var l leasing
	turn := make(map[hostler.JobID]int, len(found))
	for i := range found {
		turn[found[i].ID] = i
	}
	if err := l.forbid(tx, by, jobs); err != nil {
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
	if len(l.rows) == 0 {
		return l.claimed, nil
	}
	if err := l.readArgs(tx); err != nil {
		return l.claimed, err
	}
	slices.SortFunc(l.claimed.Leases, func(a, b hostler.Lease) int { return cmp.Compare(turn[a.Job], turn[b.Job]) })
	return l.claimed, l.write(tx)
}

// forbid sets the jobs that may not start.
func (l *leasing) forbid(tx *Tx, by *claimant, jobs []leaseSource) error {
	origins := make([]jobOrigin, len(jobs))
	for i := range jobs {
		origins[i] = jobs[i].jobOrigin
	}
	forbidden, err := tx.forbidden(by.Rights, origins)
	if err == nil && by.Holds {
		var held map[hostler.JobID]*HoldRow
		held, err = tx.heldJobs(origins)
		for id := range held {
			forbidden[id] = true
		}
	}
	l.claimed.Forbidden = slices.Sorted(maps.Keys(forbidden))
	return err
}

// add leases one job: a new fence, and the next attempt.
func (l *leasing) add(tx *Tx, worker hostler.WorkerID, j *leaseSource, c *candidate) {
	tx.count(&c.entry, -1, 0)
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
	if !c.becoming {
		l.stored = append(l.stored, j.ID)
	}
	if hasTTL(j.ExpiresAt) {
		l.withTTL = append(l.withTTL, j.ID)
	}
	l.rows = append(l.rows, runningRow{c.entry, worker, tx.now})
	l.shared.add(j.ID, j.SharedArgs)
	l.specs = append(l.specs, *j)
	sub := j.subject()
	e := sub.event()
	e.State, e.Cause, e.Attempt, e.Worker = hostler.StateRunning, hostler.CauseLease, lease.Attempt, worker
	tx.emitJob(j.Project, e)
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
	if len(l.stored) > 0 {
		if _, err := tx.Exec(`DELETE FROM ready WHERE id IN ?*`, l.stored); err != nil {
			return err
		}
	}
	if err := tx.suspendTTL(l.withTTL); err != nil {
		return err
	}
	tx.onCommit = append(tx.onCommit, func() { tx.specs.addRunning(l.specs) })
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
