package http

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	nethttp "net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/egress"
)

// errOwnTimeout is the cause when the timeout in the args is over, not the job's.
var errOwnTimeout = errors.New("no answer within the timeout")

// judge reads the answer and compares it with what is expected.
func (x *exchange) judge(ctx context.Context, res *nethttp.Response) action.Result {
	out := Result{
		Text: text(res), Status: res.StatusCode, URL: res.Request.URL.Redacted(), Redirects: x.redirects,
		Headers: headers(res.Header), LatencyMS: float64(time.Since(x.began).Microseconds()) / 1000,
	}
	_, _ = fmt.Fprintf(x.call.System, "%s %s: %s, %.0f ms\n", x.Method, out.URL, out.Text, out.LatencyMS)
	keep := defaultBody
	if x.MaxBody != nil {
		keep = *x.MaxBody
	}
	need := keep + 1 // one more tells whether there is more
	if x.Contains != "" {
		need = max(need, searchBytes)
	}
	var body []byte
	var err error
	if res.StatusCode >= nethttp.StatusOK { // after 101 net/http watches neither connection nor context
		body, err = io.ReadAll(io.LimitReader(res.Body, int64(need)))
	}
	out.Truncated = len(body) > keep
	out.Body = strings.ToValidUTF8(string(body[:min(keep, len(body))]), "\uFFFD")
	switch {
	case !x.Status.has(res.StatusCode):
		return action.Failed(out, hostler.ErrKindCommand, "the status is %s, which was not expected", "状态码为 %s，与期望不符", out.Text)
	case err != nil:
		return x.lost(ctx, err, out)
	case !bytes.Contains(body, []byte(x.Contains)):
		return action.Failed(out, hostler.ErrKindCommand, "the status is %s, but the body does not contain the expected text",
			"状态码为 %s，但响应体不含期望的内容", out.Text)
	}
	return action.Succeeded(out)
}

// text is the status line without what a server may have made up.
func text(res *nethttp.Response) string {
	return strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", nethttp.StatusText(res.StatusCode)))
}

// headers are the answer's, without the ones that open a session: the first ones
// by name, when they are many, each cut when it is long.
func headers(h nethttp.Header) map[string]string {
	names := slices.Sorted(maps.Keys(h))
	kept := make(map[string]string, min(len(names), maxHeaders))
	for _, name := range names[:min(len(names), maxHeaders)] {
		value := strings.Join(h[name], ", ")
		if name == "Set-Cookie" || name == "Authentication-Info" {
			value = "******"
		}
		if len(value) > headerBytes {
			value = value[:headerBytes] + "…"
		}
		kept[name] = strings.ToValidUTF8(value, "\uFFFD")
	}
	return kept
}

// failed is the result of an exchange that got no answer.
func (x *exchange) failed(ctx context.Context, err error) action.Result {
	if d, ok := errors.AsType[*egress.Denied](err); ok {
		t := d.Text()
		r := action.Failed(nil, hostler.ErrKindBadArgs, "%[1]s", "%[2]s", t.EN, t.ZH)
		r.NoRetry = true
		return r
	}
	return x.lost(ctx, err, nil)
}

// lost is the result of an exchange that broke off: unknown when it may have had
// its effect.
func (x *exchange) lost(ctx context.Context, err error, value any) action.Result {
	kind, why := reason(ctx, err, x.reached.Load())
	if x.reached.Load() && !x.safe() {
		return action.Unknown(value, kind,
			"the %[1]s may have taken effect: %[2]s", "%[1]s 请求可能已生效：%[3]s", x.Method, why.EN, why.ZH)
	}
	if errors.Is(context.Cause(ctx), action.ErrCancelled) || errors.Is(context.Cause(ctx), action.ErrFenced) {
		return action.Cancelled(value)
	}
	return action.Failed(value, kind, "%[1]s", "%[2]s", why.EN, why.ZH)
}

// reason says why there is no answer, in words of our own: the library's repeat
// URL and headers.
func reason(ctx context.Context, err error, reached bool) (kind string, why hostler.Text) {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, action.ErrCancelled), errors.Is(cause, action.ErrFenced):
		return hostler.ErrKindCancelled, hostler.Text{EN: "cancelled before the answer came", ZH: "在收到响应前被取消"}
	case errors.Is(cause, errOwnTimeout) && !reached:
		return hostler.ErrKindConnTimeout, hostler.Text{EN: "no connection in time", ZH: "连接超时"}
	case cause != nil:
		return hostler.ErrKindTimeout, hostler.Text{EN: "no complete answer in time", ZH: "未在限定时间内收到完整响应"}
	}
	if isCertificate(err) {
		return hostler.ErrKindAuth, hostler.Text{
			EN: "the server's certificate is not trusted for this name; give its authority in ca", ZH: "服务器证书不受信任或与名称不符；可在 ca 中指定其 CA 证书",
		}
	}
	if reached {
		return hostler.ErrKindConnLost, hostler.Text{EN: "the connection was lost, or the answer is not HTTP", ZH: "连接中断，或响应不是合法的 HTTP"}
	}
	return connectReason(err)
}

func isCertificate(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	_, ok := errors.AsType[x509.UnknownAuthorityError](err)
	return ok
}

func connectReason(err error) (string, hostler.Text) {
	no, _ := errors.AsType[syscall.Errno](err)
	_, dns := errors.AsType[*net.DNSError](err)
	timeout, _ := errors.AsType[net.Error](err)
	switch {
	case no == syscall.ECONNREFUSED:
		return hostler.ErrKindRefused, hostler.Text{EN: "connection refused", ZH: "连接被拒绝"}
	case dns:
		return hostler.ErrKindUnreachable, hostler.Text{EN: "the host name cannot be resolved", ZH: "无法解析主机名"}
	case no == syscall.ETIMEDOUT, timeout != nil && timeout.Timeout():
		return hostler.ErrKindConnTimeout, hostler.Text{EN: "no connection in time", ZH: "连接超时"}
	case no != 0:
		return hostler.ErrKindUnreachable, hostler.Textf("cannot connect: %s", "无法连接：%s", no.Error())
	}
	return hostler.ErrKindUnreachable, hostler.Text{EN: "no connection: the server does not speak this protocol, or hung up", ZH: "无法建立连接：服务器不支持该协议或已断开"}
}
