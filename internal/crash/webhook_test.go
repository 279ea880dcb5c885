package crash

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/store/storetest"
)

const (
	fanOut      = 100 // events of one call
	webhookWait = 200 * time.Millisecond
	deliverTime = 4 * time.Minute
)

func TestKillServerWhileItDeliversOnSQLite(t *testing.T) {
	t.Parallel()
	deliverAll(t, "", 10_000, 6)
}

func TestKillServerWhileItDeliversOnPostgres(t *testing.T) {
	t.Parallel()
	deliverAll(t, storetest.Postgres(t), 3_000, 3)
}

// deliverAll runs a server that delivers events to a faulty receiver and to one that never
// answers, and kills it repeatedly. Each event must arrive, under one id, with a valid
// signature.
func deliverAll(t *testing.T, db string, events, kills int) {
	r := newRig(t, db, "HOSTLER_EGRESS_ALLOW=127.0.0.0/8", "HOSTLER_WEBHOOK_RETRY="+strings.Repeat("200ms,", 15)+"200ms")
	rcv := newReceiver(t)
	rcv.secret = r.subscribe("faulty", rcv.URL)
	unresponsive := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the client has gone
		<-r.Context().Done()
	}))
	t.Cleanup(unresponsive.Close)
	r.subscribe("unresponsive", unresponsive.URL)
	for i := range fanOut {
		_, err := r.client.CreateAsset(t.Context(), hostler.AssetInput{
			Name: fmt.Sprintf("web%d", i), Address: "127.0.0.1", Labels: map[string]string{"role": "web"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var producer sync.WaitGroup
	producer.Go(func() { r.createEvents(events) })
	for n := range kills {
		// Kill the server while requests are in flight.
		r.until("more deliveries", func() bool { return rcv.taken() >= (n+1)*events/(kills+2) })
		r.kill()
		r.start()
	}
	producer.Wait()
	r.until("all deliveries", func() bool { return rcv.taken() == events })
	r.until("the last answers", func() bool {
		w, err := r.client.Webhook(t.Context(), "faulty")
		return err == nil && w.Counts == hostler.WebhookCounts{Delivered: events}
	})
	rcv.compare(events)
}

func (r *rig) subscribe(name, url string) (secret string) {
	r.t.Helper()
	made, err := r.client.CreateWebhook(r.t.Context(), hostler.WebhookInput{
		Name: name, URL: url, Events: []string{"job.scheduled"}, GenerateSecret: true,
		Timeout: hostler.Duration(webhookWait), Limit: 32,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return made.Secret
}

// createEvents creates scheduled jobs, one per event. It repeats a call without an answer
// under the same idempotency key.
func (r *rig) createEvents(events int) {
	req := hostler.JobRequest{
		Action: "check_port", Labels: map[string]string{"role": "web"}, Delay: hostler.Duration(24 * time.Hour),
	}
	for n := range events / fanOut {
		for deadline := time.Now().Add(time.Minute); ; r.wait(20 * time.Millisecond) {
			made, err := r.client.CreateJobs(r.t.Context(), req, client.CreateOptions{IdempotencyKey: fmt.Sprint("fan-out ", n)})
			if err == nil && made.Count == fanOut {
				break
			}
			if time.Now().After(deadline) {
				r.t.Errorf("call %d: %v", n, err)
				return
			}
		}
	}
}

func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(deliverTime); !holds(); r.wait(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// receiver takes events, but fails three times in ten: it accepts one and drops
// the answer, answers 500, or answers too slowly or incompletely.
type receiver struct {
	*httptest.Server
	t      *testing.T
	secret string
	faults [4]atomic.Int64

	mu   sync.Mutex
	took map[int64]bool            // events answered with success
	ids  map[int64]map[string]bool // by event
	of   map[string]int64          // event by id
	body map[string]string         // by id
	bad  []string
}

func newReceiver(t *testing.T) *receiver {
	rc := &receiver{
		t: t, took: map[int64]bool{}, ids: map[int64]map[string]bool{}, of: map[string]int64{},
		body: map[string]string{},
	}
	rc.Server = httptest.NewServer(rc)
	t.Cleanup(rc.Close)
	return rc
}

func (rc *receiver) taken() int {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return len(rc.took)
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the server was killed while it sent
	}
	pos := rc.note(r.Header, body)
	switch n := rand.N(40); {
	case n < 4:
		rc.faults[0].Add(1)
		panic(http.ErrAbortHandler)
	case n < 8:
		rc.faults[1].Add(1)
		w.WriteHeader(http.StatusInternalServerError)
		return
	case n < 10:
		rc.faults[2].Add(1)
		<-r.Context().Done()
		return
	case n < 12:
		rc.faults[3].Add(1)
		w.Header().Set("Content-Length", "4096")
		_, _ = io.WriteString(w, "so far")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.took[pos] = true
}

// note checks a request and remembers its id.
func (rc *receiver) note(h http.Header, body []byte) int64 {
	var m struct {
		Type string `json:"type"`
		Pos  int64  `json:"pos"`
	}
	id := h.Get("Webhook-Id")
	err := json.Unmarshal(body, &m)
	rc.mu.Lock()
	defer rc.mu.Unlock()
	other, known := rc.of[id]
	switch {
	case err != nil || m.Type != "job.scheduled" || m.Pos == 0 || id == "":
		rc.bad = append(rc.bad, fmt.Sprintf("not an event: %q %s", id, body))
	case known && other != m.Pos:
		rc.bad = append(rc.bad, fmt.Sprintf("events %d and %d have the same id %s", other, m.Pos, id))
	case known && rc.body[id] != string(body):
		rc.bad = append(rc.bad, fmt.Sprintf("event id %s was received with the bodies %s and %s", id, rc.body[id], body))
	case !rc.signed(h, body):
		rc.bad = append(rc.bad, fmt.Sprintf("event %d is not signed: %v", m.Pos, h))
	}
	if rc.ids[m.Pos] == nil {
		rc.ids[m.Pos] = map[string]bool{}
	}
	rc.ids[m.Pos][id], rc.of[id], rc.body[id] = true, m.Pos, string(body)
	return m.Pos
}

// signed checks a request by the specification of Standard Webhooks, without
// code of the server.
func (rc *receiver) signed(h http.Header, body []byte) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(rc.secret, "whsec_"))
	if err != nil || len(key) < 24 {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", h.Get("Webhook-Id"), h.Get("Webhook-Timestamp"), body)
	return h.Get("Webhook-Signature") == "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (rc *receiver) compare(events int) {
	rc.t.Helper()
	rc.mu.Lock()
	defer rc.mu.Unlock()
	for _, what := range rc.bad[:min(len(rc.bad), 5)] {
		rc.t.Error(what)
	}
	if len(rc.ids) != events {
		rc.t.Errorf("received %d events, want %d", len(rc.ids), events)
	}
	for pos, ids := range rc.ids {
		if len(ids) != 1 {
			rc.t.Errorf("event %d was received under %d ids", pos, len(ids))
		}
	}
	total := int64(0)
	for i := range rc.faults {
		n := rc.faults[i].Load()
		if total += n; n == 0 {
			rc.t.Errorf("fault %d never happened", i)
		}
	}
	rc.t.Logf("%d events delivered in spite of %d faults", events, total)
}
