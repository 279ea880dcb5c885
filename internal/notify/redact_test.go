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

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// echo says back to each connection what it reads of the first lines, which is no
// HTTP.
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

// TestReceiversThatRepeatTheRequest: what a receiver says back, in whatever form, is
// kept without the secrets, and bounded.
func TestReceiversThatRepeatTheRequest(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		dump := serve(t, func(rw http.ResponseWriter, r *http.Request) {
			whole, err := httputil.DumpRequest(r, true)
			if err != nil {
				t.Error(err)
			}
			if user, pass, ok := r.BasicAuth(); strings.HasSuffix(r.URL.Path, "/x") && (!ok || user != "ops" || pass != "canary-pass") {
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
			hooks = append(hooks, w.hook(fmt.Sprint("user", i), "http://ops:canary-pass@"+at+"/hooks/canary-0123456789-path/x?key=canary%2Bquery"))
			hooks = append(hooks, w.hook(fmt.Sprint("token", i), "http://"+at+"/hooks/canary-0123456789-path?key=canary%2Bquery", func(_ *store.WebhookRow, s *store.WebhookSecrets) {
				s.Token, s.Headers = `canary-"&<token`, map[string]string{"X-Key": "Basic canary-header"}
			}))
		}
		w.run("127.0.0.0/8", time.Hour)
		w.emit(1)
		for _, id := range hooks {
			w.await("a try", func() bool {
				l := w.deliveries(id, "")
				return len(l) > 0 && l[0].Tries > 0
			})
			said, err := json.Marshal(w.deliveries(id, "")[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, bad := range []string{"canary", "Y2FuYXJ5", "NhbmFye", "jYW5hcn"} { // also as base64
				if strings.Contains(string(said), bad) {
					t.Errorf("a secret is kept (%s): %.2000s", bad, said)
				}
			}
			if len(said) > 12<<10 {
				t.Errorf("a try keeps %d bytes", len(said))
			}
		}
	})
}

// TestSwitchedProtocol: an answer of 101, after which net/http lets go of the
// connection, ends with the time-out too.
func TestSwitchedProtocol(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
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
		id := w.hook("switch", "http://"+l.Addr().String()+"/", func(r *store.WebhookRow, _ *store.WebhookSecrets) {
			r.Timeout = hostler.Duration(300 * time.Millisecond)
		})
		w.run("127.0.0.0/8")
		w.emit(1)
		w.await("the try to end", func() bool { return w.count(id, hostler.DeliveryFailed) == 1 })
		if d := w.deliveries(id, "")[0]; d.Last.Status != http.StatusSwitchingProtocols || d.Last.Error == nil {
			t.Errorf("the try is %+v", d.Last)
		}
	})
}
