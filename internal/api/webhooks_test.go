package api_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hostler.dev/hostler"
)

// TestClientOfWebhooks calls every method of the Go client about webhooks.
func TestClientOfWebhooks(t *testing.T) {
	w := newEnv(t)
	ctx, c := t.Context(), w.client(t, admin)
	token := "canary"
	made := ok(c.CreateWebhook(ctx, hostler.WebhookInput{
		Name: "ops", URL: "https://ops.example.com/in?key=canary", Token: &token, GenerateSecret: true, Events: []string{"job.*"},
		Filter: &hostler.WebhookFilter{Queues: []string{"default"}}, Headers: map[string]string{"X-A": "canary"},
	}))(t)
	if !strings.HasPrefix(made.Secret, "whsec_") || !made.Webhook.Signed || !made.Webhook.Token {
		t.Errorf("made %+v", made.Webhook)
	}

	// Writing back what was read changes nothing.
	same := ok(c.PutWebhook(ctx, "ops", made.Webhook.Input()))(t)
	if diff := cmp.Diff(made.Webhook, same, cmpopts.IgnoreFields(hostler.Webhook{}, "Updated")); diff != "" {
		t.Errorf("written back (-before +after):\n%s", diff)
	}
	in := same.Input()
	in.Token, in.Headers = new(string), map[string]string{}
	if less := ok(c.PutWebhook(ctx, made.Webhook.ID.String(), in))(t); less.Token || len(less.Headers) != 0 || !less.Signed {
		t.Errorf("with the token and the headers taken away: %+v", less)
	}

	if off := ok(c.DisableWebhook(ctx, "ops"))(t); off.Enabled {
		t.Error("disabled, it is enabled")
	}
	if on := ok(c.EnableWebhook(ctx, "ops"))(t); !on.Enabled {
		t.Error("enabled, it is disabled")
	}
	if next := ok(c.RotateWebhook(ctx, "ops", hostler.WebhookRotation{}))(t); next.Secret == "" || next.Secret == made.Secret {
		t.Error("no new secret")
	}
	ok(c.Webhook(ctx, "ops"))(t)
	if l := ok(c.Webhooks(ctx, hostler.Page{}))(t); len(l.Items) != 1 {
		t.Errorf("the listing has %d", len(l.Items))
	}

	// Nothing is sent here; the wait for it ends with the server.
	close(w.draining)
	d := ok(c.TestWebhook(ctx, "ops"))(t)
	if d.State != hostler.DeliveryPending || d.Type != hostler.EventWebhookPing || d.Name != "ops" {
		t.Errorf("the test is %+v", d)
	}
	f := hostler.DeliveryFilter{Webhook: "ops", State: hostler.DeliveryPending, Type: hostler.EventWebhookPing, Since: &made.Webhook.Created}
	if l := ok(c.Deliveries(ctx, f, hostler.Page{}))(t); len(l.Items) != 1 || l.Items[0].ID != d.ID {
		t.Errorf("the deliveries are %+v", l)
	}
	f.Until = &made.Webhook.Created
	if l := ok(c.DeliveriesLister(f)(ctx, hostler.Page{}))(t); len(l.Items) != 0 {
		t.Errorf("before it was made there are %+v", l)
	}
	if again := ok(c.ResendDelivery(ctx, d.ID))(t); again.ID != d.ID {
		t.Errorf("sent again as %v", again.ID)
	}
	if got := ok(c.Delivery(ctx, d.ID))(t); got.ID != d.ID {
		t.Errorf("read %v", got.ID)
	}
	if r := ok(c.ResendDeliveries(ctx, hostler.DeliverySelection{IDs: []hostler.DeliveryID{d.ID}}))(t); r.Matched != 1 || !r.Items[0].OK {
		t.Errorf("the bulk result is %+v", r)
	}
	if err := c.DeleteWebhook(ctx, "ops"); err != nil {
		t.Error(err)
	}
	if l := ok(c.Deliveries(ctx, hostler.DeliveryFilter{}, hostler.Page{}))(t); len(l.Items) != 0 {
		t.Errorf("after the webhook is gone there are %+v", l)
	}
	if log := w.log.String(); strings.Contains(log, "canary") || strings.Contains(log, made.Secret) {
		t.Errorf("the log holds a secret: %s", log)
	}
}
