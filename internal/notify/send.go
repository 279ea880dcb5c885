package notify

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler/internal/webhook"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/egress"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
)

const (
	// maxResponse bounds the part of a response that is stored with a try, readLimit
	// the part that is read: a chat bot reports errors in the body.
	maxResponse = 4 << 10
	readLimit   = 64 << 10
	// maxRetryAfter bounds what a receiver may ask for by Retry-After.
	maxRetryAfter = 24 * time.Hour
	// recordTimeout bounds the transaction that records a try; see claimMargin.
	recordTimeout = 15 * time.Second
	// retryJitter spreads the waits between tries by a fifth to both sides, so that
	// deliveries which failed together are not tried again together.
	retryJitter = 0.2
	userAgent   = "Hostler-Webhooks/1"
)

// result is what one request led to.
type result struct {
	status     int           // 0 without a response
	body       []byte        // as received
	excerpt    string        // of the body, without secrets
	err        *hostler.Text // nil when the receiver accepted the delivery
	retryAfter time.Duration
	gone       bool // 410: the receiver wants no more requests
}

// try sends one message for deliveries and records the result. There are several only of
// a channel.
func (n *Notifier) try(ctx context.Context, w store.WebhookRow, list []store.ClaimedDelivery) {
	began, clock := n.store.Now(), time.Now()
	d := list[0]
	body, headers, res := n.attempt(ctx, w, list, began)
	n.cfg.Live.Tried(res.err == nil)
	attempt := hostler.DeliveryAttempt{
		N: d.Tries + 1, At: began, Millis: float64(time.Since(clock).Microseconds()) / 1000,
		Request: headers, Status: res.status, Response: res.excerpt, Error: res.err,
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	err := n.store.InTx(ctx, func(tx *store.Tx) error {
		if res.gone {
			why := hostler.Text{
				EN: "the receiver returned 410 Gone",
				ZH: "接收方返回 410 Gone，该地址已失效",
			}
			if err := tx.DisableWebhook(w.ID, why); err != nil {
				return err
			}
		}
		if w.Channel != nil && res.retryAfter > 0 {
			if err := tx.HoldWebhook(w.ID, res.retryAfter); err != nil {
				return err
			}
		}
		if err := tx.EndTry(d, n.outcome(tx.Now(), d, res, body, attempt)); err != nil {
			return err
		}
		return n.endMerged(tx, list, res, attempt)
	})
	switch {
	case err != nil:
		n.log.ErrorContext(ctx, "record a delivery; it will be sent again", "delivery", d.ID, "err", err)
	case res.gone:
		n.log.WarnContext(ctx, "webhook disabled: its receiver returned 410", "webhook", w.ID)
	}
}

// endMerged records the try for the deliveries after the first, whose message it was.
// Those that were tried equally often have one outcome.
func (n *Notifier) endMerged(
	tx *store.Tx, list []store.ClaimedDelivery, res result, a hostler.DeliveryAttempt,
) error {
	rounds := map[int][]store.ClaimedDelivery{}
	for _, d := range list[1:] {
		rounds[d.Round] = append(rounds[d.Round], d)
	}
	a.Merged, a.Request, a.Response = list[0].ID, nil, ""
	for _, round := range slices.Sorted(maps.Keys(rounds)) {
		same := rounds[round]
		a.N = same[0].Tries + 1
		if err := tx.EndMerged(same, n.outcome(tx.Now(), same[0], res, "", a)); err != nil {
			return err
		}
	}
	return nil
}

// outcome returns the new state of a delivery after a try, and when to retry it. A
// test of a webhook is not retried: a person waits for its result.
func (n *Notifier) outcome(
	now time.Time, d store.ClaimedDelivery, res result, body string, a hostler.DeliveryAttempt,
) store.DeliveryOutcome {
	o := store.DeliveryOutcome{State: hostler.DeliveryDelivered, Body: body, Attempt: a}
	switch {
	case res.err == nil:
	case res.gone || d.Round >= len(n.cfg.Retry) || d.Event.IsTest():
		o.State = hostler.DeliveryFailed
	default:
		o.State = hostler.DeliveryPending
		o.Next = now.Add(max(wait.Jitter(n.cfg.Retry[d.Round], retryJitter), res.retryAfter))
	}
	return o
}

// attempt builds and sends one request. It returns the body, and the headers with
// their secret values masked.
func (n *Notifier) attempt(
	ctx context.Context, w store.WebhookRow, list []store.ClaimedDelivery, now time.Time,
) (body string, headers map[string]string, res result) {
	d := list[0]
	secrets, err := n.cfg.Open(w.ProjectID, w.ID, w.Sealed)
	if err != nil {
		n.log.ErrorContext(ctx, "decrypt the secrets of a webhook", "webhook", w.ID, "err", err)
		return d.Body, nil, failed("cannot decrypt the secrets of the webhook: the master key has changed, "+
			"or its row in the database was altered or moved",
			"无法解密该回调的机密内容：主密钥不一致，或数据库中的该行被修改或移动")
	}
	// A retry sends the body of the first try, though the job may have changed. A message
	// of a channel is made anew: others may have been merged into it since.
	if body = d.Body; body == "" || w.Channel != nil {
		if body, err = n.body(ctx, w, list); err != nil {
			n.log.ErrorContext(ctx, "build the body of a delivery", "delivery", d.ID, "err", err)
			return "", nil, failed("cannot build the message; see the server log",
				"无法生成消息；详见服务器日志")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, min(w.Timeout.D(), n.cfg.Timeout))
	defer cancel()
	redactor := redactorOf(secrets)
	if w.Channel != nil && w.Channel.Kind == hostler.ChannelMail {
		res = n.sendMail(ctx, &w, d.ID, secrets, body)
		n.limiter.setReachable(&w, res.status != 0)
		res.err = redactText(res.err, redactor)
		return body, nil, res
	}
	req, err := newRequest(ctx, w, d.ID, secrets, body, now)
	if err != nil {
		return body, nil, failed("cannot build the request; check the URL and the secret of the webhook",
			"无法构造请求；请检查该回调的 URL 与密钥")
	}
	res = n.send(req, &w)
	n.limiter.setReachable(&w, res.status != 0)
	res.excerpt, res.err = excerpt(res.body, redactor), redactText(res.err, redactor)
	return body, maskHeaders(req, secrets), res
}

func failed(en, zh string) result { return result{err: &hostler.Text{EN: en, ZH: zh}} }

// newRequest builds the signed request of a delivery.
func newRequest(
	ctx context.Context, w store.WebhookRow, id hostler.DeliveryID, s webhook.Secrets, body string, now time.Time,
) (*http.Request, error) {
	url, payload, err := signChatBot(w.Format, s, body, now)
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
	req, err := http.NewRequestWithContext(ctx, w.Method, url, reader)
	if err != nil {
		return nil, errors.New("build a request: the URL is not valid") // err would contain the URL
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
	authorize(req, s)
	if _, forPeople := kindOf(&w); !forPeople || w.Channel != nil && w.Channel.Kind == hostler.ChannelWebhook {
		signStandard(req, s.Signing, id, payload, now)
	}
	return req, nil
}

// authorize sets the Authorization header: the bearer token, else the user of the
// URL unless the webhook has such a header of its own.
func authorize(req *http.Request, s webhook.Secrets) {
	if s.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.Token)
		return
	}
	if user := req.URL.User; user != nil && req.Header.Get("Authorization") == "" {
		pass, _ := user.Password()
		req.SetBasicAuth(user.Username(), pass)
	}
}

// send sends a request and judges the response.
func (n *Notifier) send(req *http.Request, w *store.WebhookRow) result {
	resp, err := n.transport.RoundTrip(req) // an http.Client would follow redirects
	if err != nil {
		return sendError(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read as far as needed
	var body []byte
	var readErr error
	if resp.StatusCode >= http.StatusOK { // net/http does not cancel the body of a 101
		body, readErr = io.ReadAll(io.LimitReader(resp.Body, readLimit))
	}
	res := result{
		status: resp.StatusCode, body: body,
		retryAfter: retryAfter(resp.Header.Get("Retry-After"), n.store.Now()),
	}
	switch {
	case resp.StatusCode == http.StatusGone:
		res.gone = true
		res.fail("the receiver returned 410 Gone; the webhook was disabled",
			"接收方返回 410 Gone；该回调已停用")
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		res.fail("the receiver returned %d: redirects are not followed; set the final URL",
			"接收方返回 %d：不跟随重定向；请改用最终的 URL", resp.StatusCode)
	case resp.StatusCode < 200 || resp.StatusCode >= 300:
		res.fail("the receiver returned %d", "接收方返回 %d", resp.StatusCode)
	case readErr != nil:
		res.fail("the response was cut off", "响应中断")
		return res
	}
	// A chat says more in the body, also when the status is 200.
	if kind, ok := kindOf(w); ok && !(resp.StatusCode >= 300 && resp.StatusCode < 400) {
		if refusal := kind.Refusal(resp.StatusCode, body); refusal != nil {
			res.err, res.retryAfter = &refusal.Text, max(res.retryAfter, refusal.Wait)
		}
	}
	return res
}

func (r *result) fail(en, zh string, args ...any) {
	t := hostler.Textf(en, zh, args...)
	r.err = &t
}

// sendError returns the result of a request that got no response.
func sendError(err error) (res result) {
	var denied *egress.Denied
	switch {
	case errors.As(err, &denied):
		t := denied.Text()
		res.err = &t
	case errors.Is(err, context.DeadlineExceeded):
		res.fail("timed out: no response from the receiver", "超时：接收方未响应")
	default:
		res.fail("cannot reach the receiver: %v", "无法连接接收方：%v", err)
	}
	return res
}

// retryAfter parses the header Retry-After, seconds or a date (RFC 9110 §10.2.3).
// It returns at most maxRetryAfter, and 0 for what is neither.
func retryAfter(header string, now time.Time) time.Duration {
	s, err := strconv.ParseUint(strings.TrimSpace(header), 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		s = min(s, uint64(maxRetryAfter/time.Second))
		return time.Duration(s) * time.Second //nolint:gosec // a day at most
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(0, at.Sub(now)), maxRetryAfter)
	}
	return 0
}
