package notify_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/webhook"
)

// channel inserts a channel of the project.
func (e *env) channel(name, url string, kind hostler.ChannelKind, change ...func(*store.WebhookRow, *webhook.Secrets)) hostler.WebhookID {
	e.t.Helper()
	return e.hook(name, url, append([]func(*store.WebhookRow, *webhook.Secrets){
		func(r *store.WebhookRow, s *webhook.Secrets) {
			r.Channel = &store.ChannelSpec{Kind: kind}
			r.Format, r.Rate, r.Limit, s.Signing = hostler.WebhookFormat(kind), 600, 1, nil
		},
	}, change...)...)
}

// TestChannelMergesWhatExceedsItsRate: a burst becomes few messages that say how many
// events they stand for, also after the chat refused the first one.
func TestChannelMergesWhatExceedsItsRate(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		var mu sync.Mutex
		var bodies []string
		url := serve(t, func(rw http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			bodies = append(bodies, string(body))
			first := len(bodies) == 1
			mu.Unlock()
			if first {
				_, _ = io.WriteString(rw, `{"errcode":310000,"errmsg":"sign not match"}`)
				return
			}
			_, _ = io.WriteString(rw, `{"errcode":0,"errmsg":"ok"}`)
		})
		id := e.channel("ops", url, hostler.ChannelDingTalk)
		e.emit(200)
		e.run("127.0.0.0/8", 50*time.Millisecond)
		e.await("the deliveries", func() bool { return e.count(id, hostler.DeliveryDelivered) == 200 })
		mu.Lock()
		defer mu.Unlock()
		if len(bodies) > 20 || !strings.Contains(strings.Join(bodies, ""), "events in one message") {
			t.Errorf("%d messages, the last is %s", len(bodies), bodies[len(bodies)-1])
		}
		merged := 0
		for _, d := range e.deliveries(id, "") {
			if d.Channel == 0 || d.ChannelName != "ops" || d.Name != "ops" {
				t.Fatalf("not a delivery of a channel: %+v", d)
			}
			if d.Last != nil && d.Last.Merged != 0 {
				merged++
			}
		}
		if merged < 150 {
			t.Errorf("%d deliveries were merged", merged)
		}
	})
}

// TestMessageOfARun goes to the channel that the step names, and to no other.
func TestMessageOfARun(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		got := make(chan string, 10)
		url := serve(t, func(rw http.ResponseWriter, r *http.Request) {
			var m struct{ Text string }
			_ = json.NewDecoder(r.Body).Decode(&m)
			got <- r.URL.Path + " " + m.Text
			_, _ = io.WriteString(rw, "ok")
		})
		none := func(r *store.WebhookRow, _ *webhook.Secrets) { r.Events = []string{} }
		all := func(r *store.WebhookRow, _ *webhook.Secrets) { r.Events = []string{"*"} }
		named := e.channel("ops", url+"/ops", hostler.ChannelSlack, none)
		other := e.channel("other", url+"/other", hostler.ChannelSlack, all)
		e.tx(func(tx *store.Tx) error {
			tx.Emit(e.project, hostler.EventRunMessage, hostler.ObjectEvent{
				Object: "game <!channel>\n1.2 &amp; up", Channel: "ops",
			})
			tx.Emit(e.project, hostler.EventAssetCreated, hostler.ObjectEvent{Object: "web1"})
			return nil
		})
		e.run("127.0.0.0/8")
		e.await("both", func() bool {
			return e.count(named, hostler.DeliveryDelivered) == 1 && e.count(other, hostler.DeliveryDelivered) == 1
		})
		for range 2 {
			text := <-got
			if strings.HasPrefix(text, "/ops") != strings.Contains(text, "game &lt;!channel&gt;\n1.2 &amp;amp; up") {
				t.Errorf("got %q", text)
			}
		}
	})
}

// mailServer answers like a mail server without TLS; auth and the like are refused. It
// returns its address and the data of each mail.
func mailServer(t *testing.T, rcpt string) (addr string, mails <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	out := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveMail(c, rcpt, out)
		}
	}()
	return l.Addr().String(), out
}

func serveMail(c net.Conn, rcpt string, out chan<- string) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	_, _ = fmt.Fprint(c, "220 mail.example.com ESMTP\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(line[:min(4, len(line))]); verb {
		case "EHLO":
			_, _ = fmt.Fprint(c, "250-mail.example.com\r\n250 8BITMIME\r\n")
		case "RCPT":
			_, _ = fmt.Fprint(c, rcpt+"\r\n")
		case "DATA":
			_, _ = fmt.Fprint(c, "354 go on\r\n")
			var data strings.Builder
			for {
				l, err := r.ReadString('\n')
				if err != nil || l == ".\r\n" {
					break
				}
				data.WriteString(l)
			}
			out <- data.String()
			_, _ = fmt.Fprint(c, "250 queued\r\n")
		case "QUIT":
			_, _ = fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			_, _ = fmt.Fprint(c, "250 ok\r\n")
		}
	}
}

func toMail(r *store.WebhookRow, _ *webhook.Secrets) {
	r.Channel.From, r.Channel.To = "Hostler <hostler@example.com>", []string{"oncall@example.com"}
}

// TestMail: a mail arrives whole, and an object's name adds no header and no recipient.
func TestMail(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		addr, mails := mailServer(t, "250 ok")
		id := e.channel("oncall", "smtp+plain://"+addr, hostler.ChannelMail, toMail)
		e.run("127.0.0.0/8")
		e.tx(func(tx *store.Tx) error {
			tx.Emit(e.project, hostler.EventAssetCreated, hostler.ObjectEvent{
				Object: "web1\r\nBcc: victim@example.com\r\n\r\nforged", By: "alice",
			})
			return nil
		})
		e.await("the mail", func() bool { return e.count(id, hostler.DeliveryDelivered) == 1 })
		mail := <-mails
		head, _, _ := strings.Cut(mail, "\r\n\r\n")
		for l := range strings.SplitSeq(head, "\r\n") {
			if strings.HasPrefix(strings.ToLower(l), "bcc") {
				t.Errorf("a header was injected:\n%s", mail)
			}
		}
		if !strings.Contains(head, "Subject: ") || !strings.Contains(head, "dlv_") {
			t.Errorf("the mail is\n%s", mail)
		}
	})
}

// TestMailRefusals quotes the mail server and says what to do.
func TestMailRefusals(t *testing.T) {
	eachEnv(t, func(t *testing.T, e *env) {
		addr, _ := mailServer(t, "550 5.1.1 no such user")
		hostile, _ := mailServer(t, "250 "+strings.Repeat("x", 1<<20))
		for name, tt := range map[string]struct{ url, want string }{
			"recipient": {"smtp+plain://" + addr, "550"},
			"no TLS":    {"smtp://" + addr, "STARTTLS"},
			"too long":  {"smtp+plain://" + hostile, "too much"},
			"denied":    {"smtp+plain://169.254.169.254:25", "egress_allow"},
		} {
			id := e.channel(name, tt.url, hostler.ChannelMail, toMail)
			stop := e.run("127.0.0.0/8")
			e.emit(1)
			e.await(name, func() bool { return e.count(id, hostler.DeliveryFailed) == 1 })
			stop()
			d := e.deliveries(id, "")[0]
			if d.Last == nil || d.Last.Error == nil || !strings.Contains(d.Last.Error.EN, tt.want) {
				t.Errorf("%s: %+v", name, d.Last)
			}
			e.tx(func(tx *store.Tx) error { return tx.DeleteWebhook(id) })
		}
	})
}
