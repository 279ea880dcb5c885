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

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

const robotSecret = "SECcanary0123456789"

// mac is the HMAC-SHA-256 in base64, as the robots' documents describe it.
func mac(key, text string) string {
	h := hmac.New(sha256.New, []byte(key))
	_, _ = io.WriteString(h, text)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// robot is what a robot's service sees of a request.
type robot struct {
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

// TestRobots: each gets its own message and signature, and its refusals inside an
// answer of 200 are failures.
func TestRobots(t *testing.T) {
	for _, tt := range []struct {
		format  hostler.WebhookFormat
		took    string
		refused string
		check   func(r robot) bool
	}{
		{
			hostler.FormatDingTalk, `{"errcode":0,"errmsg":"ok"}`, `{"errcode":310000,"errmsg":"sign not match"}`,
			func(r robot) bool {
				stamp := r.query("timestamp")
				return r.query("access_token") == "canary-token" && r.query("sign") == mac(robotSecret, stamp+"\n"+robotSecret) &&
					len(stamp) == 13 && r.body.MsgType == "markdown" && r.body.Markdown.Title != "" && strings.Contains(r.body.Markdown.Text, "asset.created")
			},
		},
		{
			hostler.FormatWeCom, `{"errcode":0,"errmsg":"ok"}`, `{"errcode":93000,"errmsg":"invalid webhook url"}`,
			func(r robot) bool {
				return r.query("sign") == "" && r.body.MsgType == "markdown" && strings.Contains(r.body.Markdown.Content, "asset.created")
			},
		},
		{
			hostler.FormatFeishu, `{"StatusCode":0,"code":0,"msg":"success"}`, `{"code":19021,"msg":"sign match fail"}`,
			func(r robot) bool {
				return r.body.Sign == mac(r.body.Timestamp+"\n"+robotSecret, "") && len(r.body.Timestamp) == 10 &&
					r.body.Type == "text" && strings.Contains(r.body.Content.Text, "asset.created")
			},
		},
	} {
		t.Run(string(tt.format), func(t *testing.T) {
			eachWorld(t, func(t *testing.T, w *world) {
				var mu sync.Mutex
				var seen []robot
				url := serve(t, func(rw http.ResponseWriter, r *http.Request) {
					got := robot{query: r.URL.Query().Get}
					body, err := io.ReadAll(r.Body)
					if err == nil {
						err = json.Unmarshal(body, &got.body)
					}
					if err != nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") || strings.Contains(string(body), "[x](") {
						t.Errorf("%v in %s", err, body)
					}
					mu.Lock()
					seen = append(seen, got)
					n := len(seen)
					mu.Unlock()
					answer := tt.refused
					if n > 1 {
						answer = tt.took
					}
					_, _ = io.WriteString(rw, answer)
				})
				id := w.hook("robot", url+"/robot/send?access_token=canary-token", func(r *store.WebhookRow, s *store.WebhookSecrets) {
					r.Format, s.Signing = tt.format, []store.SigningSecret{{Secret: robotSecret}}
				})
				w.run("127.0.0.0/8", 50*time.Millisecond)
				w.tx(func(tx *store.Tx) error {
					tx.Emit(w.project, hostler.EventAssetCreated, hostler.ObjectEvent{Object: `<@all> <at user_id="all"></at> [x](http://evil.example)`, By: strings.Repeat("长", 5000)})
					return nil
				})
				w.await("the second try", func() bool { return w.count(id, hostler.DeliveryDelivered) == 1 })
				d := w.deliveries(id, "")[0]
				if len(d.Attempts) != 2 || d.Attempts[0].Error == nil || d.Attempts[0].Status != http.StatusOK || d.Attempts[1].Error != nil {
					t.Errorf("the attempts are %+v", d.Attempts)
				}
				text, err := json.Marshal(d)
				if err != nil || strings.Contains(string(text), "canary") {
					t.Errorf("the delivery shows a secret, %v: %s", err, text)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, r := range seen {
					said := r.body.Markdown.Title + r.body.Markdown.Text + r.body.Markdown.Content + r.body.Content.Text
					if !tt.check(r) || strings.ContainsAny(said, "<>@") || len(r.body.Markdown.Content) > 4096 {
						t.Errorf("not as %s asks: %+v", tt.format, r.body)
					}
				}
			})
		})
	}
}
