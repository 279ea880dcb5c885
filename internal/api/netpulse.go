package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/netpulse"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
)

// NetPulse's job API, on both of its mounts: the shapes are netpulse's.

func netpulseRoutes() []Route {
	routes := []Route{
		handle(Route{
			Method: http.MethodGet, Path: "/task-stats", Access: needs(auth.ReadJob), Summary: text("Count ended jobs by action", "按动作统计已结束的作业"),
		}, taskStats),
	}
	for _, m := range []mount{{"", netpulse.Page}, {netpulse.Prefix, netpulse.SDK}} {
		routes = append(routes, m.routes()...)
	}
	return routes
}

// mount is one of the places where the calls are.
type mount struct {
	prefix  string
	dialect netpulse.Dialect
}

func (m mount) routes() []Route {
	route := func(method, path string, v auth.Verb, en, zh string) Route {
		return Route{Method: method, Path: m.prefix + path, Access: needs(v), Summary: text(en, zh)}
	}
	return []Route{
		handleLinked(route(http.MethodGet, "/job", auth.ReadJob, "Find jobs (NetPulse)", "查询作业（NetPulse）"), m.listJobs),
		handle(route(http.MethodDelete, "/job", auth.ChangeJob, "Cancel jobs that have not started (NetPulse)", "取消尚未开始的作业（NetPulse）"), m.cancelJobs),
		handle(route(http.MethodGet, "/worker", auth.ReadWorker, "List workers and kept connections (NetPulse)", "列出工作节点及保持的连接（NetPulse）"), m.listWorkers),
		handle(route(http.MethodDelete, "/worker", auth.StopWorker, "Stop workers, or close kept connections (NetPulse)", "停止工作节点或关闭保持的连接（NetPulse）"), m.stopWorkers),
		handle(created(route(http.MethodPost, "/device/exec", auth.RunJob, "Run commands on a device (NetPulse)", "在设备上执行命令（NetPulse）")), m.exec),
		handle(created(route(http.MethodPost, "/device/bulk", auth.RunJob, "Run commands on many devices (NetPulse)", "在多台设备上执行命令（NetPulse）")), m.bulk),
		handle(route(http.MethodPost, "/device/test", auth.RunJob, "Test the connection to a device (NetPulse)", "测试设备连接（NetPulse）"), m.test),
	}
}

type linked[O any] struct {
	Link []string `header:"Link"`
	Body O
}

// handleLinked is handle for an answer that leads to the next one.
func handleLinked[I, O any](r Route, fn func(ctx context.Context, c call, in *I) (O, []string, error)) Route {
	r.bind = func(s *server, api huma.API, op huma.Operation) {
		huma.Register(api, op, func(ctx context.Context, in *I) (*linked[O], error) {
			c := callOf(ctx)
			out, link, err := fn(ctx, c, in)
			if err != nil {
				return nil, s.problem(c.request, err)
			}
			return &linked[O]{link, out}, nil
		})
	}
	return r
}

// JobSelection chooses jobs by what NetPulse has.
type JobSelection struct {
	ID    string `query:"id" maxLength:"64" doc:"of one job; wins over the others"`
	Queue string `query:"queue" maxLength:"300" doc:"FifoQ, pinned_<host>, HostQ_<host>, or a queue of Hostler"`
	Host  string `query:"host" maxLength:"253" doc:"address or name of an asset"`
}

// id is the id as Hostler has it; 0 when it cannot be one.
func (q JobSelection) id() hostler.JobID {
	var id hostler.JobID
	if n, err := strconv.ParseInt(q.ID, 10, 64); err == nil && n > 0 && n <= maxID {
		return hostler.JobID(n)
	}
	if id.UnmarshalText([]byte(q.ID)) != nil {
		return 0
	}
	return id
}

func (q JobSelection) search() app.JobSearch {
	f := app.JobSearch{Host: q.Host}
	name := netpulse.ParseQueue(q.Queue)
	f.NoLane, f.Lane, f.Queue = name.Fifo, name.Host, name.Own
	return f
}

type pulseJobs struct {
	JobSelection
	PageQuery
	Status string `query:"status" enum:"queued,started,finished,failed,cancelled,canceled"`
	Node   string `query:"node" maxLength:"253" doc:"hostname of the worker"`
}

type jobsEnvelope = netpulse.Envelope[[]netpulse.Job]

func (m mount) listJobs(ctx context.Context, c call, in *pulseJobs) (jobsEnvelope, []string, error) {
	var found app.JobsFound
	var err error
	if in.ID != "" {
		if id := in.id(); id != 0 {
			found, err = c.app.FindJob(ctx, c.Caller, id)
		}
	} else {
		f := in.search()
		f.Node = in.Node
		if in.Status != "" {
			f.States = netpulse.StatesOf(in.Status)
		}
		found, err = c.app.FindJobs(ctx, c.Caller, f, in.page())
	}
	if err != nil {
		return jobsEnvelope{}, nil, err
	}
	jobs := make([]netpulse.Job, 0, len(found.Items))
	for _, j := range found.Items {
		jobs = append(jobs, netpulse.JobOf(j, found.Names[j.Worker], m.dialect, c.Lang))
	}
	return netpulse.Success(http.StatusOK, jobs), netpulse.Link(*c.request.URL, found.Next), nil
}

func errSelect(en, zh string) error {
	return &hostler.Error{Code: hostler.CodeMalformed, Text: hostler.Text{EN: en, ZH: zh}}
}

func (m mount) cancelJobs(ctx context.Context, c call, in *JobSelection) (netpulse.Envelope[any], error) {
	var gone []hostler.JobID
	var err error
	switch id := in.id(); {
	case in.ID == "" && in.Queue == "" && in.Host == "":
		return netpulse.Envelope[any]{}, errSelect("give at least one of id, queue and host", "请至少提供 id、queue、host 之一")
	case id != 0:
		gone, err = c.app.CancelWaiting(ctx, c.Caller, []hostler.JobID{id}, app.JobSearch{})
	case in.ID == "":
		gone, err = c.app.CancelWaiting(ctx, c.Caller, nil, in.search())
	}
	if err != nil {
		return netpulse.Envelope[any]{}, err
	}
	ids := make([]string, 0, len(gone))
	for _, id := range gone {
		ids = append(ids, id.String())
	}
	if m.dialect == netpulse.SDK {
		return netpulse.Success[any](http.StatusOK, ids), nil
	}
	return netpulse.Success[any](http.StatusOK, netpulse.CancelledJobs{Count: len(ids), Jobs: ids}), nil
}

// WorkerSelection chooses workers by what NetPulse has.
type WorkerSelection struct {
	Queue string `query:"queue" maxLength:"300" doc:"FifoQ, pinned_<host>, HostQ_<host>, or a queue of Hostler; wins over node and host"`
	Node  string `query:"node" maxLength:"253" doc:"hostname"`
	Host  string `query:"host" maxLength:"253" doc:"address or name of an asset to which a connection is kept"`
}

// rows finds the chosen workers and kept connections.
func (m mount) rows(ctx context.Context, c call, name string, q WorkerSelection) ([]netpulse.Row, error) {
	sel := netpulse.Selection{Name: name, Queue: q.Queue, Node: q.Node}
	if host := cmp.Or(netpulse.ParseQueue(q.Queue).Host, q.Host); host != "" {
		hosts, err := c.app.AssetAddresses(ctx, c.Caller, host)
		if err != nil {
			return nil, err
		}
		sel.Hosts = hosts
	}
	if own := netpulse.ParseQueue(q.Queue).Own; own != "" {
		_, err := c.app.Queue(ctx, c.Caller, own)
		if err != nil && hostler.CodeOf(err) != hostler.CodeNotFound {
			return nil, err
		}
		sel.Known = err == nil
	}
	workers, err := c.app.Workers(ctx, c.Caller)
	if err != nil {
		return nil, err
	}
	var rows []netpulse.Row
	for _, r := range netpulse.Rows(workers, m.dialect) {
		if sel.Has(r) {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func (m mount) listWorkers(ctx context.Context, c call, in *WorkerSelection) (netpulse.Envelope[[]netpulse.Worker], error) {
	rows, err := m.rows(ctx, c, "", *in)
	out := make([]netpulse.Worker, 0, len(rows))
	for _, r := range rows {
		out = append(out, r.Worker)
	}
	return netpulse.Success(http.StatusOK, out), err
}

type workerStop struct {
	WorkerSelection
	Name string `query:"name" maxLength:"400" doc:"wins over the others"`
}

func (m mount) stopWorkers(ctx context.Context, c call, in *workerStop) (netpulse.Envelope[any], error) {
	if in.Name == "" && in.WorkerSelection == (WorkerSelection{}) {
		return netpulse.Envelope[any]{}, errSelect("give at least one of name, queue, node and host", "请至少提供 name、queue、node、host 之一")
	}
	rows, err := m.rows(ctx, c, in.Name, in.WorkerSelection)
	if err == nil && len(rows) == 0 && in.Name != "" {
		err = hostler.Errorf(hostler.CodeNotFound, "there is no such worker", "工作节点不存在")
	}
	if err != nil {
		return netpulse.Envelope[any]{}, err
	}
	done := netpulse.StoppedWorkers{Workers: []string{}, Status: "stopped"}
	if done.Interrupted, err = c.stopRows(ctx, rows); err != nil {
		return netpulse.Envelope[any]{}, err
	}
	for _, r := range rows {
		done.Workers = append(done.Workers, r.Name)
	}
	if len(rows) > 0 {
		done.Worker = &done.Workers[0]
	}
	if m.dialect == netpulse.SDK {
		return netpulse.Success[any](http.StatusOK, done.Workers), nil
	}
	return netpulse.Success[any](http.StatusOK, done), nil
}

// stopRows stops the processes among the rows and closes the connections of the
// others. What went away meanwhile is stopped, too; so is a dead worker.
func (c call) stopRows(ctx context.Context, rows []netpulse.Row) (interrupted int, err error) {
	processes := map[hostler.WorkerID]bool{}
	for _, r := range rows {
		if r.Host != "" || r.Dead {
			continue
		}
		processes[r.ID] = true
		_, n, err := c.app.StopWorkers(ctx, c.Caller, []hostler.WorkerID{r.ID})
		if err != nil && hostler.CodeOf(err) != hostler.CodeNotFound {
			return interrupted, err
		}
		interrupted += n
	}
	var closing []netpulse.Row
	for _, r := range rows {
		if r.Host == "" || processes[r.ID] {
			continue
		}
		closing = append(closing, r)
		n, err := c.app.CloseSessions(ctx, c.Caller, r.ID, []string{r.Host})
		if err != nil && hostler.CodeOf(err) != hostler.CodeNotFound {
			return interrupted, err
		}
		interrupted += n
	}
	return interrupted, c.awaitClosed(ctx, closing)
}

// closeTime bounds the wait for workers to close connections.
const closeTime = 5 * time.Second

// awaitClosed waits until the workers say that they have closed the connections:
// a job that is made after the answer must not get one that is about to go.
func (c call) awaitClosed(ctx context.Context, rows []netpulse.Row) error {
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	p := pace{first: 20 * time.Millisecond, most: 250 * time.Millisecond}
	for len(rows) > 0 && p.sleep(ctx, c.server.cfg.Draining) {
		workers, err := c.app.Workers(ctx, c.Caller)
		switch {
		case ctx.Err() != nil:
			return nil // they were told; that is all there is to say
		case err != nil:
			return err
		}
		rows = slices.DeleteFunc(rows, func(r netpulse.Row) bool { return !r.Keeps(workers) })
	}
	return nil
}

func (m mount) exec(ctx context.Context, c call, in *Payload[netpulse.Exec]) (netpulse.Envelope[netpulse.Job], error) {
	req, err := in.Body.Request()
	if err != nil {
		return netpulse.Envelope[netpulse.Job]{}, err
	}
	made, err := c.app.RunJobs(ctx, c.Caller, req, "")
	if err != nil {
		return netpulse.Envelope[netpulse.Job]{}, pulseNames(err)
	}
	return netpulse.Success(http.StatusCreated, netpulse.JobOf(*made.Job, "", m.dialect, c.Lang)), nil
}

// pulseNames calls the fields at fault by the names that the caller used.
func pulseNames(err error) error {
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok {
		return err
	}
	cp := *e
	cp.Fields = netpulse.Renamed(e.Fields)
	return &cp
}

func (m mount) bulk(ctx context.Context, c call, in *Payload[netpulse.Bulk]) (netpulse.Envelope[netpulse.BulkDone], error) {
	out := netpulse.BulkDone{Succeeded: []netpulse.BulkJob{}, Failed: []netpulse.BulkFailed{}}
	asked, err := in.Body.Requests()
	if err != nil {
		return netpulse.Envelope[netpulse.BulkDone]{}, err
	}
	fail := func(host string, err error) {
		p := newProblem(toError(pulseNames(err)), c.Lang, simple)
		out.Failed = append(out.Failed, netpulse.BulkFailed{Host: host, Reason: p.line()})
	}
	var reqs []hostler.JobRequest
	var hosts []string
	for _, a := range asked {
		if a.Err != nil {
			fail(a.Host, a.Err)
			continue
		}
		reqs, hosts = append(reqs, a.Request), append(hosts, a.Host)
	}
	made, err := c.app.RunBatch(ctx, c.Caller, reqs)
	if err != nil {
		return netpulse.Envelope[netpulse.BulkDone]{}, err
	}
	for i, o := range made {
		if o.Err != nil {
			fail(hosts[i], o.Err)
			continue
		}
		out.Succeeded = append(out.Succeeded, netpulse.BulkJob{Job: netpulse.JobOf(o.Job, "", m.dialect, c.Lang), Host: hosts[i]})
	}
	return netpulse.Success(http.StatusCreated, out), nil
}

func (m mount) test(ctx context.Context, c call, in *Payload[netpulse.Test]) (netpulse.Envelope[netpulse.Tested], error) {
	req, err := in.Body.Request()
	if err != nil {
		return netpulse.Envelope[netpulse.Tested]{}, err
	}
	made, err := c.app.RunJobs(ctx, c.Caller, req, "")
	if err != nil {
		return netpulse.Envelope[netpulse.Tested]{}, pulseNames(err)
	}
	made = c.awaitJobs(ctx, made, netpulse.TestTime)
	if !made.Job.State.Settled() {
		// Nobody reads its answer any more.
		if _, err := c.app.CancelJob(ctx, c.Caller, made.Job.ID); err != nil && hostler.CodeOf(err) != hostler.CodeConflict {
			return netpulse.Envelope[netpulse.Tested]{}, err
		}
	}
	return netpulse.Success(http.StatusOK, in.Body.TestedOf(*made.Job, time.Now(), c.Lang)), nil
}

func taskStats(ctx context.Context, c call, _ *none) (map[string]netpulse.Stats, error) {
	all, err := c.app.ActionStats(ctx, c.Caller)
	out := make(map[string]netpulse.Stats, len(all))
	for name, s := range all {
		out[name] = netpulse.Stats{Count: s.Count, Success: s.Success, Failure: s.Failure, Total: s.Total.Seconds(), LastTime: netpulse.Stamp(s.Last)}
	}
	return out, err
}

// pulseHealth is health as NetPulse 0.3 has it: whether the API serves.
func (s *server) pulseHealth(w http.ResponseWriter, r *http.Request) {
	if _, err := s.vitals.get(r.Context()); err != nil {
		s.fail(w, r, &hostler.Error{Code: hostler.CodeUnavailable, Text: textStoreAway, Cause: err})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(netpulse.Success(http.StatusOK, "ok")) // the client may have gone
}
