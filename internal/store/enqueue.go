package store

import (
	"encoding/json"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

var jobCols = []sqldb.Col{
	{Name: "id", Type: sqldb.Int},
	{Name: "project", Type: sqldb.Int},
	{Name: "run", Type: sqldb.Int},
	{Name: "queue", Type: sqldb.Text},
	{Name: "action", Type: sqldb.Text},
	{Name: "asset", Type: sqldb.Int},
	{Name: "asset_name", Type: sqldb.Text},
	{Name: "lane", Type: sqldb.Int},
	{Name: "lane_key", Type: sqldb.Text},
	{Name: "lane_lim", Type: sqldb.Int},
	{Name: "prio", Type: sqldb.Int},
	{Name: "max_attempts", Type: sqldb.Int},
	{Name: "backoff", Type: sqldb.Text},
	{Name: "timeout", Type: sqldb.Int},
	{Name: "on_lost", Type: sqldb.Text},
	{Name: "on_unknown", Type: sqldb.Text},
	{Name: "on_retry", Type: sqldb.Text},
	{Name: "run_at", Type: sqldb.Int},
	{Name: "expires_at", Type: sqldb.Int},
	{Name: "retry_of", Type: sqldb.Int},
	{Name: "created_by", Type: sqldb.Text},
	{Name: "created_at", Type: sqldb.Int},
	{Name: "args", Type: sqldb.Text},
}

// Enqueue makes jobs, in order, in this transaction; they are acknowledged when
// it is durable. The specs are trusted to be valid. Errors: CodeInvalid for an
// unknown queue, CodeQueueFull when a queue's maximum depth would be passed (a
// limit that concurrent transactions on PostgreSQL may overshoot by their own
// size).
func (tx *Tx) Enqueue(specs []hostler.JobSpec) ([]hostler.JobID, error) {
	if len(specs) == 0 {
		return nil, nil
	}
	g, err := tx.gate()
	if err != nil {
		return nil, err
	}
	if err := g.checkDepth(specs); err != nil {
		return nil, err
	}
	ids, err := tx.c.NewIDs(tx.ctx, len(specs))
	if err != nil {
		return nil, err
	}
	lanes, err := g.ensureLanes(wantedLanes(specs))
	if err != nil {
		return nil, err
	}
	if err := g.insertJobs(ids, specs, lanes); err != nil {
		return nil, err
	}
	if err := g.insertTargets(ids, specs); err != nil {
		return nil, err
	}
	if err := g.admit(ids, specs, lanes); err != nil {
		return nil, err
	}
	tx.emitNew(ids, specs)
	out := make([]hostler.JobID, len(ids))
	for i, id := range ids {
		out[i] = hostler.JobID(id)
	}
	return out, g.settle()
}

// KeepLanes sees to it that no job and no asset changes its lane until the
// transaction ends: what it reads of assets from here on still holds when it
// enqueues.
func (tx *Tx) KeepLanes() error { return tx.c.Lock(tx.ctx, pauseLock, true) }

// LockLanes locks the lanes of jobs that several calls of Enqueue will make, in
// the order of locks; call by call they would be locked in any.
func (tx *Tx) LockLanes(specs []hostler.JobSpec) error {
	g, err := tx.gate()
	if err != nil {
		return err
	}
	_, err = g.ensureLanes(wantedLanes(specs))
	return err
}

func wantedLanes(specs []hostler.JobSpec) map[string]int64 {
	want := map[string]int64{}
	for i := range specs {
		if k := specs[i].LaneKey; k != "" {
			want[k] = max(1, int64(specs[i].LaneLimit))
		}
	}
	return want
}

// checkDepth refuses jobs of unknown queues and more jobs than a queue may hold.
func (g *gate) checkDepth(specs []hostler.JobSpec) error {
	adding := map[string]int64{}
	for i := range specs {
		adding[specs[i].Queue]++
	}
	for name, n := range adding {
		q, ok := g.queues[name]
		if !ok {
			return hostler.Invalid("queue", "queue %q does not exist; make it with: hostler queue set %[1]s",
				"队列 %q 不存在；可用 hostler queue set %[1]s 创建", name)
		}
		if q.maxDepth == 0 {
			continue
		}
		depth, err := g.tx.depth(name, q.maxDepth)
		if err != nil {
			return err
		}
		if depth+n > q.maxDepth {
			err := hostler.Errorf(hostler.CodeQueueFull,
				"queue %q is full: %d jobs wait, %d more would pass its maximum depth of %d; try again later",
				"队列 %q 已满：%d 个作业在等待，再加 %d 个将超过最大深度 %d；请稍后重试", name, depth, n, q.maxDepth)
			err.RetryAfter = 5
			return err
		}
	}
	return nil
}

// depth counts the jobs that wait in a queue, to limit+1 at most.
func (tx *Tx) depth(queue string, limit int64) (int64, error) {
	var n int64
	_, err := tx.one(`SELECT (SELECT count(*) FROM (SELECT 1 FROM ready WHERE queue = ? LIMIT ?) r)
+ (SELECT count(*) FROM (SELECT 1 FROM wait WHERE queue = ? LIMIT ?) w)`,
		[]any{queue, limit + 1, queue, limit + 1}, &n)
	return n, err
}

func (g *gate) insertJobs(ids []int64, specs []hostler.JobSpec, lanes map[string]int64) error {
	now := sqldb.Micros(g.tx.now)
	rows := make([][]any, len(specs))
	for i := range specs {
		s := &specs[i]
		backoff, err := encodeBackoff(s.Backoff)
		if err != nil {
			return err
		}
		args := string(s.Args)
		if args == "" {
			args = "{}"
		}
		rows[i] = []any{
			ids[i], int64(s.Project), int64(s.Run), s.Queue, s.Action, assetColumn(s),
			s.AssetName, lanes[s.LaneKey], s.LaneKey, int64(s.LaneLimit), int64(s.Priority),
			int64(max(1, s.MaxAttempts)), backoff, s.Timeout.Microseconds(), string(s.OnLost), string(s.OnUnknown),
			string(s.OnRetry), sqldb.Micros(s.RunAt), sqldb.Micros(s.ExpiresAt), int64(s.RetryOf), s.CreatedBy,
			now, args,
		}
	}
	return g.insert(`INSERT INTO job (id, project, run, queue, action, asset, asset_name, lane, lane_key, lane_lim, prio,
max_attempts, backoff, timeout, on_lost, on_unknown, on_retry, run_at, expires_at, retry_of, created_by, created_at, args)
SELECT v.id, v.project, v.run, v.queue, v.action, v.asset, v.asset_name, v.lane, v.lane_key, v.lane_lim, v.prio,
v.max_attempts, v.backoff, v.timeout, v.on_lost, v.on_unknown, v.on_retry, v.run_at, v.expires_at, v.retry_of, v.created_by, v.created_at, v.args
FROM @rows`, jobCols, rows)
}

// admit puts new jobs where they wait: in sched for their time, or in the queue.
func (g *gate) admit(ids []int64, specs []hostler.JobSpec, lanes map[string]int64) error {
	var later [][]any
	now := make([]ticket, 0, len(specs))
	for i := range specs {
		s := &specs[i]
		t := ticket{id: ids[i], queue: s.Queue, lane: lanes[s.LaneKey], prio: int64(s.Priority)}
		if s.RunAt.After(g.tx.now) {
			later = append(later, schedRow(sqldb.Micros(s.RunAt), t))
		} else {
			t.queuedAt = g.arrive(t.lane, sqldb.Micros(g.tx.now))
			now = append(now, t)
		}
	}
	g.placeAll(now)
	return g.insertSched(later)
}

// emitNew tells of new jobs, in their order.
func (tx *Tx) emitNew(ids []int64, specs []hostler.JobSpec) {
	for i := range specs {
		s := &specs[i]
		e := hostler.JobEvent{
			Job: hostler.JobID(ids[i]), Run: s.Run, Action: s.Action, Queue: s.Queue, Asset: s.Asset, AssetName: s.AssetName,
			State: hostler.StateQueued, CreatedBy: s.CreatedBy,
		}
		if s.RunAt.After(tx.now) {
			e.State = hostler.StateScheduled
		}
		tx.emitJob(s.Project, e)
	}
}

var schedCols = sqldb.Ints("run_at", "id", "lane", "lane_held", "attempt", "losses", "fence")

func schedRow(runAt int64, t ticket) []any {
	return []any{runAt, t.id, t.lane, bit(t.held), t.attempt, t.losses, t.fence}
}

func (g *gate) insertSched(rows [][]any) error {
	g.tx.notifyWork(len(rows) > 0)
	return g.insert(`INSERT INTO sched (run_at, id, lane, lane_held, attempt, losses, fence)
SELECT v.run_at, v.id, v.lane, v.lane_held, v.attempt, v.losses, v.fence FROM @rows`, schedCols, rows)
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

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
