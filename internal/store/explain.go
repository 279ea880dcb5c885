package store

import (
	"encoding/json"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// countCap bounds how far "ahead of it" is counted.
const countCap = 1000

// Explain says why a job is not running yet, most binding reason first; nothing
// for one that runs or has ended. Jobs of other projects than the viewer's are
// counted, not named.
func (tx *Tx) Explain(id hostler.JobID, viewer hostler.ProjectID) ([]hostler.Waiting, error) {
	if w, found, err := tx.explainScheduled(id); err != nil || found {
		return w, err
	}
	if w, found, err := tx.explainLane(id, viewer); err != nil || found {
		return w, err
	}
	return tx.explainReady(id)
}

func (tx *Tx) explainScheduled(id hostler.JobID) ([]hostler.Waiting, bool, error) {
	var runAt, attempt int64
	found, err := tx.one(`SELECT run_at, attempt FROM sched WHERE id = ?`, []any{int64(id)}, &runAt, &attempt)
	if err != nil || !found {
		return nil, found, err
	}
	until := sqldb.Time(runAt)
	w := hostler.Waiting{Reason: hostler.WaitScheduled, Until: &until, Text: hostler.Textf(
		"it is scheduled for %s", "计划于 %s 执行", until.Format(time.RFC3339))}
	if attempt > 0 {
		w.Reason = hostler.WaitBackoff
		w.Text = hostler.Textf("attempt %d failed; the next one is at %s", "第 %d 次尝试失败，下一次于 %s 进行",
			attempt, until.Format(time.RFC3339))
	}
	return []hostler.Waiting{w}, true, nil
}

// explainLane covers jobs in wait: behind other jobs of their lane, or in a
// paused queue.
func (tx *Tx) explainLane(id hostler.JobID, viewer hostler.ProjectID) ([]hostler.Waiting, bool, error) {
	var lane, prio, queuedAt, lim, inflight int64
	var queue, key string
	found, err := tx.one(`SELECT w.lane, w.prio, w.queued_at, w.queue, l.key, l.lim, l.inflight FROM wait w JOIN lane l ON l.id = w.lane WHERE w.id = ?`,
		[]any{int64(id)}, &lane, &prio, &queuedAt, &queue, &key, &lim, &inflight)
	if err != nil || !found {
		return nil, found, err
	}
	out, err := tx.explainPaused(queue)
	if err != nil {
		return nil, true, err
	}
	if inflight < lim {
		return out, true, nil
	}
	w := hostler.Waiting{Reason: hostler.WaitLane, Lane: DisplayLane(key), Limit: int(lim)}
	unknown, err := tx.laneHolders(lane, inflight, viewer, &w)
	if err != nil {
		return nil, true, err
	}
	var ahead int
	if _, err := tx.one(`SELECT count(*) FROM (SELECT 1 FROM wait WHERE lane = ? AND (prio, queued_at, id) < (?, ?, ?) LIMIT ?) x`,
		[]any{lane, prio, queuedAt, int64(id), countCap}, &ahead); err != nil {
		return nil, true, err
	}
	w.Ahead = ahead
	w.Text = hostler.Textf("its lane %s is held (%d of %d) and %d jobs are before it", "其通道 %s 被占用（%d/%d），前面还有 %d 个作业",
		w.Lane, inflight, lim, ahead)
	if unknown {
		w.Reason = hostler.WaitLaneUnknown
		w.Text = hostler.Textf("its lane %s is held by a job whose outcome is unknown; resolve it to let others pass",
			"其通道 %s 被结果未知的作业占用；裁定该作业后其他作业才能继续", w.Lane)
	}
	return append(out, w), true, nil
}

// laneHolders names the jobs that hold a lane, of which there are inflight, and
// reports whether one of them is unknown. It looks where few rows are first, and
// no further than it must: many jobs may wait in the lane.
func (tx *Tx) laneHolders(lane, inflight int64, viewer hostler.ProjectID, w *hostler.Waiting) (unknown bool, err error) {
	for _, from := range []string{
		`running h WHERE h.lane = ?`, `parked h WHERE h.lane_held = 1 AND h.lane = ?`,
		`ready h WHERE h.lane = ?`, `sched h WHERE h.lane_held = 1 AND h.lane = ?`,
	} {
		if int64(len(w.Holders)+w.Foreign) >= min(inflight, countCap) {
			break
		}
		parked := from[0] == 'p'
		err := tx.each(`SELECT h.id, (SELECT j.project FROM job j WHERE j.id = h.id) FROM `+from+` LIMIT ?`, []any{lane, countCap}, func(r sqldb.Rows) error {
			var id, project int64
			if err := r.Scan(&id, &project); err != nil {
				return err
			}
			unknown = unknown || parked
			if hostler.ProjectID(project) == viewer {
				w.Holders = append(w.Holders, hostler.JobID(id))
			} else {
				w.Foreign++
			}
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	slices.Sort(w.Holders)
	return unknown, nil
}

func (tx *Tx) explainPaused(queue string) ([]hostler.Waiting, error) {
	var paused int64
	if _, err := tx.one(`SELECT paused FROM queue WHERE name = ?`, []any{queue}, &paused); err != nil || paused == 0 {
		return nil, err
	}
	return []hostler.Waiting{{
		Reason: hostler.WaitPaused, Queue: queue,
		Text: hostler.Textf("the queue %q is paused; resume it with: hostler queue resume %[1]s",
			"队列 %q 已暂停；恢复命令：hostler queue resume %[1]s", queue),
	}}, nil
}

// explainReady covers jobs that only need a worker.
func (tx *Tx) explainReady(id hostler.JobID) ([]hostler.Waiting, error) {
	var queue string
	var rank int64
	found, err := tx.one(`SELECT queue, rank FROM ready WHERE id = ?`, []any{int64(id)}, &queue, &rank)
	if err != nil || !found {
		return nil, err
	}
	if out, err := tx.explainPaused(queue); err != nil || out != nil {
		return out, err
	}
	var lim, busy int64
	if _, err := tx.one(`SELECT lim, (SELECT count(*) FROM running WHERE queue = ?) FROM queue WHERE name = ?`, []any{queue, queue}, &lim, &busy); err != nil {
		return nil, err
	}
	w := hostler.Waiting{Queue: queue}
	if _, err := tx.one(`SELECT count(*) FROM (SELECT 1 FROM ready WHERE queue = ? AND (rank, id) < (?, ?) LIMIT ?) x`,
		[]any{queue, rank, int64(id), countCap}, &w.Ahead); err != nil {
		return nil, err
	}
	if lim > 0 && busy >= lim {
		w.Reason, w.Limit = hostler.WaitLimit, int(lim)
		w.Text = hostler.Textf("the queue %q runs %d jobs, as many as it may", "队列 %q 正在运行 %d 个作业，已达上限", queue, busy)
		return []hostler.Waiting{w}, nil
	}
	return tx.explainWorkers(w)
}

func (tx *Tx) explainWorkers(w hostler.Waiting) ([]hostler.Waiting, error) {
	serving, free := 0, 0
	err := tx.each(`SELECT k.queues, k.slots - (SELECT count(*) FROM running r WHERE r.worker = k.id) FROM worker k
WHERE k.dead = 0 AND k.draining = 0`,
		nil, func(r sqldb.Rows) error {
			var queues string
			var left int
			var names []string
			if err := r.Scan(&queues, &left); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(queues), &names); err != nil {
				return err
			}
			if slices.Contains(names, "*") || slices.Contains(names, w.Queue) {
				serving++
				free += max(0, left)
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	switch {
	case serving == 0:
		w.Reason = hostler.WaitNoWorker
		w.Text = hostler.Textf("no live worker serves the queue %q", "没有存活的工作节点服务队列 %q", w.Queue)
	case free == 0:
		w.Reason = hostler.WaitBusy
		w.Text = hostler.Textf("every slot of the %d workers that serve the queue %q is taken; %d jobs are before it",
			"服务队列 %[2]q 的 %[1]d 个工作节点并发数已满；前面还有 %[3]d 个作业", serving, w.Queue, w.Ahead)
	default:
		w.Reason = hostler.WaitSoon
		w.Text = hostler.Text{EN: "nothing holds it: it is about to start", ZH: "没有阻碍，即将开始"}
	}
	return []hostler.Waiting{w}, nil
}

// DisplayLane is a lane's key as people see it: a device's key, or the key that
// the project chose.
func DisplayLane(key string) string {
	kind, rest, _ := cutLane(key)
	if kind == "own" {
		if _, own, ok := cutLane(rest); ok {
			return own
		}
	}
	return rest
}

func cutLane(key string) (kind, rest string, ok bool) {
	for i := range len(key) {
		if key[i] == ':' {
			return key[:i], key[i+1:], true
		}
	}
	return "", key, false
}
