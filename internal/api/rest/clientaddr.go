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
// loopback address, it was sent to the loopback address, and no header shows that a proxy
// forwarded it. A page whose host name was made to resolve to the loopback address (DNS
// rebinding) sends its own name as the Host.
func Local(r *http.Request) bool {
	if !peer(r).IsLoopback() || !loopbackHost(r.Host) {
		return false
	}
	for _, name := range forwardingHeaders {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	return true
}

// loopbackHost reports whether the Host of a request is this machine.
func loopbackHost(host string) bool {
	name := withoutPort(host)
	a, err := netip.ParseAddr(name)
	return strings.EqualFold(name, "localhost") || err == nil && a.Unmap().IsLoopback()
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
func clientAddr(r *http.Request, trusted []netip.Prefix, header string) string {
	addr := peer(r)
	if !addr.IsValid() {
		return r.RemoteAddr
	}
	chain := forwardedFor(r.Header, header)
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

// forwardedFor lists the addresses in the one header that the proxies write, farthest
// first. Proxies pass other headers on as the client sent them.
func forwardedFor(h http.Header, header string) []string {
	var chain []string
	for v := range strings.SplitSeq(strings.Join(h.Values(header), ","), ",") {
		switch {
		case strings.TrimSpace(v) == "":
		case strings.EqualFold(header, "Forwarded"):
			chain = append(chain, hopFor(v))
		default:
			chain = append(chain, withoutPort(v))
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
