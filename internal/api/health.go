package api

import (
	"context"
	"encoding/json"
	"net/http"
	runtimemetrics "runtime/metrics"
	"strings"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/netpulse"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
)

const (
	checkTime  = 2 * time.Second // bounds one look at the store
	checkEvery = time.Second     // and one look serves everybody that long
)

// cached is a value that is fetched at most once in checkEvery, by one of those
// who ask, within checkTime.
type cached[T any] struct {
	fetch func(ctx context.Context) (T, error)

	mu    sync.Mutex
	at    time.Time
	value T
	err   error
}

func (c *cached[T]) get(ctx context.Context) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) >= checkEvery {
		c.value, c.err = bounded(ctx, c.fetch)
		c.at = time.Now()
	}
	return c.value, c.err
}

// bounded gives up after checkTime even when fetch does not. That the one who
// asked goes away must not spoil the answer for the others.
func bounded[T any](ctx context.Context, fetch func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTime)
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		defer cancel()
		v, err := fetch(ctx)
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		// fetch ends its context when it returns, with the answer sent before.
		select {
		case a := <-done:
			return a.value, a.err
		default:
			var zero T
			return zero, ctx.Err()
		}
	}
}

// guarded lets in who may see health and metrics.
func (s *server) guarded(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := s.mayWatch(r); err != nil {
			s.fail(w, r, err)
			return
		}
		h(w, r)
	}
}

func (s *server) mayWatch(r *http.Request) error {
	switch {
	case s.cfg.OpenHealth == OpenHealthAll:
		return nil
	case s.cfg.OpenHealth == OpenHealthLoopback && local(r):
		return nil
	}
	c, err := s.authenticate(r.Context(), r)
	if err != nil {
		return err
	}
	return permit(c, auth.ReadWorker)
}

// Health is the data of GET /health.
type Health struct {
	Status  string                 `json:"status"` // ok or degraded
	Reasons []hostler.Text         `json:"reasons"`
	API     TrafficHealth          `json:"api"`
	Store   StoreHealth            `json:"store"`
	Memory  uint64                 `json:"memory_bytes"`
	Workers WorkerHealth           `json:"workers"`
	Queues  map[string]QueueHealth `json:"queues"`
}

// TrafficHealth is how the API did over the last five minutes.
type TrafficHealth struct {
	UptimeS    float64 `json:"uptime_s"`
	RequestsPS float64 `json:"requests_per_s"`
	P95MS      float64 `json:"p95_ms"`
	ErrorRate  float64 `json:"error_rate"` // share of answers that were 5xx
}

// StoreHealth is how the database does.
type StoreHealth struct {
	Kind      string  `json:"kind"`
	Reachable bool    `json:"reachable"`
	LatencyMS float64 `json:"latency_ms"`
	PoolInUse int     `json:"pool_in_use"`
	PoolMax   int     `json:"pool_max"`
	SizeBytes int64   `json:"size_bytes"`
}

// WorkerHealth counts the workers. Active ones are alive: idle, busy or draining.
type WorkerHealth struct {
	Active        int     `json:"active"`
	Idle          int     `json:"idle"`
	Busy          int     `json:"busy"`
	Dead          int     `json:"dead"`
	LastHeartbeat *string `json:"last_heartbeat"` // as GET /worker shows it
}

// QueueHealth is how long a queue is.
type QueueHealth struct {
	Queued  int     `json:"queued"`
	OldestS float64 `json:"oldest_s"`
}

// healthAnswer is the envelope that NetPulse's clients read.
type healthAnswer struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    Health `json:"data"`
}

func (s *server) health(w http.ResponseWriter, r *http.Request) {
	if wantsMetrics(r.Header.Get("Accept")) {
		s.metrics.serve(w, r)
		return
	}
	v, err := s.vitals.get(r.Context())
	traffic := s.traffic.report()
	traffic.UptimeS = time.Since(s.started).Seconds()
	a := healthAnswer{Code: http.StatusOK, Message: "success", Data: diagnose(traffic, v, err)}
	a.Data.Memory, a.Data.Store.Kind = memory(), s.app.StoreKind()
	status := http.StatusOK
	if err != nil {
		status = http.StatusServiceUnavailable
		a.Code, a.Message = -1, textStoreAway.In(langOf(r.Header.Get("Accept-Language"), simple.defaultLang()))
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a) // the client may have gone
}

// wantsMetrics reports whether a client asks as Prometheus does. Browsers and
// HTTP libraries that would take text as well as JSON get JSON.
func wantsMetrics(accept string) bool {
	if strings.Contains(accept, "application/openmetrics-text") {
		return true
	}
	return strings.Contains(accept, "text/plain") && !strings.Contains(accept, "json") && !strings.Contains(accept, "text/html")
}

var textStoreAway = text("the store does not answer", "存储无响应")

// Limits beyond which Hostler calls itself degraded.
const (
	longWait  = 5 * time.Minute
	maxFaulty = 0.01
	minDisk   = 0.05
)

// diagnose draws the conclusions; err says that the store did not answer.
func diagnose(api TrafficHealth, v app.Vitals, err error) Health {
	h := Health{
		Status: "ok", Reasons: []hostler.Text{}, API: api,
		Queues: map[string]QueueHealth{}, Store: StoreHealth{Reachable: err == nil},
	}
	degraded := func(en, zh string) {
		h.Status = "degraded"
		h.Reasons = append(h.Reasons, text(en, zh))
	}
	if h.API.ErrorRate > maxFaulty {
		degraded("more than 1 % of answers were server errors", "超过 1% 的响应为服务器错误")
	}
	if err != nil {
		degraded(textStoreAway.EN, textStoreAway.ZH)
		return h
	}
	h.Store.LatencyMS = float64(v.Store.Latency.Microseconds()) / 1000
	h.Store.PoolInUse, h.Store.PoolMax, h.Store.SizeBytes = v.Store.PoolInUse, v.Store.PoolMax, v.Store.SizeBytes
	free := h.Workers.add(v.Workers)
	if h.Workers.Active == 0 {
		degraded("no worker is active", "没有活动的工作节点")
	}
	waits := false
	for _, q := range v.Queues {
		h.Queues[q.Name] = QueueHealth{Queued: q.Queued, OldestS: q.OldestWait}
		waits = waits || !q.Paused && q.OldestWait > longWait.Seconds()
	}
	if waits && free > 0 {
		degraded("a job waits for more than 5 minutes while slots are free", "有作业等待超过 5 分钟，但仍有空闲并发")
	}
	if v.Store.DiskFree < minDisk {
		degraded("less than 5 % of the disk is free", "磁盘剩余空间不足 5%")
	}
	return h
}

// add counts the workers and returns how many of their slots are free.
func (h *WorkerHealth) add(workers []hostler.Worker) (free int) {
	var last time.Time
	for _, w := range workers {
		if w.LastHeartbeat.After(last) {
			last = w.LastHeartbeat
		}
		switch w.State {
		case "dead":
			h.Dead++
			continue
		case "idle":
			h.Idle++
		case "busy":
			h.Busy++
		}
		h.Active++
		if w.State != "draining" {
			free += max(w.Slots-w.Running, 0)
		}
	}
	h.LastHeartbeat = netpulse.Stamp(last)
	return free
}

// memory is what the process holds from the system.
func memory() uint64 {
	samples := []runtimemetrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	runtimemetrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

// livez says that the process answers.
func (s *server) livez(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") }

// readyz says whether to send requests here: the store answers, and the server is
// not about to stop.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	select {
	case <-s.cfg.Draining:
		plain(w, http.StatusServiceUnavailable, "draining\n")
		return
	default:
	}
	if _, err := s.vitals.get(r.Context()); err != nil {
		plain(w, http.StatusServiceUnavailable, "the store does not answer\n")
		return
	}
	plain(w, http.StatusOK, "ok\n")
}

func plain(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the client may have gone
}
