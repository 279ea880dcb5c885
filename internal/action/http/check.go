package http

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	_ "embed" // the schema
	"encoding/json"
	"errors"
	"io"
	"math"
	nethttp "net/http"
	"regexp"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// This file is http_check: a request as http_request sends it, with checks of the response.

//go:embed http_check.json
var checkSchema []byte

// certificateDays is how long a certificate must still be valid by default.
const certificateDays = 14

type expectations struct {
	Pattern    string           `json:"body_pattern"`
	MaxLatency hostler.Duration `json:"max_latency"`
	Days       *int             `json:"min_certificate_days"`
	pattern    *regexp.Regexp
}

// Checked is the result of http_check.
type Checked struct {
	Text      string  `json:"text"` // "200 OK"
	Status    int     `json:"status"`
	URL       string  `json:"url"`
	LatencyMS float64 `json:"latency_ms"`
	// CertificateDays is how many whole days the certificate is still valid, negative for
	// one that has expired; nil without TLS.
	CertificateDays    *int       `json:"certificate_days,omitempty"`
	CertificateExpires *time.Time `json:"certificate_expires,omitempty"`
	CertificateIssuer  string     `json:"certificate_issuer,omitempty"`
	Problems           []string   `json:"problems,omitempty"` // in English
}

func (f *family) checkAction() action.Action {
	return action.Action{
		Name:  "http_check",
		Title: hostler.Text{EN: "HTTP check", ZH: "HTTP 检查"},
		Help: hostler.Text{
			EN: "Requests a URL from the worker and checks status, body, latency and how long its certificate is still valid. " +
				"The same addresses are refused as by http_request.",
			ZH: "从工作节点请求一个 URL，检查状态码、响应体、延迟和证书有效期。拒绝访问的地址与 http_request 相同。",
		},
		Schema:      checkSchema,
		Asset:       action.AssetOptional,
		Traits:      func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Check:       checkCheckArgs,
		Credentials: credentials,
		Elsewhere:   leavesAsset,
		Enabled:     true,
		Run:         f.check,
	}
}

func checkCheckArgs(raw json.RawMessage) []hostler.FieldError {
	_, faults := parse(raw)
	if _, more := parseCheck(raw); more != nil {
		faults = append(faults, more...)
	}
	return faults
}

func parseCheck(raw json.RawMessage) (a expectations, faults []hostler.FieldError) {
	if faults = action.Decode(raw, &a); faults != nil {
		return a, faults
	}
	var err error
	if a.pattern, err = regexp.Compile(a.Pattern); err != nil {
		return a, []hostler.FieldError{{Path: "body_pattern", Text: hostler.Text{
			EN: "is not a regular expression of RE2", ZH: "不是合法的 RE2 正则表达式",
		}}}
	}
	return a, nil
}

func (f *family) check(ctx context.Context, c *action.Call) action.Result {
	a, faults := parse(c.Args)
	own, more := parseCheck(c.Args)
	if faults = append(faults, more...); len(faults) > 0 {
		return refused(faults[0].Path, faults[0].Text)
	}
	if text := a.locate(c.Asset); text != (hostler.Text{}) {
		return refused("url", text)
	}
	x := &exchange{args: a, call: c, began: time.Now()}
	if err := x.authorise(); err != nil {
		return action.ResultOf(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.Timeout.D(), errOwnTimeout)
	defer cancel()
	req, err := x.request(ctx)
	if err != nil {
		return x.failed(ctx, err)
	}
	x.began = time.Now()
	res, err := x.client(f).Do(req)
	if err != nil {
		return x.checkFailed(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	return x.judge(ctx, own, res)
}

// checkFailed is failed, and says of an expired certificate when it expired.
func (x *exchange) checkFailed(ctx context.Context, err error) action.Result {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if !ok || invalid.Reason != x509.Expired || invalid.Cert == nil {
		return x.failed(ctx, err)
	}
	out := Checked{URL: x.destination.Redacted()}
	out.certificate(invalid.Cert)
	return action.Failed(out, hostler.ErrKindAuth, "a certificate of the server is not valid now: it is valid from %s to %s",
		"服务器的证书当前无效：有效期为 %s 至 %s", invalid.Cert.NotBefore.UTC().Format(time.DateTime), invalid.Cert.NotAfter.UTC().Format(time.DateTime))
}

func (c *Checked) certificate(cert *x509.Certificate) {
	days, at := int(math.Floor(time.Until(cert.NotAfter).Hours()/24)), cert.NotAfter.UTC()
	c.CertificateDays, c.CertificateExpires = &days, &at
	c.CertificateIssuer = strings.ToValidUTF8(cert.Issuer.String(), "\uFFFD")
}

// judge checks a response.
func (x *exchange) judge(ctx context.Context, own expectations, res *nethttp.Response) action.Result {
	latency := time.Since(x.began)
	out := Checked{
		Text: text(res), Status: res.StatusCode, URL: res.Request.URL.Redacted(),
		LatencyMS: float64(latency.Microseconds()) / 1000,
	}
	var body []byte
	var err error
	if res.StatusCode >= nethttp.StatusOK {
		body, err = io.ReadAll(io.LimitReader(res.Body, searchBytes))
	}
	var problems []hostler.Text
	add := func(bad bool, en, zh string, args ...any) {
		if bad {
			problems = append(problems, hostler.Textf(en, zh, args...))
		}
	}
	add(!x.Status.has(res.StatusCode), "the status is %s, which was not expected", "状态码为 %s，与期望不符", out.Text)
	if err != nil {
		_, why := reason(ctx, err, true)
		add(true, "%[1]s", "%[2]s", why.EN, why.ZH)
	} else {
		add(!bytes.Contains(body, []byte(x.Contains)), "the body does not contain the expected text", "响应体不含期望的内容")
		add(!own.pattern.Match(body), "the body does not match the pattern", "响应体与模式不匹配")
	}
	limit := own.MaxLatency.D()
	add(limit > 0 && latency > limit, "the latency is %s, longer than %s", "延迟为 %s，超过 %s", latency.Round(time.Millisecond), limit)
	if res.TLS != nil && len(res.TLS.PeerCertificates) > 0 {
		out.certificate(res.TLS.PeerCertificates[0])
		days := certificateDays
		if own.Days != nil {
			days = *own.Days
		}
		add(*out.CertificateDays < days, "the certificate expires in %d days, fewer than %d", "证书将在 %d 天后过期，少于 %d 天", *out.CertificateDays, days)
	}
	if len(problems) == 0 {
		return action.Succeeded(out)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errOwnTimeout) {
		return x.interrupted(ctx, cmp.Or(err, cause), out)
	}
	var en, zh []string
	for _, p := range problems {
		en, zh = append(en, p.EN), append(zh, p.ZH)
	}
	out.Problems = en
	return action.Failed(out, hostler.ErrKindCommand, "%[1]s", "%[2]s", strings.Join(en, "; "), strings.Join(zh, "；"))
}
