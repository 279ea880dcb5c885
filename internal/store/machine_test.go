package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// TestQueueAgainstModel runs the same random steps on each database and on the model. It
// compares the table of every job after each step and the order of every claim, and
// checks the invariants.
func TestQueueAgainstModel(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		rapid.Check(t, func(rt *rapid.T) {
			h.Reset(t)
			m := newMachine(rt, h)
			rt.Repeat(map[string]func(*rapid.T){
				"":           m.check,
				"enqueue":    m.enqueue,
				"claim":      m.claim,
				"finish":     m.finish,
				"and claim":  m.finishAndClaim,
				"stale":      m.finishStale,
				"repeat":     m.finishAgain,
				"cancel":     m.cancel,
				"pass time":  m.pass,
				"due":        m.due,
				"expire":     m.expire,
				"lose":       m.lose,
				"timeout":    m.timeOut,
				"heartbeat":  m.heartbeat,
				"relane":     m.relane,
				"rehost":     m.rehost,
				"follow":     m.followRelanes,
				"step clock": m.step,
				"resolve":    m.resolve,
				"pause":      m.pause,
				"queueLimit": m.queueLimit,
			})
		})
	})
}

type machine struct {
	h       *storetest.Harness
	model   *model
	workers []hostler.WorkerID
	devices map[hostler.AssetID]string // lane keys
	host    *store.AssetRow            // the asset at the address of ad-hoc hosts, if any
	homes   hostler.ProjectID          // its project
	last    []hostler.Report           // the last acknowledged reports
	lastBy  hostler.WorkerID
}

const testProject = hostler.ProjectID(7)

// machineHost is the address of the ad-hoc hosts of the machine.
const machineHost = "192.0.2.1"

// onDeviceOfHost reports whether a job runs in the lane of its ad-hoc host.
func onDeviceOfHost(s hostler.JobSpec) bool {
	return s.Target != nil && strings.HasPrefix(s.LaneKey, "device:")
}

// hostLane is the lane of the ad-hoc hosts.
func (m *machine) hostLane() string {
	if m.host == nil {
		return "device:" + machineHost
	}
	return "device:" + m.host.DeviceKey
}

// machineSlots are the slots of a worker of the machine: few, so that the one that is kept
// for idle projects matters.
const machineSlots = 6

func newMachine(t *rapid.T, h *storetest.Harness) *machine {
	m := &machine{h: h, model: newModel(h.Now()), devices: map[hostler.AssetID]string{1: "device:a", 2: "device:b"}}
	for _, name := range []string{"default", "bulk"} {
		m.model.queues[name] = &mqueue{}
		m.tx(t, func(tx *store.Tx) error {
			_, err := tx.SetQueue(name, store.QueueSettings{})
			return err
		})
	}
	m.tx(t, func(tx *store.Tx) error {
		if _, err := tx.InsertProject("one"); err != nil {
			return err
		}
		if _, err := tx.InsertProject("two"); err != nil {
			return err
		}
		p, err := tx.InsertProject("three")
		m.homes = p.ID
		return err
	})
	m.register(t)
	m.register(t)
	return m
}

func (m *machine) tx(t *rapid.T, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := m.h.Store.InTx(context.Background(), fn); err != nil {
		t.Fatalf("transaction: %v", err)
	}
}

func (m *machine) register(t *rapid.T) {
	var id hostler.WorkerID
	m.tx(t, func(tx *store.Tx) (err error) {
		id, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: machineSlots})
		return err
	})
	m.workers = append(m.workers, id)
	m.model.workers[id] = true
}

func (m *machine) worker(t *rapid.T) hostler.WorkerID {
	return rapid.SampledFrom(m.workers).Draw(t, "worker")
}

// pick draws one of the model's jobs in the given tables.
func (m *machine) pick(t *rapid.T, tables ...string) *mjob {
	var in []*mjob
	for _, j := range m.model.ordered() {
		if slices.Contains(tables, j.table) {
			in = append(in, j)
		}
	}
	if len(in) == 0 {
		t.Skip("no such job")
	}
	return rapid.SampledFrom(in).Draw(t, "job")
}

// draw draws one of the values.
func draw[T any](t *rapid.T, label string, values ...T) T {
	return rapid.SampledFrom(values).Draw(t, label)
}

func (m *machine) spec(t *rapid.T) hostler.JobSpec {
	s := hostler.JobSpec{
		Project: rapid.SampledFrom([]hostler.ProjectID{testProject, testProject + 1}).Draw(t, "project"), Action: "noop",
		Queue:       rapid.SampledFrom([]string{"default", "bulk"}).Draw(t, "queue"),
		Priority:    rapid.SampledFrom([]int{1, 5, 9}).Draw(t, "prio"),
		MaxAttempts: rapid.IntRange(1, 2).Draw(t, "attempts"),
		OnLost:      draw(t, "on_lost", hostler.OnLostRetry, hostler.OnLostFail, hostler.OnLostAsk),
		OnUnknown:   draw(t, "on_unknown", hostler.OnUnknownHold, hostler.OnUnknownRelease),
		OnRetry:     draw(t, "on_retry", hostler.OnRetryHold, hostler.OnRetryRelease),
		Backoff:     hostler.Backoff{Base: hostler.Duration(4 * time.Second)},
	}
	switch rapid.IntRange(0, 5).Draw(t, "lane") {
	case 1, 2:
		s.Asset, s.LaneKey, s.LaneLimit = 1, m.devices[1], 1
	case 3:
		s.Asset, s.LaneKey, s.LaneLimit = 2, m.devices[2], 1
	case 4:
		s.LaneKey, s.LaneLimit = "device:b", 1
	case 5:
		s.LaneKey, s.LaneLimit = "own:x:limited", rapid.IntRange(1, 3).Draw(t, "limit")
	}
	if s.Asset == 0 && rapid.IntRange(0, 3).Draw(t, "brings its host") == 0 {
		s.Target = &hostler.JobTarget{
			Address: machineHost, Port: 22, Username: "root",
			Seal: func(_ hostler.ProjectID, id hostler.JobID) ([]byte, error) { return []byte(id.String()), nil },
		}
		if strings.HasPrefix(s.LaneKey, "device:") {
			s.LaneKey = "device:" + machineHost
		}
	}
	now := m.h.Now()
	if rapid.IntRange(0, 4).Draw(t, "later") == 0 {
		s.RunAt = now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "delay")) * time.Second)
	}
	if rapid.IntRange(0, 4).Draw(t, "ttl?") == 0 {
		s.ExpiresAt = now.Add(time.Duration(rapid.IntRange(1, 15).Draw(t, "ttl")) * time.Second)
	}
	return s
}

func (m *machine) enqueue(t *rapid.T) {
	specs := make([]hostler.JobSpec, rapid.IntRange(1, 4).Draw(t, "n"))
	for i := range specs {
		specs[i] = m.spec(t)
	}
	m.tx(t, func(tx *store.Tx) error {
		ids, err := tx.Enqueue(specs)
		if err != nil {
			return err
		}
		for i, id := range ids {
			spec := specs[i]
			if onDeviceOfHost(spec) {
				spec.LaneKey = m.hostLane()
			}
			m.model.enqueue(id, spec)
		}
		return nil
	})
	m.model.promote()
}

func (m *machine) claim(t *rapid.T) {
	n, w := rapid.IntRange(1, 3).Draw(t, "slots"), m.worker(t)
	var got []hostler.JobID
	m.tx(t, func(tx *store.Tx) error {
		c, err := tx.Claim(w, n)
		got = nil
		for _, l := range c.Leases {
			got = append(got, l.Job)
			if is, want := store.InlineLease(&l), m.model.jobs[l.Job].spec.Target != nil; is != want {
				return fmt.Errorf("lease of %v: brings its host: %v, want %v", l.Job, is, want)
			}
		}
		if err != nil {
			return err
		}
		return m.checkTargets(tx, got)
	})
	if diff := cmp.Diff(m.model.claim(w, n), got); diff != "" {
		t.Fatalf("claim (-model +store):\n%s", diff)
	}
}

// checkTargets checks that the inline targets of leased jobs are those sealed for them.
func (m *machine) checkTargets(tx *store.Tx, leased []hostler.JobID) error {
	targets, err := tx.JobTargets(leased)
	if err != nil {
		return err
	}
	for _, id := range leased {
		t, has := targets[id]
		if want := m.model.jobs[id].spec.Target != nil; has != want || has && string(t.Sealed) != id.String() {
			return fmt.Errorf("target of %v: %v %q", id, has, t.Sealed)
		}
	}
	return nil
}

func (m *machine) finish(t *rapid.T) {
	j := m.pick(t, "running")
	r := m.outcome(t, j)
	m.report(t, j.worker, r, true)
	m.finished(t, j, r)
}

// finishAndClaim reports a job, and leases in the same transaction what a claim after it
// would have leased, unless no job became ready or a queue has a limit.
func (m *machine) finishAndClaim(t *rapid.T) {
	j, n := m.pick(t, "running"), rapid.IntRange(1, 3).Draw(t, "slots")
	w, r := j.worker, m.outcome(t, j)
	asked := false
	var got []hostler.JobID
	m.tx(t, func(tx *store.Tx) error {
		acks, c, err := tx.FinishAndClaim(w, []hostler.Report{r}, func() int { asked = true; return n })
		if err == nil && acks[0] != nil {
			err = fmt.Errorf("report of %v: %w", r.Job, acks[0])
		}
		got = nil
		for _, l := range c.Leases {
			got = append(got, l.Job)
		}
		if err != nil {
			return err
		}
		return m.checkTargets(tx, got)
	})
	before := m.model.inReady()
	m.finished(t, j, r)
	became := slices.ContainsFunc(m.model.inReady(), func(id hostler.JobID) bool { return !slices.Contains(before, id) })
	if asked != became {
		t.Fatalf("a claim was tried: %v, jobs became ready: %v", asked, became)
	}
	if !asked || m.model.queues["bulk"].lim > 0 && !m.model.queues["bulk"].paused {
		if len(got) > 0 {
			t.Fatalf("%v were claimed", got)
		}
		return
	}
	if diff := cmp.Diff(m.model.claim(w, n), got); diff != "" {
		t.Fatalf("claim with the report (-model +store):\n%s", diff)
	}
}

// outcome draws how a running job ended.
func (m *machine) outcome(t *rapid.T, j *mjob) hostler.Report {
	return hostler.Report{
		LeaseRef: hostler.LeaseRef{Job: j.id, Fence: j.fence},
		Outcome: rapid.SampledFrom([]hostler.Outcome{
			hostler.OutcomeSucceeded, hostler.OutcomeFailed, hostler.OutcomeCancelled,
			hostler.OutcomeUnknown, hostler.OutcomeHandBack,
		}).Draw(t, "outcome"),
		NoRetry: rapid.Bool().Draw(t, "no_retry"),
	}
}

// finished finishes a job in the model.
func (m *machine) finished(t *rapid.T, j *mjob, r hostler.Report) {
	w := j.worker
	m.model.finish(j, r)
	m.model.promote()
	m.last, m.lastBy = []hostler.Report{r}, w
	if j.table == "sched" {
		m.readRunAt(t, j)
	}
}

// readRunAt copies the time of the next attempt, which is random, into the model and
// checks its bounds.
func (m *machine) readRunAt(t *rapid.T, j *mjob) {
	m.tx(t, func(tx *store.Tx) error {
		at, err := tx.RunAt(int64(j.id))
		j.runAt = sqldb.Time(at)
		return err
	})
	if d := j.runAt.Sub(m.h.Now()); d < 3*time.Second || d > 4*time.Second {
		t.Fatalf("backoff of attempt %d is %v, want 3 to 4 s", j.attempt, d)
	}
}

func (m *machine) report(t *rapid.T, w hostler.WorkerID, r hostler.Report, ok bool) {
	m.tx(t, func(tx *store.Tx) error {
		acks, err := tx.Finish(w, []hostler.Report{r})
		if err == nil && (acks[0] == nil) != ok {
			return fmt.Errorf("report of %v with fence %d by %v: %w", r.Job, r.Fence, w, acks[0])
		}
		return err
	})
}

// finishStale reports a result with a fence or a worker other than the lease's
// (FencedWrite).
func (m *machine) finishStale(t *rapid.T) {
	j := m.pick(t, "running", "ready", "wait")
	r := hostler.Report{LeaseRef: hostler.LeaseRef{Job: j.id, Fence: j.fence + 1}, Outcome: hostler.OutcomeSucceeded}
	m.report(t, m.worker(t), r, false)
	if j.table == "running" {
		r.Fence = j.fence
		m.report(t, m.workers[len(m.workers)-1]+1, r, false)
	}
}

// finishAgain repeats a report whose answer was lost. It is acknowledged without effect.
func (m *machine) finishAgain(t *rapid.T) {
	if len(m.last) == 0 {
		t.Skip("nothing reported yet")
	}
	// A resolved job has its last fence, so that its report is still recognised.
	m.report(t, m.lastBy, m.last[0], true)
}

func (m *machine) cancel(t *rapid.T) {
	j := m.pick(t, "ready", "wait", "sched", "running", "parked")
	err := m.h.Store.InTx(context.Background(), func(tx *store.Tx) error {
		_, err := tx.CancelJob(j.id, "alice")
		return err
	})
	switch j.table {
	case "running":
		j.cancel = true
	case "parked":
		if hostler.CodeOf(err) != hostler.CodeConflict {
			t.Fatalf("cancel of an unknown job: %v, want a conflict", err)
		}
		return
	default:
		m.model.end(j, hostler.StateCancelled)
		m.model.promote()
	}
	if err != nil {
		t.Fatalf("cancel: %v", err)
	}
}

func (m *machine) pass(t *rapid.T) {
	m.h.Advance(time.Duration(rapid.IntRange(1, 5000).Draw(t, "ms")) * time.Millisecond)
	m.model.now = m.h.Now()
}

func (m *machine) due(t *rapid.T) {
	if len(m.model.closed) > 0 {
		t.Skip("a due job arrives in the lane in which it still is")
	}
	m.tx(t, func(tx *store.Tx) error {
		_, _, err := tx.DueJobs(100)
		return err
	})
	m.model.due()
	m.model.promote()
}

func (m *machine) expire(t *rapid.T) {
	m.tx(t, func(tx *store.Tx) error {
		_, err := tx.ExpireJobs(100)
		return err
	})
	m.model.expire()
	m.model.promote()
}

// step sets the clock forward or back, as an operator or a faulty time server does.
func (m *machine) step(t *rapid.T) {
	m.h.Advance(time.Duration(rapid.IntRange(-3600, 60).Draw(t, "seconds")) * time.Second)
	m.model.now = m.h.Now()
}

// relane gives an asset another device key.
func (m *machine) relane(t *rapid.T) {
	asset := rapid.SampledFrom([]hostler.AssetID{1, 2}).Draw(t, "asset")
	from := m.devices[asset]
	to := rapid.SampledFrom([]string{"device:a", "device:b", "device:c"}).Draw(t, "device")
	if from == to {
		t.Skip("no change")
	}
	// Few jobs move with the change, the others in steps.
	restore := store.SetRelaneStep(rapid.SampledFrom([]int{1, 500}).Draw(t, "step"))
	m.tx(t, func(tx *store.Tx) error { return tx.Relane(asset, from, to) })
	restore()
	m.devices[asset] = to
	m.model.relane(asset, from, to)
	m.readClosed(t)
	m.model.requeue(from, to)
	m.model.promote()
}

// rehost creates, changes or deletes the asset that says which device the ad-hoc hosts
// are.
func (m *machine) rehost(t *rapid.T) {
	lanes := []string{m.hostLane()}
	device := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "device of the host")
	m.tx(t, func(tx *store.Tx) (err error) {
		switch {
		case device == "" && m.host == nil:
		case device == "":
			err = tx.DeleteAsset(m.homes, m.host.ID)
			m.host = nil
		case m.host == nil:
			m.host = &store.AssetRow{ProjectID: m.homes, Asset: hostler.Asset{
				Name: "host", Address: machineHost, Kind: "host", DeviceKey: device, HostKey: hostler.HostKeyStrict,
			}}
			m.host.ID, err = tx.InsertAsset(*m.host)
		default:
			m.host.DeviceKey = device
			err = tx.UpdateAsset(*m.host)
		}
		return err
	})
	m.model.rehost(m.hostLane())
	m.readClosed(t)
	m.model.requeue(append(lanes, m.hostLane())...)
	m.model.promote()
}

// followRelanes takes some steps of moves that are under way. In the model jobs move at
// once, and no job starts in their lanes until the last step.
func (m *machine) followRelanes(t *rapid.T) {
	if len(m.model.closed) == 0 {
		t.Skip("no move is under way")
	}
	defer store.SetRelaneStep(1)()
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		more := false
		m.tx(t, func(tx *store.Tx) (err error) {
			more, err = tx.FollowRelanes()
			return err
		})
		m.readClosed(t)
		m.model.promote()
		if !more {
			return
		}
		m.check(t)
	}
}

// readClosed tells the model in which lanes no job may start.
func (m *machine) readClosed(t *rapid.T) {
	m.tx(t, func(tx *store.Tx) error {
		m.model.closed = nil
		return tx.Each(`SELECT key FROM lane WHERE closed = 1`, nil, func(r sqldb.Rows) error {
			var key string
			err := r.Scan(&key)
			m.model.closed = append(m.model.closed, key)
			return err
		})
	})
}

// heartbeat lists some of a worker's jobs. The others, as if the answer to their claim
// was lost, are handed back.
func (m *machine) heartbeat(t *rapid.T) {
	hb := hostler.Heartbeat{Worker: m.worker(t)}
	var cancel, missing []hostler.LeaseRef
	for _, j := range m.model.ordered() {
		if j.table != "running" || j.worker != hb.Worker {
			continue
		}
		ref := hostler.LeaseRef{Job: j.id, Fence: j.fence}
		if rapid.IntRange(0, 2).Draw(t, "lists the job") == 0 {
			missing = append(missing, ref)
			continue
		}
		hb.Held = append(hb.Held, ref)
		if j.cancel {
			cancel = append(cancel, ref)
		}
	}
	var reply hostler.HeartbeatReply
	var lost []hostler.LeaseRef
	m.tx(t, func(tx *store.Tx) (err error) {
		if reply, lost, err = tx.Heartbeat(hb); err != nil || len(lost) == 0 {
			return err
		}
		return tx.HandBack(hb.Worker, lost)
	})
	byJob := func(a, b hostler.LeaseRef) int { return int(a.Job - b.Job) }
	slices.SortFunc(reply.Cancel, byJob)
	slices.SortFunc(lost, byJob)
	if diff := cmp.Diff(cancel, reply.Cancel) + cmp.Diff(missing, lost); diff != "" || len(reply.Drop) > 0 {
		t.Fatalf("heartbeat: drop %v, cancel and missing (-model +store):\n%s", reply.Drop, diff)
	}
	for _, ref := range missing {
		m.model.finish(m.model.jobs[ref.Job], hostler.Report{Outcome: hostler.OutcomeHandBack})
	}
	m.model.promote()
	m.last = nil
}

// lose retires a worker, rescues its jobs and registers a new worker.
func (m *machine) lose(t *rapid.T) {
	w := m.worker(t)
	m.rescue(t, []hostler.WorkerID{w}, func(tx *store.Tx) ([]hostler.WorkerID, error) { return tx.RetireWorker(w) })
}

// timeOut rescues the jobs of a worker that sent no heartbeat.
func (m *machine) timeOut(t *rapid.T) {
	w := m.worker(t)
	m.rescue(t, []hostler.WorkerID{w}, func(tx *store.Tx) ([]hostler.WorkerID, error) {
		all, err := tx.Pulses()
		if err != nil {
			return nil, err
		}
		return tx.LoseWorkers(slices.DeleteFunc(all, func(p store.Pulse) bool { return p.Worker != w }))
	})
}

func (m *machine) rescue(t *rapid.T, want []hostler.WorkerID, lose func(*store.Tx) ([]hostler.WorkerID, error)) {
	var lost []hostler.WorkerID
	m.tx(t, func(tx *store.Tx) (err error) {
		if lost, err = lose(tx); err != nil {
			return err
		}
		_, err = tx.RescueJobs(1000)
		return err
	})
	slices.Sort(lost)
	if diff := cmp.Diff(want, lost); diff != "" {
		t.Fatalf("workers lost (-model +store):\n%s", diff)
	}
	for _, w := range lost {
		delete(m.model.workers, w)
	}
	for _, j := range m.model.ordered() {
		if j.table == "running" && slices.Contains(lost, j.worker) {
			m.model.lost(j)
		}
	}
	m.model.promote()
	m.workers = slices.DeleteFunc(m.workers, func(w hostler.WorkerID) bool { return slices.Contains(lost, w) })
	for range lost {
		m.register(t)
	}
	if slices.Contains(lost, m.lastBy) {
		m.last = nil
	}
}

func (m *machine) resolve(t *rapid.T) {
	j := m.pick(t, "parked")
	to := rapid.SampledFrom([]hostler.State{hostler.StateSucceeded, hostler.StateFailed}).Draw(t, "to")
	m.tx(t, func(tx *store.Tx) error { return tx.ResolveJob(j.id, to, "alice", "") })
	m.model.end(j, to)
	m.model.promote()
}

func (m *machine) pause(t *rapid.T) {
	name := rapid.SampledFrom([]string{"default", "bulk"}).Draw(t, "queue")
	paused := !m.model.queues[name].paused
	m.tx(t, func(tx *store.Tx) error {
		_, err := tx.SetQueue(name, store.QueueSettings{Paused: &paused})
		return err
	})
	m.model.pause(name, paused)
	m.model.promote()
}

func (m *machine) queueLimit(t *rapid.T) {
	limit := rapid.IntRange(0, 2).Draw(t, "limit")
	m.tx(t, func(tx *store.Tx) error {
		_, err := tx.SetQueue("bulk", store.QueueSettings{Limit: &limit})
		return err
	})
	m.model.queues["bulk"].lim = limit
}

func (m *machine) check(t *rapid.T) {
	m.tx(t, func(tx *store.Tx) error {
		got, err := tx.JobTables()
		if err != nil {
			return err
		}
		if diff := cmp.Diff(m.model.jobTables(), got); diff != "" {
			return fmt.Errorf("tables (-model +store):\n%s", diff)
		}
		broken, err := tx.CheckInvariants()
		if err == nil && len(broken) > 0 {
			err = fmt.Errorf("invariants: %v", broken)
		}
		return err
	})
}
