package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/wait"
)

// call is one request of the API.
type call struct {
	method string
	path   []string // segments below /api/v1, not escaped
	query  url.Values
	body   any           // nil for none
	raw    []byte        // a body that is not JSON; the header has its type
	idem   string        // Idempotency-Key
	extra  time.Duration // how long the server may hold the answer back
	header http.Header
}

// repeatable reports whether the request has the same effect when it is sent twice.
func (r call) repeatable() bool {
	return r.method == http.MethodGet || r.method == http.MethodPut || r.idem != ""
}

// silence is after how long a request that is repeated is noted; see [WithOutage].
const silence = 2 * time.Second

// do sends the request, repeats it where that is safe, and decodes the answer into out
// unless out is nil.
func (c *Client) do(ctx context.Context, r call, out any) error {
	body := r.raw
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return hostler.Errorf(hostler.CodeInvalid, "the request cannot be encoded: %v",
				"请求无法编码：%v", err)
		}
	}
	retry, began, noted := newBackoff(), time.Now(), false
	for try := 0; ; try++ {
		err := c.attempt(ctx, r, body, out)
		if err == nil && noted {
			c.outage(nil)
		}
		if err == nil || try >= c.retries || ctx.Err() != nil || !mayRepeat(r, err) {
			return err
		}
		if !noted && time.Since(began) > silence {
			noted = true
			c.outage(err)
		}
		if perr := c.pause(ctx, retryIn(&retry, err)); perr != nil {
			return err
		}
	}
}

// attempt sends the request one time and decodes the answer.
func (c *Client) attempt(ctx context.Context, r call, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout+r.extra)
	defer cancel()
	res, err := c.send(ctx, r, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return c.unreachable(err)
	}
	if out == nil || len(answer) == 0 {
		return nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = answer
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return notHostler(res.StatusCode, err)
	}
	return nil
}

// send returns a successful answer, whose body the caller closes.
func (c *Client) send(ctx context.Context, r call, body []byte) (*http.Response, error) {
	req, err := c.request(ctx, r, body)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, problem(res)
}

func (c *Client) request(ctx context.Context, r call, body []byte) (*http.Request, error) {
	u := c.base.JoinPath("api", "v1")
	for _, segment := range r.path {
		if segment == "" || segment == "." || segment == ".." {
			return nil, hostler.Errorf(hostler.CodeInvalid, "a name or id is missing", "缺少名称或 ID")
		}
		u = u.JoinPath(url.PathEscape(segment))
	}
	u.RawQuery = r.query.Encode()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), reader)
	if err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid, "the request cannot be made: %v",
			"无法构造请求：%v", err)
	}
	maps.Copy(req.Header, r.header)
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Accept-Language", string(c.lang))
	if body != nil && r.raw == nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if c.project != "" {
		req.Header.Set("X-Project", c.project)
	}
	if r.idem != "" {
		req.Header.Set("Idempotency-Key", r.idem)
	}
	return req, nil
}

// mayRepeat reports whether a request that failed may be repeated: it was not sent, the
// server did nothing, or it is repeatable.
func mayRepeat(r call, err error) bool {
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok {
		return false
	}
	if op, ok := errors.AsType[*net.OpError](e.Cause); ok && op.Op == "dial" {
		return true
	}
	switch e.Code {
	case hostler.CodeRateLimited:
		return true // refused before it had an effect
	case hostler.CodeUnavailable, hostler.CodeTimeout:
		return r.repeatable()
	default:
		return false
	}
}

func newBackoff() wait.Backoff { return wait.Backoff{First: firstBackoff, Max: maxBackoff} }

// retryIn returns the next wait of a backoff, or the longer one that the server
// asked for with Retry-After, a minute at most.
func retryIn(b *wait.Backoff, err error) time.Duration {
	d := b.Next()
	if e, ok := errors.AsType[*hostler.Error](err); ok && e.RetryAfter > 0 {
		d = max(d, min(time.Duration(e.RetryAfter)*time.Second, time.Minute))
	}
	return d
}

// list fetches one page of the listing at path.
func list[T any](ctx context.Context, c *Client, p hostler.Page, path ...string) (hostler.List[T], error) {
	return get[hostler.List[T]](ctx, c, pageQuery(p), path...)
}

// get fetches what is at path.
func get[T any](ctx context.Context, c *Client, q url.Values, path ...string) (T, error) {
	return fetch[T](ctx, c, call{method: http.MethodGet, path: path, query: q})
}

// fetch sends one request and decodes its answer.
func fetch[T any](ctx context.Context, c *Client, r call) (T, error) {
	var out T
	err := c.do(ctx, r, &out)
	return out, err
}

func post(body any, path ...string) call {
	return call{method: http.MethodPost, path: path, body: body}
}

func put(body any, path ...string) call {
	return call{method: http.MethodPut, path: path, body: body}
}

func patch(body any, path ...string) call {
	return call{method: http.MethodPatch, path: path, body: body}
}

func del(path ...string) call { return call{method: http.MethodDelete, path: path} }
