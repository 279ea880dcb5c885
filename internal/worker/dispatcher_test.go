package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/worker"
)

// fakeDispatcher is a hostler.Dispatcher in memory: a queue, leases with fences, outcomes,
// and the reconciliation of held leases. Calls can be made to fail before they take effect,
// or to lose their answer afterwards.
type fakeDispatcher struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when anything changes
	seq     int64
	workers map[hostler.WorkerID]*fakeWorker
	jobs    map[hostler.JobID]*fakeJob
	ready   []hostler.JobID
	faults  []string // violations of the protocol by the worker
	calls   map[string]int

	// before makes the nth call fail without effect; after loses its answer.
	before, after func(call string, n int) error
}

type fakeWorker struct {
	until    time.Time
	dead     bool
	draining bool
	last     hostler.Heartbeat
	commands []string // addresses whose connections it must close
	slots    int      // of its newest request for leases
}

type fakeJob struct {
	lease    hostler.Lease
	running  bool
	worker   hostler.WorkerID
	leasedAt time.Time
	leases   int
	cancel   bool
	notified bool // the worker was sent the cancellation
	done     bool
	handed   int // how often it was handed back
	report   hostler.Report
	chunks   []hostler.LogChunk
	progress []hostler.Progress
}

func newFakeDispatcher() *fakeDispatcher {
	return &fakeDispatcher{
		changed: make(chan struct{}),
		workers: map[hostler.WorkerID]*fakeWorker{},
		jobs:    map[hostler.JobID]*fakeJob{},
		calls:   map[string]int{},
	}
}

// submit queues a job; edit changes its lease.
func (d *fakeDispatcher) submit(act string, edit ...func(l *hostler.Lease)) hostler.JobID {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seq++
	id := hostler.JobID(d.seq)
	l := hostler.Lease{LeaseRef: hostler.LeaseRef{Job: id}, Action: act, Args: json.RawMessage(`{}`), MaxAttempts: 1}
	for _, e := range edit {
		e(&l)
	}
	d.jobs[id] = &fakeJob{lease: l}
	d.ready = append(d.ready, id)
	d.notify()
	return id
}

func (d *fakeDispatcher) notify() {
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *fakeDispatcher) fault(format string, args ...any) {
	d.faults = append(d.faults, fmt.Sprintf(format, args...))
}

// call counts a call and runs do under the lock, between the injected errors.
func (d *fakeDispatcher) call(name string, do func() error) error {
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

// await waits until done returns true, at most for wait; done runs under the lock.
func (d *fakeDispatcher) await(ctx context.Context, wait time.Duration, done func() bool) error {
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

func (d *fakeDispatcher) check(w hostler.WorkerID) error {
	x := d.workers[w]
	if x == nil || x.dead || !time.Now().Before(x.until) {
		return errStale
	}
	return nil
}

func (d *fakeDispatcher) Register(_ context.Context, _ hostler.WorkerInfo) (id hostler.WorkerID, err error) {
	err = d.call("register", func() error {
		d.seq++
		id = hostler.WorkerID(d.seq)
		d.workers[id] = &fakeWorker{until: time.Now().Add(hostler.LeaseTTL)}
		return nil
	})
	return id, err
}

func (d *fakeDispatcher) Lease(ctx context.Context, req hostler.LeaseRequest) (out []hostler.Lease, err error) {
	if err := d.await(ctx, req.Wait, func() bool { return len(d.ready) > 0 || d.check(req.Worker) != nil }); err != nil {
		return nil, err
	}
	err = d.call("lease", func() error {
		if err := d.check(req.Worker); err != nil {
			return err
		}
		if d.workers[req.Worker].draining {
			d.fault("worker %v leases while it drains", req.Worker)
		}
		d.workers[req.Worker].slots = req.Slots
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

func (d *fakeDispatcher) requeue(j *fakeJob) {
	j.running = false
	d.ready = append(d.ready, j.lease.Job)
	d.notify()
}

func (d *fakeDispatcher) Heartbeat(
	ctx context.Context, hb hostler.Heartbeat,
) (reply hostler.HeartbeatReply, err error) {
	reply.LeaseFor = hostler.LeaseTTL
	err = d.call("heartbeat", func() error {
		if err := d.check(hb.Worker); err != nil {
			return err
		}
		w := d.workers[hb.Worker]
		w.until, w.last, w.draining = time.Now().Add(hostler.LeaseTTL), hb, hb.Draining
		for _, j := range d.jobs {
			// An answer to a lease request may still be on its way for a while.
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
			case j.running && j.cancel && !j.notified:
				j.notified = true
				reply.Cancel = append(reply.Cancel, ref)
			}
		}
		if w := d.workers[hb.Worker]; len(w.commands) > 0 {
			reply.CloseHosts, w.commands = w.commands, nil
		}
		return len(reply.Drop)+len(reply.Cancel)+len(reply.CloseHosts) > 0 || d.check(hb.Worker) != nil
	})
	return reply, err
}

func (d *fakeDispatcher) Report(
	_ context.Context, w hostler.WorkerID, reports []hostler.Report,
) (acks []error, err error) {
	err = d.call("report", func() error {
		if err := d.check(w); err != nil {
			return err
		}
		acks = make([]error, len(reports))
		for i := range reports {
			acks[i] = d.store(w, &reports[i])
		}
		d.notify()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return acks, nil
}

func (d *fakeDispatcher) store(w hostler.WorkerID, r *hostler.Report) error {
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

func (d *fakeDispatcher) held(w hostler.WorkerID, ref hostler.LeaseRef) (*fakeJob, error) {
	j := d.jobs[ref.Job]
	if j == nil || !j.running || j.worker != w || j.lease.Fence != ref.Fence {
		return nil, errStale
	}
	return j, nil
}

func (d *fakeDispatcher) AppendLog(_ context.Context, w hostler.WorkerID, c hostler.LogChunk) error {
	return d.call("log", func() error {
		j, err := d.held(w, c.LeaseRef)
		if err == nil {
			j.chunks = append(j.chunks, c)
		}
		return err
	})
}

func (d *fakeDispatcher) SetProgress(
	_ context.Context, w hostler.WorkerID, ref hostler.LeaseRef, p hostler.Progress,
) error {
	return d.call("progress", func() error {
		j, err := d.held(w, ref)
		if err == nil {
			j.progress = append(j.progress, p)
		}
		return err
	})
}

func (d *fakeDispatcher) StoreArtefact(
	_ context.Context, w hostler.WorkerID, ref hostler.LeaseRef, in hostler.ArtefactInput, r io.Reader,
) (a hostler.Artefact, err error) {
	err = d.call("artefact", func() error {
		if _, err := d.held(w, ref); err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, r)
		a = hostler.Artefact{ID: 1, Job: ref.Job, Name: in.Name, Size: n}
		return err
	})
	return a, err
}

func (d *fakeDispatcher) OpenArtefact(
	_ context.Context, _ hostler.WorkerID, _ hostler.LeaseRef, id hostler.ArtefactID,
) (hostler.Artefact, io.ReadCloser, error) {
	return hostler.Artefact{}, nil, hostler.NotFound(hostler.Text{EN: "artefact", ZH: "产物"}, id.String())
}

func (d *fakeDispatcher) PinHostKey(
	_ context.Context, w hostler.WorkerID, ref hostler.LeaseRef, _ hostler.HostKeyOffer,
) error {
	return d.call("pin", func() error {
		_, err := d.held(w, ref)
		return err
	})
}

// cancelJob cancels a job, as a person does.
func (d *fakeDispatcher) cancelJob(id hostler.JobID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.jobs[id].cancel = true
	d.notify()
}

// revoke ends the lease of a running job, as a rescue does.
func (d *fakeDispatcher) revoke(id hostler.JobID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.jobs[id].running = false
	d.notify()
}

// closeHost commands every worker to close its connections to an address.
func (d *fakeDispatcher) closeHost(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.workers {
		w.commands = append(w.commands, address)
	}
	d.notify()
}

// lastHeartbeat returns the newest heartbeat.
func (d *fakeDispatcher) lastHeartbeat() (hb hostler.Heartbeat) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.workers {
		hb = w.last
	}
	return hb
}

// kill ends the lease of every worker.
func (d *fakeDispatcher) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.workers {
		w.dead = true
	}
	d.notify()
}

func (d *fakeDispatcher) job(id hostler.JobID) fakeJob {
	d.mu.Lock()
	defer d.mu.Unlock()
	return *d.jobs[id]
}

func (d *fakeDispatcher) count(call string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[call]
}

// freeSlots returns the number of jobs that the newest worker asked for last.
func (d *fakeDispatcher) freeSlots() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	var newest hostler.WorkerID
	for id := range d.workers {
		newest = max(newest, id)
	}
	return d.workers[newest].slots
}

// inject changes the injected errors while a worker runs.
func (d *fakeDispatcher) inject(before, after func(call string, n int) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before, d.after = before, after
}

var _ hostler.Dispatcher = (*fakeDispatcher)(nil)

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
