package net

import (
	"bytes"
	"cmp"
	"context"
	_ "embed" // the schema
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/egress"
)

// This file is ping. It runs the ping of the worker's system, which has the right to send
// ICMP. Its only argument from outside is an IP address.

//go:embed ping.json
var pingSchema []byte

const maxPingWait = 30 * time.Second

type pingArgs struct {
	Count      int              `json:"count"`
	Timeout    hostler.Duration `json:"timeout"`
	MaxLoss    float64          `json:"max_loss_percent"`
	MaxLatency hostler.Duration `json:"max_latency"`
}

// Pinged is the result of ping. The times are in milliseconds, 0 without an answer.
type Pinged struct {
	Address     string  `json:"address"` // that was tried
	Sent        int     `json:"sent"`
	Received    int     `json:"received"`
	LossPercent float64 `json:"loss_percent"`
	MinMS       float64 `json:"min_ms"`
	MeanMS      float64 `json:"mean_ms"`
	MaxMS       float64 `json:"max_ms"`
}

func pingAction(policy *egress.Policy) action.Action {
	return action.Action{
		Name:  "ping",
		Title: hostler.Text{EN: "Ping", ZH: "Ping"},
		Help: hostler.Text{
			EN: "Sends ICMP echo requests to the asset, by the ping of the worker's system, and checks loss and round-trip time.",
			ZH: "用工作节点系统的 ping 向资产发送 ICMP 回显请求，检查丢包率和往返时间。",
		},
		Schema: pingSchema, Asset: action.AssetRequired, Enabled: true,
		Traits: func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Check: func(raw json.RawMessage) []hostler.FieldError {
			var a pingArgs
			if faults := action.Decode(raw, &a); faults != nil {
				return faults
			}
			if a.Timeout.D() > maxPingWait {
				return []hostler.FieldError{{Path: "timeout", Text: hostler.Textf(
					"must be a duration of at most %s", "必须是不超过 %s 的时长", maxPingWait)}}
			}
			return nil
		},
		Run: func(ctx context.Context, c *action.Call) action.Result { return runPing(ctx, c, policy) },
	}
}

func runPing(ctx context.Context, c *action.Call, policy *egress.Policy) action.Result {
	var a pingArgs
	if errs := action.Decode(c.Args, &a); errs != nil {
		return refused("%[1]s", "%[2]s", errs[0].Text.EN, errs[0].Text.ZH)
	}
	if !isAddress(c.Asset.Address) {
		return refused("the address of asset %s is neither an IP address nor a host name",
			"资产 %s 的地址既不是 IP 地址也不是主机名", c.Asset.Name)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", c.Asset.Address)
	if err != nil || len(ips) == 0 {
		return action.Failed(nil, hostler.ErrKindUnreachable, "the host name cannot be resolved", "无法解析主机名")
	}
	ip := ips[0].Unmap()
	if err := policy.Check(ip); err != nil {
		denied, _ := errors.AsType[*egress.Denied](err)
		return refused("%[1]s", "%[2]s", denied.Text().EN, denied.Text().ZH)
	}
	a.Count, a.Timeout = cmp.Or(a.Count, 4), cmp.Or(a.Timeout, hostler.Duration(2*time.Second))
	out, errLine, err := ping(ctx, a, ip)
	switch {
	case ctx.Err() != nil:
		return action.StoppedFault(ctx, "while pinging", "ping 期间").Result()
	case errors.Is(err, exec.ErrNotFound):
		return action.NewFault(hostler.ErrKindNoAction, "the worker has no program ping", "工作节点没有 ping 程序").
			WithRemedy("install it (Debian: iputils-ping)", "请安装（Debian：iputils-ping）").Final().Result()
	case out == nil:
		return action.Failed(nil, hostler.ErrKindUnreachable, "ping failed: %s", "ping 失败：%s", cmp.Or(errLine, "no summary"))
	}
	return judgePing(a, *out)
}

func judgePing(a pingArgs, out Pinged) action.Result {
	switch {
	case out.Received == 0:
		return action.Failed(out, hostler.ErrKindUnreachable, "no answer to %d requests", "%d 次请求均无应答", out.Sent)
	case out.LossPercent > a.MaxLoss:
		return action.Failed(out, hostler.ErrKindCommand, "%.4g%% of the requests were lost", "丢包率 %.4g%%", out.LossPercent)
	case a.MaxLatency > 0 && out.MeanMS > float64(a.MaxLatency.D().Microseconds())/1000:
		return action.Failed(out, hostler.ErrKindCommand, "the mean round-trip time is %.4g ms", "平均往返时间为 %.4g 毫秒", out.MeanMS)
	}
	return action.Succeeded(out)
}

// The lines of ping's summary, by iputils and by busybox.
var (
	pingCounts = regexp.MustCompile(`(\d+) packets transmitted, (\d+) (?:packets )?received`)
	pingTimes  = regexp.MustCompile(`= ([\d.]+)/([\d.]+)/([\d.]+)`)
)

// ping runs the program. The summary is nil when it printed none.
func ping(ctx context.Context, a pingArgs, ip netip.Addr) (*Pinged, string, error) {
	argv := []string{
		"-n", "-q", "-i", "0.2", "-c", strconv.Itoa(a.Count),
		"-W", strconv.FormatFloat(max(a.Timeout.D().Seconds(), 0.1), 'f', 1, 64), "--", ip.String(),
	}
	cmd := exec.CommandContext(ctx, "ping", argv...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	counts := pingCounts.FindStringSubmatch(stdout.String())
	if counts == nil {
		return nil, action.LastLine(stderr.Bytes()), err
	}
	out := &Pinged{Address: ip.String()}
	out.Sent, _ = strconv.Atoi(counts[1])
	out.Received, _ = strconv.Atoi(counts[2])
	if out.Sent > 0 {
		out.LossPercent = float64(out.Sent-out.Received) * 100 / float64(out.Sent)
	}
	if times := pingTimes.FindStringSubmatch(stdout.String()); times != nil {
		for i, into := range []*float64{&out.MinMS, &out.MeanMS, &out.MaxMS} {
			*into, _ = strconv.ParseFloat(strings.TrimSpace(times[i+1]), 64)
		}
	}
	return out, "", nil
}
