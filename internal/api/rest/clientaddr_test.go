package rest

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func FuzzClientAddr(f *testing.F) {
	f.Add("10.0.0.1:5", "1.2.3.4", `for="[::1]"`)
	f.Add("", ",,", "for=;=;")
	f.Fuzz(func(t *testing.T, peer, xff, fwd string) {
		r := &http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": {xff}}}
		if fwd != "" {
			r.Header.Set("Forwarded", fwd)
		}
		if got := clientAddr(r, nil, "forwarded"); strings.Contains(got, "/") && !strings.Contains(peer, "/") {
			t.Errorf("made up %q", got)
		}
	})
}

// TestOneForwardingHeaderCounts sends what a client can send through nginx, which adds to
// X-Forwarded-For and passes Forwarded on.
func TestOneForwardingHeaderCounts(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		header, peer string
		headers      http.Header
		want         string
	}{
		{"x-forwarded-for", "10.0.0.1:5", http.Header{"Forwarded": {"for=192.0.2.66"}, "X-Forwarded-For": {"198.51.100.7"}}, "198.51.100.7"},
		{"x-forwarded-for", "10.0.0.1:5", http.Header{"X-Real-Ip": {"192.0.2.66"}}, "10.0.0.1"},
		{"x-forwarded-for", "10.0.0.1:5", http.Header{"X-Forwarded-For": {"192.0.2.66, 198.51.100.7"}}, "198.51.100.7"},
		{"x-forwarded-for", "10.0.0.1:5", http.Header{"X-Forwarded-For": {"198.51.100.7", "10.0.0.2"}}, "198.51.100.7"},
		{"x-forwarded-for", "203.0.113.9:5", http.Header{"X-Forwarded-For": {"192.0.2.66"}}, "203.0.113.9"},
		{
			"forwarded", "10.0.0.1:5",
			http.Header{"Forwarded": {`for="[2001:db8::7]:4711";proto=https, for=10.9.9.9`}},
			"2001:db8::7",
		},
		{"forwarded", "10.0.0.1:5", http.Header{"Forwarded": {"for=_hidden"}}, "10.0.0.1"},
		{"forwarded", "10.0.0.1:5", http.Header{"Forwarded": {"for=198.51.100.7"}, "X-Forwarded-For": {"192.0.2.66"}}, "198.51.100.7"},
		{"x-real-ip", "10.0.0.1:5", http.Header{"X-Real-Ip": {"198.51.100.7"}, "X-Forwarded-For": {"192.0.2.66"}}, "198.51.100.7"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: c.headers}
		if got := clientAddr(r, trusted, c.header); got != c.want {
			t.Errorf("%s, %v: %s, want %s", c.header, c.headers, got, c.want)
		}
	}
}

func TestLocalRequestsNameALoopbackHost(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1:9000": true, "localhost:9000": true, "LOCALHOST": true, "[::1]:9000": true, "::1": true, "127.0.0.2": true,
		"evil.example:9000": false, "127.0.0.1.evil.example": false, "localhost.evil.example:9000": false, "": false,
		"192.0.2.1": false,
	} {
		r := &http.Request{RemoteAddr: "127.0.0.1:5", Host: host, Header: http.Header{}}
		if got := Local(r); got != want {
			t.Errorf("Host %q: %v, want %v", host, got, want)
		}
	}
}
