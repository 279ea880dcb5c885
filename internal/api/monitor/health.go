package monitor

import (
	"encoding/json"
	"net/http"
	runtimemetrics "runtime/metrics"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
)

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

// TrafficHealth sums up the answers of the last five minutes.
type TrafficHealth struct {
	UptimeS    float64 `json:"uptime_s"`
	RequestsPS float64 `json:"requests_per_s"`
	P95MS      float64 `json:"p95_ms"`
	ErrorRate  float64 `json:"error_rate"` // share of answers that were 5xx
}

// StoreHealth is the state of the database.
type StoreHealth struct {
	Kind      string  `json:"kind"`
	Reachable bool    `json:"reachable"`
	LatencyMS float64 `json:"latency_ms"`
	PoolInUse int     `json:"pool_in_use"`
	PoolMax   int     `json:"pool_max"`
	SizeBytes int64   `json:"size_bytes"`
}

// WorkerHealth counts the workers. The active ones are idle, busy or draining.
type WorkerHealth struct {
	Active        int     `json:"active"`
	Idle          int     `json:"idle"`
	Busy          int     `json:"busy"`
	Dead          int     `json:"dead"`
	LastHeartbeat *string `json:"last_heartbeat"` // in the form of GET /worker
}

// QueueHealth is the length of a queue and the wait of its oldest job.
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

func (m *Monitor) health(w http.ResponseWriter, r *http.Request) error {
	if wantsMetrics(r.Header.Get("Accept")) {
		return m.serveMetrics(w, r)
	}
	v, err := m.vitals.get(r.Context())
	traffic := m.traffic.report()
	traffic.UptimeS = time.Since(m.started).Seconds()
	a := healthAnswer{Code: http.StatusOK, Message: "success", Data: diagnose(traffic, v, err)}
	a.Data.Memory, a.Data.Store.Kind = memory(), m.cfg.App.StoreKind()
	status := http.StatusOK
	if err != nil {
		status = http.StatusServiceUnavailable
		a.Code, a.Message = -1, textStoreDown.In(rest.Lang(r.Header.Get("Accept-Language"), healthDialect.Lang))
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a) // the client may have disconnected
	return nil
}

// wantsMetrics reports whether a client asks for metrics, as Prometheus does.
// Browsers and HTTP libraries that accept text as well as JSON get JSON.
func wantsMetrics(accept string) bool {
	if strings.Contains(accept, "application/openmetrics-text") {
		return true
	}
	return strings.Contains(accept, "text/plain") && !strings.Contains(accept, "json") && !strings.Contains(accept, "text/html")
}

var textStoreDown = hostler.Text{EN: "the store does not answer", ZH: "存储无响应"}

// Limits beyond which the server is degraded.
const (
	longWait  = 5 * time.Minute // of a job while slots are free
	maxFaulty = 0.01            // share of answers that are server errors
	minDisk   = 0.05            // share of the disk that is free
)

// diagnose makes the summary and the reasons why it is degraded. err is why the store
// did not answer.
func diagnose(api TrafficHealth, v app.Vitals, err error) Health {
	h := Health{
		Status: "ok", Reasons: []hostler.Text{}, API: api,
		Queues: map[string]QueueHealth{}, Store: StoreHealth{Reachable: err == nil},
	}
	degraded := func(en, zh string) {
		h.Status = "degraded"
		h.Reasons = append(h.Reasons, hostler.Text{EN: en, ZH: zh})
	}
	if h.API.ErrorRate > maxFaulty {
		degraded("more than 1 % of answers were server errors", "超过 1% 的响应为服务器错误")
	}
	if err != nil {
		degraded(textStoreDown.EN, textStoreDown.ZH)
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
	if waits && free > 0 && v.Held == (hostler.Text{}) {
		degraded("a job has waited for more than 5 minutes while slots are free",
			"有作业等待超过 5 分钟，但仍有空闲并发")
	}
	if v.Refuses != (hostler.Text{}) {
		degraded(v.Refuses.EN, v.Refuses.ZH)
	}
	if v.Held != (hostler.Text{}) {
		degraded(v.Held.EN, v.Held.ZH)
	}
	if v.Events.SetAside > 0 {
		degraded("events could not be delivered to webhooks and were set aside: see hostler delivery set-aside list",
			"有事件无法投递到回调，已被搁置：请见 hostler delivery set-aside list")
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
	h.LastHeartbeat = stamp(last)
	return free
}

// stamp writes a time as GET /worker does: the offset has digits, since older Pythons
// do not read Z.
func stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.Format("2006-01-02T15:04:05.000000-07:00")
	return &s
}

// memory is what the process has from the system.
func memory() uint64 {
	samples := []runtimemetrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	runtimemetrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}
