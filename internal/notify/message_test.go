package notify

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler/internal/webhook"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

func failedJob(result string) (*store.Event, *hostler.Job) {
	e := &store.Event{
		Pos: 9, At: time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC), Type: hostler.EventJobFailed, Project: 1,
		Job: hostler.JobEvent{
			Job: 2001, Run: 2000, Action: "check_port", Queue: "default", Asset: 1001, AssetName: "web1",
			State: hostler.StateFailed, Attempt: 1, CreatedBy: "olga",
			Error: &hostler.JobError{Kind: "failed", Text: hostler.Text{EN: "the port is closed", ZH: "端口未开放"}},
		},
	}
	return e, &hostler.Job{ID: 2001, Result: json.RawMessage(result)}
}

// TestMessages compares the message of each format, in both languages.
func TestMessages(t *testing.T) {
	const result = `{"text":"port 22 closed (errno=111)","port":22}`
	for _, tt := range []struct {
		format hostler.WebhookFormat
		lang   hostler.Lang
		want   string
	}{
		{
			hostler.FormatStandard, hostler.LangEN, `{"type":"job.failed","timestamp":"2026-01-31T10:00:00Z","pos":9,` +
				`"data":{"job":"job_000000001yh","run":"run_000000001yg","action":"check_port","queue":"default",` +
				`"asset":"ast_000000000z9","asset_name":"web1","state":"failed","attempt":1,"created_by":"olga",` +
				`"error":{"kind":"failed","text":{"en":"the port is closed","zh":"端口未开放"}},` +
				`"result":{"text":"port 22 closed (errno=111)","port":22}}}`,
		},
		{
			hostler.FormatTask, hostler.LangEN, `{"event":"task_completed","task_id":2001,"asset_id":1001,` +
				`"action":"check_port","status":"failed","result":"port 22 closed (errno=111)",` +
				`"error":"the port is closed","completed_at":"2026-01-31T10:00:00Z"}`,
		},
		{hostler.FormatNetPulse, hostler.LangZH, `{"id":"job_000000001yh","status":"failed","result":"端口未开放"}`},
		{
			hostler.FormatDingTalk, hostler.LangZH, `{"at":{"isAtAll":false},"markdown":{"text":"### Hostler：check_port ＠ web1 失败\n\n` +
				`作业：job_000000001yh\n\n批次：run_000000001yg\n\n操作者：olga\n\n时间：2026-01-31 10:00:00 UTC\n\n` +
				`结果：port 22 closed (errno=111)\n\n错误：端口未开放",` +
				`"title":"Hostler：check_port ＠ web1 失败"},"msgtype":"markdown"}`,
		},
		{
			hostler.FormatWeCom, hostler.LangEN, `{"markdown":{"content":"**Hostler: check_port ＠ web1 failed**\n` +
				`Job: job_000000001yh\nRun: run_000000001yg\nBy: olga\nAt: 2026-01-31 10:00:00 UTC\n` +
				`Result: port 22 closed (errno=111)\nError: the port is closed"},` +
				`"msgtype":"markdown"}`,
		},
		{
			hostler.FormatFeishu, hostler.LangEN, `{"content":{"text":"Hostler: check_port ＠ web1 failed\n` +
				`Job: job_000000001yh\nRun: run_000000001yg\nBy: olga\nAt: 2026-01-31 10:00:00 UTC\n` +
				`Result: port 22 closed (errno=111)\nError: the port is closed"},` +
				`"msg_type":"text"}`,
		},
	} {
		e, job := failedJob(result)
		w := store.WebhookRow{Webhook: hostler.Webhook{Format: tt.format, Lang: tt.lang}}
		got, err := messageBody(&w, e, job)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.format, diff)
		}
	}
}

// TestGetRequests: a GET in NetPulse's format has the body of a POST; other formats
// have none.
func TestGetRequests(t *testing.T) {
	for format, want := range map[hostler.WebhookFormat]string{
		hostler.FormatNetPulse: `{"id":"x"}`, hostler.FormatStandard: "",
	} {
		w := store.WebhookRow{Webhook: hostler.Webhook{Format: format, Method: http.MethodGet}}
		req, err := newRequest(t.Context(), w, 1, webhook.Secrets{URL: "https://h/"}, `{"id":"x"}`, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		if req.Body != nil {
			got, err = io.ReadAll(req.Body)
		}
		if err != nil || string(got) != want {
			t.Errorf("%s: body %q (%v), want %q", format, got, err, want)
		}
	}
}

// TestOutputIsNoMarkup puts markup into the output of a job: links, mentions,
// headings, escape sequences.
func TestOutputIsNoMarkup(t *testing.T) {
	e, job := failedJob(`{"text":"<@all> <at user_id=\"all\"></at> @13800000000 [x](http://evil.example) ![y](//evil) ` +
		`**b**\n# h https://evil.example &#64;all &lt;@all&gt; \u001b[31m\u0007\u202e\u2028# h\u200b"}`)
	markup := []string{
		"<", `\u003c`, "@", "[", "**b", "://", `\n#`, "&", `\u0026`, `\u001b`, `\u0007`, "\u202e", `\u2028`,
	}
	for _, f := range []hostler.WebhookFormat{hostler.FormatDingTalk, hostler.FormatWeCom, hostler.FormatFeishu} {
		w := store.WebhookRow{Webhook: hostler.Webhook{Format: f, Lang: hostler.LangEN}}
		got, err := messageBody(&w, e, job)
		if err != nil {
			t.Fatal(err)
		}
		_, text, found := strings.Cut(got, "Result: ")
		if !found {
			t.Fatalf("%s: no result in the message %s", f, got)
		}
		for _, bad := range markup {
			if strings.Contains(text, bad) {
				t.Errorf("%s: %q is in the message %s", f, bad, text)
			}
		}
	}
}

// TestLargeAndMissingResults: a result that is too large is left out of a standard
// message and truncated in a text; a deleted job is described by its event.
func TestLargeAndMissingResults(t *testing.T) {
	e, job := failedJob(`"` + strings.Repeat("x", maxResult) + `"`)
	if s := standardMessage(e, job).Data.(jobData); s.Result != nil || !s.Truncated { //nolint:forcetypeassert // a job's
		t.Errorf("%d bytes of result, truncated: %v", len(s.Result), s.Truncated)
	}
	if s := resultText(e, job, hostler.LangEN); len(s) > maxResult+len(" …") || !strings.HasSuffix(s, "…") {
		t.Errorf("%d bytes of text", len(s))
	}
	if s := resultText(e, nil, hostler.LangZH); s != "端口未开放" {
		t.Errorf("without the job: %q", s)
	}
}
