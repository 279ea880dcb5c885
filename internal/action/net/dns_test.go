package net

import (
	"context"
	"encoding/binary"
	"net"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
	"hostler.dev/hostler/internal/egress"
)

// dnsServer answers queries over UDP by name: with the records of one type, "refuse",
// "silent" or "garbage"; other names do not exist.
func dnsServer(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := answer(buf[:n]); reply != nil {
				_, _ = c.WriteTo(reply, from)
			}
		}
	}()
	return c.LocalAddr().String()
}

// answer builds a reply (RFC 1035, section 4).
func answer(q []byte) []byte {
	end := 12
	var labels []string
	for q[end] != 0 {
		labels = append(labels, string(q[end+1:end+1+int(q[end])]))
		end += int(q[end]) + 1
	}
	kind := binary.BigEndian.Uint16(q[end+1:])
	question := q[12 : end+5]
	head := func(rcode byte, answers int) []byte {
		return append([]byte{q[0], q[1], 0x81, 0x80 | rcode, 0, 1, 0, byte(answers), 0, 0, 0, 0}, question...)
	}
	records := map[uint16][][]byte{
		1:  {{192, 0, 2, 1}, {192, 0, 2, 2}},
		16: {append([]byte{5}, "v=Abc"...)},
		15: {append([]byte{0, 10, 4}, "mail\x07example\x00"...)},
	}[kind]
	switch labels[0] {
	case "silent":
		return nil
	case "garbage":
		return append(head(0, 3), 0xc0, 0xff, 1, 2, 3)
	case "refuse":
		return head(5, 0)
	case "good":
		reply := head(0, len(records))
		for _, r := range records {
			reply = append(reply, 0xc0, 12, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 60, byte(len(r)>>8), byte(len(r)))
			reply = append(reply, r...)
		}
		return reply
	}
	return head(3, 0)
}

func runNet(t *testing.T, name string, asset *hostler.LeaseAsset, args map[string]any) *actiontest.Attempt {
	t.Helper()
	a := actiontest.New(asset, args)
	r, err := action.NewRegistry(Actions()...)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(name, a.Call.Args); err != nil {
		t.Fatal(err)
	}
	return a.Run(t.Context(), actiontest.Find(t, Actions(), name))
}

func TestDNSCheck(t *testing.T) {
	server := dnsServer(t)
	type m = map[string]any
	for name, c := range map[string]struct {
		args m
		kind string
		text string
	}{
		"good":    {m{"name": "good.example", "expect": []string{"192.0.2.2", "192.0.2.1"}, "exact": true}, "", ""},
		"any":     {m{"name": "good.example."}, "", ""},
		"mx":      {m{"name": "good.example", "type": "MX", "expect": []string{"10 MAIL.example."}}, "", ""},
		"txt":     {m{"name": "good.example", "type": "TXT", "expect": []string{"v=abc"}}, hostler.ErrKindCommand, "missing: v=abc"},
		"missing": {m{"name": "good.example", "expect": []string{"192.0.2.9"}}, hostler.ErrKindCommand, "missing: 192.0.2.9"},
		"others":  {m{"name": "good.example", "expect": []string{"192.0.2.1"}, "exact": true}, hostler.ErrKindCommand, "not expected: 192.0.2.2"},
		"absent":  {m{"name": "absent.example"}, hostler.ErrKindCommand, "no record"},
		"silent":  {m{"name": "silent.example", "timeout": "100ms"}, hostler.ErrKindConnTimeout, "in time"},
		"refused": {m{"name": "refuse.example"}, hostler.ErrKindUnreachable, "not valid"},
		"garbage": {m{"name": "garbage.example"}, hostler.ErrKindUnreachable, "not valid"},
	} {
		c.args["server"] = server
		a := runNet(t, "dns_check", nil, c.args)
		if c.kind == "" {
			a.MustEnd(t, hostler.OutcomeSucceeded, "")
			continue
		}
		if a.Outcome != hostler.OutcomeFailed || a.Kind() != c.kind || !strings.Contains(a.Error.Text.EN, c.text) || a.Error.Text.ZH == "" {
			t.Errorf("%s: %s", name, a)
		}
	}
	runNet(t, "dns_check", nil, m{"name": "x.example", "server": "169.254.169.254"}).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindBadArgs)
	runNet(t, "dns_check", nil, m{}).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindBadArgs)
	r, err := action.NewRegistry(Actions()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{`{"server":"dns.example"}`, `{"server":"1.2.3.4:0"}`, `{"server":"fe80::1%lo"}`, `{"name":"-x"}`, `{"name":"a b"}`, `{"exact":true}`, `{"timeout":"2m"}`} {
		if err := r.Validate("dns_check", []byte(raw)); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestPing(t *testing.T) {
	a := runNet(t, "ping", &hostler.LeaseAsset{Name: "self", Address: "127.0.0.1"}, map[string]any{"count": 2})
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	if got := a.Value.(Pinged); got.Sent != 2 || got.Received != 2 || got.MeanMS <= 0 || got.MaxMS < got.MinMS {
		t.Errorf("got %+v", got)
	}
	for address, kind := range map[string]string{
		"-f": hostler.ErrKindBadArgs, "a;b": hostler.ErrKindBadArgs, "169.254.169.254": hostler.ErrKindBadArgs,
		"absent.invalid": hostler.ErrKindUnreachable,
	} {
		runNet(t, "ping", &hostler.LeaseAsset{Name: "x", Address: address}, map[string]any{"count": 1, "timeout": "100ms"}).
			MustEnd(t, hostler.OutcomeFailed, kind)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(action.ErrCancelled)
	stopped := actiontest.New(&hostler.LeaseAsset{Name: "self", Address: "127.0.0.1"}, map[string]any{"count": 100})
	stopped.Run(ctx, pingAction(egress.ForHosts()))
	if stopped.Outcome == hostler.OutcomeSucceeded {
		t.Errorf("cancelled: %s", stopped)
	}
}

func TestPingJudges(t *testing.T) {
	for _, c := range []struct {
		out  Pinged
		kind string
	}{
		{Pinged{Sent: 4, Received: 0, LossPercent: 100}, hostler.ErrKindUnreachable},
		{Pinged{Sent: 4, Received: 3, LossPercent: 25, MeanMS: 5}, hostler.ErrKindCommand},
		{Pinged{Sent: 10, Received: 9, LossPercent: 10, MeanMS: 60}, hostler.ErrKindCommand},
		{Pinged{Sent: 10, Received: 9, LossPercent: 10, MeanMS: 50}, ""},
	} {
		res := judgePing(pingArgs{MaxLoss: 10, MaxLatency: hostler.Duration(50e6)}, c.out)
		if got := res.Error; (got == nil) != (c.kind == "") || got != nil && got.Kind != c.kind {
			t.Errorf("%+v: %+v", c.out, got)
		}
	}
}
