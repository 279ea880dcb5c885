package monitor

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/stats"
)

// metrics are those of /metrics, in a registry of their own.
type metrics struct {
	vitals   func(ctx context.Context) (app.Vitals, error)
	tasks    func(ctx context.Context) (app.Totals, error)
	live     *stats.Live
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	refusals *prometheus.CounterVec
}

func newMetrics(
	version, store string, vitals func(ctx context.Context) (app.Vitals, error),
	tasks func(ctx context.Context) (app.Totals, error),
) *metrics {
	m := &metrics{
		vitals:   vitals,
		tasks:    tasks,
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hostler_http_requests_total", Help: "Answers by method, route and status.",
		}, []string{"method", "route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "hostler_http_request_duration_seconds", Help: "Time to answer by method and route.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}, []string{"method", "route"}),
	}
	m.refusals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hostler_refusals_total",
		Help: "Requests refused for their key (unauthenticated), the caller's role (forbidden) or a limit (rate_limited).",
	}, []string{"code"})
	for _, code := range []hostler.Code{
		hostler.CodeUnauthenticated, hostler.CodeForbidden, hostler.CodeRateLimited,
	} {
		m.refusals.WithLabelValues(string(code)) // so that a rate starts at 0
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "hostler_info", Help: "Always 1; the labels name the version and the store.",
		ConstLabels: prometheus.Labels{"version": version, "store": store},
	})
	info.Set(1)
	m.registry.MustRegister(m.requests, m.duration, m.refusals, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// count counts one answer. An answer that was held back has no duration.
func (m *metrics) count(a rest.Answer) {
	method := methodLabel(a.Method)
	m.requests.WithLabelValues(method, a.Route, strconv.Itoa(a.Status)).Inc()
	if !a.Held {
		m.duration.WithLabelValues(method, a.Route).Observe(a.Took.Seconds())
	}
}

// methodLabel bounds the number of series: a client may send any method.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return method
	default:
		return "other"
	}
}

// serve answers a scrape with the counters and the current vitals.
func (m *metrics) serve(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(m.gatherer(r.Context()), promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, r)
}

// gatherer has the counters and the current vitals.
func (m *metrics) gatherer(ctx context.Context) prometheus.Gatherers {
	v, err := m.vitals(ctx)
	now := prometheus.NewRegistry()
	now.MustRegister(vitalsCollector{v, err == nil})
	if tasks, err := m.tasks(ctx); err == nil {
		now.MustRegister(taskCollector{tasks, m.live})
	}
	return prometheus.Gatherers{m.registry, now}
}

// vitalsCollector turns vitals into metrics.
type vitalsCollector struct {
	vitals app.Vitals
	up     bool
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("hostler_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector. It describes nothing, because the queues
// and workers are not known in advance.
func (vitalsCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c vitalsCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	up := desc("store_up", "1 when the store answers.")
	if !c.up {
		gauge(up, 0)
		return
	}
	gauge(up, 1)
	st := c.vitals.Store
	gauge(desc("store_latency_seconds", "Time of one round trip to the store."), st.Latency.Seconds())
	gauge(desc("store_pool_in_use", "Connections in use."), float64(st.PoolInUse))
	gauge(desc("store_pool_max", "Connections at most."), float64(st.PoolMax))
	gauge(desc("store_size_bytes", "Size of the database."), float64(st.SizeBytes))
	gauge(desc("store_disk_free_ratio", "Share of the disk that is free."), st.DiskFree)

	gauge(desc("store_writable", "1 when the store takes new work."), bit(c.vitals.Refuses == hostler.Text{}))
	gauge(desc("dispatch_held", "1 while no job starts; see 'hostler dispatch'."), bit(c.vitals.Held != hostler.Text{}))
	gauge(desc("events_undelivered", "Published events whose deliveries to webhooks are not made yet."),
		float64(c.vitals.Events.Unmade))
	gauge(desc("events_set_aside", "Rows of events that could not be made into deliveries, at most 1,000."),
		float64(c.vitals.Events.SetAside))

	gauge(desc("alerts_firing", "Alerts that are firing, of all projects."), float64(c.vitals.Firing))

	for _, q := range c.vitals.Queues {
		gauge(desc("queue_jobs", "Jobs in a queue by state.", "queue", "state"), float64(q.Queued), q.Name, "queued")
		gauge(desc("queue_jobs", "Jobs in a queue by state.", "queue", "state"), float64(q.Running), q.Name, "running")
		gauge(desc("queue_oldest_seconds", "How long the oldest ready job has waited.", "queue"), q.OldestWait, q.Name)
		gauge(desc("queue_paused", "1 when the queue is paused.", "queue"), bit(q.Paused), q.Name)
	}
	states := map[string]int{"idle": 0, "busy": 0, "draining": 0, "dead": 0}
	for _, w := range c.vitals.Workers {
		states[w.State]++
		id := w.ID.String()
		counter(desc("worker_jobs_total", "Attempts that a worker ended, by outcome.", "worker", "name", "outcome"), float64(w.Succeeded), id, w.Name, "succeeded")
		counter(desc("worker_jobs_total", "Attempts that a worker ended, by outcome.", "worker", "name", "outcome"), float64(w.Failed), id, w.Name, "failed")
		if w.State == "dead" {
			continue
		}
		gauge(desc("worker_slots", "Jobs that a worker may run at once.", "worker", "name"), float64(w.Slots), id, w.Name)
		gauge(desc("worker_running", "Jobs that a worker runs.", "worker", "name"), float64(w.Running), id, w.Name)
	}
	for state, n := range states {
		gauge(desc("workers", "Workers by state.", "state"), float64(n), state)
	}
}

// taskCollector turns the figures of ended jobs into metrics, one task for each action, and
// those of this server.
type taskCollector struct {
	app.Totals
	live *stats.Live
}

// Describe implements prometheus.Collector. The tasks are not known in advance.
func (taskCollector) Describe(chan<- *prometheus.Desc) {}

var (
	taskExecutions = prometheus.NewDesc("task_executions_total",
		"Jobs that ended, by action; one that was cancelled or expired is a failure.", []string{"task", "status"}, nil)
	taskDuration = prometheus.NewDesc("task_duration_seconds", "How long the last attempt of a job ran, by action.",
		[]string{"task"}, nil)
	taskSuccess = prometheus.NewDesc("task_success_rate", "The part of the jobs that succeeded, 0 to 1, by action.",
		[]string{"task"}, nil)
	queueWait = desc("queue_wait_seconds",
		"From when a job is ready until a worker starts it: how fast workers wake up, and how much they have to do.", "queue")
	leaseDuration = desc("lease_duration_seconds", "How long this server takes to lease jobs to a worker, with all that they need.")
	deliveryTries = desc("delivery_tries_total", "Tries of this server to send to webhooks and channels, by outcome.", "outcome")
	taskBuckets   = []time.Duration{
		time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, time.Second,
		5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
		time.Hour,
	}
)

// Collect implements prometheus.Collector.
func (c taskCollector) Collect(out chan<- prometheus.Metric) {
	for name, f := range c.Queues {
		out <- histogram(queueWait, f.Started, f.WaitTotal, &f.WaitFor, name)
	}
	leases := c.live.Leases()
	out <- histogram(leaseDuration, leases.Started, leases.RunTotal, &leases.RunTimes)
	delivered, undelivered := c.live.Tries()
	out <- prometheus.MustNewConstMetric(deliveryTries, prometheus.CounterValue, float64(delivered), "delivered")
	out <- prometheus.MustNewConstMetric(deliveryTries, prometheus.CounterValue, float64(undelivered), "failed")
	for name, f := range c.Actions {
		succeeded, failed := float64(f.Succeeded), float64(f.Failed+f.Cancelled)
		out <- prometheus.MustNewConstMetric(taskExecutions, prometheus.CounterValue, succeeded, name, "success")
		out <- prometheus.MustNewConstMetric(taskExecutions, prometheus.CounterValue, failed, name, "failure")
		if f.Count() > 0 {
			out <- prometheus.MustNewConstMetric(taskSuccess, prometheus.GaugeValue,
				float64(f.Succeeded)/float64(f.Count()), name)
		}
		out <- histogram(taskDuration, f.Started, f.RunTotal, &f.RunTimes, name)
	}
}

func histogram(d *prometheus.Desc, n int64, total time.Duration, h *stats.Histogram, labels ...string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(taskBuckets))
	for _, b := range taskBuckets {
		buckets[b.Seconds()] = uint64(max(0, h.UpTo(b)))
	}
	return prometheus.MustNewConstHistogram(d, uint64(max(0, n)), total.Seconds(), buckets, labels...)
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
