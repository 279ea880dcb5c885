package netpulse

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/wait"
)

// Worker is a worker process, or one of its open connections to a device.
type Worker struct {
	Name          string   `json:"name"`
	Status        string   `json:"status" doc:"busy, idle, suspended or dead"`
	PID           int      `json:"pid"`
	Hostname      string   `json:"hostname"`
	Queues        []string `json:"queues"`
	LastHeartbeat *string  `json:"last_heartbeat"`
	BirthAt       *string  `json:"birth_at"`
	Succeeded     int64    `json:"successful_job_count"`
	Failed        int64    `json:"failed_job_count"`
	Slots         int      `json:"slots"`
	Running       int      `json:"running"`
	CPUPercent    float64  `json:"cpu_percent"`
	MemoryBytes   int64    `json:"memory_bytes"`
}

// Row is a Worker with the objects that it shows.
type Row struct {
	Worker
	ID    hostler.WorkerID
	Host  string    // of an open connection; "" for the process itself
	Since time.Time // when the newest connection to Host was opened
	Serve []string  // Hostler's own queues that it serves
	Dead  bool
}

// Rows lists each worker followed by its open connections, one row per device.
func Rows(workers []hostler.Worker, v Version) []Row {
	var rows []Row
	for _, w := range workers {
		process := Row{ID: w.ID, Serve: w.Queues, Dead: w.State == "dead", Worker: Worker{
			Name: w.Name, Status: workerStatus(w.State), PID: w.PID, Hostname: w.Hostname, Queues: []string{fifo},
			LastHeartbeat: stamp(&w.LastHeartbeat), BirthAt: stamp(&w.StartedAt), Succeeded: w.Succeeded, Failed: w.Failed,
			Slots: w.Slots, Running: w.Running, CPUPercent: w.CPUPercent, MemoryBytes: w.MemoryBytes,
		}}
		rows = append(rows, process)
		if !process.Dead {
			rows = append(rows, sessionRows(process, w.Sessions, v)...)
		}
	}
	return rows
}

func workerStatus(state string) string {
	if state == "draining" {
		return "suspended"
	}
	return state
}

// sessionRows lists the open connections, those to one address in one row: another
// user or port is not another device.
func sessionRows(of Row, sessions []hostler.HostSession, v Version) []Row {
	var rows []Row
	for _, h := range sessions {
		i := slices.IndexFunc(rows, func(r Row) bool { return r.Host == h.Address })
		if i < 0 {
			i = len(rows)
			rows = append(rows, Row{ID: of.ID, Host: h.Address, Worker: Worker{
				Name: of.Name + "_" + pinnedPrefix + h.Address, Status: "idle", PID: of.PID, Hostname: of.Hostname,
				Queues: []string{v.deviceQueue(h.Address)}, LastHeartbeat: of.LastHeartbeat, BirthAt: stamp(&h.Since), Slots: 1,
			}})
		}
		r := &rows[i]
		if h.Since.After(r.Since) {
			r.Since = h.Since
		}
		r.Running += h.Running
		r.Succeeded += h.Succeeded
		r.Failed += h.Failed
		if r.Running > 0 {
			r.Status = "busy"
		}
	}
	return rows
}

// OpenIn reports whether a connection of the row is still open. One that was opened
// after the row was made does not count.
func (r Row) OpenIn(workers []hostler.Worker) bool {
	return slices.ContainsFunc(workers, func(w hostler.Worker) bool {
		return w.ID == r.ID && slices.ContainsFunc(w.Sessions, func(h hostler.HostSession) bool {
			return h.Address == r.Host && !h.Since.After(r.Since)
		})
	})
}

// Selection selects rows: by name if there is one, or else by queue, or else by node
// and host together.
type Selection struct {
	Name  string
	Queue string
	Known bool // Queue is one of Hostler's own, which workers of all queues serve
	Node  string
	Hosts []string // addresses, of the queue's device if it has one; empty for any
}

// Has reports whether the row is selected.
func (s Selection) Has(r Row) bool {
	switch q := ParseQueue(s.Queue); {
	case s.Name != "":
		return r.Name == s.Name
	case s.Queue == "":
		return (s.Node == "" || r.Hostname == s.Node) &&
			(len(s.Hosts) == 0 || r.Host != "" && slices.Contains(s.Hosts, r.Host))
	case q.Fifo:
		return r.Host == ""
	case q.Host != "":
		return r.Host != "" && slices.Contains(s.Hosts, r.Host)
	default:
		return r.Host == "" && (slices.Contains(r.Serve, q.Own) || s.Known && slices.Contains(r.Serve, "*"))
	}
}

// StoppedWorkers answers DELETE /worker.
type StoppedWorkers struct {
	Worker      *string  `json:"worker" doc:"the first of workers"`
	Workers     []string `json:"workers"`
	Status      string   `json:"status"`
	Interrupted int      `json:"interrupted_jobs"`
}

// WorkerSelection selects workers as NetPulse does.
type WorkerSelection struct {
	Queue string `query:"queue" maxLength:"300" doc:"FifoQ, pinned_<host>, HostQ_<host>, or a queue of Hostler; takes precedence over node and host"`
	Node  string `query:"node" maxLength:"253" doc:"hostname"`
	Host  string `query:"host" maxLength:"253" doc:"address or name of an asset that a connection is open to"`
}

// findRows returns the selected workers and open connections.
func (a *api) findRows(ctx context.Context, c *rest.Call, name string, q WorkerSelection) ([]Row, error) {
	sel := Selection{Name: name, Queue: q.Queue, Node: q.Node}
	queue := ParseQueue(q.Queue)
	if host := cmp.Or(queue.Host, q.Host); host != "" {
		hosts, err := a.AssetAddresses(ctx, c.Caller, host)
		if err != nil {
			return nil, err
		}
		sel.Hosts = hosts
	}
	if queue.Own != "" {
		_, err := a.Queue(ctx, c.Caller, queue.Own)
		if err != nil && hostler.CodeOf(err) != hostler.CodeNotFound {
			return nil, err
		}
		sel.Known = err == nil
	}
	workers, err := a.Workers(ctx, c.Caller)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(Rows(workers, a.version), func(r Row) bool { return !sel.Has(r) }), nil
}

func (a *api) listWorkers(ctx context.Context, c *rest.Call, in *WorkerSelection) (Envelope[[]Worker], error) {
	rows, err := a.findRows(ctx, c, "", *in)
	out := make([]Worker, 0, len(rows))
	for _, r := range rows {
		out = append(out, r.Worker)
	}
	return Success(http.StatusOK, out), err
}

type stopQuery struct {
	WorkerSelection
	Name string `query:"name" maxLength:"400" doc:"takes precedence over the others"`
}

func (a *api) stopWorkers(ctx context.Context, c *rest.Call, in *stopQuery) (Envelope[any], error) {
	if in.Name == "" && in.WorkerSelection == (WorkerSelection{}) {
		return Envelope[any]{}, errNothingSelected(
			"give at least one of name, queue, node and host", "请至少提供 name、queue、node、host 之一")
	}
	rows, err := a.findRows(ctx, c, in.Name, in.WorkerSelection)
	if err == nil && len(rows) == 0 && in.Name != "" {
		err = hostler.Errorf(hostler.CodeNotFound, "the worker does not exist", "工作节点不存在")
	}
	if err != nil {
		return Envelope[any]{}, err
	}
	out := StoppedWorkers{Workers: []string{}, Status: "stopped"}
	if out.Interrupted, err = a.stopRows(ctx, c, rows); err != nil {
		return Envelope[any]{}, err
	}
	for _, r := range rows {
		out.Workers = append(out.Workers, r.Name)
	}
	if len(rows) > 0 {
		out.Worker = &out.Workers[0]
	}
	if a.version == SDK {
		return Success[any](http.StatusOK, out.Workers), nil
	}
	return Success[any](http.StatusOK, out), nil
}

// stopRows stops the processes among the rows and closes the connections of the
// others. A worker that has stopped meanwhile, or is dead, counts as stopped.
func (a *api) stopRows(ctx context.Context, c *rest.Call, rows []Row) (interrupted int, err error) {
	stopped := map[hostler.WorkerID]bool{}
	for _, r := range rows {
		if r.Host != "" || r.Dead {
			continue
		}
		stopped[r.ID] = true
		_, n, err := a.StopWorkers(ctx, c.Caller, []hostler.WorkerID{r.ID})
		if err != nil && hostler.CodeOf(err) != hostler.CodeNotFound {
			return interrupted, err
		}
		interrupted += n
	}
	var closing []Row
	for _, r := range rows {
		if r.Host == "" || stopped[r.ID] {
			continue
		}
		closing = append(closing, r)
		n, err := a.CloseSessions(ctx, c.Caller, r.ID, []string{r.Host})
		if err != nil && hostler.CodeOf(err) != hostler.CodeNotFound {
			return interrupted, err
		}
		interrupted += n
	}
	return interrupted, a.awaitClosed(ctx, c, closing)
}

// closeTime bounds the wait for workers to close connections.
const closeTime = 5 * time.Second

// awaitClosed polls until the workers have closed the connections: a job that is
// created after the answer must not run on one that is about to be closed.
func (a *api) awaitClosed(ctx context.Context, c *rest.Call, rows []Row) error {
	ctx, cancel := c.Hold(ctx, closeTime)
	defer cancel()
	poll := wait.Backoff{First: 20 * time.Millisecond, Max: 250 * time.Millisecond, Factor: 1.5}
	for len(rows) > 0 && c.Poll(ctx, &poll) {
		workers, err := a.Workers(ctx, c.Caller)
		switch {
		case ctx.Err() != nil:
			return nil // the workers were asked, and close later
		case err != nil:
			return err
		}
		rows = slices.DeleteFunc(rows, func(r Row) bool { return !r.OpenIn(workers) })
	}
	return nil
}
