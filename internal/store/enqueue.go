package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// jobRow is a row of table job: what a live job was created from. The columns that
// historyColumns lists go to the history when the job ends.
type jobRow struct {
	ID          hostler.JobID     `db:"id"`
	Project     hostler.ProjectID `db:"project"`
	Run         hostler.RunID     `db:"run"`
	Queue       string            `db:"queue"`
	Action      string            `db:"action"`
	Asset       int64             `db:"asset"` // see assetColumn
	AssetName   string            `db:"asset_name"`
	Lane        laneID            `db:"lane"`
	LaneKey     string            `db:"lane_key"`
	LaneLimit   int               `db:"lane_lim"`
	Priority    int               `db:"prio"`
	MaxAttempts int               `db:"max_attempts"`
	Backoff     string            `db:"backoff"` // JSON; empty for the defaults
	Timeout     int64             `db:"timeout"` // microseconds
	OnLost      hostler.OnLost    `db:"on_lost"`
	OnUnknown   hostler.OnUnknown `db:"on_unknown"`
	OnRetry     hostler.OnRetry   `db:"on_retry"`
	RunAt       time.Time         `db:"run_at"`
	ExpiresAt   time.Time         `db:"expires_at"`
	RetryOf     hostler.JobID     `db:"retry_of"`
	CreatedBy   string            `db:"created_by"`
	CreatedByID hostler.UserID    `db:"created_by_id"`
	CreatedAt   time.Time         `db:"created_at"`
	Args        json.RawMessage   `db:"args,text"`
	SharedArgs  int64             `db:"shared_args"` // id in run_args, and no Args; 0 for none
}

// Enqueue creates jobs, in order, in this transaction; acknowledge them once it is
// durable. The specs are trusted to be valid, but for what depends on their queues and
// projects: see [Admission]. CodeQueueFull: the maximum depth of a queue, or of a
// project, would be exceeded (concurrent transactions on PostgreSQL may exceed it by their
// own size).
func (tx *Tx) Enqueue(specs []hostler.JobSpec) ([]hostler.JobID, error) {
	if len(specs) == 0 {
		return nil, nil
	}
	if err := tx.saveTraces(specs); err != nil {
		return nil, err
	}
	keys, err := tx.laneKeys(specs)
	if err != nil {
		return nil, err
	}
	if err := tx.c.Lock(tx.ctx, queueLock, true); err != nil {
		return nil, err
	}
	c, admission, err := tx.readAdmission(queuesOf(specs), projectsOf(specs))
	if err != nil {
		return nil, err
	}
	if specs, err = admission.admit(specs); err != nil {
		return nil, err
	}
	if err := c.checkDepth(specs, admission); err != nil {
		return nil, err
	}
	raw, err := tx.c.NewIDs(tx.ctx, len(specs))
	if err != nil {
		return nil, err
	}
	ids := make([]hostler.JobID, len(raw))
	for i, id := range raw {
		ids[i] = hostler.JobID(id)
	}
	byKey, err := c.ensureLanes(wantedLanes(specs, keys))
	if err != nil {
		return nil, err
	}
	lanes := make([]laneID, len(specs))
	for i := range specs {
		lanes[i] = byKey[keys[i]]
		if l := c.lanes[lanes[i]]; l != nil {
			l.use(specs[i].Project)
		}
	}
	if err := c.insertJobs(ids, specs, lanes); err != nil {
		return nil, err
	}
	if err := tx.insertTargets(ids, specs); err != nil {
		return nil, err
	}
	if err := c.admitNew(ids, specs, lanes); err != nil {
		return nil, err
	}
	tx.emitNew(ids, specs)
	return ids, c.flush()
}

// FreezeLanes makes sure that no job and no asset changes its lane until the
// transaction ends: what it reads of assets from here on still holds when it
// enqueues.
func (tx *Tx) FreezeLanes() error { return tx.c.Lock(tx.ctx, queueLock, true) }

// LockLanes locks the lanes of jobs that several calls of Enqueue will create, in
// the order of their ids; call by call they would be locked in any order, and two
// such transactions could wait for each other.
func (tx *Tx) LockLanes(specs []hostler.JobSpec) error {
	keys, err := tx.laneKeys(specs)
	if err != nil {
		return err
	}
	c, err := tx.changeQueue()
	if err != nil {
		return err
	}
	_, err = c.ensureLanes(wantedLanes(specs, keys))
	return err
}

// wantedLanes returns the limits of the lanes of jobs, by the keys of the lanes.
func wantedLanes(specs []hostler.JobSpec, keys []string) map[string]int64 {
	want := map[string]int64{}
	for i, k := range keys {
		if k != "" {
			want[k] = max(1, int64(specs[i].LaneLimit))
		}
	}
	return want
}

// queuesOf returns the names of the queues that jobs are for.
func queuesOf(specs []hostler.JobSpec) []string {
	names := make([]string, len(specs))
	for i := range specs {
		names[i] = specs[i].Queue
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// projectsOf returns the projects of jobs.
func projectsOf(specs []hostler.JobSpec) []hostler.ProjectID {
	var projects []hostler.ProjectID
	for i := range specs {
		if !slices.Contains(projects, specs[i].Project) {
			projects = append(projects, specs[i].Project)
		}
	}
	return projects
}

// checkDepth refuses more jobs than a queue or a project may have waiting.
func (c *queueChange) checkDepth(specs []hostler.JobSpec, a *Admission) error {
	adding, of := map[string]int64{}, map[hostler.ProjectID]int64{}
	for i := range specs {
		adding[specs[i].Queue]++
		of[specs[i].Project]++
	}
	for name, n := range adding {
		q := c.queues[name]
		if q.MaxDepth == 0 {
			continue
		}
		depth, err := c.tx.depth(name)
		if err != nil {
			return err
		}
		if depth+n > q.MaxDepth {
			err := hostler.Errorf(hostler.CodeQueueFull,
				"queue %q is full: %d jobs wait, %d more would pass its maximum depth of %d; try again later",
				"队列 %q 已满：%d 个作业在等待，再加 %d 个将超过最大深度 %d；请稍后重试", name, depth, n, q.MaxDepth)
			err.RetryAfter = 5
			return err
		}
	}
	return a.checkWaiting(c.tx, of)
}

func (c *queueChange) insertJobs(ids []hostler.JobID, specs []hostler.JobSpec, lanes []laneID) error {
	shared, err := c.tx.shareArgs(specs)
	if err != nil {
		return err
	}
	rows := make([]jobRow, len(specs))
	for i := range specs {
		s := &specs[i]
		backoff, err := encodeBackoff(s.Backoff)
		if err != nil {
			return err
		}
		args := s.Args
		switch {
		case shared[i] != 0:
			args = nil
		case len(args) == 0:
			args = json.RawMessage("{}")
		}
		rows[i] = jobRow{
			ID: ids[i], Project: s.Project, Run: s.Run, Queue: s.Queue, Action: s.Action,
			Asset: assetColumn(s), AssetName: s.AssetName,
			Lane: lanes[i], LaneKey: s.LaneKey, LaneLimit: s.LaneLimit, Priority: s.Priority,
			MaxAttempts: max(1, s.MaxAttempts), Backoff: backoff, Timeout: s.Timeout.Microseconds(),
			OnLost: s.OnLost, OnUnknown: s.OnUnknown, OnRetry: s.OnRetry,
			RunAt: s.RunAt, ExpiresAt: s.ExpiresAt, RetryOf: s.RetryOf,
			CreatedBy: s.CreatedBy, CreatedByID: s.CreatedByID, CreatedAt: c.tx.now,
			Args: args, SharedArgs: shared[i],
		}
	}
	c.tx.onCommit = append(c.tx.onCommit, func() { c.tx.specs.addWaiting(rows, c.tx.now) })
	return insert(c.tx, "job", rows)
}

// admitNew delays new jobs until their time, or queues them.
func (c *queueChange) admitNew(ids []hostler.JobID, specs []hostler.JobSpec, lanes []laneID) error {
	var later []schedRow
	now := make([]entry, 0, len(specs))
	for i := range specs {
		s := &specs[i]
		e := entry{ID: ids[i], Queue: s.Queue, Project: s.Project, Lane: lanes[i], Prio: int64(s.Priority)}
		if s.RunAt.After(c.tx.now) {
			later = append(later, c.schedule(sqldb.Micros(s.RunAt), &e))
		} else {
			e.QueuedAt = c.arrive(e.Lane, sqldb.Micros(c.tx.now))
			now = append(now, e)
		}
	}
	c.admitAll(now)
	return c.insertSched(later)
}

// emitNew emits the events of new jobs, in their order.
func (tx *Tx) emitNew(ids []hostler.JobID, specs []hostler.JobSpec) {
	for i := range specs {
		s := &specs[i]
		e := hostler.JobEvent{
			Job: ids[i], Run: s.Run, Action: s.Action, Queue: s.Queue,
			Asset: s.Asset, AssetName: s.AssetName,
			State: hostler.StateQueued, CreatedBy: s.CreatedBy,
		}
		if s.RunAt.After(tx.now) {
			e.State = hostler.StateScheduled
		}
		tx.emitJob(s.Project, e)
	}
}

func encodeBackoff(b hostler.Backoff) (string, error) {
	if b == (hostler.Backoff{}) {
		return "", nil
	}
	out, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("encode backoff: %w", err)
	}
	return string(out), nil
}

func decodeBackoff(s string) (b hostler.Backoff, err error) {
	if s == "" {
		return b, nil
	}
	if err := json.Unmarshal([]byte(s), &b); err != nil {
		return b, fmt.Errorf("decode backoff: %w", err)
	}
	return b, nil
}
