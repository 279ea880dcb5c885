package rest

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// forwardingHeaders are the headers that proxies add. Their values count only when
// a trusted proxy sent them; the presence of one means that the request did not
// originate on this machine.
var forwardingHeaders = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Via",
}

// Local reports whether a request originated on this machine: its peer is the
// loopback address and no header shows that a proxy forwarded it.
func Local(r *http.Request) bool {
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

// peer returns the address at the other end of the connection; invalid for a socket
// without one.
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

// clientAddr returns the client's address: the peer or, while the hops are trusted
// proxies, the address that they forward for. It reads the chain from its near end,
// since anyone can write the far end.
func clientAddr(r *http.Request, trusted []netip.Prefix) string {
	addr := peer(r)
	if !addr.IsValid() {
		return r.RemoteAddr
	}
	chain := forwardedFor(r.Header)
	for i := len(chain) - 1; i >= 0 && isTrusted(addr, trusted); i-- {
		next, err := netip.ParseAddr(chain[i])
		if err != nil {
			break // obfuscated or broken: the proxy is the last known hop
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
	var chain []string
	if values := h.Values("Forwarded"); len(values) > 0 {
		for hop := range strings.SplitSeq(strings.Join(values, ","), ",") {
			chain = append(chain, hopFor(hop))
		}
		return chain
	}
	for _, v := range h.Values("X-Forwarded-For") {
		for a := range strings.SplitSeq(v, ",") {
			chain = append(chain, withoutPort(a))
		}
	}
	return chain
}

// hopFor returns the "for" parameter of one hop; "" when there is none, which ends
// the chain.
func hopFor(hop string) string {
	for pair := range strings.SplitSeq(hop, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "for") {
			return withoutPort(strings.Trim(value, `"`))
		}
	}
	return ""
}

// withoutPort removes a port and brackets from an address.
func withoutPort(s string) string {
	s = strings.TrimSpace(s)
	if host, _, err := net.SplitHostPort(s); err == nil {
		return host
	}
	return strings.Trim(s, "[]")
}
