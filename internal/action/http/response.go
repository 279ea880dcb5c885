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

// errOwnTimeout is the context cause after the timeout in the args, not the job's.
var errOwnTimeout = errors.New("no response within the timeout")

// evaluate reads the response and compares it with the expected one.
func (x *exchange) evaluate(ctx context.Context, res *nethttp.Response) action.Result {
	out := Result{
		Text: text(res), Status: res.StatusCode, URL: res.Request.URL.Redacted(), Redirects: x.redirects,
		Headers: headers(res.Header), LatencyMS: float64(time.Since(x.began).Microseconds()) / 1000,
	}
	_, _ = fmt.Fprintf(x.call.System, "%s %s: %s, %.0f ms\n", x.Method, out.URL, out.Text, out.LatencyMS)
	keep := defaultBody
	if x.MaxBody != nil {
		keep = *x.MaxBody
	}
	need := keep + 1 // the last byte is only to detect a longer body
	if x.Contains != "" {
		need = max(need, searchBytes)
	}
	var body []byte
	var err error
	// After 101 net/http ignores the context, and reading could block for ever.
	if res.StatusCode >= nethttp.StatusOK {
		body, err = io.ReadAll(io.LimitReader(res.Body, int64(need)))
	}
	out.Truncated = len(body) > keep
	out.Body = strings.ToValidUTF8(string(body[:min(keep, len(body))]), "\uFFFD")
	switch {
	case !x.Status.has(res.StatusCode):
		return action.Failed(out, hostler.ErrKindCommand,
			"the status is %s, which was not expected", "状态码为 %s，与期望不符", out.Text)
	case err != nil:
		return x.interrupted(ctx, err, out)
	case !bytes.Contains(body, []byte(x.Contains)):
		return action.Failed(out, hostler.ErrKindCommand,
			"the status is %s, but the body does not contain the expected text",
			"状态码为 %s，但响应体不含期望的内容", out.Text)
	}
	return action.Succeeded(out)
}

// text returns the status with its standard text, not the server's.
func text(res *nethttp.Response) string {
	return strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", nethttp.StatusText(res.StatusCode)))
}

// headers returns the response's headers: the first maxHeaders by name, each cut to
// headerBytes, with the values of those that open a session masked.
func headers(h nethttp.Header) map[string]string {
	names := slices.Sorted(maps.Keys(h))
	first := make(map[string]string, min(len(names), maxHeaders))
	for _, name := range names[:min(len(names), maxHeaders)] {
		value := strings.Join(h[name], ", ")
		if name == "Set-Cookie" || name == "Authentication-Info" {
			value = "******"
		}
		if len(value) > headerBytes {
			value = value[:headerBytes] + "…"
		}
		first[name] = strings.ToValidUTF8(value, "\uFFFD")
	}
	return first
}

// failed returns the result of an exchange without a response.
func (x *exchange) failed(ctx context.Context, err error) action.Result {
	if d, ok := errors.AsType[*egress.Denied](err); ok {
		t := d.Text()
		return action.NewFault(hostler.ErrKindBadArgs, "%[1]s", "%[2]s", t.EN, t.ZH).Final().Result()
	}
	if f := action.ShortageFault(err); f != nil && !x.reached.Load() {
		return f.Result()
	}
	return x.interrupted(ctx, err, nil)
}

// interrupted returns the result of an exchange that did not complete: unknown when the
// request may have taken effect.
func (x *exchange) interrupted(ctx context.Context, err error, value any) action.Result {
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

// reason classifies why there is no complete response. It does not use the library's texts,
// which repeat URL and headers.
func reason(ctx context.Context, err error, reached bool) (kind string, why hostler.Text) {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, action.ErrCancelled), errors.Is(cause, action.ErrFenced):
		return hostler.ErrKindCancelled, hostler.Text{
			EN: "cancelled before the response arrived",
			ZH: "在收到响应前被取消",
		}
	case errors.Is(cause, errOwnTimeout) && !reached:
		return hostler.ErrKindConnTimeout, hostler.Text{EN: "timed out while connecting", ZH: "连接超时"}
	case cause != nil:
		return hostler.ErrKindTimeout, hostler.Text{
			EN: "timed out before the response was complete",
			ZH: "未在限定时间内收到完整响应",
		}
	}
	if isCertificate(err) {
		return hostler.ErrKindAuth, hostler.Text{
			EN: "the server's certificate is not trusted for this name; pass the certificate of its authority in ca",
			ZH: "服务器证书不受信任或与名称不符；可在 ca 中指定其 CA 证书",
		}
	}
	if reached {
		return hostler.ErrKindConnLost, hostler.Text{
			EN: "the connection was lost, or the response is not valid HTTP",
			ZH: "连接中断，或响应不是合法的 HTTP",
		}
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
		return hostler.ErrKindUnreachable, hostler.Text{
			EN: "the host name cannot be resolved",
			ZH: "无法解析主机名",
		}
	case no == syscall.ETIMEDOUT, timeout != nil && timeout.Timeout():
		return hostler.ErrKindConnTimeout, hostler.Text{EN: "timed out while connecting", ZH: "连接超时"}
	case no != 0:
		return hostler.ErrKindUnreachable, hostler.Textf("cannot connect: %s", "无法连接：%s", no.Error())
	}
	return hostler.ErrKindUnreachable, hostler.Text{
		EN: "cannot connect: the server does not support this protocol, or closed the connection",
		ZH: "无法建立连接：服务器不支持该协议或已断开",
	}
}
