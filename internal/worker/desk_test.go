package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/worker"
)

// desk is a Dispatcher in memory: a queue, leases with fences, the outcomes, and
// the reconciliation of what workers hold. Calls can be made to fail before they
// do anything, or to lose their answer after they did.
type desk struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when anything changes
	seq     int64
	workers map[hostler.WorkerID]*deskWorker
	jobs    map[hostler.JobID]*deskJob
	ready   []hostler.JobID
	faults  []string // what the worker did wrong
	calls   map[string]int

	// before makes a call fail undone; after makes its answer get lost.
	before, after func(call string, n int) error
}

type deskWorker struct {
	until    time.Time
	dead     bool
	draining bool
	last     hostler.Heartbeat
	orders   []string // addresses whose connections it is to close
}

type deskJob struct {
	lease    hostler.Lease
	running  bool
	worker   hostler.WorkerID
	leasedAt time.Time
	leases   int
	cancel   bool
	told     bool // the worker knows of the cancellation
	done     bool
	handed   int // times it was handed back
	report   hostler.Report
	chunks   []hostler.LogChunk
	progress []hostler.Progress
}

func newDesk() *desk {
	return &desk{
		changed: make(chan struct{}),
		workers: map[hostler.WorkerID]*deskWorker{},
		jobs:    map[hostler.JobID]*deskJob{},
		calls:   map[string]int{},
	}
}

// submit queues a job; edit changes its lease.
func (d *desk) submit(act string, edit ...func(l *hostler.Lease)) hostler.JobID {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seq++
	id := hostler.JobID(d.seq)
	l := hostler.Lease{LeaseRef: hostler.LeaseRef{Job: id}, Action: act, Args: json.RawMessage(`{}`), MaxAttempts: 1}
	for _, e := range edit {
		e(&l)
	}
	d.jobs[id] = &deskJob{lease: l}
	d.ready = append(d.ready, id)
	d.wake()
	return id
}

func (d *desk) wake() {
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *desk) fault(format string, args ...any) {
	d.faults = append(d.faults, fmt.Sprintf(format, args...))
}

// call counts a call and runs do under the lock, between the injected errors.
func (d *desk) call(name string, do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[name]++
	n := d.calls[name]
	if d.before != nil {
		if err := d.before(name, n); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	if d.after != nil {
		return d.after(name, n)
	}
	return nil
}

// await waits until done says so, or the time is over; done runs under the lock.
func (d *desk) await(ctx context.Context, wait time.Duration, done func() bool) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		d.mu.Lock()
		ok, changed := done(), d.changed
		d.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var errStale = hostler.Errorf(hostler.CodeStale, "the lease is lost", "租约已失效")

func (d *desk) alive(w hostler.WorkerID) error {
	x := d.workers[w]
	if x == nil || x.dead || !time.Now().Before(x.until) {
		return errStale
	}
	return nil
}

func (d *desk) Register(_ context.Context, _ hostler.WorkerInfo) (id hostler.WorkerID, err error) {
	err = d.call("register", func() error {
		d.seq++
		id = hostler.WorkerID(d.seq)
		d.workers[id] = &deskWorker{until: time.Now().Add(hostler.LeaseTTL)}
		return nil
	})
	return id, err
}

func (d *desk) Lease(ctx context.Context, req hostler.LeaseRequest) (out []hostler.Lease, err error) {
	if err := d.await(ctx, req.Wait, func() bool { return len(d.ready) > 0 || d.alive(req.Worker) != nil }); err != nil {
		return nil, err
	}
	err = d.call("lease", func() error {
		if err := d.alive(req.Worker); err != nil {
			return err
		}
		if d.workers[req.Worker].draining {
			d.fault("worker %v leases while it drains", req.Worker)
		}
		n := min(req.Slots, len(d.ready))
		for _, id := range d.ready[:n] {
			j := d.jobs[id]
			j.lease.Fence++
			j.lease.Attempt++
			j.leases++
			j.running, j.worker, j.leasedAt = true, req.Worker, time.Now()
			out = append(out, j.lease)
		}
		d.ready = d.ready[n:]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (d *desk) requeue(j *deskJob) {
	j.running = false
	d.ready = append(d.ready, j.lease.Job)
	d.wake()
}

func (d *desk) Heartbeat(ctx context.Context, hb hostler.Heartbeat) (reply hostler.HeartbeatReply, err error) {
	reply.LeaseFor = hostler.LeaseTTL
	err = d.call("heartbeat", func() error {
		if err := d.alive(hb.Worker); err != nil {
			return err
		}
		w := d.workers[hb.Worker]
		w.until, w.last, w.draining = time.Now().Add(hostler.LeaseTTL), hb, hb.Draining
		for _, j := range d.jobs {
			// The grace covers an answer that is still on its way.
			lost := j.running && j.worker == hb.Worker && time.Since(j.leasedAt) > 2*time.Second
			if lost && !slices.Contains(hb.Held, hostler.LeaseRef{Job: j.lease.Job, Fence: j.lease.Fence}) {
				d.requeue(j)
			}
		}
		return nil
	})
	if err != nil {
		return reply, err
	}
	err = d.await(ctx, hb.Wait, func() bool {
		for _, ref := range hb.Held {
			j := d.jobs[ref.Job]
			switch {
			case j.lease.Fence != ref.Fence || !j.running && !j.done:
				reply.Drop = append(reply.Drop, ref)
			case j.running && j.cancel && !j.told:
				j.told = true
				reply.Cancel = append(reply.Cancel, ref)
			}
		}
		if w := d.workers[hb.Worker]; len(w.orders) > 0 {
			reply.CloseHosts, w.orders = w.orders, nil
		}
		return len(reply.Drop)+len(reply.Cancel)+len(reply.CloseHosts) > 0 || d.alive(hb.Worker) != nil
	})
	return reply, err
}

func (d *desk) Report(_ context.Context, w hostler.WorkerID, reports []hostler.Report) (acks []error, err error) {
	err = d.call("report", func() error {
		if err := d.alive(w); err != nil {
			return err
		}
		acks = make([]error, len(reports))
		for i := range reports {
			acks[i] = d.end(w, &reports[i])
		}
		d.wake()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return acks, nil
}

func (d *desk) end(w hostler.WorkerID, r *hostler.Report) error {
	j := d.jobs[r.Job]
	switch {
	case j.lease.Fence != r.Fence || j.worker != w:
		return errStale
	case !j.running && (j.done || r.Outcome == hostler.OutcomeHandBack):
		return nil // repeated
	case !j.running:
		return errStale
	case r.Outcome == hostler.OutcomeHandBack:
		j.handed++
		j.lease.Attempt--
		d.requeue(j)
	default:
		j.running, j.done, j.report = false, true, *r
	}
	return nil
}

func (d *desk) held(w hostler.WorkerID, ref hostler.LeaseRef) (*deskJob, error) {
	j := d.jobs[ref.Job]
	if j == nil || !j.running || j.worker != w || j.lease.Fence != ref.Fence {
		return nil, errStale
	}
	return j, nil
}

func (d *desk) AppendLog(_ context.Context, w hostler.WorkerID, c hostler.LogChunk) error {
	return d.call("log", func() error {
		j, err := d.held(w, c.LeaseRef)
		if err == nil {
			j.chunks = append(j.chunks, c)
		}
		return err
	})
}

func (d *desk) SetProgress(_ context.Context, w hostler.WorkerID, ref hostler.LeaseRef, p hostler.Progress) error {
	return d.call("progress", func() error {
		j, err := d.held(w, ref)
		if err == nil {
			j.progress = append(j.progress, p)
		}
		return err
	})
}

func (d *desk) PinHostKey(_ context.Context, w hostler.WorkerID, ref hostler.LeaseRef, _ hostler.HostKeyOffer) error {
	return d.call("pin", func() error {
		_, err := d.held(w, ref)
		return err
	})
}

// cancelJob asks to cancel, as a person does.
func (d *desk) cancelJob(id hostler.JobID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.jobs[id].cancel = true
	d.wake()
}

// take takes a running job away from its worker, as a rescue does.
func (d *desk) take(id hostler.JobID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.jobs[id].running = false
	d.wake()
}

// order has every worker close its connections to an address.
func (d *desk) order(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.workers {
		w.orders = append(w.orders, address)
	}
	d.wake()
}

// beat is the newest heartbeat.
func (d *desk) beat() (hb hostler.Heartbeat) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.workers {
		hb = w.last
	}
	return hb
}

// kill declares every worker dead.
func (d *desk) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.workers {
		w.dead = true
	}
	d.wake()
}

func (d *desk) job(id hostler.JobID) deskJob {
	d.mu.Lock()
	defer d.mu.Unlock()
	return *d.jobs[id]
}

func (d *desk) count(call string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[call]
}

// inject changes the injected errors while a worker runs.
func (d *desk) inject(before, after func(call string, n int) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before, d.after = before, after
}

var _ hostler.Dispatcher = (*desk)(nil)

// actions is a registry of functions.
type actions map[string]*action.Action

func (a actions) Lookup(name string) (*action.Action, bool) {
	x, ok := a[name]
	return x, ok
}

func (a actions) Validate(_ string, args json.RawMessage) error {
	if string(args) == `{"bad":1}` {
		return hostler.Invalid("args.bad", "not a key", "不是合法的键")
	}
	return nil
}

var _ worker.Actions = actions(nil)
