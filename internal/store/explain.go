package store

import (
	"encoding/json"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// countCap limits how many jobs ahead are counted.
const countCap = 1000

// Explain returns why a job is not running yet, the most binding reason first; nothing
// for a job that runs or has ended. Jobs of other projects than the viewer's are
// counted, not named.
func (tx *Tx) Explain(id hostler.JobID, viewer hostler.ProjectID) ([]hostler.Waiting, error) {
	if w, found, err := tx.explainScheduled(id); err != nil || found {
		return w, err
	}
	held, err := tx.explainHeld(id)
	if err != nil {
		return nil, err
	}
	w, found, err := tx.explainLane(id, viewer)
	if err == nil && !found {
		w, err = tx.explainReady(id)
	}
	if err != nil || len(w) == 0 || held == nil {
		return w, err
	}
	// What waits only for its turn waits for nothing but the release.
	w = slices.DeleteFunc(w, func(w hostler.Waiting) bool { return w.Reason == hostler.WaitSoon })
	return append(held, w...), nil
}

func (tx *Tx) explainScheduled(id hostler.JobID) ([]hostler.Waiting, bool, error) {
	s, err := queryOne[schedRow](tx, `SELECT @cols FROM sched WHERE id = ?`, id)
	if err != nil || s == nil {
		return nil, false, err
	}
	if s.RunAt >= heldFrom {
		h, err := queryOne[HoldRow](tx, `SELECT @cols FROM dispatch_hold WHERE id = ?`, s.RunAt-heldFrom)
		if err != nil || h == nil {
			return nil, true, err
		}
		return []hostler.Waiting{h.waiting()}, true, nil
	}
	until := sqldb.Time(s.RunAt)
	w := hostler.Waiting{Reason: hostler.WaitScheduled, Until: &until, Text: hostler.Textf(
		"it is scheduled for %s", "计划于 %s 执行", until.Format(time.RFC3339))}
	if s.Attempt > 0 {
		w.Reason = hostler.WaitBackoff
		w.Text = hostler.Textf("attempt %d failed; the next one is at %s",
			"第 %d 次尝试失败，下一次于 %s 进行",
			s.Attempt, until.Format(time.RFC3339))
	}
	return []hostler.Waiting{w}, true, nil
}

// explainLane covers jobs in wait: behind other jobs of their lane, or in a
// paused queue.
func (tx *Tx) explainLane(id hostler.JobID, viewer hostler.ProjectID) ([]hostler.Waiting, bool, error) {
	type waiting struct {
		Lane     laneID `db:"w.lane"`
		Prio     int64  `db:"w.prio"`
		QueuedAt int64  `db:"w.queued_at"`
		Queue    string `db:"w.queue"`
		Key      string `db:"j.lane_key"` // of an ad-hoc host, l.key may be another project's
		Limit    int64  `db:"l.lim"`
		Inflight int64  `db:"l.inflight"`
		Closed   bool   `db:"l.closed"`
	}
	e, err := queryOne[waiting](tx, `SELECT @cols FROM wait w JOIN lane l ON l.id = w.lane JOIN job j ON j.id = w.id WHERE w.id = ?`, id)
	if err != nil || e == nil {
		return nil, false, err
	}
	out, err := tx.explainPaused(e.Queue)
	if err != nil {
		return nil, true, err
	}
	w := hostler.Waiting{Reason: hostler.WaitLane, Lane: DisplayLane(e.Key), Limit: int(e.Limit)}
	switch {
	case e.Inflight < e.Limit && e.Closed:
		w.Text = hostler.Textf("its lane %s is closed until the jobs of a host whose device key changed have moved",
			"其通道 %s 暂时关闭，直到设备标识已更改的主机的作业迁移完毕", w.Lane)
		return append(out, w), true, nil
	case e.Inflight < e.Limit:
		return out, true, nil
	}
	unknown, err := tx.laneHolders(e.Lane, e.Inflight, viewer, &w)
	if err != nil {
		return nil, true, err
	}
	self := entry{ID: id, Lane: e.Lane, Prio: e.Prio, QueuedAt: e.QueuedAt}
	if w.Ahead, err = tx.aheadInLane(self); err != nil {
		return nil, true, err
	}
	w.Text = hostler.Textf("its lane %s is held (%d of %d) and %d jobs are ahead of it",
		"其通道 %s 被占用（%d/%d），前面还有 %d 个作业", w.Lane, e.Inflight, e.Limit, w.Ahead)
	if unknown {
		w.Reason = hostler.WaitLaneUnknown
		w.Text = hostler.Textf("its lane %s is held by a job whose outcome is unknown; resolve it so that others can run",
			"其通道 %s 被结果未知的作业占用；确认该作业的结果后其他作业才能继续", w.Lane)
	}
	if w.Foreign > 0 {
		explainForeign(&w)
	}
	return append(out, w), true, nil
}

// explainForeign adds to the reason that jobs of other projects hold the lane, without
// naming them.
func explainForeign(w *hostler.Waiting) {
	more := hostler.Textf("%d jobs of other projects hold it; an admin of the project %q sees and releases them with: "+
		"hostler lane show %s", "其中 %d 个占用者属于其他项目；项目 %q 的管理员可用 hostler lane show %s 查看并释放",
		w.Foreign, hostler.DefaultProject, w.Lane)
	w.Text = hostler.Text{EN: w.Text.EN + "; " + more.EN, ZH: w.Text.ZH + "；" + more.ZH}
}

// aheadInLane counts the jobs that wait in the lane before a job, up to countCap for
// each queue.
func (tx *Tx) aheadInLane(e entry) (ahead int, err error) {
	heads, err := tx.queueHeads([]laneID{e.Lane})
	for _, h := range heads {
		var n int
		_, err := tx.one(`SELECT count(*) FROM
(SELECT 1 FROM wait WHERE lane = ? AND queue = ? AND (prio, queued_at, id) < (?, ?, ?) LIMIT ?) x`,
			[]any{e.Lane, h.Queue, e.Prio, e.QueuedAt, e.ID, countCap}, &n)
		if err != nil {
			return 0, err
		}
		ahead += n
	}
	return min(ahead, countCap), err
}

// laneHolders lists the jobs that hold a lane, of which there are inflight, and
// reports whether one of them is unknown. It reads the smallest tables first, and
// stops when it has found all: many jobs may wait in the lane.
func (tx *Tx) laneHolders(lane laneID, inflight int64, viewer hostler.ProjectID,
	w *hostler.Waiting,
) (unknown bool, err error) {
	type holder struct {
		ID      hostler.JobID     `db:"h.id"`
		Project hostler.ProjectID `db:"(SELECT j.project FROM job j WHERE j.id = h.id)"`
	}
	for _, from := range []struct {
		sql        string
		unresolved bool
	}{
		{`running h WHERE h.lane = ?`, false},
		{`parked h WHERE h.lane_held = 1 AND h.lane = ?`, true},
		{`ready h WHERE h.lane = ?`, false},
		{`sched h WHERE h.lane_held = 1 AND h.lane = ?`, false},
	} {
		if int64(len(w.Holders)+w.Foreign) >= min(inflight, countCap) {
			break
		}
		holders, err := query[holder](tx, `SELECT @cols FROM `+from.sql+` LIMIT ?`, lane, countCap)
		if err != nil {
			return false, err
		}
		for _, h := range holders {
			unknown = unknown || from.unresolved
			if h.Project == viewer {
				w.Holders = append(w.Holders, h.ID)
			} else {
				w.Foreign++
			}
		}
	}
	slices.Sort(w.Holders)
	return unknown, nil
}

func (tx *Tx) explainPaused(queue string) ([]hostler.Waiting, error) {
	paused, err := tx.exists(`SELECT name FROM queue WHERE name = ? AND paused = 1`, queue)
	if err != nil || !paused {
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
	var project, rank int64
	found, err := tx.one(`SELECT queue, project, rank FROM ready WHERE id = ?`, []any{id}, &queue, &project, &rank)
	if err != nil || !found {
		return nil, err
	}
	if out, err := tx.explainPaused(queue); err != nil || out != nil {
		return out, err
	}
	var lim, busy int64
	_, err = tx.one(`SELECT lim, (SELECT count(*) FROM running WHERE queue = ?) FROM queue WHERE name = ?`,
		[]any{queue, queue}, &lim, &busy)
	if err != nil {
		return nil, err
	}
	w := hostler.Waiting{Queue: queue}
	// Of its own project: the jobs of others take turns with them.
	_, err = tx.one(`SELECT count(*) FROM (SELECT 1 FROM ready
WHERE queue = ? AND project = ? AND owner = 0 AND (rank, id) < (?, ?) LIMIT ?) x`,
		[]any{queue, project, rank, id, countCap}, &w.Ahead)
	if err != nil {
		return nil, err
	}
	if lim > 0 && busy >= lim {
		w.Reason, w.Limit = hostler.WaitLimit, int(lim)
		w.Text = hostler.Textf("the queue %q runs %d jobs, its limit",
			"队列 %q 正在运行 %d 个作业，已达上限", queue, busy)
		return []hostler.Waiting{w}, nil
	}
	if full, err := tx.explainLimit(hostler.ProjectID(project), &w); err != nil || full {
		return []hostler.Waiting{w}, err
	}
	return tx.explainWorkers(w, hostler.ProjectID(project))
}

// explainLimit explains a job whose project runs as many jobs as it may.
func (tx *Tx) explainLimit(p hostler.ProjectID, w *hostler.Waiting) (full bool, err error) {
	limits, err := tx.limits([]hostler.ProjectID{p})
	most := limits[p].MaxRunning
	if err != nil || most == 0 {
		return false, err
	}
	running, err := tx.runningOf([]hostler.ProjectID{p})
	if err != nil || running[p] < most {
		return false, err
	}
	w.Reason, w.Limit = hostler.WaitProject, int(most)
	w.Text = hostler.Textf("its project runs %d jobs, its limit max_running; an admin of the project %q can raise it "+
		"(hostler project set)", "其项目正在运行 %d 个作业，已达上限 max_running；项目 %q 的管理员可以提高（hostler project set）",
		running[p], hostler.DefaultProject)
	return true, nil
}

func (tx *Tx) explainWorkers(w hostler.Waiting, project hostler.ProjectID) ([]hostler.Waiting, error) {
	serving, free := 0, int64(0)
	type live struct {
		Queues []byte `db:"k.queues,text"`
		Slots  int64  `db:"k.slots"`
		Busy   int64  `db:"(SELECT count(*) FROM running r WHERE r.worker = k.id)"`
		Own    int64  `db:"(SELECT count(*) FROM running r WHERE r.worker = k.id AND r.project = ?)"`
		Shared bool   `db:"CASE WHEN (SELECT count(*) FROM (SELECT 1 FROM project LIMIT 2) p) > 1 THEN 1 ELSE 0 END"`
	}
	workers, err := query[live](tx, `SELECT @cols FROM worker k WHERE k.dead = 0 AND k.draining = 0`, project)
	if err != nil {
		return nil, err
	}
	for _, k := range workers {
		var names []string
		if err := json.Unmarshal(k.Queues, &names); err != nil {
			return nil, err
		}
		if slices.Contains(names, "*") || slices.Contains(names, w.Queue) {
			serving++
			idle := k.Slots - k.Busy
			if k.Shared && k.Own > 0 {
				idle -= keptSlots(k.Slots)
			}
			free += max(0, idle)
		}
	}
	switch {
	case serving == 0:
		w.Reason = hostler.WaitNoWorker
		w.Text = hostler.Textf("no live worker serves the queue %q",
			"没有存活的工作节点服务队列 %q", w.Queue)
	case free == 0:
		w.Reason = hostler.WaitBusy
		w.Text = hostler.Textf("all slots of the %d workers that serve the queue %q are busy; %d jobs are ahead of it",
			"服务队列 %[2]q 的 %[1]d 个工作节点并发数已满；前面还有 %[3]d 个作业", serving, w.Queue, w.Ahead)
	default:
		w.Reason = hostler.WaitSoon
		w.Text = hostler.Text{EN: "nothing blocks it: it is about to start", ZH: "没有阻碍，即将开始"}
	}
	return []hostler.Waiting{w}, nil
}

// DisplayLane is a lane's key as people see it: a device's key, or the key that the
// project chose.
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
