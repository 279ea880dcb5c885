package http

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/egress/egresstest"
)

// loopback lets tests reach their own servers.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

type outcome struct {
	action.Result
	value    Result
	system   string
	redacted []string
}

// send validates and runs the action.
func send(t *testing.T, ctx context.Context, o Options, args map[string]any, creds ...hostler.LeaseCredential) outcome {
	t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	r, err := action.NewRegistry(Actions(o)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate("http_request", raw); err != nil {
		t.Fatal(err)
	}
	lease := hostler.Lease{Args: raw, Credentials: map[string]hostler.LeaseCredential{}}
	for _, c := range creds {
		lease.Credentials[c.Kind] = c
	}
	var system bytes.Buffer
	var out outcome
	a, _ := r.Lookup("http_request")
	out.Result = a.Run(ctx, &action.Call{
		Lease: lease, Stdout: io.Discard, Stderr: io.Discard, System: &system,
		Redact: func(v ...string) { out.redacted = append(out.redacted, v...) },
	})
	out.value, _ = out.Value.(Result)
	out.system = system.String()
	return out
}

func (o outcome) is(t *testing.T, want hostler.Outcome, kind string) {
	t.Helper()
	got := ""
	if o.Error != nil {
		got = o.Error.Kind
		if o.Error.Text.ZH == "" {
			t.Error("no Chinese text")
		}
	}
	if o.Outcome != want || got != kind {
		t.Errorf("got %s %q (%v), want %s %q", o.Outcome, got, o.Error, want, kind)
	}
}

// serve serves on an address of loopback.
func serve(t *testing.T, host string, h nethttp.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestRequestArrivesAsGiven(t *testing.T) {
	type seen struct{ Method, Path, Host, Body, Auth, Custom, Agent string }
	got := make(chan seen, 1)
	url := serve(t, "127.0.0.1", func(w nethttp.ResponseWriter, r *nethttp.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.Method, r.URL.RequestURI(), r.Host, string(body), r.Header.Get("Authorization"), r.Header.Get("X-Custom"), r.Header.Get("User-Agent")}
		w.Header().Set("Set-Cookie", "session=canary")
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(nethttp.StatusCreated)
		_, _ = io.WriteString(w, "made: 42")
	})
	out := send(t, t.Context(), Options{Allow: loopback}, map[string]any{
		"url": url + "/a?b=c%20d", "method": "POST", "body": "in", "credential": "token",
		"headers": map[string]string{
			"X-Custom": "v",
			"Host":     "app.example.com",
		}, "expect_status": []any{200, "201-202"}, "expect_body": "42",
	}, hostler.LeaseCredential{Kind: "token", Secret: hostler.Secret{Token: "canary-token"}})
	out.is(t, hostler.OutcomeSucceeded, "")
	want := seen{"POST", "/a?b=c%20d", "app.example.com", "in", "Bearer canary-token", "v", "Hostler"}
	if diff := cmp.Diff(want, <-got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if v := out.value; v.Status != 201 || v.Text != "201 Created" || v.Body != "made: 42" || v.Truncated ||
		v.Headers["X-Answer"] != "yes" {
		t.Errorf("result %+v", v)
	}
	if all := fmt.Sprintf("%+v %s", out.value, out.system); strings.Contains(all, "canary") {
		t.Errorf("a secret is in the result: %s", all)
	}
	if !slices.Contains(out.redacted, "canary-token") {
		t.Errorf("redacted only %q", out.redacted)
	}
}

// runOn runs the action on an asset, without the registry's validation.
func runOn(t *testing.T, o Options, asset *hostler.LeaseAsset, args string) outcome {
	t.Helper()
	lease := hostler.Lease{Args: json.RawMessage(args), Asset: asset}
	out := outcome{
		Result: Actions(o)[0].Run(t.Context(),
			&action.Call{Lease: lease, System: io.Discard, Redact: func(...string) {}}),
	}
	out.value, _ = out.Value.(Result)
	return out
}

func TestPathIsOnTheAsset(t *testing.T) {
	got := make(chan string, 8)
	url := serve(t, "127.0.0.1", func(_ nethttp.ResponseWriter, r *nethttp.Request) { got <- r.RequestURI })
	at := netip.MustParseAddrPort(strings.TrimPrefix(url, "http://"))
	asset := &hostler.LeaseAsset{Name: "web1", Address: at.Addr().String(), Port: int(at.Port())}

	out := runOn(t, Options{Allow: loopback}, asset, `{"url":"/healthz?full=%2F1"}`)
	out.is(t, hostler.OutcomeSucceeded, "")
	if uri := <-got; uri != "/healthz?full=%2F1" || out.value.URL != url+uri {
		t.Errorf("asked for %q at %q", uri, out.value.URL)
	}
	// The asset's address is checked like any other.
	runOn(t, Options{}, asset, `{"url":"/"}`).is(t, hostler.OutcomeFailed, hostler.ErrKindBadArgs)
	other := &hostler.LeaseAsset{Name: "web2", Address: "192.0.2.1", Port: 1}
	runOn(t, Options{Allow: loopback}, other, `{"url":"`+url+`/whole"}`).is(t, hostler.OutcomeSucceeded, "")
	if uri := <-got; uri != "/whole" {
		t.Errorf("asked for %q", uri)
	}

	for name, bad := range map[string]*hostler.LeaseAsset{
		"no asset": nil, "user": {Address: "u@127.0.0.1", Port: int(at.Port())}, "path": {Address: "127.0.0.1/x"},
		"line": {Address: "a\r\nb"}, "empty": {},
	} {
		out := runOn(t, Options{Allow: loopback}, bad, `{"url":"/"}`)
		if out.is(t, hostler.OutcomeFailed, hostler.ErrKindBadArgs); !out.NoRetry {
			t.Errorf("%s: would be tried again", name)
		}
	}
	for _, target := range []string{"//127.0.0.1/", `/\\127.0.0.1/`} {
		raw, _ := json.Marshal(map[string]string{"url": target})
		runOn(t, Options{Allow: loopback}, asset, string(raw)).is(t, hostler.OutcomeFailed, hostler.ErrKindBadArgs)
	}
	if len(got) != 0 {
		t.Error("a refused request was served")
	}
}

func TestHeadersAreBounded(t *testing.T) {
	url := serve(t, "127.0.0.1", func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		for i := range 2 * maxHeaders {
			w.Header().Set(fmt.Sprintf("X-%03d", i), "x"+strings.Repeat("é", headerBytes/2))
		}
	})
	out := send(t, t.Context(), Options{Allow: loopback}, map[string]any{"url": url})
	out.is(t, hostler.OutcomeSucceeded, "")
	if n := len(out.value.Headers); n != maxHeaders {
		t.Errorf("%d headers in the result, want %d", n, maxHeaders)
	}
	for name, v := range out.value.Headers {
		if len(v) > headerBytes+8 || !utf8.ValidString(v) {
			t.Errorf("%s: %d bytes, valid: %v", name, len(v), utf8.ValidString(v))
		}
	}
}

func TestPasswordIsSentAsBasic(t *testing.T) {
	url := serve(t, "127.0.0.1", func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != "bob" || p != "pa:ss" {
			w.WriteHeader(nethttp.StatusUnauthorized)
		}
	})
	out := send(t, t.Context(), Options{Allow: loopback}, map[string]any{"url": url, "credential": "password"},
		hostler.LeaseCredential{Kind: "password", Username: "bob", Secret: hostler.Secret{Password: "pa:ss"}})
	out.is(t, hostler.OutcomeSucceeded, "")
}

func TestCredentialsThatCannotBeUsed(t *testing.T) {
	for kind, s := range map[string]hostler.Secret{"missing": {}, "ssh_key": {PrivateKey: "PEM"}, "token": {Token: "a\r\nX: y"}} {
		out := send(t, t.Context(), Options{Allow: loopback},
			map[string]any{"url": "http://127.0.0.1:1/", "credential": kind},
			hostler.LeaseCredential{Kind: kind, Secret: s})
		out.is(t, hostler.OutcomeFailed, hostler.ErrKindCredential)
		if !out.NoRetry {
			t.Errorf("%s: would be tried again", kind)
		}
	}
}

func TestHeadersWithSecretsAreRedacted(t *testing.T) {
	url := serve(t, "127.0.0.1", func(nethttp.ResponseWriter, *nethttp.Request) {})
	out := send(t, t.Context(), Options{Allow: loopback}, map[string]any{"url": url, "headers": map[string]string{
		"Authorization": "Bearer one", "Cookie": "a=two; b=three", "X-Api-Key": "four", "Accept": "five",
	}})
	for _, want := range []string{"one", "two", "three", "four"} {
		if !slices.Contains(out.redacted, want) {
			t.Errorf("%q is not redacted: %q", want, out.redacted)
		}
	}
	if slices.Contains(out.redacted, "five") {
		t.Error("an ordinary header is redacted")
	}
}

func TestExpectations(t *testing.T) {
	url := serve(t, "127.0.0.1", func(w nethttp.ResponseWriter, r *nethttp.Request) {
		var code int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &code)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "hello")
	})
	for _, tt := range []struct {
		code   int
		expect any
		body   string
		ok     bool
	}{
		{200, nil, "", true},
		{299, nil, "", true},
		{302, nil, "", false},
		{404, nil, "", false},
		{500, nil, "", false},
		{404, 404, "", true},
		{404, "4xx", "", true},
		{404, "400-403", "", false},
		{404, []any{200, "404-410"}, "", true},
		{200, nil, "ell", true},
		{200, nil, "bye", false},
	} {
		args := map[string]any{"url": fmt.Sprintf("%s/%d", url, tt.code)}
		if tt.expect != nil {
			args["expect_status"] = tt.expect
		}
		if tt.body != "" {
			args["expect_body"] = tt.body
		}
		out := send(t, t.Context(), Options{Allow: loopback}, args)
		if tt.ok {
			out.is(t, hostler.OutcomeSucceeded, "")
		} else {
			out.is(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
		}
		if out.value.Status != tt.code {
			t.Errorf("%+v: status %d", tt, out.value.Status)
		}
	}
}

func TestBodyIsBounded(t *testing.T) {
	url := serve(t, "127.0.0.1", func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		_, _ = w.Write([]byte("\xff\x00"))
		block := bytes.Repeat([]byte("x"), 1<<20)
		for range 64 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	out := send(t, t.Context(), Options{Allow: loopback}, map[string]any{"url": url, "max_body": 4})
	if got, want := out.value.Body, "\uFFFD\x00xx"; got != want || !out.value.Truncated {
		t.Errorf("body %q, want %q; truncated %v", got, want, out.value.Truncated)
	}
	out = send(t, t.Context(), Options{Allow: loopback}, map[string]any{"url": url})
	if got := len(out.value.Body); got < defaultBody || got > defaultBody+4 {
		t.Errorf("%d bytes in the result", got)
	}
}

// counter is a listener that counts who connects.
func counter(t *testing.T, network, address string) (port string, connects *atomic.Int64) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	connects = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connects.Add(1)
			_ = c.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, connects
}

// However loopback is written, nothing connects. The resolver reads numbers as
// the C library does.
func TestLoopbackIsNeverReached(t *testing.T) {
	port, connects := counter(t, "tcp", "0.0.0.0:0")
	dns := egresstest.Resolver(t, "127.0.0.1")
	for _, host := range []string{
		"127.0.0.1", "localhost", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "127.1", "127.0.0.1.",
		"0.0.0.0", "0", "127.255.255.254", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
		"[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "innocent.example.com", "①②⑦.⓪.⓪.①",
		"169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "224.0.0.1", "255.255.255.255",
	} {
		out := send(t, t.Context(), Options{Resolver: dns},
			map[string]any{"url": "http://" + host + ":" + port + "/", "timeout": "5s"})
		if out.Outcome != hostler.OutcomeFailed || connects.Load() != 0 {
			t.Fatalf("%s: %v, %d connects", host, out.Outcome, connects.Load())
		}
		if out.Error.Kind != hostler.ErrKindBadArgs && out.Error.Kind != hostler.ErrKindUnreachable {
			t.Errorf("%s: %v", host, out.Error)
		}
	}
	if out := send(t, t.Context(), Options{}, map[string]any{"url": "http://127.0.0.1:" + port}); !out.NoRetry ||
		!strings.Contains(out.Error.Text.EN, "egress_allow") {
		t.Errorf("%+v has no remedy", out.Error)
	}
	// The counter can count.
	send(t, t.Context(), Options{Allow: loopback}, map[string]any{"url": "http://127.0.0.1:" + port})
	if connects.Load() != 1 {
		t.Errorf("%d connects were counted, want 1", connects.Load())
	}
}

// only lets tests reach one address of loopback, in the role of an outside host.
var only = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}

func TestRedirectsAreJudgedToo(t *testing.T) {
	port, connects := counter(t, "tcp", "127.0.0.1:0")
	for _, code := range []int{301, 302, 303, 307, 308} {
		url := serve(t, "127.0.0.2", func(w nethttp.ResponseWriter, r *nethttp.Request) {
			nethttp.Redirect(w, r, "http://127.0.0.1:"+port+"/", code)
		})
		out := send(t, t.Context(), Options{Allow: only}, map[string]any{"url": url, "follow_redirects": true})
		out.is(t, hostler.OutcomeFailed, hostler.ErrKindBadArgs)
		out = send(t, t.Context(), Options{Allow: only}, map[string]any{"url": url})
		out.is(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	}
	for _, to := range []string{"file:///etc/passwd", "gopher://127.0.0.2/", "http://user:pass@127.0.0.2/"} {
		url := serve(t, "127.0.0.2", func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(nethttp.StatusFound)
		})
		out := send(t, t.Context(), Options{Allow: only}, map[string]any{"url": url, "follow_redirects": true})
		out.is(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	}
	if n := connects.Load(); n != 0 {
		t.Errorf("%d connects", n)
	}
}

// A name that resolves to an allowed address first and to loopback later.
func TestRebindingIsRefused(t *testing.T) {
	var served atomic.Int64
	url := serve(t, "127.0.0.2", func(w nethttp.ResponseWriter, r *nethttp.Request) {
		served.Add(1)
		nethttp.Redirect(w, r, "/again", nethttp.StatusFound)
	})
	_, port, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ":")
	_, connects := counter(t, "tcp", "127.0.0.1:"+port)
	out := send(t, t.Context(), Options{Allow: only, Resolver: egresstest.Resolver(t, "127.0.0.2", "127.0.0.1")},
		map[string]any{"url": "http://rebind.example.com:" + port + "/", "follow_redirects": true})
	out.is(t, hostler.OutcomeFailed, hostler.ErrKindBadArgs)
	if served.Load() != 1 || connects.Load() != 0 {
		t.Errorf("served %d, connects %d; want 1, 0", served.Load(), connects.Load())
	}
}

func TestRedirectTellsOtherHostsNothing(t *testing.T) {
	type seen struct{ Auth, Key, Cookie, Referer, Body string }
	got := make(chan seen, 1)
	look := func(_ nethttp.ResponseWriter, r *nethttp.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.Header.Get("Authorization"), r.Header.Get("X-Api-Key"), r.Header.Get("Cookie"), r.Referer(), string(body)}
	}
	foreign := serve(t, "127.0.0.3", look)
	home := serve(t, "127.0.0.1", func(w nethttp.ResponseWriter, r *nethttp.Request) {
		switch r.URL.Path {
		case "/out":
			nethttp.Redirect(w, r, foreign, nethttp.StatusFound)
		case "/out307":
			nethttp.Redirect(w, r, foreign, nethttp.StatusTemporaryRedirect)
		case "/in":
			nethttp.Redirect(w, r, "/end", nethttp.StatusTemporaryRedirect)
		case "/loop":
			nethttp.Redirect(w, r, "/loop", nethttp.StatusFound)
		default:
			look(w, r)
		}
	})
	args := func(path string, more ...string) map[string]any {
		a := map[string]any{
			"url": home + path + "?secret=canary", "follow_redirects": true, "credential": "token",
			"headers": map[string]string{"X-Api-Key": "key-canary", "Cookie": "a=b"},
		}
		if len(more) > 0 {
			a["method"], a["body"] = "POST", more[0]
		}
		return a
	}
	token := hostler.LeaseCredential{Kind: "token", Secret: hostler.Secret{Token: "t0ken"}}
	o := Options{Allow: loopback}

	out := send(t, t.Context(), o, args("/out"), token)
	out.is(t, hostler.OutcomeSucceeded, "")
	if diff := cmp.Diff(seen{}, <-got); diff != "" {
		t.Errorf("another host learned (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{foreign}, out.value.Redirects); diff != "" {
		t.Errorf("redirects (-want +got):\n%s", diff)
	}

	send(t, t.Context(), o, args("/out307", "body-canary"), token).is(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	if len(got) != 0 {
		t.Error("a body was sent to another host")
	}

	send(t, t.Context(), o, args("/in", "body"), token).is(t, hostler.OutcomeSucceeded, "")
	if diff := cmp.Diff(seen{"Bearer t0ken", "key-canary", "a=b", "", "body"}, <-got); diff != "" {
		t.Errorf("the same origin (-want +got):\n%s", diff)
	}

	out = send(t, t.Context(), o, args("/loop"), token)
	out.is(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	if len(out.value.Redirects) != maxRedirects {
		t.Errorf("%d redirects were followed, want %d", len(out.value.Redirects), maxRedirects)
	}
}

// hangUp accepts, reads the request and does then with the connection.
func hangUp(t *testing.T, then func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 4096))
				then(c)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func untilClosed(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func TestNoAnswer(t *testing.T) {
	port, _ := counter(t, "tcp", "127.0.0.2:0") // nothing listens at 127.0.0.1 with it
	o := Options{Allow: loopback}
	lost := hangUp(t, func(net.Conn) {})
	half := hangUp(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	})
	silent := hangUp(t, untilClosed)
	for _, tt := range []struct {
		url, method, kind string
		want              hostler.Outcome
	}{
		{"http://127.0.0.1:" + port, "GET", hostler.ErrKindRefused, hostler.OutcomeFailed},
		{"http://127.0.0.1:" + port, "POST", hostler.ErrKindRefused, hostler.OutcomeFailed},
		{lost, "GET", hostler.ErrKindConnLost, hostler.OutcomeFailed},
		{lost, "OPTIONS", hostler.ErrKindConnLost, hostler.OutcomeFailed},
		{lost, "POST", hostler.ErrKindConnLost, hostler.OutcomeUnknown},
		{lost, "PUT", hostler.ErrKindConnLost, hostler.OutcomeUnknown},
		{lost, "DELETE", hostler.ErrKindConnLost, hostler.OutcomeUnknown},
		{half, "GET", hostler.ErrKindConnLost, hostler.OutcomeFailed},
		{half, "PATCH", hostler.ErrKindConnLost, hostler.OutcomeUnknown},
		{silent, "GET", hostler.ErrKindTimeout, hostler.OutcomeFailed},
		{silent, "POST", hostler.ErrKindTimeout, hostler.OutcomeUnknown},
	} {
		t.Run(tt.method+" "+tt.kind, func(t *testing.T) {
			out := send(t, t.Context(), o, map[string]any{"url": tt.url, "method": tt.method, "timeout": "300ms"})
			out.is(t, tt.want, tt.kind)
			if out.NoRetry {
				t.Error("would not be tried again")
			}
		})
	}
}

// After a response of 101 net/http ignores the context; the result comes at once.
func TestSwitchedProtocol(t *testing.T) {
	url := hangUp(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhello")
		untilClosed(c)
	})
	send(t, t.Context(), Options{Allow: loopback}, map[string]any{"url": url}).
		is(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
}

func TestCancelled(t *testing.T) {
	for method, want := range map[string]hostler.Outcome{"GET": hostler.OutcomeCancelled, "POST": hostler.OutcomeUnknown} {
		ctx, cancel := context.WithCancelCause(t.Context())
		url := hangUp(t, func(c net.Conn) { cancel(action.ErrCancelled); untilClosed(c) })
		send(t, ctx, Options{Allow: loopback}, map[string]any{"url": url, "method": method}).
			is(t, want, hostler.ErrKindCancelled)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(action.ErrCancelled)
	send(t, ctx, Options{Allow: loopback}, map[string]any{"url": "http://127.0.0.1:1", "method": "POST"}).
		is(t, hostler.OutcomeCancelled, hostler.ErrKindCancelled)
	ctx, over := context.WithTimeoutCause(t.Context(), time.Nanosecond, action.ErrTimeout)
	defer over()
	send(t, ctx, Options{Allow: loopback}, map[string]any{"url": "http://127.0.0.1:1"}).
		is(t, hostler.OutcomeFailed, hostler.ErrKindTimeout)
}

func TestCertificates(t *testing.T) {
	srv := httptest.NewUnstartedServer(nethttp.HandlerFunc(func(nethttp.ResponseWriter, *nethttp.Request) {}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	o := Options{Allow: loopback}
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	send(t, t.Context(), o, map[string]any{"url": srv.URL, "ca": ca}).is(t, hostler.OutcomeSucceeded, "")
	out := send(t, t.Context(), o, map[string]any{"url": srv.URL, "method": "POST"})
	out.is(t, hostler.OutcomeFailed, hostler.ErrKindAuth)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	out = send(t, t.Context(), Options{Allow: loopback, Resolver: egresstest.Resolver(t, "127.0.0.1")},
		map[string]any{"url": "https://another-name.test:" + port, "ca": ca})
	out.is(t, hostler.OutcomeFailed, hostler.ErrKindAuth)
	plain := serve(t, "127.0.0.1", func(nethttp.ResponseWriter, *nethttp.Request) {})
	out = send(t, t.Context(), o, map[string]any{"url": strings.Replace(plain, "http:", "https:", 1), "method": "POST"})
	out.is(t, hostler.OutcomeFailed, hostler.ErrKindUnreachable)
}

func TestUnknownName(t *testing.T) {
	none := &net.Resolver{
		PreferGo: true,
		Dial:     func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no server") },
	}
	out := send(t, t.Context(), Options{Resolver: none}, map[string]any{"url": "http://no-such.example.com/"})
	out.is(t, hostler.OutcomeFailed, hostler.ErrKindUnreachable)
}

func TestTraits(t *testing.T) {
	for args, want := range map[string]bool{
		`{}`: true, `{"method":"HEAD"}`: true, `{"method":"OPTIONS"}`: true,
		`{"method":"POST"}`: false, `{"method":"PUT"}`: false, `{"method":"DELETE"}`: false, `{"method":"PATCH"}`: false,
	} {
		if got := traits(json.RawMessage(args)); got.Idempotent != want || got.Changes {
			t.Errorf("%s: %+v", args, got)
		}
	}
	want := []action.CredentialUse{{Name: "c", Use: hostler.UseHTTP, Origin: "http://a:80"}}
	if got := credentials(json.RawMessage(`{"url":"http://a/","credential":"c"}`)); !slices.Equal(got, want) {
		t.Errorf("credentials %q", got)
	}
}

func TestBadArgsNameTheField(t *testing.T) {
	r, err := action.NewRegistry(Actions(Options{})...)
	if err != nil {
		t.Fatal(err)
	}
	const u = `"url":"http://h/"`
	for args, path := range map[string]string{
		`{}`: "args.url", `{"url":"//h/"}`: "args.url", `{"url":"/\\h/"}`: "args.url", `{"url":"p"}`: "args.url", `{"url":"ftp://h/"}`: "args.url", `{"url":"http://"}`: "args.url", `{"url":"http:///p"}`: "args.url",
		`{"url":"http://u:canary@h/"}`: "args.url", `{"url":"http://h:99999/"}`: "args.url", `{"url":"http://h:/"}`: "args.url",
		`{"url":"http://h\u000d\u000a/"}`: "args.url", `{"url":"http://[::1/"}`: "args.url",
		`{` + u + `,"method":"TRACE"}`: "args.method", `{` + u + `,"method":"GET / HTTP/1.1\r\nX"}`: "args.method",
		`{` + u + `,"headers":{"A":"b\r\nC: canary"}}`: "args.headers.A", `{` + u + `,"headers":{"A B":"c"}}`: "args.headers",
		`{` + u + `,"headers":{"transfer-encoding":"chunked"}}`:             "args.headers.transfer-encoding",
		`{` + u + `,"headers":{"authorization":"canary"},"credential":"c"}`: "args.headers.authorization",
		`{` + u + `,"expect_status":99}`:                                    "args.expect_status",
		`{` + u + `,"expect_status":"6xx"}`:                                 "args.expect_status",
		`{` + u + `,"expect_status":[200,"x"]}`:                             "args.expect_status[1]",
		`{` + u + `,"expect_status":"300-200"}`:                             "args",
		`{` + u + `,"method":"HEAD","expect_body":"x"}`:                     "args.expect_body",
		`{` + u + `,"timeout":"11m"}`:                                       "args.timeout",
		`{` + u + `,"ca":"canary"}`:                                         "args.ca",
		`{` + u + `,"max_body":-1}`:                                         "args.max_body",
		`{` + u + `,"max_body":1.0}`:                                        "args.max_body",
		`{` + u + `,"insecure":true}`:                                       "args.insecure",
	} {
		err := r.Validate("http_request", json.RawMessage(args))
		e, ok := errors.AsType[*hostler.Error](err)
		if !ok || len(e.Fields) != 1 || e.Fields[0].Path != path {
			t.Errorf("%s: %v, want a problem at %s", args, err, path)
		} else if e.Fields[0].Text.ZH == "" || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %+v", args, e.Fields[0])
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"url":"http://h/","expect_status":[200,"2xx"]}`, `{"url":"http://[fe80::1%25lo]:1/"}`, `{"expect_status":"1-"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, faults := parse(raw)
		if faults == nil &&
			(a.destination == nil || a.destination.User != nil || strings.HasPrefix(a.URL, "//") || a.Timeout.D() > maxTimeout) {
			t.Errorf("%q was accepted", raw)
		}
	})
}

// TestRequestsThatLeaveTheirAsset: roles that are limited to assets may not send these.
func TestRequestsThatLeaveTheirAsset(t *testing.T) {
	elsewhere := Actions(Options{})[0].Elsewhere
	for args, want := range map[string]bool{
		`{"url":"/healthz"}`:                            false,
		`{"url":"http://192.0.2.1/"}`:                   true,
		`{"url":"HTTPS://192.0.2.1/"}`:                  true,
		`{"url":"/healthz","follow_redirects":true}`:    true,
		`{"url":"/?u=http://a","headers":{"Host":"b"}}`: false,
	} {
		if got := elsewhere(json.RawMessage(args)); got != want {
			t.Errorf("%s: %v, want %v", args, got, want)
		}
	}
}
