// Package net holds the actions that look at a host over the network without
// logging in.
package net

import (
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
)

//go:embed check_port.json
var checkPortSchema []byte

const (
	defaultTimeout = 3 * time.Second
	maxTimeout     = time.Minute
	atOnce         = 64 // ports that are tried at the same time
	bannerBytes    = 512
	explained      = 20 // ports whose reason stands in the error
)

// States of a port.
const (
	Open        = "open"
	Closed      = "closed"      // the host refused
	Filtered    = "filtered"    // no answer in time: a firewall, or no host
	Unreachable = "unreachable" // no route, or no such name
)

// Reasons that the system has no words for.
const (
	noAnswer     = "no answer in time"
	noName       = "no such host name"
	noConnection = "cannot be reached"
)

// Actions lists the actions of the family.
func Actions() []action.Action { return []action.Action{checkPort()} }

func checkPort() action.Action {
	return action.Action{
		Name:  "check_port",
		Title: hostler.Text{EN: "Check ports", ZH: "检查端口"},
		Help: hostler.Text{
			EN: "Connects to one or many TCP ports of the asset and tells open, closed, filtered and unreachable apart. It succeeds when every port is open.",
			ZH: "连接资产的一个或多个 TCP 端口，区分开放、关闭、被过滤和不可达；全部开放才算成功。",
		},
		Schema:  checkPortSchema,
		Asset:   action.AssetRequired,
		Traits:  func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Check:   checkArgs,
		Enabled: true,
		Run:     run,
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
		return []hostler.FieldError{{Path: "timeout", Text: hostler.Textf("must be a duration of at most %s", "必须是不超过 %s 的时长", maxTimeout)}}
	}
	return nil
}

// Port is what was found at one port.
type Port struct {
	Port      int     `json:"port"`
	State     string  `json:"state"`
	LatencyMS float64 `json:"latency_ms"`
	Errno     int     `json:"errno,omitempty"` // the system's number for why not
	Reason    string  `json:"reason,omitempty"`
	Banner    string  `json:"banner,omitempty"`
}

// Text says it in a line: "port 22 open", "port 22 closed (errno=111)".
func (p Port) Text() string {
	s := fmt.Sprintf("port %d %s", p.Port, p.State)
	if p.Errno != 0 {
		s += fmt.Sprintf(" (errno=%d)", p.Errno)
	}
	return s
}

// Result is the result of check_port.
type Result struct {
	Ports []Port `json:"ports"`
	Text  string `json:"text"`
}

func run(ctx context.Context, c *action.Call) action.Result {
	var a portArgs
	if action.Decode(c.Args, &a) != nil {
		return refused("the arguments cannot be read", "无法读取参数")
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
		return refused("the asset %s has no port, and none was given", "资产 %s 未设置端口，也未指定端口", c.Asset.Name)
	case !isAddress(c.Asset.Address):
		return refused("the address of asset %s is neither an IP address nor a host name", "资产 %s 的地址既不是 IP 地址也不是主机名", c.Asset.Name)
	}
	if a.Timeout == 0 {
		a.Timeout = hostler.Duration(defaultTimeout)
	}
	res := Result{Ports: make([]Port, len(ports))}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, port := range ports {
		g.Go(func() error {
			res.Ports[i] = probe(ctx, c.Asset.Address, port, a)
			return nil
		})
	}
	_ = g.Wait() // probes report in res
	if ctx.Err() != nil {
		return stopped(ctx, res)
	}
	return judge(res)
}

// refused is the result of a job that would fail the same way again.
func refused(en, zh string, args ...any) action.Result {
	r := action.Failed(nil, hostler.ErrKindBadArgs, en, zh, args...)
	r.NoRetry = true
	return r
}

// isAddress reports whether s is an IP address, or a host name as resolvers take
// it (letters of any script, digits, '-', '_' and dots).
func isAddress(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	odd := func(r rune) bool {
		return !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && !strings.ContainsRune("-_.", r)
	}
	return s != "" && len(s) <= 253 && s[0] != '-' && s[0] != '.' && !strings.ContainsFunc(s, odd)
}

func stopped(ctx context.Context, res Result) action.Result {
	if errors.Is(context.Cause(ctx), action.ErrTimeout) {
		return action.Failed(res, hostler.ErrKindTimeout, "not done within the job's timeout", "未在作业超时时间内完成")
	}
	return action.Cancelled(res) // a connect leaves nothing behind
}

// judge sums the ports up.
func judge(res Result) action.Result {
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
	why := explain(bad)
	return action.Failed(res, bad[0].kind(), "%[1]s", "%[2]s", why.EN, why.ZH)
}

// kind is the kind of error that the port's state is.
func (p Port) kind() string {
	switch p.State {
	case Closed:
		return hostler.ErrKindRefused
	case Filtered:
		return hostler.ErrKindConnTimeout
	default:
		return hostler.ErrKindUnreachable
	}
}

// explain says why ports are not open: of the first ones, when they are many.
func explain(bad []Port) hostler.Text {
	var en, zh []string
	for _, p := range bad[:min(len(bad), explained)] {
		reason := hostler.Text{EN: p.Reason, ZH: p.Reason}
		if t, ok := reasons[p.Reason]; ok {
			reason.ZH = t
		}
		en = append(en, p.Text()+": "+reason.EN)
		zh = append(zh, p.Text()+"："+reason.ZH)
	}
	text := hostler.Text{EN: strings.Join(en, "; "), ZH: strings.Join(zh, "；")}
	if more := len(bad) - len(en); more > 0 {
		text.EN += fmt.Sprintf("; and %d more", more)
		text.ZH += fmt.Sprintf("；另有 %d 个", more)
	}
	return text
}

// reasons are the common ones in Chinese; the result holds them in English.
var reasons = map[string]string{
	noAnswer: "超时无应答", noName: "主机名无法解析", noConnection: "无法连接",
	syscall.ECONNREFUSED.Error(): "连接被拒绝", syscall.ECONNRESET.Error(): "连接被重置",
	syscall.EHOSTUNREACH.Error(): "主机不可达", syscall.ENETUNREACH.Error(): "网络不可达",
	syscall.EACCES.Error(): "没有权限", syscall.EPERM.Error(): "不允许该操作",
}

// probe connects to one port.
func probe(ctx context.Context, host string, port int, a portArgs) Port {
	p := Port{Port: port}
	ctx, cancel := context.WithTimeout(ctx, a.Timeout.D())
	defer cancel()
	start := time.Now()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	p.LatencyMS = float64(time.Since(start).Microseconds()) / 1000
	if err != nil {
		p.State, p.Errno, p.Reason = classify(err)
		return p
	}
	defer func() { _ = conn.Close() }()
	p.State = Open
	if a.Banner {
		p.Banner = readBanner(ctx, conn)
	}
	return p
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

// readBanner reads what the service says by itself within the connect's time.
func readBanner(ctx context.Context, conn net.Conn) string {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetReadDeadline(deadline); err != nil {
			return ""
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()
	buf := make([]byte, bannerBytes)
	n, _ := conn.Read(buf) // silence is no error: the port is open
	return clean(buf[:n])
}

// clean keeps what can be shown: valid UTF-8 without control characters.
func clean(b []byte) string {
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
