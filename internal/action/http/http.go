// Package http has the action that sends an HTTP request from the worker.
//
// # Model
//
// One exchange over fresh connections, whose addresses internal/egress checks: a job cannot
// reach the server itself, the local link or a cloud's metadata service. Redirects are
// followed on request; every hop is checked, and headers, credential and body are not sent to
// another origin than the first.
//
//	parse       args, with the faults that the schema cannot see
//	locate      a path gets the asset's address and port
//	authorise   the Authorization header from the credential
//	evaluate    the response, compared with expect_status and expect_body
//
// # Invariants
//
//   - EgressChecked: every connection goes to an address that the egress policy allows.
//   - SameOrigin: what the job gave for one origin is not sent to another.
//   - UnknownWhenReached: a request that may change something and may have reached the server
//     ends as succeeded, failed by its response, or unknown; never as failed because there
//     was no response.
package http

import (
	"cmp"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"errors"
	"maps"
	"net"
	nethttp "net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/egress"
)

//go:embed http_request.json
var schema []byte

const (
	defaultTimeout = 30 * time.Second
	maxTimeout     = 10 * time.Minute
	defaultBody    = 64 << 10 // bytes of the response in the result
	maxHeaders     = 64       // of the response, kept in the result
	headerBytes    = 1 << 10  // of each of them
	searchBytes    = 1 << 20  // bytes that are searched for expect_body
	maxRedirects   = 5
)

// Options of the family.
type Options struct {
	// Allow lists ranges that may be reached although internal/egress denies them
	// (configuration: egress_allow).
	Allow []netip.Prefix
	// Resolver resolves names; nil is the system's.
	Resolver *net.Resolver
}

// family is what all runs share.
type family struct {
	policy   *egress.Policy
	resolver *net.Resolver
}

// Actions lists the actions of the family.
func Actions(o Options) []action.Action {
	f := &family{policy: egress.New(o.Allow...), resolver: o.Resolver}
	return []action.Action{{
		Name:  "http_request",
		Title: hostler.Text{EN: "HTTP request", ZH: "HTTP 请求"},
		Help: hostler.Text{
			EN: "Sends one HTTP request from the worker and compares status and body with the expected ones " +
				"(default: 2xx). Addresses of the worker itself, link-local and cloud metadata addresses " +
				"are refused unless egress_allow contains them.",
			ZH: "从工作节点发送一个 HTTP 请求，并将状态码和响应体与期望值比较（默认 2xx）。" +
				"除非 egress_allow 放行，否则拒绝访问本机、链路本地和云元数据地址。",
		},
		Schema:      schema,
		Asset:       action.AssetOptional,
		Traits:      traits,
		Check:       checkArgs,
		Credentials: credentials,
		SecretUse:   secretUse,
		Elsewhere:   leavesAsset,
		Enabled:     true,
		Run:         f.run,
	}, f.checkAction()}
}

type args struct {
	URL         string            `json:"url"`
	Method      string            `json:"method"`
	Headers     map[string]string `json:"headers"`
	Body        string            `json:"body"`
	Status      statusSet         `json:"expect_status"`
	Contains    string            `json:"expect_body"`
	Timeout     hostler.Duration  `json:"timeout"`
	Follow      bool              `json:"follow_redirects"`
	Credential  string            `json:"credential"`
	CA          string            `json:"ca"`
	MaxBody     *int              `json:"max_body"`
	destination *url.URL          // URL, parsed; only a path until the asset is known
	roots       *x509.CertPool    // CA, parsed; nil is the system's
}

// parse reads args. The faults are those that the schema cannot see.
func parse(raw json.RawMessage) (args, []hostler.FieldError) {
	var a args
	if faults := action.Decode(raw, &a); faults != nil {
		return a, faults
	}
	if a.Method == "" {
		a.Method = nethttp.MethodGet
	}
	if a.Timeout == 0 {
		a.Timeout = hostler.Duration(defaultTimeout)
	}
	if a.Status == nil {
		a.Status = statusSet{{200, 299}}
	}
	var f check.Fields
	f.Require(a.Timeout.D() <= maxTimeout, "timeout",
		"must be a duration of at most %s", "必须是不超过 %s 的时长", maxTimeout)
	f.Require(a.Contains == "" || a.Method != nethttp.MethodHead, "expect_body",
		"cannot be given with HEAD, whose response has no body", "HEAD 的响应没有响应体，不能指定")
	if a.CA != "" {
		a.roots = x509.NewCertPool()
		f.Require(a.roots.AppendCertsFromPEM([]byte(a.CA)), "ca",
			"must contain a certificate in PEM form", "必须包含 PEM 格式的证书")
	}
	for _, name := range slices.Sorted(maps.Keys(a.Headers)) {
		a.checkHeader(&f, name)
	}
	var text hostler.Text
	if a.destination, text = parseTarget(a.URL); text != (hostler.Text{}) {
		f.AddText("url", text)
	}
	return a, f.Faults()
}

// parseTarget reads the url of the args: a complete URL, or a path on the asset.
func parseTarget(s string) (*url.URL, hostler.Text) {
	if !strings.HasPrefix(s, "/") {
		return parseURL(s)
	}
	u, err := url.Parse(s)
	if err != nil || u.Host != "" || strings.HasPrefix(s, "//") || strings.HasPrefix(s, `/\`) {
		return nil, hostler.Text{
			EN: "must be a complete http or https URL, or a path that begins with a single /",
			ZH: "必须是完整的 http 或 https URL，或以单个 / 开头的路径",
		}
	}
	return u, hostler.Text{}
}

// locate completes a path with the asset's address and port. A complete URL is used as it
// is, whatever the asset.
func (a *args) locate(asset *hostler.LeaseAsset) hostler.Text {
	if a.destination.Host != "" {
		return hostler.Text{}
	}
	if asset == nil {
		return hostler.Text{
			EN: "is a path, but the job has no asset whose address would complete it",
			ZH: "是路径，但作业没有可补全地址的资产",
		}
	}
	at := *a.destination
	at.Scheme, at.Host = "http", net.JoinHostPort(asset.Address, strconv.Itoa(cmp.Or(asset.Port, 80)))
	u, text := parseURL(at.String()) // refuses what is not an address
	if text != (hostler.Text{}) {
		return hostler.Textf("the address of asset %s is neither an IP address nor a host name",
			"资产 %s 的地址既不是 IP 地址也不是主机名", asset.Name)
	}
	a.destination = u
	return hostler.Text{}
}

// parseURL reads an absolute http(s) URL. The text is what is wrong with it, without
// repeating it.
func parseURL(s string) (*url.URL, hostler.Text) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, hostler.Text{
			EN: "must be a complete http or https URL",
			ZH: "必须是完整的 http 或 https URL",
		}
	case u.User != nil:
		return nil, hostler.Text{
			EN: "must not contain a user or password; use a credential",
			ZH: "不得包含用户名或密码；请使用凭据",
		}
	case !validPort(u):
		return nil, hostler.Text{EN: "must have a port from 1 to 65535", ZH: "端口必须在 1 到 65535 之间"}
	}
	return u, hostler.Text{}
}

func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.Atoi(u.Port())
	return err == nil && n >= 1 && n <= 65535
}

// hopByHop lists the headers that the connection sets. If a job could set them, one request
// could pass for two (request smuggling).
var hopByHop = []string{
	"Connection", "Content-Length", "Expect", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

func (a *args) checkHeader(f *check.Fields, name string) {
	switch canonical := nethttp.CanonicalHeaderKey(name); {
	case slices.Contains(hopByHop, canonical):
		f.Add("headers."+name, "is set by the connection and cannot be given", "由连接设置，不能指定")
	case canonical == "Authorization" && a.Credential != "":
		f.Add("headers."+name, "cannot be given with a credential", "不能与凭据同时指定")
	}
}

func checkArgs(raw json.RawMessage) []hostler.FieldError {
	_, faults := parse(raw)
	return faults
}

// traits: only the safe methods of RFC 9110 §9.2.1 are idempotent here. PUT and DELETE are
// by their definition, but many services treat a second one differently.
func traits(raw json.RawMessage) action.Traits {
	a, _ := parse(raw)
	return action.Traits{Idempotent: a.safe()}
}

func (a *args) safe() bool {
	return a.Method == nethttp.MethodGet || a.Method == nethttp.MethodHead || a.Method == nethttp.MethodOptions
}

func credentials(raw json.RawMessage) []action.CredentialUse {
	a, _ := parse(raw)
	if a.Credential == "" {
		return nil
	}
	use := secretUse(raw)
	use.Name = a.Credential
	return []action.CredentialUse{use}
}

// secretUse is the use of a credential that a request is.
func secretUse(raw json.RawMessage) action.CredentialUse {
	use := action.CredentialUse{Use: hostler.UseHTTP}
	if a, _ := parse(raw); a.destination != nil && a.destination.Host != "" {
		use.Origin = origin(a.destination)
	}
	return use
}

// leavesAsset reports whether the request may go to a host other than the asset: one that
// the URL names, or that the asset's answer redirects to.
func leavesAsset(raw json.RawMessage) bool {
	a, _ := parse(raw)
	return a.Follow || a.destination != nil && a.destination.Host != ""
}

// statusSet is a set of status codes, as closed ranges.
type statusSet [][2]int

// UnmarshalJSON reads 200, "2xx", "200-204", or a list of these.
func (s *statusSet) UnmarshalJSON(raw []byte) error {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		items = []json.RawMessage{raw}
	}
	for _, item := range items {
		r, err := parseStatus(strings.Trim(string(item), `"`))
		if err != nil {
			return err
		}
		*s = append(*s, r)
	}
	return nil
}

func parseStatus(s string) ([2]int, error) {
	if class, ok := strings.CutSuffix(s, "xx"); ok {
		s = class + "00-" + class + "99"
	}
	first, last, ranged := strings.Cut(s, "-")
	if !ranged {
		last = first
	}
	lo, err1 := strconv.Atoi(first)
	hi, err2 := strconv.Atoi(last)
	if errors.Join(err1, err2) != nil || lo > hi {
		return [2]int{}, hostler.Errorf(hostler.CodeInvalid,
			"expect_status must be a status such as 200, 2xx or 200-204",
			"expect_status 必须形如 200、2xx 或 200-204")
	}
	return [2]int{lo, hi}, nil
}

func (s statusSet) has(code int) bool {
	return slices.ContainsFunc(s, func(r [2]int) bool { return r[0] <= code && code <= r[1] })
}
