package api

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// forwardingHeaders are what proxies add. They count only from trusted ones; that
// one is there at all means that a request did not begin on this machine.
var forwardingHeaders = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Via",
}

// peer is the address at the other end of the connection; invalid for a socket
// that has none.
func peer(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// clientAddr is the client's address: the peer, or, as long as the hops are
// trusted proxies, what they say of whom they speak for. The chain is read from
// its near end, for anybody may write its far end.
func clientAddr(r *http.Request, trusted []netip.Prefix) string {
	addr := peer(r)
	if !addr.IsValid() {
		return r.RemoteAddr
	}
	chain := forwardedFor(r.Header)
	for i := len(chain) - 1; i >= 0 && isTrusted(addr, trusted); i-- {
		next, err := netip.ParseAddr(chain[i])
		if err != nil {
			break // obfuscated or broken: the proxy is all that is known
		}
		addr = next.Unmap().WithZone("")
	}
	return addr.String()
}

func isTrusted(a netip.Addr, trusted []netip.Prefix) bool {
	for _, p := range trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// forwardedFor lists the addresses of the Forwarded header (RFC 7239), or else of
// X-Forwarded-For, farthest first.
func forwardedFor(h http.Header) []string {
	if values := h.Values("Forwarded"); len(values) > 0 {
		var chain []string
		for hop := range strings.SplitSeq(strings.Join(values, ","), ",") {
			chain = append(chain, hopFor(hop))
		}
		return chain
	}
	var chain []string
	for _, v := range h.Values("X-Forwarded-For") {
		for a := range strings.SplitSeq(v, ",") {
			chain = append(chain, bareAddr(a))
		}
	}
	return chain
}

// hopFor is the "for" of one hop; "" when it names none, which ends the chain.
func hopFor(hop string) string {
	for pair := range strings.SplitSeq(hop, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "for") {
			return bareAddr(strings.Trim(value, `"`))
		}
	}
	return ""
}

// bareAddr takes a port and brackets off an address.
func bareAddr(s string) string {
	s = strings.TrimSpace(s)
	if host, _, err := net.SplitHostPort(s); err == nil {
		return host
	}
	return strings.Trim(s, "[]")
}

// local reports whether a request began on this machine: its peer is the loopback
// address and nothing says that a proxy passed it on.
func local(r *http.Request) bool {
	if !peer(r).IsLoopback() {
		return false
	}
	for _, name := range forwardingHeaders {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	return true
}
