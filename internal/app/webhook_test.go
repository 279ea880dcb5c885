package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/store"
)

// whsec is a signing secret that is easy to find.
const whsec = "whsec_a2FuYXJpZW52b2dlbC03ZjNhLWthbmFyaQ=="

func (w *env) hook(t *testing.T, name string) hostler.Webhook {
	t.Helper()
	token := canary + "-token"
	made := must(w.CreateWebhook(t.Context(), w.admin, hostler.WebhookInput{
		Name: name, URL: "https://ops.example.com/hooks?key=" + canary, Token: &token,
		Headers: map[string]string{"X-Ticket": canary},
	}))(t)
	return made.Webhook
}

func fieldsOf(err error) []string {
	var paths []string
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		for _, f := range e.Fields {
			paths = append(paths, f.Path)
		}
	}
	return paths
}

func TestWebhookAsItIsShown(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		got := w.hook(t, "ops")
		want := hostler.Webhook{
			ID: got.ID, Project: "default", Name: "ops", URL: "https://ops.example.com/hooks?***", Format: hostler.FormatStandard,
			Method: "POST", Headers: []string{"X-Ticket"}, Token: true, Lang: hostler.LangEN,
			Timeout: hostler.Duration(10 * time.Second), Limit: 4, Enabled: true,
			Created: got.Created, Updated: got.Updated,
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("the webhook (-want +got):\n%s", diff)
		}
		for _, ref := range []string{"ops", got.ID.String()} {
			read := must(w.Webhook(t.Context(), w.operator, ref))(t)
			if diff := cmp.Diff(got, read, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("read by %s (-made +read):\n%s", ref, diff)
			}
		}
		if l := must(w.Webhooks(t.Context(), w.operator, hostler.Page{}))(t); len(l.Items) != 1 {
			t.Errorf("the listing has %d", len(l.Items))
		}
		_, err := w.CreateWebhook(t.Context(), w.admin, hostler.WebhookInput{Name: "ops", URL: "https://h/"})
		wantCode(t, err, hostler.CodeConflict)
		_, err = w.Webhook(t.Context(), w.stranger, got.ID.String())
		wantCode(t, err, hostler.CodeNotFound)

		if err := w.DeleteWebhook(t.Context(), w.admin, "ops"); err != nil {
			t.Fatal(err)
		}
		_, err = w.Webhook(t.Context(), w.admin, "ops")
		wantCode(t, err, hostler.CodeNotFound)
	})
}

func TestWebhookFieldsAtFault(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		s := "x"
		for name, in := range map[string]hostler.WebhookInput{
			"url":                {},
			"events[0]":          {URL: "https://h/", Events: []string{"job.flew"}},
			"events[1]":          {URL: "https://h/", Format: hostler.FormatTask, Events: []string{"job.failed", "job.*"}},
			"filter.queues[0]":   {URL: "https://h/", Filter: &hostler.WebhookFilter{Queues: []string{"a b"}}},
			"rate":               {URL: "https://h/", Rate: -1},
			"limit":              {URL: "https://h/", Limit: 101},
			"lang":               {URL: "https://h/", Lang: "fr"},
			"generate_secret":    {URL: "https://open.feishu.cn/open-apis/bot/v2/hook/x", GenerateSecret: true},
			"secret":             {URL: "https://h/", Secret: &s},
			"headers.Host":       {URL: "https://h/", Headers: map[string]string{"Host": "evil"}},
			"name":               {Name: "whk_00000000001", URL: "https://h/"},
			"name of the config": {Name: app.ConfiguredWebhook, URL: "https://h/"},
		} {
			if in.Name == "" {
				in.Name = "bad"
			}
			_, err := w.CreateWebhook(t.Context(), w.admin, in)
			wantCode(t, err, hostler.CodeInvalid)
			want, _, _ := strings.Cut(name, " ")
			if got := fieldsOf(err); len(got) != 1 || got[0] != want {
				t.Errorf("%s: the fields at fault are %v", name, got)
			}
		}
		if l := must(w.Webhooks(t.Context(), w.admin, hostler.Page{}))(t); len(l.Items) != 0 {
			t.Errorf("bad input made %v", l.Items)
		}
	})
}

// TestReplacedWebhook: what is left out stays, but never goes to another address.
func TestReplacedWebhook(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		hook := w.hook(t, "ops")
		replaced := must(
			w.PutWebhook(
				ctx,
				w.admin,
				"ops",
				hostler.WebhookInput{Name: "renamed", URL: hook.URL, Events: []string{"job.*"}, Rate: 60},
			),
		)(t)
		if replaced.ID != hook.ID || replaced.URL != hook.URL || !replaced.Token || len(replaced.Headers) != 1 ||
			replaced.Rate != 60 ||
			replaced.Name != "renamed" {
			t.Errorf("replaced as %+v", replaced)
		}
		_, err := w.PutWebhook(
			ctx,
			w.admin,
			"renamed",
			hostler.WebhookInput{Name: "renamed", URL: "https://evil.example.com/"},
		)
		wantCode(t, err, hostler.CodeInvalid)
		if diff := cmp.Diff([]string{"token", "headers"}, fieldsOf(err)); diff != "" {
			t.Errorf("fields (-want +got):\n%s", diff)
		}
		empty := ""
		moved := must(w.PutWebhook(ctx, w.admin, "renamed", hostler.WebhookInput{
			Name: "renamed", URL: "https://evil.example.com/", Token: &empty, Headers: map[string]string{},
		}))(t)
		if moved.Token || len(moved.Headers) != 0 || moved.URL != "https://evil.example.com/" {
			t.Errorf("moved as %+v", moved)
		}

		off := must(w.DisableWebhook(ctx, w.admin, "renamed"))(t)
		still := must(w.PutWebhook(ctx, w.admin, "renamed", hostler.WebhookInput{Name: "renamed"}))(t)
		on := must(w.EnableWebhook(ctx, w.admin, "renamed"))(t)
		if off.Enabled || still.Enabled || !on.Enabled {
			t.Errorf("enabled: off %v, replaced %v, on %v", off.Enabled, still.Enabled, on.Enabled)
		}
	})
}

func TestRotatedSigningSecret(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		made := must(
			w.CreateWebhook(ctx, w.admin, hostler.WebhookInput{Name: "ops", URL: "https://h/", GenerateSecret: true}),
		)(t)
		next := must(w.RotateWebhook(ctx, w.admin, "ops", hostler.WebhookRotation{}))(t)
		if !strings.HasPrefix(made.Secret, "whsec_") || made.Secret == next.Secret || !next.Webhook.Signed {
			t.Errorf("made %q, then %q, signed %v", made.Secret, next.Secret, next.Webhook.Signed)
		}
		given := must(w.RotateWebhook(ctx, w.admin, "ops", hostler.WebhookRotation{Secret: whsec}))(t)
		if given.Secret != "" {
			t.Error("a given secret is repeated")
		}
		for name, in := range map[string]hostler.WebhookRotation{
			"secret": {Secret: "x"}, "overlap": {Overlap: new(hostler.Duration(-1))}, "overlap too long": {Overlap: new(hostler.Duration(31 * 24 * time.Hour))},
		} {
			_, err := w.RotateWebhook(ctx, w.admin, "ops", in)
			want, _, _ := strings.Cut(name, " ")
			if got := fieldsOf(err); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %v", name, err)
			}
		}
		must(
			w.CreateWebhook(
				ctx,
				w.admin,
				hostler.WebhookInput{Name: "chat", URL: "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x"},
			),
		)(t)
		_, err := w.RotateWebhook(ctx, w.admin, "chat", hostler.WebhookRotation{})
		wantCode(t, err, hostler.CodeInvalid)
		for _, secret := range []string{made.Secret, next.Secret, whsec} {
			w.searchTables(t, secret[8:])
		}
	})
}

// TestConfiguredWebhook: it follows the configuration, belongs to no project, and
// only admins of the default project see it.
func TestConfiguredWebhook(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		cfg := app.WebhookConfig{URL: "https://ops.example.com/tasks?key=" + canary, Token: canary}
		audited := func() int {
			return len(must(w.Audit(ctx, w.admin, hostler.AuditFilter{}, hostler.Page{Limit: 1000}))(t).Items)
		}
		configure := func(c app.WebhookConfig) {
			t.Helper()
			if err := w.ConfigureWebhook(ctx, c); err != nil {
				t.Fatal(err)
			}
		}
		configure(app.WebhookConfig{})
		configure(cfg)
		got := must(w.Webhook(ctx, w.admin, app.ConfiguredWebhook))(t)
		if got.Format != hostler.FormatTask || !got.Token || !got.Enabled ||
			got.URL != "https://ops.example.com/tasks?***" {
			t.Errorf("configured as %+v", got)
		}
		before := audited()
		configure(cfg)
		if n := audited(); n != before {
			t.Errorf("the same configuration was recorded %d times more", n-before)
		}
		for name, c := range map[string]app.WebhookConfig{
			"url": {URL: "ftp://h/"}, "secret": {URL: "https://h/", Secret: "x"},
			"token": {URL: "https://oapi.dingtalk.com/robot/send?access_token=x", Token: "x"},
		} {
			err := w.ConfigureWebhook(ctx, c)
			if got := fieldsOf(err); len(got) != 1 || got[0] != "webhook_"+name {
				t.Errorf("%s: %v", name, err)
			}
		}

		_, err := w.Webhook(ctx, w.operator, app.ConfiguredWebhook)
		wantCode(t, err, hostler.CodeNotFound)
		_, err = w.Webhook(ctx, w.stranger, got.ID.String())
		wantCode(t, err, hostler.CodeNotFound)
		for name, err := range map[string]error{
			"put":    second(w.PutWebhook(ctx, w.admin, got.Name, hostler.WebhookInput{Name: "x", URL: "https://h/"})),
			"enable": second(w.EnableWebhook(ctx, w.admin, got.Name)),
			"rotate": second(w.RotateWebhook(ctx, w.admin, got.Name, hostler.WebhookRotation{})),
			"delete": w.DeleteWebhook(ctx, w.admin, got.ID.String()),
		} {
			wantCode(t, err, hostler.CodeConflict)
			if err != nil && !strings.Contains(err.Error(), "HOSTLER_WEBHOOK_URL") {
				t.Errorf("%s does not name where it is configured: %v", name, err)
			}
		}

		configure(app.WebhookConfig{URL: "https://ops.example.com/other"})
		moved := must(w.Webhook(ctx, w.admin, got.Name))(t)
		if moved.ID != got.ID || moved.Token || moved.URL != "https://ops.example.com/other" {
			t.Errorf("moved as %+v", moved)
		}
		configure(app.WebhookConfig{})
		off := must(w.Webhook(ctx, w.admin, got.Name))(t)
		if off.Enabled || off.Reason == nil || off.Reason.ZH == "" {
			t.Errorf("without configuration it is %+v", off)
		}
		configure(cfg)
		if again := must(w.Webhook(ctx, w.admin, got.Name))(t); !again.Enabled || again.Reason != nil {
			t.Errorf("configured again it is %+v", again)
		}
	})
}

// TestJobWebhook: it is checked, sealed, and in no listing.
func TestJobWebhook(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		req := hostler.JobRequest{
			Action: "check_port",
			Assets: []string{w.asset(t, hostler.AssetInput{Name: "web1"}).Name},
		}
		req.Webhook = &hostler.JobWebhook{
			URL:     "https://ops.example.com/done?key=" + canary,
			Token:   canary,
			Secret:  whsec,
			Headers: map[string]string{"X-A": canary},
		}
		made := w.run(t, req)
		if l := must(w.Webhooks(ctx, w.admin, hostler.Page{}))(t); len(l.Items) != 0 {
			t.Errorf("the listing has %v", l.Items)
		}
		_, err := w.Webhook(ctx, w.admin, made.Run.String())
		wantCode(t, err, hostler.CodeNotFound)

		for path, bad := range map[string]hostler.JobWebhook{
			"webhook.url":          {URL: "ftp://h/" + canary},
			"webhook.headers.Host": {URL: "https://h/", Headers: map[string]string{"Host": canary}},
			"webhook.timeout":      {URL: "https://h/", Timeout: hostler.Duration(time.Minute)},
			"webhook.secret":       {URL: "https://h/", Secret: canary},
		} {
			req.Webhook = &bad
			_, err := w.RunJobs(ctx, w.operator, req, "")
			if got := fieldsOf(err); len(got) != 1 || got[0] != path {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
}

// TestWebhookSecretsStayInside looks for them in every answer, error and column.
func TestWebhookSecretsStayInside(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		var outputs []any
		collect := func(v any, err error) { outputs = append(outputs, v, fmt.Sprintf("%+v", err)) }
		hook := w.hook(t, "ops")
		collect(hook, nil)
		token := canary + "\n"
		collect(
			w.CreateWebhook(
				ctx,
				w.admin,
				hostler.WebhookInput{Name: canary + "!", URL: "ftp://" + canary, Token: &token, Secret: &token},
			),
		)
		collect(
			w.PutWebhook(
				ctx,
				w.admin,
				"ops",
				hostler.WebhookInput{Name: "ops", URL: "https://" + canary + ".example.com/" + canary},
			),
		)
		collect(w.TestWebhook(ctx, w.operator, "ops"))
		collect(w.Deliveries(ctx, w.operator, hostler.DeliveryFilter{}, hostler.Page{}))
		collect(w.Audit(ctx, w.admin, hostler.AuditFilter{}, hostler.Page{Limit: 1000}))
		req := hostler.JobRequest{
			Action: "check_port",
			Assets: []string{w.asset(t, hostler.AssetInput{Name: "web1"}).Name},
		}
		req.Webhook = &hostler.JobWebhook{
			URL:     "https://h/?" + canary,
			Token:   canary,
			Headers: map[string]string{"X-A": canary},
		}
		collect(w.RunJobs(ctx, w.operator, req, "key"))
		collect(
			fmt.Sprintf(
				"%v %+v %#v",
				hostler.WebhookInput{Token: &token},
				*req.Webhook,
				app.WebhookConfig{URL: "https://h/?" + canary, Token: canary},
			),
			w.ConfigureWebhook(ctx, app.WebhookConfig{URL: "https://h/?" + canary, Token: canary}),
		)
		text, err := json.Marshal(outputs)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range forms() {
			if strings.Contains(string(text), form) {
				t.Errorf("an answer or an error holds the secret: %s", text)
			}
			if strings.Contains(string(w.log.text), form) {
				t.Errorf("the log holds the secret: %s", w.log.text)
			}
			w.searchTables(t, form)
		}
	})
}

func TestDeliveriesAreSentAgain(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		hook := w.hook(t, "ops")
		var ids []hostler.DeliveryID
		for range 5 {
			d := must(w.TestWebhook(ctx, w.operator, "ops"))(t)
			if d.State != hostler.DeliveryPending || d.Webhook != hook.ID || d.Type != hostler.EventWebhookPing {
				t.Errorf("the test is %+v", d)
			}
			ids = append(ids, d.ID)
		}
		var seen []hostler.DeliveryID
		for p := (hostler.Page{Limit: 2}); ; {
			l := must(
				w.Deliveries(
					ctx,
					w.operator,
					hostler.DeliveryFilter{Webhook: "ops", Type: hostler.EventWebhookPing},
					p,
				),
			)(t)
			for _, d := range l.Items {
				seen = append([]hostler.DeliveryID{d.ID}, seen...)
			}
			if p.Cursor = l.Next; l.Next == "" {
				break
			}
		}
		if diff := cmp.Diff(ids, seen); diff != "" {
			t.Errorf("pages (-made +listed):\n%s", diff)
		}
		again := must(w.ResendDelivery(ctx, w.operator, ids[0]))(t)
		if again.ID != ids[0] || again.State != hostler.DeliveryPending {
			t.Errorf("sent again as %+v", again)
		}
		res := must(w.ResendDeliveries(ctx, w.operator, hostler.DeliverySelection{IDs: append(ids, ids[0], 1)}))(t)
		if res.Matched != 6 || len(res.Items) != 6 || res.Items[0].OK || !res.Items[1].OK {
			t.Errorf("the bulk result is %+v", res)
		}
		res = must(
			w.ResendDeliveries(
				ctx,
				w.operator,
				hostler.DeliverySelection{Filter: &hostler.DeliveryFilter{Webhook: "ops"}},
			),
		)(t)
		if res.Matched != 0 || res.More {
			t.Errorf("none has failed, but %+v", res)
		}
		for name, sel := range map[string]hostler.DeliverySelection{
			"nothing": {}, "an empty filter": {Filter: &hostler.DeliveryFilter{}},
			"both": {Filter: &hostler.DeliveryFilter{Webhook: "ops"}, IDs: ids}, "no state": {Filter: &hostler.DeliveryFilter{State: "lost"}},
		} {
			_, err := w.ResendDeliveries(ctx, w.operator, sel)
			if hostler.CodeOf(err) != hostler.CodeInvalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		if l := must(w.Deliveries(ctx, w.stranger, hostler.DeliveryFilter{Webhook: hook.ID.String()}, hostler.Page{}))(t); len(
			l.Items,
		) != 0 {
			t.Errorf("a stranger sees %v", l.Items)
		}
		_, err := w.ResendDelivery(ctx, w.stranger, ids[0])
		wantCode(t, err, hostler.CodeNotFound)

		var queued []hostler.DeliveryID
		w.tx(t, func(tx *store.Tx) (err error) {
			queued, err = tx.QueueDeliveries(
				[]store.NewDelivery{
					{
						Webhook: hook.ID,
						Project: w.admin.Default,
						Event:   &store.Event{Pos: 1, Type: hostler.EventJobFailed},
					},
				},
			)
			return err
		})
		must(w.DisableWebhook(ctx, w.admin, "ops"))(t)
		_, err = w.ResendDelivery(ctx, w.operator, queued[0])
		wantCode(t, err, hostler.CodeConflict)
		must(w.ResendDelivery(ctx, w.operator, ids[0]))(t) // a test
	})
}
