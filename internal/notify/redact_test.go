package notify_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler/internal/webhook"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// echo returns the address of a listener that repeats the first lines of each
// connection, which is not HTTP.
func echo(t *testing.T) (address string) {
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
				defer func() { _ = c.Close() }()
				r := bufio.NewReader(c)
				for range 8 {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					_, _ = io.WriteString(c, strings.TrimRight(line, "\r\n")+strings.Repeat("x", 10_000))
				}
			}()
		}
	}()
	return l.Addr().String()
}

// TestReceiversThatRepeatTheRequest: what a receiver repeats, in whatever form, is
// stored without the secrets, and bounded.
func TestReceiversThatRepeatTheRequest(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		dump := serve(t, func(rw http.ResponseWriter, r *http.Request) {
			whole, err := httputil.DumpRequest(r, true)
			if err != nil {
				t.Error(err)
			}
			user, pass, ok := r.BasicAuth()
			if strings.HasSuffix(r.URL.Path, "/x") && (!ok || user != "ops" || pass != "canary-pass") {
				t.Errorf("the user of the URL is sent as %q, %q", user, pass)
			}
			quoted, err := json.Marshal(map[string]any{"sent": string(whole), "hook": strings.Split(r.URL.Path, "/")[2]})
			if err != nil {
				t.Error(err)
			}
			rw.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(rw, "no hook %s\n%s\n%s", strings.Split(r.URL.Path, "/")[2], whole, quoted)
		})
		moved := serve(t, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Location", "http://%zz/"+r.URL.String()+r.Header.Get("Authorization"))
			rw.WriteHeader(http.StatusFound)
		})
		var hooks []hostler.WebhookID
		for i, at := range []string{echo(t), strings.TrimPrefix(dump, "http://"), strings.TrimPrefix(moved, "http://")} {
			const path, query = "/hooks/canary-0123456789-path", "?key=canary%2Bquery"
			withUser, withToken := "http://ops:canary-pass@"+at+path+"/x"+query, "http://"+at+path+query
			hooks = append(hooks, e.hook(fmt.Sprint("user", i), withUser))
			hooks = append(hooks, e.hook(fmt.Sprint("token", i), withToken, func(_ *store.WebhookRow, s *webhook.Secrets) {
				s.Token, s.Headers = `canary-"&<token`, map[string]string{"X-Key": "Basic canary-header"}
			}))
		}
		e.run("127.0.0.0/8", time.Hour)
		e.emit(1)
		for _, id := range hooks {
			e.await("a try", func() bool {
				l := e.deliveries(id, "")
				return len(l) > 0 && l[0].Tries > 0
			})
			stored, err := json.Marshal(e.deliveries(id, "")[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, bad := range []string{"canary", "Y2FuYXJ5", "NhbmFye", "jYW5hcn"} { // also as base64
				if strings.Contains(string(stored), bad) {
					t.Errorf("a secret is stored (%s): %.2000s", bad, stored)
				}
			}
			if len(stored) > 12<<10 {
				t.Errorf("a try stores %d bytes", len(stored))
			}
		}
	})
}

// TestSwitchedProtocol responds with 101, after which net/http no longer watches the
// connection. The try must still end.
func TestSwitchedProtocol(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		held := make(chan struct{})
		t.Cleanup(func() { close(held) })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer func() { _ = c.Close() }()
					if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
						return
					}
					_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhello")
					<-held
				}()
			}
		}()
		id := e.hook("switch", "http://"+l.Addr().String()+"/", func(r *store.WebhookRow, _ *webhook.Secrets) {
			r.Timeout = hostler.Duration(300 * time.Millisecond)
		})
		e.run("127.0.0.0/8")
		e.emit(1)
		e.await("the try to end", func() bool { return e.count(id, hostler.DeliveryFailed) == 1 })
		if d := e.deliveries(id, "")[0]; d.Last.Status != http.StatusSwitchingProtocols || d.Last.Error == nil {
			t.Errorf("the try is %+v", d.Last)
		}
	})
}
