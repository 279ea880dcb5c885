package store

import (
	"encoding/json"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// RegisterWorker makes a fresh worker. (Its lease_until is for servers of the
// version before this one, which still decide by it.)
func (tx *Tx) RegisterWorker(w hostler.WorkerInfo) (hostler.WorkerID, error) {
	id, err := tx.NewID()
	if err != nil {
		return 0, err
	}
	queues, err := json.Marshal(w.Queues)
	if err != nil {
		return 0, fmt.Errorf("encode queues: %w", err)
	}
	now := sqldb.Micros(tx.now)
	_, err = tx.Exec(`INSERT INTO worker (id, name, hostname, pid, version, queues, slots, started_at, heartbeat_at, lease_until)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, w.Name, w.Hostname, w.PID, w.Version, string(queues), w.Slots, now, now, sqldb.Micros(tx.now.Add(hostler.LeaseTTL)))
	tx.emitWorker(hostler.EventWorkerStarted, w.Name)
	return hostler.WorkerID(id), err
}

func (tx *Tx) emitWorker(t hostler.EventType, name string) {
	tx.Emit(0, t, hostler.ObjectEvent{Object: name})
}

// Heartbeat notes that a worker lives and compares the jobs that it holds with
// those that are leased to it. It returns what the worker must cancel or drop, and
// the leases that the worker does not list: their answer is on its way, or lost;
// see [Tx.HandBack]. CodeStale: the worker is fenced.
func (tx *Tx) Heartbeat(hb hostler.Heartbeat) (reply hostler.HeartbeatReply, missing []hostler.LeaseRef, err error) {
	n, err := tx.Exec(`UPDATE worker SET lease_until = ?, heartbeat_at = ?, draining = ?, succeeded = ?, failed = ?,
cpu_milli = ?, memory = ? WHERE id = ? AND dead = 0`,
		sqldb.Micros(tx.now.Add(hostler.LeaseTTL)), sqldb.Micros(tx.now), bit(hb.Draining), hb.Succeeded, hb.Failed,
		milli(hb.CPUPercent), max(0, hb.MemoryBytes), int64(hb.Worker))
	if err != nil {
		return reply, nil, err
	}
	if n == 0 {
		return reply, nil, errFenced()
	}
	if err := tx.saveVitals(&hb); err != nil {
		return reply, nil, err
	}
	if reply, missing, err = tx.compareHeld(hb); err != nil {
		return reply, nil, err
	}
	reply.CloseHosts, err = tx.TakeCloseOrders(hb.Worker)
	return reply, missing, err
}

// compareHeld lists what the worker must cancel or drop, and the leases that it
// does not list.
func (tx *Tx) compareHeld(hb hostler.Heartbeat) (reply hostler.HeartbeatReply, missing []hostler.LeaseRef, err error) {
	held := make(map[hostler.LeaseRef]bool, len(hb.Held))
	for _, ref := range hb.Held {
		held[ref] = true
	}
	err = tx.each(`SELECT id, fence, cancel_at FROM running WHERE worker = ?`, []any{int64(hb.Worker)}, func(r sqldb.Rows) error {
		var id, fence, cancelAt int64
		if err := r.Scan(&id, &fence, &cancelAt); err != nil {
			return err
		}
		ref := hostler.LeaseRef{Job: hostler.JobID(id), Fence: fence}
		switch {
		case !held[ref]:
			missing = append(missing, ref)
		case cancelAt != 0:
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

// HandBack queues leased jobs again that their worker never got. Leases that are
// no longer the worker's are passed over.
func (tx *Tx) HandBack(w hostler.WorkerID, leases []hostler.LeaseRef) error {
	ids := make([]int64, len(leases))
	fences := make(map[int64]int64, len(leases))
	for i, l := range leases {
		ids[i] = int64(l.Job)
		fences[ids[i]] = l.Fence
	}
	_, err := tx.settleLost(ids,
		func(j *runningJob) bool { return j.worker == int64(w) && j.fence == fences[j.id] },
		func(j *runningJob) verdict { return decide(j, hostler.Report{Outcome: hostler.OutcomeHandBack}) })
	return err
}

// Pulse is a live worker and the time of its last heartbeat, by the clock of the
// server that took it: to be compared with an earlier Pulse, not with a clock.
type Pulse struct {
	Worker    hostler.WorkerID
	Heartbeat int64
	Idle      bool // no job is leased to it
}

// Pulses lists the live workers.
func (tx *Tx) Pulses() (out []Pulse, err error) {
	err = tx.each(`SELECT w.id, w.heartbeat_at, CASE WHEN EXISTS (SELECT 1 FROM running r WHERE r.worker = w.id) THEN 0 ELSE 1 END
FROM worker w WHERE w.dead = 0`, nil, func(r sqldb.Rows) error {
		var id, idle int64
		var p Pulse
		err := r.Scan(&id, &p.Heartbeat, &idle)
		p.Worker, p.Idle = hostler.WorkerID(id), idle == 1
		out = append(out, p)
		return err
	})
	return out, err
}

// LoseWorkers marks those workers as dead that have sent no other heartbeat since
// their pulse was taken, and returns them.
func (tx *Tx) LoseWorkers(silent []Pulse) (lost []hostler.WorkerID, err error) {
	for _, p := range silent {
		dead, err := tx.endWorkers(hostler.EventWorkerLost, `id = ? AND heartbeat_at = ?`, int64(p.Worker), p.Heartbeat)
		if err != nil {
			return nil, err
		}
		lost = append(lost, dead...)
	}
	return lost, nil
}

// HoldsLease reports whether the lease is still the worker's.
func (tx *Tx) HoldsLease(w hostler.WorkerID, l hostler.LeaseRef) (bool, error) {
	var n int64
	return tx.one(`SELECT 1 FROM running WHERE id = ? AND worker = ? AND fence = ?`, []any{int64(l.Job), int64(w), l.Fence}, &n)
}

// SetProgress notes how far a leased job has come. CodeStale: the lease is lost.
func (tx *Tx) SetProgress(w hostler.WorkerID, l hostler.LeaseRef, p hostler.Progress) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode progress: %w", err)
	}
	n, err := tx.Exec(`UPDATE running SET progress = ? WHERE id = ? AND worker = ? AND fence = ?`, string(text), int64(l.Job), int64(w), l.Fence)
	if err == nil && n == 0 {
		err = errFenceLost()
	}
	return err
}

// Workers lists the workers that live, and those that died within a day, newest
// first. One that a person stopped is not missed by anybody and left out.
func (tx *Tx) Workers() ([]hostler.Worker, error) {
	running := map[int64]int{}
	err := tx.each(`SELECT worker, count(*) FROM running GROUP BY worker`, nil, func(r sqldb.Rows) error {
		var id int64
		var n int
		err := r.Scan(&id, &n)
		running[id] = n
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []hostler.Worker
	err = tx.each(`SELECT id, name, hostname, pid, version, queues, slots, started_at, heartbeat_at, dead, draining, succeeded, failed,
sessions, cpu_milli, memory FROM worker WHERE stopped = 0 AND (dead = 0 OR heartbeat_at > ?) ORDER BY id DESC`, []any{sqldb.Micros(tx.now.Add(-24 * time.Hour))}, func(r sqldb.Rows) error {
		var w hostler.Worker
		var id, started, beat, dead, draining, cpu int64
		var queues, sessions string
		err := r.Scan(&id, &w.Name, &w.Hostname, &w.PID, &w.Version, &queues, &w.Slots, &started, &beat, &dead, &draining, &w.Succeeded, &w.Failed,
			&sessions, &cpu, &w.MemoryBytes)
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(queues), &w.Queues); err != nil {
			return fmt.Errorf("decode queues: %w", err)
		}
		w.ID, w.Running = hostler.WorkerID(id), running[id]
		w.StartedAt, w.LastHeartbeat = sqldb.Time(started), sqldb.Time(beat)
		w.State = workerState(dead != 0, draining != 0, w.Running)
		if dead == 0 { // the dead keep and use nothing
			w.CPUPercent = float64(cpu) / 1000
			w.Sessions, err = decodeSessions(sessions)
		} else {
			w.MemoryBytes = 0
		}
		out = append(out, w)
		return err
	})
	return out, err
}

// WorkerNames finds the names of workers, also of stopped and dead ones until they
// are forgotten.
func (tx *Tx) WorkerNames(ids []hostler.WorkerID) (map[hostler.WorkerID]string, error) {
	of := make([]int64, len(ids))
	for i, id := range ids {
		of[i] = int64(id)
	}
	names := make(map[hostler.WorkerID]string, len(ids))
	err := tx.each(`SELECT id, name FROM worker WHERE id IN ?*`, []any{of}, func(r sqldb.Rows) error {
		var id int64
		var name string
		err := r.Scan(&id, &name)
		names[hostler.WorkerID(id)] = name
		return err
	})
	return names, err
}

// WorkersOn finds the workers of a machine, also stopped and dead ones until they
// are forgotten.
func (tx *Tx) WorkersOn(hostname string) ([]int64, error) {
	return tx.ints(`SELECT id FROM worker WHERE hostname = ?`, hostname)
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

// ForgetWorkers deletes the rows of workers that died more than a day ago and
// hold nothing.
func (tx *Tx) ForgetWorkers() error {
	_, err := tx.Exec(`DELETE FROM worker WHERE dead = 1 AND heartbeat_at < ? AND NOT EXISTS (SELECT 1 FROM running r WHERE r.worker = worker.id)`,
		sqldb.Micros(tx.now.Add(-24*time.Hour)))
	if err != nil {
		return err
	}
	_, err = tx.Exec(`DELETE FROM worker_order WHERE NOT EXISTS (SELECT 1 FROM worker w WHERE w.id = worker_order.worker AND w.dead = 0)`)
	return err
}
