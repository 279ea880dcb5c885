package notify_test

import (
	"context"
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

// world is a store with a project, and a notifier that runs.
type world struct {
	h        *storetest.Harness
	t        *testing.T
	project  hostler.ProjectID
	resolver *net.Resolver // nil is the system\'s
	timeout  time.Duration // of requests; 0 is the notifier's own
}

func eachWorld(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		w := &world{h: h, t: t}
		w.tx(func(tx *store.Tx) error {
			p, err := tx.InsertProject("lab")
			w.project = p.ID
			return err
		})
		fn(t, w)
	})
}

func (w *world) tx(fn func(tx *store.Tx) error) {
	w.t.Helper()
	if err := w.h.Store.InTx(w.t.Context(), fn); err != nil {
		w.t.Fatal(err)
	}
}

// run runs a publisher and a notifier; stop ends them.
func (w *world) run(allow string, retry ...time.Duration) (stop func()) {
	w.t.Helper()
	var prefixes []netip.Prefix
	if allow != "" {
		prefixes = append(prefixes, netip.MustParsePrefix(allow))
	}
	n := notify.New(notify.Config{
		Store: w.h.Store, Egress: egress.New(prefixes...), Resolver: w.resolver, Retry: retry, Timeout: w.timeout,
		// The tests do not seal: what is kept of the secrets is app's business.
		Open: func(_ hostler.WebhookID, sealed []byte) (s store.WebhookSecrets, err error) {
			return s, json.Unmarshal(sealed, &s)
		},
	})
	p := &outbox.Publisher{Store: w.h.Store, Deliver: n.Deliver, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 2)
	go func() { done <- n.Run(ctx) }()
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				w.t.Errorf("Run: %v", err)
			}
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// hook makes a webhook of the project.
func (w *world) hook(name, url string, change ...func(*store.WebhookRow, *store.WebhookSecrets)) hostler.WebhookID {
	w.t.Helper()
	row := store.WebhookRow{ProjectID: w.project, Webhook: hostler.Webhook{
		Name: name, URL: url, Format: hostler.FormatStandard, Method: http.MethodPost, Events: []string{"asset.*", "credential.*"},
		Lang: hostler.LangEN, Timeout: hostler.Duration(10 * time.Second), Limit: 4, Enabled: true,
	}}
	s := store.WebhookSecrets{URL: url, Signing: []store.SigningSecret{{Secret: secret}}}
	for _, f := range change {
		f(&row, &s)
	}
	var id hostler.WebhookID
	w.tx(func(tx *store.Tx) (err error) {
		id, err = tx.InsertWebhook(row, func(hostler.WebhookID) ([]byte, error) { return json.Marshal(s) })
		return err
	})
	return id
}

// emit makes n events of the project.
func (w *world) emit(n int) { w.emitType(hostler.EventAssetCreated, n) }

func (w *world) emitType(kind hostler.EventType, n int) {
	w.t.Helper()
	w.tx(func(tx *store.Tx) error {
		for i := range n {
			tx.Emit(w.project, kind, hostler.ObjectEvent{Object: fmt.Sprint("asset", i)})
		}
		return nil
	})
}

func (w *world) deliveries(id hostler.WebhookID, state hostler.DeliveryState) []hostler.Delivery {
	w.t.Helper()
	var out []hostler.Delivery
	err := w.h.Store.View(w.t.Context(), func(tx *store.Tx) error {
		list, err := tx.Deliveries(store.DeliveryQuery{Projects: []hostler.ProjectID{w.project}, Webhook: id, State: state}, 0, 10_000)
		if err != nil {
			return err
		}
		out = nil
		for _, d := range list {
			whole, err := tx.Delivery([]hostler.ProjectID{w.project}, d.ID)
			if err != nil {
				return err
			}
			out = append(out, *whole)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// count counts the deliveries of a webhook that are in a state.
func (w *world) count(id hostler.WebhookID, state hostler.DeliveryState) int {
	w.t.Helper()
	n := 0
	err := w.h.Store.View(w.t.Context(), func(tx *store.Tx) error {
		list, err := tx.Deliveries(store.DeliveryQuery{Projects: []hostler.ProjectID{w.project}, Webhook: id, State: state}, 0, 10_000)
		n = len(list)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// await moves the clock until a condition holds.
func (w *world) await(what string, holds func() bool) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	for !holds() {
		select {
		case <-tick.C:
			w.h.Advance(20 * time.Millisecond)
		case <-deadline.C:
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func serve(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestFaultyReceiver: of a receiver that drops answers, fails, is too slow and
// breaks off, each event is delivered, under one id, with a valid signature.
func TestFaultyReceiver(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
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
			id := r.Header.Get("Webhook-Id")
			if json.Unmarshal(body, &m) != nil || !valid(secret, id, r.Header.Get("Webhook-Timestamp"), string(body), r.Header.Get("Webhook-Signature")) {
				t.Errorf("not a valid request: %v %s", r.Header, body)
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
		id := w.hook("faulty", url, func(r *store.WebhookRow, _ *store.WebhookSecrets) {
			r.Timeout, r.Limit = hostler.Duration(150*time.Millisecond), 20
		})
		retry := make([]time.Duration, 1000) // on a loaded machine also good answers come too late
		for i := range retry {
			retry[i] = 30 * time.Millisecond
		}
		w.run("127.0.0.0/8", retry...)
		w.emit(events)
		w.await("all to be delivered", func() bool { return w.count(id, hostler.DeliveryDelivered) == events })
		mu.Lock()
		defer mu.Unlock()
		if len(taken) != events || len(ids) != events {
			t.Errorf("%d events taken, %d seen; want %d", len(taken), len(ids), events)
		}
		for pos, of := range ids {
			if len(of) != 1 {
				t.Errorf("event %d came under %d ids", pos, len(of))
			}
		}
		for _, d := range w.deliveries(id, hostler.DeliveryDelivered) {
			if len(d.Attempts) != d.Tries || d.Last.Error != nil || d.Body == "" || d.Ended == nil {
				t.Fatalf("delivery %+v", d)
			}
		}
	})
}

// TestTwoServersSendOnce: what one server has claimed the other leaves alone.
func TestTwoServersSendOnce(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const events = 300
		var mu sync.Mutex
		seen := map[string]int{}
		id := w.hook("one", serve(t, func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			seen[r.Header.Get("Webhook-Id")]++
		}))
		w.run("127.0.0.0/8")
		w.run("127.0.0.0/8")
		for range 10 {
			w.emit(events / 10)
		}
		w.await("all to be delivered", func() bool { return w.count(id, hostler.DeliveryDelivered) == events })
		mu.Lock()
		defer mu.Unlock()
		if len(seen) != events {
			t.Errorf("%d ids came, want %d", len(seen), events)
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s came %d times", id, n)
			}
		}
	})
}

// TestDeadReceiverSlowsNobody: while one receiver answers nothing, another gets all.
func TestDeadReceiverSlowsNobody(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		free := make(chan struct{})
		var atOnce, most atomic.Int64
		dead := serve(t, func(http.ResponseWriter, *http.Request) {
			most.Store(max(most.Load(), atOnce.Add(1)))
			<-free
			atOnce.Add(-1)
		})
		defer close(free)
		alive := serve(t, func(http.ResponseWriter, *http.Request) {})
		one := w.hook("dead", dead)
		two := w.hook("alive", alive)
		w.run("127.0.0.0/8", time.Hour)
		w.emit(100)
		w.await("the living one to get all", func() bool { return w.count(two, hostler.DeliveryDelivered) == 100 })
		if n := w.count(one, hostler.DeliveryDelivered); n != 0 || most.Load() > 4 {
			t.Errorf("the dead one took %d, %d at once; its limit is 4", n, most.Load())
		}
	})
}

// TestVerdicts: which answers are failures, which are tried again, and when.
func TestVerdicts(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
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
			hooks[status] = w.hook(fmt.Sprint("h", status), fmt.Sprint(url, "/", status), func(_ *store.WebhookRow, s *store.WebhookSecrets) {
				s.Token = "canary-token"
			})
		}
		w.run("127.0.0.0/8", time.Minute)
		w.emit(1)
		for status, id := range hooks {
			w.await(fmt.Sprint("a try of ", status), func() bool {
				l := w.deliveries(id, "")
				return len(l) > 0 && l[0].Tries > 0
			})
			d := w.deliveries(id, "")[0]
			want := map[int]hostler.DeliveryState{200: hostler.DeliveryDelivered, 204: hostler.DeliveryDelivered, 410: hostler.DeliveryFailed}[status]
			if want == "" {
				want = hostler.DeliveryPending
			}
			if d.State != want || (d.Last.Error == nil) != (want == hostler.DeliveryDelivered) || d.Last.Status != status {
				t.Errorf("%d: %s, %+v", status, d.State, d.Last)
			}
			if len(d.Last.Response) > 4<<10 || strings.Contains(fmt.Sprint(d.Last), "canary") {
				t.Errorf("%d: the kept answer has %d bytes: %.80s", status, len(d.Last.Response), d.Last.Response)
			}
			if want == hostler.DeliveryPending && d.NextAt.Before(d.Created.Add(2*time.Hour)) {
				t.Errorf("%d: the next try is at %v, although Retry-After asks for two hours", status, d.NextAt)
			}
		}
		if leaked.Load() {
			t.Error("a redirect was followed")
		}
		w.tx(func(tx *store.Tx) error {
			gone, err := tx.LockWebhook([]hostler.ProjectID{w.project}, hooks[410], "")
			if err == nil && (gone.Enabled || gone.Reason == nil) {
				t.Errorf("after 410 the webhook is %+v", gone.Webhook)
			}
			return err
		})
	})
}

// TestNoConnectionWhereNoneMayGo: however the address is written, nothing connects.
func TestNoConnectionWhereNoneMayGo(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		var connects atomic.Int64
		base := serve(t, func(http.ResponseWriter, *http.Request) { connects.Add(1) })
		port := base[strings.LastIndex(base, ":")+1:]
		var ids []hostler.WebhookID
		for i, host := range []string{
			"127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]",
			"[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "0.0.0.0", "[::]", "169.254.169.254", "100.100.100.200",
		} {
			ids = append(ids, w.hook(fmt.Sprint("h", i), "http://"+host+":"+port+"/", func(r *store.WebhookRow, _ *store.WebhookSecrets) {
				r.Timeout = hostler.Duration(2 * time.Second)
			}))
		}
		w.run("")
		w.emit(1)
		for _, id := range ids {
			w.await("a failure", func() bool { return w.count(id, hostler.DeliveryFailed) == 1 })
			if d := w.deliveries(id, "")[0]; d.Last.Status != 0 || d.Last.Error == nil || d.Last.Error.ZH == "" {
				t.Errorf("%+v", d.Last)
			}
		}
		if n := connects.Load(); n != 0 {
			t.Errorf("%d connections were made", n)
		}
	})
}

// TestRebindingIsRefused: each connection is judged by where it goes, whatever the name
// said before; a redirect leads nowhere.
func TestRebindingIsRefused(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		// One name, first at an address that is allowed and then at one that is not,
		// where somebody listens on the same port.
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
		srv := &httptest.Server{Listener: good, Config: &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			served.Add(1)
			rw.Header().Set("Location", "http://127.0.0.1:"+port+"/")
			rw.WriteHeader(http.StatusTemporaryRedirect)
		}), ReadHeaderTimeout: time.Minute}}
		srv.Start()
		t.Cleanup(srv.Close)
		trap := &httptest.Server{Listener: bad, Config: &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute, ConnState: func(net.Conn, http.ConnState) {
			connects.Add(1)
		}}}
		trap.Start()
		t.Cleanup(trap.Close)
		w.resolver = egresstest.Resolver(t, "127.0.0.2", "127.0.0.1")
		id := w.hook("rebinding", "http://rebind.example.com:"+port+"/")
		w.run("127.0.0.2/32", 20*time.Millisecond)
		w.emit(1)
		w.await("both tries", func() bool { return w.count(id, hostler.DeliveryFailed) == 1 })
		d := w.deliveries(id, "")[0]
		if served.Load() != 1 || connects.Load() != 0 || len(d.Attempts) != 2 || d.Attempts[0].Status != http.StatusTemporaryRedirect || d.Attempts[1].Status != 0 {
			t.Errorf("served %d, connects %d, attempts %+v", served.Load(), connects.Load(), d.Attempts)
		}
	})
}

// TestStopWaitsForRequests: what is in flight at the end is ended and recorded.
func TestStopWaitsForRequests(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		began, free := make(chan struct{}, 10), make(chan struct{})
		url := serve(t, func(http.ResponseWriter, *http.Request) {
			began <- struct{}{}
			<-free
		})
		id := w.hook("slow", url)
		stop := w.run("127.0.0.0/8")
		w.emit(1)
		<-began
		stopped := make(chan struct{})
		go func() {
			stop()
			close(stopped)
		}()
		close(free)
		<-stopped
		if n := w.count(id, hostler.DeliveryDelivered); n != 1 {
			t.Errorf("%d deliveries are recorded, want 1", n)
		}
	})
}

// TestClaimOfADeadServerEnds: what another server had in hand is sent again.
func TestClaimOfADeadServerEnds(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		var calls atomic.Int64
		url := serve(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
		id := w.hook("one", url)
		w.tx(func(tx *store.Tx) error {
			_, err := tx.QueueDeliveries([]store.NewDelivery{{Webhook: id, Project: w.project, Event: &store.Event{Type: hostler.EventAssetCreated, Project: w.project}}})
			return err
		})
		row := store.WebhookRow{Webhook: hostler.Webhook{ID: id, Enabled: true}}
		var first, second []store.ClaimedDelivery
		w.tx(func(tx *store.Tx) (err error) {
			first, err = tx.ClaimDeliveries(row, 10, time.Minute)
			return err
		})
		w.tx(func(tx *store.Tx) (err error) {
			second, err = tx.ClaimDeliveries(row, 10, time.Minute)
			return err
		})
		if len(first) != 1 || len(second) != 0 {
			t.Fatalf("claimed %d, then %d", len(first), len(second))
		}
		w.h.Advance(2 * time.Minute)
		w.run("127.0.0.0/8")
		w.await("the delivery", func() bool { return w.count(id, hostler.DeliveryDelivered) == 1 })
		if calls.Load() != 1 {
			t.Errorf("%d requests", calls.Load())
		}
	})
}

// TestWhoIsTold: events go to the webhooks that ask for them, and to no other
// project's. Queues and workers belong to no project.
func TestWhoIsTold(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		url := serve(t, func(http.ResponseWriter, *http.Request) {})
		all := w.hook("all", url)
		ends := w.hook("ends", url, func(r *store.WebhookRow, _ *store.WebhookSecrets) { r.Events = nil })
		every := w.hook("every", url, func(r *store.WebhookRow, _ *store.WebhookSecrets) { r.Events = []string{"*"} })
		assets := w.hook("assets", url, func(r *store.WebhookRow, _ *store.WebhookSecrets) { r.Events = []string{"asset.*"} })
		workers := w.hook("workers", url, func(r *store.WebhookRow, _ *store.WebhookSecrets) { r.Events = []string{"worker.lost"} })
		off := w.hook("off", url, func(r *store.WebhookRow, _ *store.WebhookSecrets) { r.Enabled = false })
		w.run("127.0.0.0/8")
		w.tx(func(tx *store.Tx) error {
			other, err := tx.InsertProject("other")
			tx.Emit(other.ID, hostler.EventAssetCreated, hostler.ObjectEvent{Object: "theirs"})
			tx.Emit(w.project, hostler.EventCredentialCreated, hostler.ObjectEvent{Object: "c"})
			tx.Emit(w.project, hostler.EventAssetCreated, hostler.ObjectEvent{Object: "a"})
			tx.Emit(0, hostler.EventWorkerLost, hostler.ObjectEvent{Object: "worker1"})
			return err
		})
		w.await("two deliveries", func() bool { return w.count(all, hostler.DeliveryDelivered) == 2 })
		for name, tt := range map[string]struct {
			id   hostler.WebhookID
			want int
		}{"all": {all, 2}, "every": {every, 3}, "ends": {ends, 0}, "assets": {assets, 1}, "workers": {workers, 1}, "off": {off, 0}} {
			if got := w.count(tt.id, ""); got != tt.want {
				t.Errorf("%s: %d deliveries, want %d", name, got, tt.want)
			}
		}
	})
}

// TestManyDeadReceivers: hosts that keep every request waiting leave room for one
// that does not, however many they are, and also when they answered before.
func TestManyDeadReceivers(t *testing.T) {
	for name, tt := range map[string]struct{ hosts, limit, answers int }{
		"many that never answer": {hosts: 300, limit: 2},
		"few that answered once": {hosts: 6, limit: 100, answers: 1},
	} {
		t.Run(name, func(t *testing.T) {
			eachWorld(t, func(t *testing.T, w *world) {
				// Longer than the test may take: no place is given back by time.
				w.timeout = time.Hour
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
				w.resolver = egresstest.Resolver(t, "127.0.0.1")
				for i := range tt.hosts {
					w.hook(fmt.Sprint("dead", i), fmt.Sprintf("http://dead%d.example.com:%s/", i, port), func(r *store.WebhookRow, _ *store.WebhookSecrets) {
						r.Limit, r.Events, r.Timeout = tt.limit, []string{"asset.created"}, hostler.Duration(w.timeout)
					})
				}
				alive := w.hook("alive", serve(t, func(http.ResponseWriter, *http.Request) {}), func(r *store.WebhookRow, _ *store.WebhookSecrets) {
					r.Limit, r.Events = 100, []string{"asset.updated"}
				})
				w.run("127.0.0.0/8", time.Hour)
				w.emit(tt.answers)
				w.await("the answers", func() bool { return int(answered.Load()) == tt.hosts*tt.answers })
				w.emitType(hostler.EventAssetUpdated, 1)
				w.await("the living one to answer", func() bool { return w.count(alive, hostler.DeliveryDelivered) == 1 })

				w.emit(tt.limit)
				w.await("the places to be taken", func() bool { return held.Load() >= 200 })
				w.emitType(hostler.EventAssetUpdated, 50)
				w.await("the living one to get all", func() bool { return w.count(alive, hostler.DeliveryDelivered) == 51 })
			})
		})
	}
}
