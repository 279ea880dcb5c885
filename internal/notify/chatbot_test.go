package notify_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler/internal/webhook"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

const botSecret = "SECcanary0123456789"

// mac returns the HMAC-SHA-256 in base64, as the documents of the chat bots describe.
func mac(key, text string) string {
	h := hmac.New(sha256.New, []byte(key))
	_, _ = io.WriteString(h, text)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// botRequest is what the service of a chat bot reads of a request.
type botRequest struct {
	query func(string) string
	body  struct {
		MsgType   string `json:"msgtype"`
		Type      string `json:"msg_type"`
		Timestamp string `json:"timestamp"`
		Sign      string `json:"sign"`
		Markdown  struct {
			Title   string `json:"title"`
			Text    string `json:"text"`
			Content string `json:"content"`
		} `json:"markdown"`
		Content struct {
			Text string `json:"text"`
		} `json:"content"`
	}
}

// TestChatBots: each gets its own message and signature, and an error in a response
// with status 200 is a failure.
func TestChatBots(t *testing.T) {
	for _, tt := range []struct {
		format   hostler.WebhookFormat
		accepted string
		refused  string
		check    func(r botRequest) bool
	}{
		{
			hostler.FormatDingTalk, `{"errcode":0,"errmsg":"ok"}`, `{"errcode":310000,"errmsg":"sign not match"}`,
			func(r botRequest) bool {
				stamp := r.query("timestamp")
				return r.query("access_token") == "canary-token" && r.query("sign") == mac(botSecret, stamp+"\n"+botSecret) &&
					len(stamp) == 13 && r.body.MsgType == "markdown" && r.body.Markdown.Title != "" &&
					strings.Contains(r.body.Markdown.Text, "asset.created")
			},
		},
		{
			hostler.FormatWeCom, `{"errcode":0,"errmsg":"ok"}`, `{"errcode":93000,"errmsg":"invalid webhook url"}`,
			func(r botRequest) bool {
				return r.query("sign") == "" && r.body.MsgType == "markdown" &&
					strings.Contains(r.body.Markdown.Content, "asset.created")
			},
		},
		{
			hostler.FormatFeishu, `{"StatusCode":0,"code":0,"msg":"success"}`, `{"code":19021,"msg":"sign match fail"}`,
			func(r botRequest) bool {
				return r.body.Sign == mac(r.body.Timestamp+"\n"+botSecret, "") && len(r.body.Timestamp) == 10 &&
					r.body.Type == "text" && strings.Contains(r.body.Content.Text, "asset.created")
			},
		},
	} {
		t.Run(string(tt.format), func(t *testing.T) {
			eachEnv(t, func(t *testing.T, e *env) {
				var mu sync.Mutex
				var seen []botRequest
				url := serve(t, func(rw http.ResponseWriter, r *http.Request) {
					got := botRequest{query: r.URL.Query().Get}
					body, err := io.ReadAll(r.Body)
					if err == nil {
						err = json.Unmarshal(body, &got.body)
					}
					isJSON := strings.HasPrefix(r.Header.Get("Content-Type"), "application/json")
					if err != nil || !isJSON || strings.Contains(string(body), "[x](") {
						t.Errorf("%v in %s", err, body)
					}
					mu.Lock()
					seen = append(seen, got)
					n := len(seen)
					mu.Unlock()
					answer := tt.refused
					if n > 1 {
						answer = tt.accepted
					}
					_, _ = io.WriteString(rw, answer)
				})
				url += "/robot/send?access_token=canary-token"
				id := e.hook("bot", url, func(r *store.WebhookRow, s *webhook.Secrets) {
					r.Format, s.Signing = tt.format, []webhook.SigningSecret{{Secret: botSecret}}
				})
				e.run("127.0.0.0/8", 50*time.Millisecond)
				e.tx(func(tx *store.Tx) error {
					tx.Emit(e.project, hostler.EventAssetCreated, hostler.ObjectEvent{
						Object: `<@all> <at user_id="all"></at> [x](http://evil.example)`, By: strings.Repeat("长", 5000),
					})
					return nil
				})
				e.await("the second try", func() bool { return e.count(id, hostler.DeliveryDelivered) == 1 })
				d := e.deliveries(id, "")[0]
				if len(d.Attempts) != 2 || d.Attempts[0].Error == nil || d.Attempts[0].Status != http.StatusOK ||
					d.Attempts[1].Error != nil {
					t.Errorf("the attempts are %+v", d.Attempts)
				}
				text, err := json.Marshal(d)
				if err != nil || strings.Contains(string(text), "canary") {
					t.Errorf("the delivery shows a secret, %v: %s", err, text)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, r := range seen {
					text := r.body.Markdown.Title + r.body.Markdown.Text + r.body.Markdown.Content + r.body.Content.Text
					if !tt.check(r) || strings.ContainsAny(text, "<>@") || len(r.body.Markdown.Content) > 4096 {
						t.Errorf("not a message of %s: %+v", tt.format, r.body)
					}
				}
			})
		})
	}
}
