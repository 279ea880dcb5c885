package rest

import (
	"net/http"
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
		if got := clientAddr(r, nil); strings.Contains(got, "/") && !strings.Contains(peer, "/") {
			t.Errorf("made up %q", got)
		}
	})
}
