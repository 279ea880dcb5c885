package store

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/schema"
)

// workerKeep is how long a dead worker is listed.
const workerKeep = 24 * time.Hour

// workerColumns are the columns of table worker that its registration sets.
type workerColumns struct {
	ID          hostler.WorkerID `db:"id"`
	Name        string           `db:"name"`
	Hostname    string           `db:"hostname"`
	PID         int              `db:"pid"`
	Version     string           `db:"version"`
	Queues      []byte           `db:"queues,text"`
	Slots       int              `db:"slots"`
	StartedAt   time.Time        `db:"started_at"`
	HeartbeatAt time.Time        `db:"heartbeat_at"`
}

// RegisterWorker creates a worker. CodeConflict: the data requires a newer version than
// this program, which was suspended during an upgrade. (The worker's lease_until is for
// servers of an earlier version, which decide by it.)
func (tx *Tx) RegisterWorker(w hostler.WorkerInfo) (hostler.WorkerID, error) {
	type newWorker struct {
		workerColumns
		LeaseUntil time.Time `db:"lease_until"`
		Level      int64     `db:"level"`
	}
	level := schema.Current().Known
	var floor int64
	var by string
	_, err := tx.one(`SELECT level, raised_by FROM `+schema.FloorTable, nil, &floor, &by)
	if err == nil && floor > level {
		err = schema.Outdated(w.Version, by, floor)
	}
	if err != nil {
		return 0, err
	}
	id, err := tx.NewID()
	if err != nil {
		return 0, err
	}
	queues, err := json.Marshal(w.Queues)
	if err != nil {
		return 0, fmt.Errorf("encode queues: %w", err)
	}
	tx.emitWorker(hostler.EventWorkerStarted, w.Name)
	return hostler.WorkerID(id), insert(tx, "worker", []newWorker{{
		workerColumns{
			hostler.WorkerID(id), w.Name, w.Hostname, w.PID, w.Version, queues, w.Slots, tx.now, tx.now,
		},
		tx.now.Add(hostler.LeaseTTL),
		level,
	}})
}

func (tx *Tx) emitWorker(t hostler.EventType, name string) {
	tx.Emit(0, t, hostler.ObjectEvent{Object: name})
}

// Heartbeat records that a worker is alive and compares the jobs that it holds with
// those that are leased to it. It returns what the worker must cancel or drop, and the
// leases that the worker does not list: their answer is on its way, or lost; see
// [Tx.HandBack]. CodeStale: the worker is fenced.
func (tx *Tx) Heartbeat(hb hostler.Heartbeat) (reply hostler.HeartbeatReply, missing []hostler.LeaseRef, err error) {
	n, err := tx.Exec(`UPDATE worker SET lease_until = ?, heartbeat_at = ?, draining = ?, succeeded = ?, failed = ?,
cpu_milli = ?, memory = ?, load_milli = ?, held = ? WHERE id = ? AND dead = 0`,
		sqldb.Micros(tx.now.Add(hostler.LeaseTTL)), sqldb.Micros(tx.now), hb.Draining, hb.Succeeded, hb.Failed,
		milli(hb.CPUPercent), max(0, hb.MemoryBytes), milli(hb.LoadPercent), len(hb.Held), hb.Worker)
	if err != nil {
		return reply, nil, err
	}
	if n == 0 {
		return reply, nil, errFenced()
	}
	if err := tx.saveSessions(&hb); err != nil {
		return reply, nil, err
	}
	if reply, missing, err = tx.compareHeld(hb); err != nil {
		return reply, nil, err
	}
	reply.CloseHosts, err = tx.TakeCloseCommands(hb.Worker)
	return reply, missing, err
}

// saveSessions stores the sessions that a worker holds. They are written only when
// they changed: they are the widest part of the row.
func (tx *Tx) saveSessions(hb *hostler.Heartbeat) error {
	sessions := ""
	if len(hb.Sessions) > 0 {
		b, err := json.Marshal(hb.Sessions)
		if err != nil {
			return fmt.Errorf("encode sessions: %w", err)
		}
		sessions = validText(b)
	}
	_, err := tx.Exec(`UPDATE worker SET sessions = ? WHERE id = ? AND sessions <> ?`, sessions, hb.Worker, sessions)
	return err
}

func decodeSessions(s string) ([]hostler.HostSession, error) {
	if s == "" {
		return nil, nil
	}
	var out []hostler.HostSession
	if err := json.Unmarshal([]byte(s), &out); err != nil {
		return nil, fmt.Errorf("decode sessions: %w", err)
	}
	return out, nil
}

// milli returns a percentage as it is stored: in thousandths. Impossible values are
// limited.
func milli(percent float64) int64 {
	if math.IsNaN(percent) || percent < 0 {
		return 0
	}
	return int64(math.Round(min(percent, 1e6) * 1000))
}

// compareHeld lists what the worker must cancel or drop, and the leases that it
// does not list.
func (tx *Tx) compareHeld(hb hostler.Heartbeat) (reply hostler.HeartbeatReply, missing []hostler.LeaseRef, err error) {
	type leased struct {
		ID       hostler.JobID `db:"id"`
		Fence    int64         `db:"fence"`
		CancelAt time.Time     `db:"cancel_at"`
	}
	held := make(map[hostler.LeaseRef]bool, len(hb.Held))
	for _, ref := range hb.Held {
		held[ref] = true
	}
	err = queryEach(tx, `SELECT @cols FROM running WHERE worker = ?`, []any{hb.Worker}, func(j *leased) error {
		ref := hostler.LeaseRef{Job: j.ID, Fence: j.Fence}
		switch {
		case !held[ref]:
			missing = append(missing, ref)
		case !j.CancelAt.IsZero():
			reply.Cancel = append(reply.Cancel, ref)
		}
		delete(held, ref)
		return nil
	})
	for _, ref := range hb.Held {
		if held[ref] {
			reply.Drop = append(reply.Drop, ref)
		}
	}
	return reply, missing, err
}

// HandBack queues leased jobs again that never reached their worker. Leases that are
// no longer the worker's are passed over.
func (tx *Tx) HandBack(w hostler.WorkerID, leases []hostler.LeaseRef) error {
	ids := make([]hostler.JobID, len(leases))
	fences := make(map[hostler.JobID]int64, len(leases))
	for i, l := range leases {
		ids[i], fences[l.Job] = l.Job, l.Fence
	}
	_, err := tx.takeBack(ids,
		func(j *runningJob) (bool, error) { return j.Worker == w && j.Fence == fences[j.ID], nil },
		func(j *runningJob) transition { return decide(j, hostler.Report{Outcome: hostler.OutcomeHandBack}) })
	return err
}

// Pulse is a live worker and the time of its last heartbeat, by the clock of the
// server that took it: compare it with an earlier Pulse, not with a clock.
type Pulse struct {
	Worker    hostler.WorkerID `db:"w.id"`
	Heartbeat int64            `db:"w.heartbeat_at"`
	// Idle reports that no job is leased to the worker.
	Idle bool `db:"CASE WHEN EXISTS (SELECT 1 FROM running r WHERE r.worker = w.id) THEN 0 ELSE 1 END"`
}

// Pulses lists the live workers.
func (tx *Tx) Pulses() ([]Pulse, error) {
	return query[Pulse](tx, `SELECT @cols FROM worker w WHERE w.dead = 0`)
}

// LoseWorkers marks those workers as dead that have given no sign of life since their
// pulse was taken, and returns them. A heartbeat is one, and so is the claim of a worker
// that was idle: after a stall it may be committed before the heartbeat.
func (tx *Tx) LoseWorkers(silent []Pulse) (lost []hostler.WorkerID, err error) {
	ids := make([]hostler.WorkerID, len(silent))
	for i, p := range silent {
		ids[i] = p.Worker
	}
	// A claim holds the row of its worker. The statements after this one see its jobs.
	const lock = `SELECT id FROM worker WHERE id IN ?* ORDER BY id FOR UPDATE`
	if _, err := column[hostler.WorkerID](tx, lock, ids); err != nil {
		return nil, err
	}
	for _, p := range silent {
		where := `id = ? AND heartbeat_at = ?`
		if p.Idle {
			where += ` AND NOT EXISTS (SELECT 1 FROM running r WHERE r.worker = worker.id)`
		}
		dead, err := tx.endWorkers(hostler.EventWorkerLost, where, p.Worker, p.Heartbeat)
		if err != nil {
			return nil, err
		}
		lost = append(lost, dead...)
	}
	return lost, nil
}

// HeldLeases returns which of the leases are still the worker's.
func (tx *Tx) HeldLeases(w hostler.WorkerID, leases []hostler.LeaseRef) (map[hostler.LeaseRef]bool, error) {
	type leased struct {
		Job   hostler.JobID `db:"id"`
		Fence int64         `db:"fence"`
	}
	ids := make([]hostler.JobID, len(leases))
	for i, l := range leases {
		ids[i] = l.Job
	}
	held := make(map[hostler.LeaseRef]bool, len(leases))
	return held, queryEach(tx, `SELECT @cols FROM running WHERE id IN ?* AND worker = ?`, []any{ids, w},
		func(l *leased) error {
			held[hostler.LeaseRef(*l)] = true
			return nil
		})
}

// SetProgress stores the progress of a leased job. CodeStale: the lease is lost.
func (tx *Tx) SetProgress(w hostler.WorkerID, l hostler.LeaseRef, p hostler.Progress) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode progress: %w", err)
	}
	n, err := tx.Exec(`UPDATE running SET progress = ? WHERE id = ? AND worker = ? AND fence = ?`,
		string(text), l.Job, w, l.Fence)
	if err == nil && n == 0 {
		err = errFenceLost()
	}
	return err
}

// workerRow is a row of table worker as it is listed.
type workerRow struct {
	workerColumns
	Dead      bool   `db:"dead"`
	Draining  bool   `db:"draining"`
	Succeeded int64  `db:"succeeded"`
	Failed    int64  `db:"failed"`
	Sessions  string `db:"sessions"`
	CPUMilli  int64  `db:"cpu_milli"`
	Memory    int64  `db:"memory"`
	LoadMilli int64  `db:"load_milli"`
}

func (r *workerRow) worker(running int) (hostler.Worker, error) {
	w := hostler.Worker{
		ID: r.ID, Name: r.Name, Hostname: r.Hostname, PID: r.PID, Version: r.Version, Slots: r.Slots,
		Running: running, Succeeded: r.Succeeded, Failed: r.Failed,
		StartedAt: r.StartedAt, LastHeartbeat: r.HeartbeatAt,
		State: workerState(r.Dead, r.Draining, running),
	}
	if err := json.Unmarshal(r.Queues, &w.Queues); err != nil {
		return w, fmt.Errorf("decode queues: %w", err)
	}
	if r.Dead { // holds no sessions and uses nothing
		return w, nil
	}
	var err error
	w.CPUPercent, w.MemoryBytes, w.LoadPercent = float64(r.CPUMilli)/1000, r.Memory, float64(r.LoadMilli)/1000
	w.Sessions, err = decodeSessions(r.Sessions)
	return w, err
}

// WorkerLoad is the load of the live workers in percent: of the processors of their machines,
// on average, and of their slots.
type WorkerLoad struct{ CPU, Slots float64 }

// WorkerLoad returns what the workers that do not drain reported with their last heartbeats.
func (tx *Tx) WorkerLoad() (l WorkerLoad, err error) {
	var cpu, held, slots, n int64
	_, err = tx.one(`SELECT CAST(COALESCE(sum(load_milli), 0) AS BIGINT), CAST(COALESCE(sum(held), 0) AS BIGINT),
CAST(COALESCE(sum(slots), 0) AS BIGINT), count(*) FROM worker WHERE dead = 0 AND draining = 0`, nil, &cpu, &held, &slots, &n)
	if n > 0 {
		l = WorkerLoad{CPU: float64(cpu) / 1000 / float64(n), Slots: 100 * float64(held) / float64(max(1, slots))}
	}
	return l, err
}

// Workers lists the live workers, and those that died within a day, newest first.
// Workers that a person stopped are left out.
func (tx *Tx) Workers() ([]hostler.Worker, error) {
	type count struct {
		Worker hostler.WorkerID `db:"worker"`
		N      int              `db:"count(*)"`
	}
	counts, err := query[count](tx, `SELECT @cols FROM running GROUP BY worker`)
	if err != nil {
		return nil, err
	}
	running := make(map[hostler.WorkerID]int, len(counts))
	for _, c := range counts {
		running[c.Worker] = c.N
	}
	rows, err := query[workerRow](tx, `SELECT @cols FROM worker WHERE stopped = 0 AND (dead = 0 OR heartbeat_at > ?)
ORDER BY id DESC`, sqldb.Micros(tx.now.Add(-workerKeep)))
	if err != nil {
		return nil, err
	}
	var out []hostler.Worker
	for i := range rows {
		w, err := rows[i].worker(running[rows[i].ID])
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

// WorkerNames finds the names of workers, also of stopped and dead ones until
// [Tx.DeleteDeadWorkers] deletes them.
func (tx *Tx) WorkerNames(ids []hostler.WorkerID) (map[hostler.WorkerID]string, error) {
	type named struct {
		ID   hostler.WorkerID `db:"id"`
		Name string           `db:"name"`
	}
	rows, err := query[named](tx, `SELECT @cols FROM worker WHERE id IN ?*`, ids)
	names := make(map[hostler.WorkerID]string, len(rows))
	for _, r := range rows {
		names[r.ID] = r.Name
	}
	return names, err
}

// WorkersOn finds the workers of a machine, also stopped and dead ones until
// [Tx.DeleteDeadWorkers] deletes them.
func (tx *Tx) WorkersOn(hostname string) ([]int64, error) {
	return column[int64](tx, `SELECT id FROM worker WHERE hostname = ?`, hostname)
}

func workerState(dead, draining bool, running int) string {
	switch {
	case dead:
		return "dead"
	case draining:
		return "draining"
	case running > 0:
		return "busy"
	default:
		return "idle"
	}
}

// DeleteDeadWorkers deletes the rows of workers that died more than a day ago and
// hold no job.
func (tx *Tx) DeleteDeadWorkers() error {
	_, err := tx.Exec(`DELETE FROM worker WHERE dead = 1 AND heartbeat_at < ?
AND NOT EXISTS (SELECT 1 FROM running r WHERE r.worker = worker.id)`, sqldb.Micros(tx.now.Add(-workerKeep)))
	if err != nil {
		return err
	}
	_, err = tx.Exec(`DELETE FROM worker_order
WHERE NOT EXISTS (SELECT 1 FROM worker w WHERE w.id = worker_order.worker AND w.dead = 0)`)
	return err
}
