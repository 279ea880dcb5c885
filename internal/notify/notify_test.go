package notify_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostler.dev/hostler/internal/webhook"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/egress"
	"hostler.dev/hostler/internal/egress/egresstest"
	"hostler.dev/hostler/internal/notify"
	"hostler.dev/hostler/internal/outbox"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

const secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"

// env is a store with a project.
type env struct {
	h        *storetest.Harness
	t        *testing.T
	project  hostler.ProjectID
	resolver *net.Resolver // nil means the system's
	timeout  time.Duration // of requests; 0 means the default
}

func eachEnv(t *testing.T, fn func(t *testing.T, e *env)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		e := &env{h: h, t: t}
		e.tx(func(tx *store.Tx) error {
			p, err := tx.InsertProject("lab")
			e.project = p.ID
			return err
		})
		fn(t, e)
	})
}

func (e *env) tx(fn func(tx *store.Tx) error) {
	e.t.Helper()
	if err := e.h.Store.InTx(e.t.Context(), fn); err != nil {
		e.t.Fatal(err)
	}
}

// run starts a publisher and a notifier that may send to the networks of allow. The
// test stops them, or stop does.
func (e *env) run(allow string, retry ...time.Duration) (stop func()) {
	e.t.Helper()
	var prefixes []netip.Prefix
	if allow != "" {
		prefixes = append(prefixes, netip.MustParsePrefix(allow))
	}
	n := notify.New(notify.Config{
		Store: e.h.Store, Egress: egress.New(prefixes...), Resolver: e.resolver, Retry: retry, Timeout: e.timeout,
		// Here the secrets are plain JSON: package app encrypts them.
		Open: func(_ hostler.ProjectID, _ hostler.WebhookID, sealed []byte) (s webhook.Secrets, err error) {
			return s, json.Unmarshal(sealed, &s)
		},
	})
	p := &outbox.Publisher{Store: e.h.Store, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.t.Context()))
	done := make(chan error, 2)
	go func() { done <- n.Run(ctx) }()
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				e.t.Errorf("Run: %v", err)
			}
		}
	})
	e.t.Cleanup(stop)
	return stop
}

// hook inserts a webhook of the project.
func (e *env) hook(name, url string, change ...func(*store.WebhookRow, *webhook.Secrets)) hostler.WebhookID {
	e.t.Helper()
	row := store.WebhookRow{ProjectID: e.project, Webhook: hostler.Webhook{
		Name: name, URL: url, Format: hostler.FormatStandard, Method: http.MethodPost,
		Events: []string{"asset.*", "credential.*"},
		Lang:   hostler.LangEN, Timeout: hostler.Duration(10 * time.Second), Limit: 4, Enabled: true,
	}}
	s := webhook.Secrets{URL: url, Signing: []webhook.SigningSecret{{Secret: secret}}}
	for _, f := range change {
		f(&row, &s)
	}
	var id hostler.WebhookID
	e.tx(func(tx *store.Tx) (err error) {
		id, err = tx.InsertWebhook(row, func(hostler.WebhookID) ([]byte, error) { return json.Marshal(s) })
		return err
	})
	return id
}

// emit commits n events of the project.
func (e *env) emit(n int) { e.emitType(hostler.EventAssetCreated, n) }

func (e *env) emitType(kind hostler.EventType, n int) {
	e.t.Helper()
	e.tx(func(tx *store.Tx) error {
		for i := range n {
			tx.Emit(e.project, kind, hostler.ObjectEvent{Object: fmt.Sprint("asset", i)})
		}
		return nil
	})
}

// query selects the deliveries of a webhook that are in a state; "" is any.
func (e *env) query(id hostler.WebhookID, state hostler.DeliveryState) store.DeliveryQuery {
	return store.DeliveryQuery{Projects: []hostler.ProjectID{e.project}, Webhook: id, State: state}
}

func (e *env) deliveries(id hostler.WebhookID, state hostler.DeliveryState) []hostler.Delivery {
	e.t.Helper()
	var out []hostler.Delivery
	err := e.h.Store.View(e.t.Context(), func(tx *store.Tx) error {
		list, _, err := tx.Deliveries(e.query(id, state), 0, 10_000)
		if err != nil {
			return err
		}
		out = nil
		for _, d := range list {
			whole, err := tx.Delivery([]hostler.ProjectID{e.project}, d.ID)
			if err != nil {
				return err
			}
			out = append(out, *whole)
		}
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

// count counts the deliveries of a webhook that are in a state.
func (e *env) count(id hostler.WebhookID, state hostler.DeliveryState) int {
	e.t.Helper()
	n := 0
	err := e.h.Store.View(e.t.Context(), func(tx *store.Tx) error {
		list, _, err := tx.Deliveries(e.query(id, state), 0, 10_000)
		n = len(list)
		return err
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return n
}

// await advances the clock of the store until a condition holds.
func (e *env) await(what string, holds func() bool) {
	e.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	for !holds() {
		select {
		case <-tick.C:
			e.h.Advance(20 * time.Millisecond)
		case <-deadline.C:
			e.t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// valid checks a signature as a receiver does.
func valid(secret, id, stamp, body, header string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "." + body))
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for have := range strings.FieldsSeq(header) {
		if hmac.Equal([]byte(have), []byte(want)) {
			return true
		}
	}
	return false
}

func serve(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestFaultyReceiver sends to a receiver that drops connections, fails, times out and
// cuts responses off. Each event arrives, under one id, with a valid signature.
func TestFaultyReceiver(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		const events = 300
		var mu sync.Mutex
		var calls atomic.Int64
		taken, ids := map[int64]bool{}, map[int64]map[string]bool{}
		url := serve(t, func(rw http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			var m struct {
				Pos int64 `json:"pos"`
			}
			id, stamp, sig := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), r.Header.Get("Webhook-Signature")
			if json.Unmarshal(body, &m) != nil || !valid(secret, id, stamp, string(body), sig) {
				t.Errorf("invalid request: %v %s", r.Header, body)
			}
			mu.Lock()
			if ids[m.Pos] == nil {
				ids[m.Pos] = map[string]bool{}
			}
			ids[m.Pos][id] = true
			mu.Unlock()
			switch calls.Add(1) % 13 {
			case 1:
				panic(http.ErrAbortHandler)
			case 4:
				rw.WriteHeader(http.StatusInternalServerError)
				return
			case 7:
				<-r.Context().Done() // too slow
				return
			case 10:
				rw.Header().Set("Content-Length", "100")
				_, _ = io.WriteString(rw, "cut off")
				return
			}
			mu.Lock()
			taken[m.Pos] = true
			mu.Unlock()
		})
		id := e.hook("faulty", url, func(r *store.WebhookRow, _ *webhook.Secrets) {
			r.Timeout, r.Limit = hostler.Duration(150*time.Millisecond), 20
		})
		retry := make([]time.Duration, 1000) // many, since on a loaded machine good responses time out too
		for i := range retry {
			retry[i] = 30 * time.Millisecond
		}
		e.run("127.0.0.0/8", retry...)
		e.emit(events)
		e.await("all deliveries", func() bool { return e.count(id, hostler.DeliveryDelivered) == events })
		mu.Lock()
		defer mu.Unlock()
		if len(taken) != events || len(ids) != events {
			t.Errorf("%d events accepted, %d received; want %d", len(taken), len(ids), events)
		}
		for pos, of := range ids {
			if len(of) != 1 {
				t.Errorf("event %d arrived under %d ids", pos, len(of))
			}
		}
		for _, d := range e.deliveries(id, hostler.DeliveryDelivered) {
			if len(d.Attempts) != d.Tries || d.Last.Error != nil || d.Body == "" || d.Ended == nil {
				t.Fatalf("delivery %+v", d)
			}
		}
	})
}

// TestTwoServersSendOnce: a delivery that one server has claimed is not sent by the
// other.
func TestTwoServersSendOnce(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		const events = 300
		var mu sync.Mutex
		seen := map[string]int{}
		id := e.hook("one", serve(t, func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			seen[r.Header.Get("Webhook-Id")]++
		}))
		e.run("127.0.0.0/8")
		e.run("127.0.0.0/8")
		for range 10 {
			e.emit(events / 10)
		}
		e.await("all deliveries", func() bool { return e.count(id, hostler.DeliveryDelivered) == events })
		mu.Lock()
		defer mu.Unlock()
		if len(seen) != events {
			t.Errorf("%d ids arrived, want %d", len(seen), events)
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s arrived %d times", id, n)
			}
		}
	})
}

// TestDeadReceiverDelaysNoOther sends to a receiver that never responds, and to one
// that does.
func TestDeadReceiverDelaysNoOther(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		free := make(chan struct{})
		var atOnce, most atomic.Int64
		dead := serve(t, func(http.ResponseWriter, *http.Request) {
			most.Store(max(most.Load(), atOnce.Add(1)))
			<-free
			atOnce.Add(-1)
		})
		defer close(free)
		responsive := serve(t, func(http.ResponseWriter, *http.Request) {})
		one := e.hook("dead", dead)
		two := e.hook("responsive", responsive)
		e.run("127.0.0.0/8", time.Hour)
		e.emit(100)
		e.await("the deliveries to the responsive one", func() bool { return e.count(two, hostler.DeliveryDelivered) == 100 })
		if n := e.count(one, hostler.DeliveryDelivered); n != 0 || most.Load() > 4 {
			t.Errorf("the dead one accepted %d, %d at once; its limit is 4", n, most.Load())
		}
	})
}

// TestStatusCodes: which responses are failures, which are retried, and when.
func TestStatusCodes(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		var leaked atomic.Bool
		elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { leaked.Store(true) })
		url := serve(t, func(rw http.ResponseWriter, r *http.Request) {
			status, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
			if err != nil {
				t.Error(err)
			}
			rw.Header().Set("Location", elsewhere)
			rw.Header().Set("Retry-After", "7200")
			rw.WriteHeader(status)
			_, _ = io.WriteString(rw, "you sent "+r.Header.Get("Authorization")+"\x00\xff"+strings.Repeat("x", 10_000))
		})
		hooks := map[int]hostler.WebhookID{}
		for _, status := range []int{200, 204, 301, 302, 307, 308, 400, 401, 404, 410, 429, 500, 503} {
			hooks[status] = e.hook(fmt.Sprint("h", status), fmt.Sprint(url, "/", status),
				func(_ *store.WebhookRow, s *webhook.Secrets) { s.Token = "canary-token" })
		}
		e.run("127.0.0.0/8", time.Minute)
		e.emit(1)
		for status, id := range hooks {
			e.await(fmt.Sprint("a try of ", status), func() bool {
				l := e.deliveries(id, "")
				return len(l) > 0 && l[0].Tries > 0
			})
			d := e.deliveries(id, "")[0]
			want := hostler.DeliveryPending
			switch status {
			case 200, 204:
				want = hostler.DeliveryDelivered
			case 410:
				want = hostler.DeliveryFailed
			}
			if d.State != want || (d.Last.Error == nil) != (want == hostler.DeliveryDelivered) || d.Last.Status != status {
				t.Errorf("%d: %s, %+v", status, d.State, d.Last)
			}
			if len(d.Last.Response) > 4<<10 || strings.Contains(fmt.Sprint(d.Last), "canary") {
				t.Errorf("%d: the stored response has %d bytes: %.80s", status, len(d.Last.Response), d.Last.Response)
			}
			if want == hostler.DeliveryPending && d.NextAt.Before(d.Created.Add(2*time.Hour)) {
				t.Errorf("%d: the next try is at %v; Retry-After asks for two hours", status, d.NextAt)
			}
		}
		if leaked.Load() {
			t.Error("a redirect was followed")
		}
		e.tx(func(tx *store.Tx) error {
			gone, err := tx.LockWebhook([]hostler.ProjectID{e.project}, hooks[410], "")
			if err == nil && (gone.Enabled || gone.Reason == nil) {
				t.Errorf("after 410 the webhook is %+v", gone.Webhook)
			}
			return err
		})
	})
}

// TestDeniedAddresses writes addresses that the egress policy denies in many forms.
// No connection is made.
func TestDeniedAddresses(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		var connects atomic.Int64
		base := serve(t, func(http.ResponseWriter, *http.Request) { connects.Add(1) })
		port := base[strings.LastIndex(base, ":")+1:]
		var ids []hostler.WebhookID
		for i, host := range []string{
			"127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]",
			"[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "0.0.0.0", "[::]", "169.254.169.254", "100.100.100.200",
		} {
			ids = append(ids, e.hook(fmt.Sprint("h", i), "http://"+host+":"+port+"/",
				func(r *store.WebhookRow, _ *webhook.Secrets) { r.Timeout = hostler.Duration(2 * time.Second) }))
		}
		e.run("")
		e.emit(1)
		for _, id := range ids {
			e.await("a failure", func() bool { return e.count(id, hostler.DeliveryFailed) == 1 })
			if d := e.deliveries(id, "")[0]; d.Last.Status != 0 || d.Last.Error == nil || d.Last.Error.ZH == "" {
				t.Errorf("%+v", d.Last)
			}
		}
		if n := connects.Load(); n != 0 {
			t.Errorf("%d connections were made", n)
		}
	})
}

// TestDNSRebinding resolves a name to an allowed address first, and then to a denied
// one: the policy is applied to the address of each connection.
func TestDNSRebinding(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		// Both addresses listen on the same port.
		var lc net.ListenConfig
		good, err := lc.Listen(t.Context(), "tcp", "127.0.0.2:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(good.Addr().String())
		bad, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		var served, connects atomic.Int64
		redirect := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			served.Add(1)
			rw.Header().Set("Location", "http://127.0.0.1:"+port+"/")
			rw.WriteHeader(http.StatusTemporaryRedirect)
		})
		srv := &httptest.Server{Listener: good, Config: &http.Server{Handler: redirect, ReadHeaderTimeout: time.Minute}}
		srv.Start()
		t.Cleanup(srv.Close)
		trap := &httptest.Server{Listener: bad, Config: &http.Server{
			Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute,
			ConnState: func(net.Conn, http.ConnState) { connects.Add(1) },
		}}
		trap.Start()
		t.Cleanup(trap.Close)
		e.resolver = egresstest.Resolver(t, "127.0.0.2", "127.0.0.1")
		id := e.hook("rebinding", "http://rebind.example.com:"+port+"/")
		e.run("127.0.0.2/32", 20*time.Millisecond)
		e.emit(1)
		e.await("both tries", func() bool { return e.count(id, hostler.DeliveryFailed) == 1 })
		d := e.deliveries(id, "")[0]
		if served.Load() != 1 || connects.Load() != 0 || len(d.Attempts) != 2 ||
			d.Attempts[0].Status != http.StatusTemporaryRedirect || d.Attempts[1].Status != 0 {
			t.Errorf("served %d, connects %d, attempts %+v", served.Load(), connects.Load(), d.Attempts)
		}
	})
}

// TestStopWaitsForRequests: a request in flight is finished and recorded when the
// notifier stops.
func TestStopWaitsForRequests(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		began, free := make(chan struct{}, 10), make(chan struct{})
		url := serve(t, func(http.ResponseWriter, *http.Request) {
			began <- struct{}{}
			<-free
		})
		id := e.hook("slow", url)
		stop := e.run("127.0.0.0/8")
		e.emit(1)
		<-began
		stopped := make(chan struct{})
		go func() {
			stop()
			close(stopped)
		}()
		close(free)
		<-stopped
		if n := e.count(id, hostler.DeliveryDelivered); n != 1 {
			t.Errorf("%d deliveries are recorded, want 1", n)
		}
	})
}

// TestClaimExpires: what a dead server had claimed is sent by another.
func TestClaimExpires(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		var calls atomic.Int64
		url := serve(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
		id := e.hook("one", url)
		e.tx(func(tx *store.Tx) error {
			event := &store.Event{Type: hostler.EventAssetCreated, Project: e.project}
			_, err := tx.QueueDeliveries([]store.NewDelivery{{Webhook: id, Project: e.project, Event: event}})
			return err
		})
		row := store.WebhookRow{Webhook: hostler.Webhook{ID: id, Enabled: true}}
		var first, second []store.ClaimedDelivery
		e.tx(func(tx *store.Tx) (err error) {
			first, err = tx.ClaimDeliveries(row, 10, time.Minute)
			return err
		})
		e.tx(func(tx *store.Tx) (err error) {
			second, err = tx.ClaimDeliveries(row, 10, time.Minute)
			return err
		})
		if len(first) != 1 || len(second) != 0 {
			t.Fatalf("claimed %d, then %d", len(first), len(second))
		}
		e.h.Advance(2 * time.Minute)
		e.run("127.0.0.0/8")
		e.await("the delivery", func() bool { return e.count(id, hostler.DeliveryDelivered) == 1 })
		if calls.Load() != 1 {
			t.Errorf("%d requests", calls.Load())
		}
	})
}

// TestSubscriptions: events are delivered to the webhooks that subscribe to them, and
// to no other project's. Those of queues and workers belong to no project.
func TestSubscriptions(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		url := serve(t, func(http.ResponseWriter, *http.Request) {})
		events := func(patterns ...string) func(*store.WebhookRow, *webhook.Secrets) {
			return func(r *store.WebhookRow, _ *webhook.Secrets) { r.Events = patterns }
		}
		off := func(r *store.WebhookRow, _ *webhook.Secrets) { r.Enabled = false }
		all := e.hook("all", url)
		want := map[hostler.WebhookID]int{
			all:                                           2,
			e.hook("ends", url, events()):                 0,
			e.hook("every", url, events("*")):             3,
			e.hook("assets", url, events("asset.*")):      1,
			e.hook("workers", url, events("worker.lost")): 1,
			e.hook("off", url, off):                       0,
		}
		e.run("127.0.0.0/8")
		e.tx(func(tx *store.Tx) error {
			other, err := tx.InsertProject("other")
			tx.Emit(other.ID, hostler.EventAssetCreated, hostler.ObjectEvent{Object: "theirs"})
			tx.Emit(e.project, hostler.EventCredentialCreated, hostler.ObjectEvent{Object: "c"})
			tx.Emit(e.project, hostler.EventAssetCreated, hostler.ObjectEvent{Object: "a"})
			tx.Emit(0, hostler.EventWorkerLost, hostler.ObjectEvent{Object: "worker1"})
			return err
		})
		e.await("two deliveries", func() bool { return e.count(all, hostler.DeliveryDelivered) == 2 })
		for id, n := range want {
			if got := e.count(id, ""); got != n {
				t.Errorf("webhook %v has %d deliveries, want %d", id, got, n)
			}
		}
	})
}

// TestManyDeadReceivers: hosts that never respond leave permits for one that does,
// however many they are, and also when they responded before.
func TestManyDeadReceivers(t *testing.T) {
	for name, tt := range map[string]struct{ hosts, limit, answers int }{
		"many that never responded": {hosts: 300, limit: 2},
		"few that responded once":   {hosts: 6, limit: 100, answers: 1},
	} {
		t.Run(name, func(t *testing.T) {
			eachEnv(t, func(t *testing.T, e *env) {
				// Longer than the test may take: no permit is released by a timeout.
				e.timeout = time.Hour
				free := make(chan struct{})
				defer close(free)
				var held, answered atomic.Int64
				var asked sync.Map // host: how often
				url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
					n, _ := asked.LoadOrStore(r.Host, new(atomic.Int64))
					if n.(*atomic.Int64).Add(1) <= int64(tt.answers) { //nolint:forcetypeassert // stored above
						answered.Add(1)
						return
					}
					held.Add(1)
					<-free
				})
				_, port, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ":")
				e.resolver = egresstest.Resolver(t, "127.0.0.1")
				for i := range tt.hosts {
					dead := fmt.Sprintf("http://dead%d.example.com:%s/", i, port)
					e.hook(fmt.Sprint("dead", i), dead, func(r *store.WebhookRow, _ *webhook.Secrets) {
						r.Limit, r.Events, r.Timeout = tt.limit, []string{"asset.created"}, hostler.Duration(e.timeout)
					})
				}
				accepts := serve(t, func(http.ResponseWriter, *http.Request) {})
				responsive := e.hook("responsive", accepts, func(r *store.WebhookRow, _ *webhook.Secrets) {
					r.Limit, r.Events = 100, []string{"asset.updated"}
				})
				e.run("127.0.0.0/8", time.Hour)
				e.emit(tt.answers)
				e.await("the first responses", func() bool { return int(answered.Load()) == tt.hosts*tt.answers })
				e.emitType(hostler.EventAssetUpdated, 1)
				e.await("the responsive one", func() bool { return e.count(responsive, hostler.DeliveryDelivered) == 1 })

				e.emit(tt.limit)
				e.await("the dead ones to take their permits", func() bool { return held.Load() >= 200 })
				e.emitType(hostler.EventAssetUpdated, 50)
				e.await("the deliveries to the responsive one", func() bool {
					return e.count(responsive, hostler.DeliveryDelivered) == 51
				})
			})
		})
	}
}
