package net

import (
	"cmp"
	"context"
	_ "embed" // the schema
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/egress"
)

//go:embed dns_check.json
var dnsSchema []byte

const (
	dnsTimeout = 5 * time.Second
	// maxRecords is how many records are in the result, each with up to recordBytes.
	maxRecords  = 100
	recordBytes = 1024
)

type dnsArgs struct {
	Name    string           `json:"name"`
	Type    string           `json:"type"`
	Server  string           `json:"server"`
	Expect  []string         `json:"expect"`
	Exact   bool             `json:"exact"`
	Timeout hostler.Duration `json:"timeout"`
}

// Lookup is the result of dns_check.
type Lookup struct {
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Records   []string `json:"records"` // sorted
	Missing   []string `json:"missing,omitempty"`
	Others    []string `json:"others,omitempty"` // that were not expected
	LatencyMS float64  `json:"latency_ms"`
}

func dnsCheck(policy *egress.Policy) action.Action {
	return action.Action{
		Name:  "dns_check",
		Title: hostler.Text{EN: "DNS check", ZH: "DNS 检查"},
		Help: hostler.Text{
			EN: "Looks up a name from the worker, at its own DNS servers or at a given one, and compares the records with what is expected.",
			ZH: "从工作节点查询域名（使用其自身或指定的 DNS 服务器），并将记录与期望值比较。",
		},
		Schema: dnsSchema, Asset: action.AssetOptional, Enabled: true,
		Traits: func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Check:  checkDNS,
		Elsewhere: func(raw json.RawMessage) bool {
			var a dnsArgs
			return json.Unmarshal(raw, &a) != nil || a.Name != "" || a.Server != ""
		},
		Run: func(ctx context.Context, c *action.Call) action.Result { return runDNS(ctx, c, policy) },
	}
}

func checkDNS(raw json.RawMessage) (faults []hostler.FieldError) {
	var a dnsArgs
	if faults := action.Decode(raw, &a); faults != nil {
		return faults
	}
	if _, ok := serverOf(a.Server); !ok {
		faults = append(faults, hostler.FieldError{Path: "server", Text: hostler.Text{
			EN: "must be an IP address, with or without a port: 192.0.2.53, [2001:db8::53]:5353",
			ZH: "必须是 IP 地址，可带端口：192.0.2.53、[2001:db8::53]:5353",
		}})
	}
	if a.Timeout.D() > maxTimeout {
		faults = append(faults, hostler.FieldError{Path: "timeout", Text: hostler.Textf(
			"must be a duration of at most %s", "必须是不超过 %s 的时长", maxTimeout)})
	}
	return faults
}

// serverOf reads the address of a DNS server; "" is the zero one.
func serverOf(s string) (netip.AddrPort, bool) {
	if s == "" {
		return netip.AddrPort{}, true
	}
	if ip, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(ip, 53), ip.Zone() == ""
	}
	at, err := netip.ParseAddrPort(s)
	return at, err == nil && at.Port() != 0 && at.Addr().Zone() == ""
}

func runDNS(ctx context.Context, c *action.Call, policy *egress.Policy) action.Result {
	var a dnsArgs
	if errs := action.Decode(c.Args, &a); errs != nil {
		return refused("%[1]s", "%[2]s", errs[0].Text.EN, errs[0].Text.ZH)
	}
	if a.Name == "" && c.Asset != nil {
		a.Name = c.Asset.Address
	}
	if a.Name == "" {
		return refused("the job has no asset, and gives no name", "作业没有资产，也未指定 name")
	}
	a.Type = cmp.Or(a.Type, "A")
	server, _ := serverOf(a.Server)
	if server.IsValid() {
		if err := policy.Check(server.Addr()); err != nil {
			denied, _ := errors.AsType[*egress.Denied](err)
			return refused("%[1]s", "%[2]s", denied.Text().EN, denied.Text().ZH)
		}
	}
	limited, cancel := context.WithTimeout(ctx, cmp.Or(a.Timeout.D(), dnsTimeout))
	defer cancel()
	out := Lookup{Name: a.Name, Type: a.Type}
	began := time.Now()
	records, err := lookUp(limited, resolverAt(server), a.Type, a.Name)
	out.LatencyMS = float64(time.Since(began).Microseconds()) / 1000
	if ctx.Err() != nil {
		return action.StoppedFault(ctx, "during the look-up", "查询期间").Result()
	}
	if err != nil {
		return dnsFailed(out, err)
	}
	return judgeDNS(a, out, records)
}

func resolverAt(server netip.AddrPort) *net.Resolver {
	if !server.IsValid() {
		return &net.Resolver{PreferGo: true}
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.String())
	}}
}

// lookUp returns the records of a name. Names end without a dot.
func lookUp(ctx context.Context, r *net.Resolver, kind, name string) (records []string, err error) {
	add := func(s string) { records = append(records, strings.TrimSuffix(s, ".")) }
	full := strings.TrimSuffix(name, ".") + "." // search domains of the worker do not count
	switch kind {
	case "A", "AAAA":
		var ips []netip.Addr
		ips, err = r.LookupNetIP(ctx, map[string]string{"A": "ip4", "AAAA": "ip6"}[kind], full)
		for _, ip := range ips {
			add(ip.Unmap().String())
		}
	case "CNAME":
		var s string
		if s, err = r.LookupCNAME(ctx, full); err == nil {
			add(s)
		}
	case "MX":
		var all []*net.MX
		all, err = r.LookupMX(ctx, full)
		for _, mx := range all {
			add(fmt.Sprintf("%d %s", mx.Pref, mx.Host))
		}
	case "NS":
		var all []*net.NS
		all, err = r.LookupNS(ctx, full)
		for _, ns := range all {
			add(ns.Host)
		}
	case "PTR":
		var all []string
		all, err = r.LookupAddr(ctx, name)
		for _, s := range all {
			add(s)
		}
	case "TXT":
		records, err = r.LookupTXT(ctx, full)
	}
	if len(records) > 0 { // records that are not valid names come with an error beside the others
		err = nil
	}
	return records, err
}

func dnsFailed(out Lookup, err error) action.Result {
	dns, _ := errors.AsType[*net.DNSError](err)
	switch {
	case dns != nil && dns.IsNotFound:
		return action.Failed(out, hostler.ErrKindCommand, "%s has no record of type %s", "%s 没有 %s 记录", out.Name, out.Type)
	case dns != nil && dns.IsTimeout:
		return action.Failed(out, hostler.ErrKindConnTimeout, "the DNS server did not answer in time", "DNS 服务器未及时应答")
	}
	if f := action.ShortageFault(err); f != nil {
		return f.Result()
	}
	return action.Failed(out, hostler.ErrKindUnreachable, "the DNS server cannot be reached, or its answer is not valid",
		"无法访问 DNS 服务器，或其应答无效")
}

// judgeDNS compares records with those that are expected. Case does not matter, but in texts.
func judgeDNS(a dnsArgs, out Lookup, records []string) action.Result {
	same := strings.EqualFold
	if a.Type == "TXT" {
		same = func(x, y string) bool { return x == y }
	}
	has := func(all []string, s string) bool {
		return slices.ContainsFunc(all, func(x string) bool { return same(x, strings.TrimSuffix(s, ".")) || same(x, s) })
	}
	slices.Sort(records)
	for _, want := range a.Expect {
		if ip, err := netip.ParseAddr(want); err == nil {
			want = ip.Unmap().String()
		}
		if !has(records, want) {
			out.Missing = append(out.Missing, want)
		}
	}
	for i, r := range records {
		if len(r) > recordBytes {
			r = r[:recordBytes]
		}
		shown := strings.ToValidUTF8(r, "\uFFFD")
		if i < maxRecords {
			out.Records = append(out.Records, shown)
		}
		if a.Exact && len(out.Others) < maxRecords && !slices.ContainsFunc(a.Expect, func(w string) bool { return has([]string{records[i]}, w) }) {
			out.Others = append(out.Others, shown)
		}
	}
	switch {
	case len(out.Missing) > 0:
		return action.Failed(out, hostler.ErrKindCommand, "missing: %s; there are: %s", "缺少：%s；实际为：%s",
			strings.Join(out.Missing, ", "), strings.Join(out.Records, ", "))
	case len(out.Others) > 0:
		return action.Failed(out, hostler.ErrKindCommand, "not expected: %s", "非期望的记录：%s", strings.Join(out.Others, ", "))
	}
	return action.Succeeded(out)
}
