package channel_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/channel"
	"hostler.dev/hostler/internal/check"
)

func kindOf(t *testing.T, name hostler.ChannelKind) channel.Kind {
	t.Helper()
	k, ok := channel.Of(name)
	if !ok {
		t.Fatalf("%s is not a kind", name)
	}
	return k
}

// TestBodies compares the messages with the documented examples of the services.
func TestBodies(t *testing.T) {
	for name, want := range map[hostler.ChannelKind]string{
		hostler.ChannelDingTalk: `{"at":{"isAtAll":false},"markdown":{"text":"### T\n\na\n\nb","title":"T"},"msgtype":"markdown"}`,
		hostler.ChannelFeishu:   `{"content":{"text":"T\na\nb"},"msg_type":"text"}`,
		hostler.ChannelWeCom:    `{"markdown":{"content":"**T**\na\nb"},"msgtype":"markdown"}`,
		hostler.ChannelSlack:    `{"mrkdwn":false,"text":"T\na\nb","unfurl_links":false,"unfurl_media":false}`,
		hostler.ChannelTeams: `{"attachments":[{"content":{"$schema":"http://adaptivecards.io/schemas/adaptive-card.json","body":[` +
			`{"inlines":[{"size":"medium","text":"T","type":"TextRun","weight":"bolder"}],"type":"RichTextBlock"},` +
			`{"inlines":[{"text":"a","type":"TextRun"}],"type":"RichTextBlock"},{"inlines":[{"text":"b","type":"TextRun"}],"type":"RichTextBlock"}],` +
			`"msteams":{"width":"Full"},"type":"AdaptiveCard","version":"1.4"},"contentType":"application/vnd.microsoft.card.adaptive"}],"type":"message"}`,
		hostler.ChannelMail:    "T\n\na\nb\n",
		hostler.ChannelWebhook: `{"text":"a\nb","title":"T","values":{"job.id":"1"}}`,
	} {
		body, err := kindOf(t, name).Body(channel.Message{Title: "T", Text: "a\nb", Values: channel.Values{"job.id": "1"}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, body); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// hostile is what a job may print to forge a message.
var hostile = []string{
	"<!channel> <@U123> <!here|x>", "@all @所有人 @here", "<at user_id=\"all\">x</at>", "<at>all</at>",
	"[click](http://evil.example)", "<http://evil.example|ok>", "**bold** `code` *x*", "<font color=\"warning\">x</font>",
	"a\nSubject: x\r\nBcc: victim@example.com\r\n\r\nbody", "\x1b[31mred\u202Eevil\u2066", "${{ job.id }} $${{ x }}",
	"&lt;!channel&gt;", "# heading", "\u0085x\u2028y",
}

// TestValuesAreNoMarkup: no value mentions a person, makes a link or ends its line, in
// any chat, in title or text.
func TestValuesAreNoMarkup(t *testing.T) {
	tmpl := channel.Template{Title: "t ${{ job.error }}", Text: "x ${{ job.result }}\nend"}
	for _, name := range hostler.ChannelKinds() {
		kind := kindOf(t, name)
		for _, value := range hostile {
			m := kind.Render(tmpl, channel.Values{"job.error": value, "job.result": value, "job.id": "looked up"})
			if strings.ContainsAny(m.Title, "\r\n\x1b\u202E\u2066\u0085\u2028") || strings.Count(m.Text, "\n") != 1 {
				t.Errorf("%s: %q became %q and %q", name, value, m.Title, m.Text)
			}
			if strings.Contains(m.Text, "looked up") {
				t.Errorf("%s evaluated a value: %q", name, m.Text)
			}
			if name == hostler.ChannelMail || name == hostler.ChannelWebhook {
				continue // text, and JSON
			}
			bad := "<>@"
			if name == hostler.ChannelDingTalk || name == hostler.ChannelWeCom || name == hostler.ChannelFeishu {
				bad = "<>@[]`*"
			}
			if strings.ContainsAny(m.Title+m.Text, bad) {
				t.Errorf("%s: %q became %q", name, value, m.Text)
			}
		}
	}
}

// TestSlackEscapesAmpersands: an entity in a value must not become a mention when Slack
// decodes it.
func TestSlackEscapesAmpersands(t *testing.T) {
	if got := kindOf(t, hostler.ChannelSlack).Escape("&lt;!channel&gt;"); got != "&amp;lt;!channel&amp;gt;" {
		t.Error(got)
	}
}

func TestMailSubject(t *testing.T) {
	kind := kindOf(t, hostler.ChannelMail)
	for _, value := range hostile {
		body, err := kind.Body(kind.Render(channel.Template{Title: "a ${{ by }}", Text: "${{ by }}"}, channel.Values{"by": value}))
		if err != nil {
			t.Fatal(err)
		}
		if subject, text := channel.Mail(body); strings.ContainsAny(subject, "\r\n") || text == "" {
			t.Errorf("subject %q, text %q", subject, text)
		}
	}
}

func TestTemplates(t *testing.T) {
	kind := kindOf(t, hostler.ChannelMail)
	v := channel.Values{"job.action": "check_port", "text": "one\ntwo", "job.error": ""}
	for text, want := range map[string]string{
		"${{ job.action }}":                       "check_port",
		"${{job.action}} ok":                      "check_port ok",
		"a\nError: ${{ job.error }}\nb":           "a\nb",
		"${{ job.action }}: ${{ job.error }}":     "check_port: ",
		"$${{ job.action }}":                      "${{ job.action }}",
		"${{ text }}":                             "one\ntwo",
		"a\r\nb":                                  "a\nb",
		"${{ job.action":                          "",
		"{{ job.action }} ${job.action} $(id) %s": "{{ job.action }} ${job.action} $(id) %s",
	} {
		if got := kind.Render(channel.Template{Title: "t", Text: text}, v).Text; got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"${{ job.secret }}", "${{ job.action", "${{ 1 + 1 }}", "${{ }}", "${{ job.action | upper }}"} {
		var fields check.Fields
		channel.Template{Title: "ok", Text: text}.Check(&fields)
		if f := fields.Faults(); len(f) != 1 || f[0].Path != "text" || !strings.Contains(f[0].Text.ZH, "job.action") {
			t.Errorf("%q: %v", text, f)
		}
	}
	for _, lang := range []hostler.Lang{hostler.LangEN, hostler.LangZH} {
		var fields check.Fields
		channel.Template{}.Or(lang).Check(&fields)
		if len(fields.Faults()) > 0 {
			t.Errorf("the default of %s: %v", lang, fields.Err())
		}
	}
}

// TestDefaultsInBothLanguages: the sample of a preview in the default templates.
func TestDefaultsInBothLanguages(t *testing.T) {
	kind := kindOf(t, hostler.ChannelDingTalk)
	for lang, want := range map[hostler.Lang][]string{
		hostler.LangEN: {"Hostler: check_port ＠ web1 failed", "Error: connection refused"},
		hostler.LangZH: {"Hostler：check_port ＠ web1 失败", "错误：connection refused"},
	} {
		m := kind.Render(channel.Template{}.Or(lang), channel.Sample(hostler.EventJobFailed, lang))
		if m.Title != want[0] || !strings.Contains(m.Text, want[1]) {
			t.Errorf("%s: %q\n%s", lang, m.Title, m.Text)
		}
	}
}

func TestMergeSaysHowMany(t *testing.T) {
	kind := kindOf(t, hostler.ChannelDingTalk)
	events := slices.Repeat([]channel.Event{{Type: "job.failed", Subject: "a @all"}}, 40)
	events = append(events, channel.Event{Type: "job.unknown", Subject: "b"})
	m := kind.Merge(events, 7, hostler.LangEN)
	for _, want := range []string{"job.failed × 40, job.unknown × 1\n- b\n- a", "… and 31 more", "7 more events"} {
		if !strings.Contains(m.Text, want) {
			t.Errorf("no %q in\n%s", want, m.Text)
		}
	}
	if !strings.Contains(m.Title, "41 events") || strings.Contains(m.Text, "@") {
		t.Errorf("%q\n%s", m.Title, m.Text)
	}
	if zh := kind.Merge(events, 7, hostler.LangZH); !strings.Contains(zh.Title, "41 个事件") {
		t.Error(zh.Title)
	}
}

// TestRefusals has the answers that the services document, and hostile ones.
func TestRefusals(t *testing.T) {
	const ok = ""
	for _, tt := range []struct {
		kind   hostler.ChannelKind
		status int
		body   string
		want   string // part of the error; ok: accepted
		wait   time.Duration
	}{
		{hostler.ChannelDingTalk, 200, `{"errcode":0,"errmsg":"ok"}`, ok, 0},
		{hostler.ChannelDingTalk, 200, `{"errcode":310000,"errmsg":"sign not match"}`, "310000: sign not match; check the secret", 0},
		{hostler.ChannelDingTalk, 200, `{"errcode":130101,"errmsg":"send too fast"}`, "130101: send too fast", 10 * time.Minute},
		{hostler.ChannelDingTalk, 200, `<html>login</html>`, "not that of a chat bot", 0},
		{hostler.ChannelDingTalk, 200, `{}`, "not that of a chat bot", 0},
		{hostler.ChannelDingTalk, 200, `{"errcode":"0"}`, "not that of a chat bot", 0},
		{hostler.ChannelFeishu, 200, `{"StatusCode":0,"StatusMessage":"success","code":0,"msg":"success"}`, ok, 0},
		{hostler.ChannelFeishu, 200, `{"StatusCode":0,"StatusMessage":"success"}`, ok, 0},
		{hostler.ChannelFeishu, 200, `{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}`, "19021: sign match fail", 0},
		{hostler.ChannelFeishu, 200, `{"code":9499,"msg":"Bad Request","data":{}}`, "9499: Bad Request", 0},
		{hostler.ChannelFeishu, 200, `{"code":9499,"msg":"too many request"}`, "too many request", time.Minute},
		{hostler.ChannelFeishu, 400, `{"code":11232,"msg":"frequency limited"}`, "11232", time.Minute},
		{hostler.ChannelWeCom, 200, `{"errcode":0,"errmsg":"ok"}`, ok, 0},
		{hostler.ChannelWeCom, 200, `{"errcode":93000,"errmsg":"invalid webhook url"}`, "93000: invalid webhook url; check the URL", 0},
		{hostler.ChannelWeCom, 200, `{"errcode":45009,"errmsg":"api freq out of limit"}`, "45009", time.Minute},
		{hostler.ChannelSlack, 200, "ok", ok, 0},
		{hostler.ChannelSlack, 200, `{"ok":true}`, ok, 0},
		{hostler.ChannelSlack, 200, `{"ok":false,"error":"channel_not_found"}`, "channel_not_found", 0},
		{hostler.ChannelSlack, 404, "no_service", "no_service; check the URL", 0},
		{hostler.ChannelSlack, 400, "invalid_payload", "invalid_payload", 0},
		{hostler.ChannelSlack, 429, "rate_limited", "rate_limited", time.Minute},
		{hostler.ChannelSlack, 200, "<html>", "not that of a chat bot", 0},
		{hostler.ChannelTeams, 202, "", ok, 0},
		{hostler.ChannelTeams, 200, "1", ok, 0},
		{hostler.ChannelTeams, 200, "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429", "429", time.Minute},
		{hostler.ChannelTeams, 401, `{"error":{"code":"DirectApiAuthorizationRequired","message":"the request is not signed"}}`, "DirectApiAuthorizationRequired", 0},
		{hostler.ChannelWebhook, 204, "", ok, 0},
		{hostler.ChannelWebhook, 200, `{"ok":true}`, ok, 0},
		{hostler.ChannelWebhook, 200, `{"code":200}`, ok, 0},
		{hostler.ChannelWebhook, 200, `{"ok":false,"error":"no such room"}`, "no such room", 0},
		{hostler.ChannelWebhook, 200, `{"success":false}`, "unknown", 0},
		{hostler.ChannelWebhook, 200, `{"errcode":7,"errmsg":"full"}`, "7: full", 0},
	} {
		r := kindOf(t, tt.kind).Refusal(tt.status, []byte(tt.body))
		switch {
		case tt.want == ok && r != nil:
			t.Errorf("%s %d %s: refused: %s", tt.kind, tt.status, tt.body, r.Text.EN)
		case tt.want != ok && r == nil:
			t.Errorf("%s %d %s: accepted", tt.kind, tt.status, tt.body)
		case r != nil && (!strings.Contains(r.Text.EN, tt.want) || r.Text.ZH == "" || r.Wait != tt.wait):
			t.Errorf("%s %d %s: %s, wait %v", tt.kind, tt.status, tt.body, r.Text.EN, r.Wait)
		}
	}
	long := fmt.Sprintf(`{"errcode":1,"errmsg":%q}`, strings.Repeat("x\n\x1b[31m", 10_000))
	if r := kindOf(t, hostler.ChannelDingTalk).Refusal(http.StatusOK, []byte(long)); r == nil || len(r.Text.EN) > 500 ||
		strings.ContainsAny(r.Text.EN, "\n\x1b") {
		t.Errorf("a hostile answer became %+v", r)
	}
}

func TestLongTextsAreCut(t *testing.T) {
	for _, name := range hostler.ChannelKinds() {
		kind := kindOf(t, name)
		m := kind.Render(channel.Template{Title: "${{ by }}", Text: "${{ text }}"},
			channel.Values{"by": strings.Repeat("长", 5000), "text": strings.Repeat("长\n", 100_000)})
		body, err := kind.Body(m)
		if err != nil || name == hostler.ChannelWeCom && len(body) > 5000 || len(body) > 900_000 {
			t.Errorf("%s: %d bytes, %v", name, len(body), err)
		}
		if name != hostler.ChannelMail && !json.Valid([]byte(body)) {
			t.Errorf("%s is not JSON", name)
		}
	}
}

func FuzzRender(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		for _, name := range hostler.ChannelKinds() {
			kind, _ := channel.Of(name)
			m := kind.Render(channel.Template{Title: text, Text: text}, channel.Values{"by": value, "text": value})
			if _, err := kind.Body(m); err != nil || strings.ContainsAny(m.Title, "\r\n") {
				t.Fatalf("%q, %v", m.Title, err)
			}
		}
	})
}
