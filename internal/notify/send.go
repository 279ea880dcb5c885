package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/egress"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
)

const (
	responseKept = 4 << 10
	// responseRead is what is looked at of an answer, for a robot's verdict.
	responseRead = 64 << 10
	// longestWait bounds what a receiver may ask for by Retry-After.
	longestWait = 24 * time.Hour
	// recordLimit bounds the writing of what came of a request; it is shorter than
	// recordSpan.
	recordLimit = 15 * time.Second
	userAgent   = "Hostler-Webhooks/1"
)

// verdict is what one request came to.
type verdict struct {
	status   int
	answer   []byte        // as it came
	response string        // what is kept of it
	err      *hostler.Text // nil: the receiver took it
	after    time.Duration // that the receiver asks to wait
	gone     bool
}

// try makes one request for a delivery and records what came of it.
func (n *Notifier) try(ctx context.Context, w store.WebhookRow, d store.ClaimedDelivery) {
	began, clock := n.store.Now(), time.Now()
	body, sent, v := n.attempt(ctx, w, d, began)
	attempt := hostler.DeliveryAttempt{
		N: d.Tries + 1, At: began, Millis: float64(time.Since(clock).Microseconds()) / 1000,
		Request: sent, Status: v.status, Response: v.response, Error: v.err,
	}
	ctx, cancel := context.WithTimeout(ctx, recordLimit)
	defer cancel()
	err := n.store.InTx(ctx, func(tx *store.Tx) error {
		if v.gone {
			why := hostler.Text{EN: "the receiver answered 410: it is gone", ZH: "接收方返回 410：该地址已不存在"}
			if err := tx.DisableWebhook(w.ID, why); err != nil {
				return err
			}
		}
		return tx.EndTry(d, n.outcome(tx.Now(), d, v, body, attempt))
	})
	switch {
	case err != nil:
		n.log.ErrorContext(ctx, "the outcome of a delivery was not recorded; it is sent again", "delivery", d.ID, "err", err)
	case v.gone:
		n.log.WarnContext(ctx, "a webhook is disabled: its receiver answered 410", "webhook", w.ID)
	}
}

// outcome decides whether and when to try again.
func (n *Notifier) outcome(now time.Time, d store.ClaimedDelivery, v verdict, body string, a hostler.DeliveryAttempt) store.DeliveryOutcome {
	o := store.DeliveryOutcome{State: hostler.DeliveryDelivered, Body: body, Attempt: a}
	switch {
	case v.err == nil:
	case v.gone || d.Round >= len(n.cfg.Retry) || d.Event.Type == hostler.EventWebhookPing:
		o.State = hostler.DeliveryFailed
	default:
		o.State = hostler.DeliveryPending
		o.Next = now.Add(max(wait.Jitter(n.cfg.Retry[d.Round], retryJitter), v.after))
	}
	return o
}

// retryJitter spreads the waits between tries by a fifth to both sides, so that
// deliveries which failed together are not tried again together.
const retryJitter = 0.2

// attempt makes one request. It returns the body, and the headers as they may be
// shown.
func (n *Notifier) attempt(ctx context.Context, w store.WebhookRow, d store.ClaimedDelivery, now time.Time) (body string, sent map[string]string, v verdict) {
	secrets, err := n.cfg.Open(w.ID, w.Sealed)
	if err != nil {
		n.log.ErrorContext(ctx, "the secrets of a webhook cannot be opened", "webhook", w.ID, "err", err)
		return d.Body, nil, failed("its secrets cannot be opened: the master key is another one", "无法解开其机密内容：主密钥不一致")
	}
	if body = d.Body; body == "" {
		if body, err = n.body(ctx, w, d); err != nil {
			n.log.ErrorContext(ctx, "the body of a delivery cannot be made", "delivery", d.ID, "err", err)
			return "", nil, failed("the message could not be made; the server's log says why", "无法生成消息；详见服务器日志")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, min(w.Timeout.D(), n.cfg.Timeout))
	defer cancel()
	req, err := request(ctx, w, d.ID, secrets, body, now)
	if err != nil {
		return body, nil, failed("the request cannot be made of this webhook", "无法按此回调构造请求")
	}
	v = n.send(req, w.Format)
	n.places.answered(&w, v.status != 0)
	hide := redactorOf(secrets)
	v.response, v.err = keptResponse(v.answer, hide), redactText(v.err, hide)
	return body, shown(req, secrets), v
}

func failed(en, zh string) verdict { return verdict{err: &hostler.Text{EN: en, ZH: zh}} }

// request makes the signed request.
func request(ctx context.Context, w store.WebhookRow, id hostler.DeliveryID, s store.WebhookSecrets, body string, now time.Time) (*http.Request, error) {
	raw, payload, err := signRobot(w.Format, s, body, now)
	if err != nil {
		return nil, err
	}
	if w.Method == http.MethodGet && w.Format != hostler.FormatNetPulse {
		payload = "" // NetPulse's GET has a body
	}
	var reader io.Reader
	if payload != "" {
		reader = strings.NewReader(payload)
	}
	req, err := http.NewRequestWithContext(ctx, w.Method, raw, reader)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", errors.New("the URL is not valid")) // the error holds the URL
	}
	for name, value := range s.Headers {
		req.Header.Set(name, value)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", userAgent)
	}
	if reader != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.Token)
	} else if user := req.URL.User; user != nil && req.Header.Get("Authorization") == "" {
		pass, _ := user.Password()
		req.SetBasicAuth(user.Username(), pass)
	}
	if !isRobot(w.Format) {
		stamp := now.Unix()
		req.Header.Set("Webhook-Id", id.String())
		req.Header.Set("Webhook-Timestamp", strconv.FormatInt(stamp, 10))
		if sig := Signature(s.Signing, id.String(), stamp, payload, now); sig != "" {
			req.Header.Set("Webhook-Signature", sig)
		}
	}
	return req, nil
}

// shown are the headers of a request without what is secret.
func shown(req *http.Request, s store.WebhookSecrets) map[string]string {
	out := make(map[string]string, len(req.Header))
	for name := range req.Header {
		_, own := s.Headers[name]
		switch {
		case own || name == "Authorization":
			out[name] = hostler.Masked
		default:
			out[name] = req.Header.Get(name)
		}
	}
	return out
}

// send makes the request and judges the answer, which may hold secrets.
func (n *Notifier) send(req *http.Request, f hostler.WebhookFormat) verdict {
	res, err := n.transport.RoundTrip(req) // no http.Client: it would look at redirects
	if err != nil {
		return unsent(err)
	}
	defer func() { _ = res.Body.Close() }() // read as far as wanted
	var text []byte
	var readErr error
	if res.StatusCode >= http.StatusOK { // after 101 net/http watches neither connection nor context
		text, readErr = io.ReadAll(io.LimitReader(res.Body, responseRead))
	}
	v := verdict{status: res.StatusCode, answer: text, after: retryAfter(res.Header.Get("Retry-After"), n.store.Now())}
	switch {
	case res.StatusCode == http.StatusGone:
		v.gone = true
		v.fail("410: the receiver is gone", "410：接收方已不存在")
	case res.StatusCode >= 300 && res.StatusCode < 400:
		v.fail("%d: redirects are not followed; change the URL", "%d：不跟随重定向；请修改 URL", res.StatusCode)
	case res.StatusCode < 200 || res.StatusCode >= 300:
		v.fail("the receiver answered %d", "接收方返回 %d", res.StatusCode)
	case readErr != nil:
		v.fail("the answer broke off", "应答中断")
	case isRobot(f):
		v.err = refusal(text)
	}
	return v
}

func (v *verdict) fail(en, zh string, args ...any) {
	t := hostler.Textf(en, zh, args...)
	v.err = &t
}

// unsent says why there is no answer.
func unsent(err error) verdict {
	var denied *egress.Denied
	var v verdict
	switch {
	case errors.As(err, &denied):
		t := denied.Text()
		v.err = &t
	case errors.Is(err, context.DeadlineExceeded):
		v.fail("no answer in time", "未及时应答")
	default:
		v.fail("not reached: %v", "无法送达：%v", err)
	}
	return v
}

// retryAfter reads the header Retry-After, seconds or a date (RFC 9110 §10.2.3), and
// waits no longer than longestWait, whatever it asks for.
func retryAfter(h string, now time.Time) time.Duration {
	s, err := strconv.ParseUint(strings.TrimSpace(h), 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(s, uint64(longestWait/time.Second))) * time.Second //nolint:gosec // a day at most
	}
	if at, err := http.ParseTime(h); err == nil {
		return min(max(0, at.Sub(now)), longestWait)
	}
	return 0
}
