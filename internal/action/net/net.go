// Package net has the actions that examine a host over the network without logging in.
//
// # Model
//
// check_port connects to every port, up to maxParallel at once, and classifies the outcome of
// each by the system's error:
//
//	open         the connect succeeded
//	closed       the host refused it (ECONNREFUSED)
//	filtered     there was no answer in time: a firewall, or no host
//	unreachable  no route, or the name does not resolve
//
// A connect changes nothing on the host, so the action is idempotent and needs no lane.
// dns_check looks up a name, and ping sends ICMP echo requests; see their files.
package net

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/egress"
)

//go:embed check_port.json
var checkPortSchema []byte

const (
	defaultTimeout = 3 * time.Second
	maxTimeout     = time.Minute
	maxParallel    = 64 // ports that are tried at the same time
	bannerBytes    = 512
	maxReasons     = 20 // ports whose reason is in the error
)

// States of a port.
const (
	Open        = "open"
	Closed      = "closed"
	Filtered    = "filtered"
	Unreachable = "unreachable"
)

// Reasons without an error of the system.
const (
	noAnswer     = "no answer in time"
	noName       = "no such host name"
	noConnection = "cannot be reached"
)

// Actions lists the actions of the family. They connect to neither the local link nor a
// metadata service, but for these ranges.
func Actions(allow ...netip.Prefix) []action.Action {
	policy := egress.ForHosts(allow...)
	return []action.Action{checkPort(policy), dnsCheck(policy), pingAction(policy)}
}

func checkPort(policy *egress.Policy) action.Action {
	return action.Action{
		Name:  "check_port",
		Title: hostler.Text{EN: "Check ports", ZH: "检查端口"},
		Help: hostler.Text{
			EN: "Connects to one or more TCP ports of the asset and reports each as open, closed, filtered " +
				"or unreachable. It succeeds when every port is open.",
			ZH: "连接资产的一个或多个 TCP 端口，区分开放、关闭、被过滤和不可达；全部开放才算成功。",
		},
		Schema:  checkPortSchema,
		Asset:   action.AssetRequired,
		Traits:  func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Check:   checkArgs,
		Enabled: true,
		Run: func(ctx context.Context, c *action.Call) action.Result {
			return run(ctx, c, policy)
		},
	}
}

type portArgs struct {
	Port    int              `json:"port"`
	Ports   []int            `json:"ports"`
	Timeout hostler.Duration `json:"timeout"`
	Banner  bool             `json:"banner"`
}

func checkArgs(raw json.RawMessage) []hostler.FieldError {
	var a portArgs
	if faults := action.Decode(raw, &a); faults != nil {
		return faults
	}
	if a.Timeout.D() > maxTimeout {
		return []hostler.FieldError{{Path: "timeout", Text: hostler.Textf(
			"must be a duration of at most %s", "必须是不超过 %s 的时长", maxTimeout)}}
	}
	return nil
}

// Port is the state of one port.
type Port struct {
	Port      int     `json:"port"`
	State     string  `json:"state"`
	LatencyMS float64 `json:"latency_ms"`
	Errno     int     `json:"errno,omitempty"` // the system's error number
	Reason    string  `json:"reason,omitempty"`
	Banner    string  `json:"banner,omitempty"`
}

// Text returns the state in English: "port 22 open", "port 22 closed (errno=111)". The
// simple /tasks API promises this form.
func (p Port) Text() string {
	s := fmt.Sprintf("port %d %s", p.Port, p.State)
	if p.Errno != 0 {
		s += fmt.Sprintf(" (errno=%d)", p.Errno)
	}
	return s
}

// chineseStates are the states in Chinese; the result has them in English.
var chineseStates = map[string]string{
	Open: "开放", Closed: "关闭", Filtered: "被过滤", Unreachable: "不可达",
}

// chineseText returns the state in Chinese: "端口 22 关闭（errno=111）".
func (p Port) chineseText() string {
	s := fmt.Sprintf("端口 %d %s", p.Port, chineseStates[p.State])
	if p.Errno != 0 {
		s += fmt.Sprintf("（errno=%d）", p.Errno)
	}
	return s
}

// Result is the result of check_port.
type Result struct {
	Ports []Port `json:"ports"`
	Text  string `json:"text"`
}

func run(ctx context.Context, c *action.Call, policy *egress.Policy) action.Result {
	var a portArgs
	if errs := action.Decode(c.Args, &a); errs != nil {
		return refused("%[1]s", "%[2]s", errs[0].Text.EN, errs[0].Text.ZH)
	}
	ports := a.Ports
	if a.Port != 0 {
		ports = []int{a.Port}
	}
	if len(ports) == 0 && c.Asset.Port != 0 {
		ports = []int{c.Asset.Port}
	}
	switch {
	case len(ports) == 0:
		return refused("asset %s has no port, and the job gives none",
			"资产 %s 未设置端口，也未指定端口", c.Asset.Name)
	case !isAddress(c.Asset.Address):
		return refused("the address of asset %s is neither an IP address nor a host name",
			"资产 %s 的地址既不是 IP 地址也不是主机名", c.Asset.Name)
	}
	a.Timeout = cmp.Or(a.Timeout, hostler.Duration(defaultTimeout))
	res := Result{Ports: make([]Port, len(ports))}
	var g errgroup.Group
	g.SetLimit(maxParallel)
	errs := make([]error, len(ports))
	for i, port := range ports {
		g.Go(func() error {
			res.Ports[i], errs[i] = probe(ctx, policy, c.Asset.Address, port, a)
			return nil
		})
	}
	_ = g.Wait() // probes report the host's errors in res, all others in errs
	for _, err := range errs {
		if d, is := errors.AsType[*egress.Denied](err); is {
			return refused("%[1]s", "%[2]s", d.Text().EN, d.Text().ZH)
		}
	}
	if ctx.Err() != nil {
		r := action.StoppedFault(ctx, "before all ports were checked", "尚未检查完所有端口").Result()
		r.Value = res
		return r
	}
	if err := errors.Join(errs...); err != nil {
		return action.ResultOf(err)
	}
	return summarize(res)
}

// refused returns the result of a job whose args or asset can never work.
func refused(en, zh string, args ...any) action.Result {
	return action.NewFault(hostler.ErrKindBadArgs, en, zh, args...).Final().Result()
}

// isAddress reports whether s is an IP address, or a host name that resolvers accept (letters
// of any script, digits, '-', '_' and dots).
func isAddress(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	forbidden := func(r rune) bool {
		return !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && !strings.ContainsRune("-_.", r)
	}
	return s != "" && len(s) <= 253 && s[0] != '-' && s[0] != '.' && !strings.ContainsFunc(s, forbidden)
}

// summarize returns the result of all ports.
func summarize(res Result) action.Result {
	texts := make([]string, len(res.Ports))
	var bad []Port
	for i, p := range res.Ports {
		texts[i] = p.Text()
		if p.State != Open {
			bad = append(bad, p)
		}
	}
	res.Text = strings.Join(texts, "; ")
	if len(bad) == 0 {
		return action.Succeeded(res)
	}
	why := reasonsOf(bad)
	return action.Failed(res, bad[0].errorKind(), "%[1]s", "%[2]s", why.EN, why.ZH)
}

// errorKind returns the kind of job error for the port's state.
func (p Port) errorKind() string {
	switch p.State {
	case Closed:
		return hostler.ErrKindRefused
	case Filtered:
		return hostler.ErrKindConnTimeout
	default:
		return hostler.ErrKindUnreachable
	}
}

// reasonsOf returns why ports are not open, for at most maxReasons of them.
func reasonsOf(bad []Port) hostler.Text {
	var en, zh []string
	for _, p := range bad[:min(len(bad), maxReasons)] {
		en = append(en, p.Text()+": "+p.Reason)
		zh = append(zh, p.chineseText()+"："+cmp.Or(chineseReasons[p.Reason], p.Reason))
	}
	text := hostler.Text{EN: strings.Join(en, "; "), ZH: strings.Join(zh, "；")}
	if more := len(bad) - len(en); more > 0 {
		text.EN += fmt.Sprintf("; and %d more", more)
		text.ZH += fmt.Sprintf("；另有 %d 个", more)
	}
	return text
}

// chineseReasons are the common reasons in Chinese; the result has them in English.
var chineseReasons = map[string]string{
	noAnswer: "超时无应答", noName: "主机名无法解析", noConnection: "无法连接",
	syscall.ECONNREFUSED.Error(): "连接被拒绝", syscall.ECONNRESET.Error(): "连接被重置",
	syscall.EHOSTUNREACH.Error(): "主机不可达", syscall.ENETUNREACH.Error(): "网络不可达",
	syscall.EACCES.Error(): "没有权限", syscall.EPERM.Error(): "不允许该操作",
}

// probe connects to one port. Its error means that nothing is known of the port: the
// policy denies it, or this machine is short of something.
func probe(ctx context.Context, policy *egress.Policy, host string, port int, a portArgs) (Port, error) {
	p := Port{Port: port}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout.D())
	defer cancel()
	start := time.Now()
	conn, err := (&net.Dialer{ControlContext: policy.Control}).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	p.LatencyMS = float64(time.Since(start).Microseconds()) / 1000
	if err != nil {
		if denied, is := errors.AsType[*egress.Denied](err); is {
			return p, denied
		}
		if f := action.ShortageFault(err); f != nil {
			return p, f
		}
		p.State, p.Errno, p.Reason = classify(err)
		return p, nil
	}
	defer func() { _ = conn.Close() }()
	p.State = Open
	if a.Banner {
		p.Banner = readBanner(ctx, conn)
	}
	return p, nil
}

func classify(err error) (state string, errno int, reason string) {
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		errno, reason = int(no), no.Error()
	}
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Closed, errno, reason
	case errors.As(err, &dns):
		return Unreachable, 0, noName
	case errors.Is(err, syscall.ETIMEDOUT), errors.As(err, &timeout) && timeout.Timeout():
		return Filtered, errno, noAnswer
	default:
		if reason == "" {
			reason = noConnection
		}
		return Unreachable, errno, reason
	}
}

// readBanner reads what the service sends on its own, within the connect's timeout.
func readBanner(ctx context.Context, conn net.Conn) string {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetReadDeadline(deadline); err != nil {
			return ""
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()
	buf := make([]byte, bannerBytes)
	n, _ := conn.Read(buf) // an error means no banner; the port is open
	return printable(buf[:n])
}

// printable returns b as valid UTF-8 without control and format characters.
func printable(b []byte) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, r == '\t', r == '\n', r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(b), " "))
	return strings.TrimSpace(s)
}
