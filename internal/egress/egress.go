// Package egress decides which addresses Hostler may connect to when the target comes from a
// user's input: the URL of http_request or of a webhook.
//
// # Model
//
// A [Policy] checks IP addresses, not names, immediately before the kernel connects
// (net.Dialer.ControlContext). So it does not matter how the address was written (decimal,
// octal, a name), nor whether a name resolves to another address the second time.
//
//	allowed   other hosts, including private networks: that is where hosts are
//	denied    this machine (its interfaces have addresses of any range), the local link, cloud
//	          metadata services, multicast, and ranges that are not the address of a host, also
//	          wrapped in IPv6 (mapped, NAT64, 6to4, …)
//	allowed   denied ranges that the configuration lists (egress_allow)
//
// # Invariants
//
//   - CheckedAtConnect: a connection of a Policy's Dialer goes to an address that Check allows.
//   - NoProxy: proxies from the environment are not used; they would connect instead of the
//     Dialer.
package egress

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hostler.dev/hostler"
)

// Limits of a Transport.
const (
	connectTimeout = 10 * time.Second
	maxHeaderBytes = 256 << 10
)

// Policy decides which addresses may be connected to. The zero value is the policy without
// configuration.
type Policy struct {
	allow []netip.Prefix
	hosts bool       // see ForHosts
	own   *addresses // of this machine; nil means ownAddresses
}

// New returns a Policy that also allows these ranges.
func New(allow ...netip.Prefix) *Policy { return &Policy{allow: allow} }

// ForHosts returns the Policy for the addresses of assets, of which this machine may be
// one: only the local link and metadata services are denied.
func ForHosts(allow ...netip.Prefix) *Policy { return &Policy{allow: allow, hosts: true} }

// Denied is the error of a connection that the Policy refused. Nothing was sent.
type Denied struct {
	Addr netip.Addr
	Why  hostler.Text // what the address is
}

// Error implements error.
func (d *Denied) Error() string { return d.Text().EN }

// Text returns the error in both languages, with what to do next.
func (d *Denied) Text() hostler.Text {
	return hostler.Text{
		EN: fmt.Sprintf("connections to %s are not allowed (%s); "+
			"an administrator can allow the range with egress_allow", d.Addr, d.Why.EN),
		ZH: fmt.Sprintf("不允许连接 %s（%s）；管理员可通过 egress_allow 放行该网段", d.Addr, d.Why.ZH),
	}
}

// rule is a range that is denied, and why.
type rule struct {
	prefix netip.Prefix
	why    hostler.Text
}

// Why a range is denied.
var (
	thisMachine = hostler.Text{EN: "this machine", ZH: "本机"}
	link        = hostler.Text{EN: "link-local, cloud metadata", ZH: "链路本地或云元数据"}
	metadata    = hostler.Text{EN: "a cloud's metadata service", ZH: "云元数据服务"}
	multicast   = hostler.Text{EN: "multicast or broadcast", ZH: "组播或广播"}
	reserved    = hostler.Text{EN: "reserved", ZH: "保留地址"}
)

// denied lists the ranges of the IANA special-purpose registries (RFC 6890) that are not the
// address of another host, and the metadata services outside these ranges.
var denied = []rule{
	{netip.MustParsePrefix("127.0.0.0/8"), thisMachine},
	{netip.MustParsePrefix("::1/128"), thisMachine},
	{netip.MustParsePrefix("0.0.0.0/8"), thisMachine},
	{netip.MustParsePrefix("::/128"), thisMachine},
	{netip.MustParsePrefix("169.254.0.0/16"), link},
	{netip.MustParsePrefix("fe80::/10"), link},
	{netip.MustParsePrefix("fec0::/10"), link},
	{netip.MustParsePrefix("100.100.100.200/32"), metadata}, // Alibaba Cloud
	{netip.MustParsePrefix("168.63.129.16/32"), metadata},   // Azure
	{netip.MustParsePrefix("192.0.0.0/24"), metadata},       // Oracle Cloud; protocol assignments
	{netip.MustParsePrefix("fd00:ec2::254/128"), metadata},  // AWS
	{netip.MustParsePrefix("fd20:ce::254/128"), metadata},   // Google Cloud
	{netip.MustParsePrefix("224.0.0.0/4"), multicast},
	{netip.MustParsePrefix("ff00::/8"), multicast},
	{netip.MustParsePrefix("240.0.0.0/4"), reserved},
	{netip.MustParsePrefix("100::/64"), reserved},       // discard
	{netip.MustParsePrefix("64:ff9b:1::/48"), reserved}, // local-use NAT64
	{netip.MustParsePrefix("2001::/32"), reserved},      // Teredo
	{netip.MustParsePrefix("5f00::/16"), reserved},      // segment routing
}

// wraps are the ranges of IPv6 whose addresses contain an IPv4 address, and its offset.
// Teredo and local-use NAT64, which obscure it, are denied as a whole; mapped addresses are
// unmapped before.
var wraps = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("::/96"), 12},           // IPv4-compatible (RFC 4291)
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // IPv4-translated (RFC 2765)
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64 (RFC 6052)
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4 (RFC 3056)
}

// isatap is the middle of an interface identifier that ends in an IPv4 address (RFC 5214), in
// any network.
var isatap = [3]byte{0x00, 0x5e, 0xfe}

// unwrap returns the IPv4 address that an IPv6 address contains.
func unwrap(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	for _, w := range wraps {
		if w.prefix.Contains(a) {
			return netip.AddrFrom4([4]byte(b[w.at : w.at+4])), true
		}
	}
	if b[8]&^2 == 0 && [3]byte(b[9:12]) == isatap {
		return netip.AddrFrom4([4]byte(b[12:])), true
	}
	return netip.Addr{}, false
}

// Check checks one address; the error is a *Denied.
func (p *Policy) Check(a netip.Addr) error {
	a = a.WithZone("").Unmap()
	if p.allows(a) {
		return nil
	}
	for _, r := range denied {
		if p.hosts && r.why != link && r.why != metadata {
			continue
		}
		if r.prefix.Contains(a) {
			return &Denied{Addr: a, Why: r.why}
		}
	}
	if v4, ok := unwrap(a); ok {
		return p.Check(v4)
	}
	if !p.hosts && cmp.Or(p.own, &ownAddresses).contain(a) {
		return &Denied{Addr: a, Why: thisMachine}
	}
	return nil
}

// CheckHost checks a host that another machine will resolve, as far as it is known here: an
// address, also in the forms of inet_aton(3), such as 2852039166 or 0xa9.254.43518. Names
// pass.
func (p *Policy) CheckHost(host string) error {
	if a, err := netip.ParseAddr(host); err == nil {
		return p.Check(a)
	}
	if a, ok := parseLoose(host); ok {
		return p.Check(a)
	}
	return nil
}

// parseLoose parses an IPv4 address of one to four numbers, decimal, octal or hexadecimal,
// of which the last has all remaining bytes.
func parseLoose(s string) (netip.Addr, bool) {
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var sum uint64
	for i, part := range parts {
		base := 10
		switch lower := strings.ToLower(part); {
		case strings.HasPrefix(lower, "0x"):
			base, part = 16, part[2:]
		case strings.HasPrefix(part, "0"):
			base = 8
		}
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		n, err := strconv.ParseUint(part, base, bits)
		if err != nil {
			return netip.Addr{}, false
		}
		sum = sum<<bits | n
	}
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(sum)))), true //nolint:gosec // 32 bits
}

func (p *Policy) allows(a netip.Addr) bool {
	for _, prefix := range p.allow {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// Control checks a connection that is about to be made. It is a net.Dialer.ControlContext.
func (p *Policy) Control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("egress: not a TCP connection: %s", network)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("egress: not an IP address: %w", err)
	}
	return p.Check(to.Addr())
}

// Dialer returns a Dialer that connects only to addresses that the Policy allows. A nil
// resolver is the system's.
func (p *Policy) Dialer(resolver *net.Resolver) *net.Dialer {
	return &net.Dialer{Timeout: connectTimeout, Resolver: resolver, ControlContext: p.Control}
}

// Transport returns an HTTP transport over the Policy's Dialer. It uses no proxy and one
// connection per request, so that no connection is reused after it was checked, and no request
// is silently sent again.
func (p *Policy) Transport(resolver *net.Resolver) *http.Transport {
	return &http.Transport{
		DialContext:            p.Dialer(resolver).DialContext,
		DisableKeepAlives:      true,
		TLSHandshakeTimeout:    connectTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
}
