package app_test

import (
	"errors"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// TestSetAside lists, retries and deletes events that could not be delivered. They are
// counted in the vitals, and only an admin of the default project sees them.
func TestSetAside(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		must(w.CreateWebhook(ctx, w.admin, hostler.WebhookInput{Name: "ops", URL: "https://ops.example.com/"}))(t)
		setAside := func() (last int64) {
			t.Helper()
			for last == 0 { // the first call makes the row of the cursor
				err := w.h.Store.InTx(ctx, func(tx *store.Tx) error {
					if _, _, err := tx.Publish(100); err != nil {
						return err
					}
					win, err := tx.OpenWindow(100)
					if err != nil || win == nil {
						return err
					}
					_, last = win.Range()
					return tx.SetAside(win, errors.New("the row is damaged"))
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			return last
		}
		last := setAside()
		list := must(w.SetAside(ctx, w.admin))(t)
		if len(list) != 1 || list[0].Last != last || list[0].Error != "the row is damaged" || list[0].Retrying {
			t.Fatalf("set aside: %+v", list)
		}
		if n := must(w.Vitals(ctx))(t).Events.SetAside; n != 1 {
			t.Errorf("the vitals count %d, want 1", n)
		}
		wantCode(t, second(w.SetAside(ctx, w.operator)), hostler.CodeForbidden)
		wantCode(t, w.RetrySetAside(ctx, w.stranger, last), hostler.CodeForbidden)
		wantCode(t, w.RetrySetAside(ctx, w.admin, last+1), hostler.CodeNotFound)
		if err := w.RetrySetAside(ctx, w.admin, last); err != nil {
			t.Fatal(err)
		}
		if list := must(w.SetAside(ctx, w.admin))(t); !list[0].Retrying {
			t.Error("the retry is not listed")
		}
		if err := w.DeleteSetAside(ctx, w.admin, last); err != nil {
			t.Fatal(err)
		}
		if list := must(w.SetAside(ctx, w.admin))(t); len(list) != 0 {
			t.Errorf("after the deletion: %+v", list)
		}
		rows := must(w.Audit(ctx, w.admin, hostler.AuditFilter{}, hostler.Page{Limit: 2}))(t).Items
		if len(rows) != 2 || rows[0].Verb != "delivery.aside.delete" || rows[1].Verb != "delivery.aside.retry" {
			t.Errorf("audit: %+v", rows)
		}
	})
}

// TestDeletedWebhook deletes a webhook with deliveries: at once nobody finds it or them,
// and its name is free.
func TestDeletedWebhook(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		in := hostler.WebhookInput{Name: "ops", URL: "https://ops.example.com/"}
		old := must(w.CreateWebhook(ctx, w.admin, in))(t).Webhook
		d := must(w.TestWebhook(ctx, w.admin, "ops"))(t)
		if err := w.DeleteWebhook(ctx, w.admin, "ops"); err != nil {
			t.Fatal(err)
		}
		next := must(w.CreateWebhook(ctx, w.admin, in))(t).Webhook
		if next.ID == old.ID {
			t.Error("the new webhook is the old one")
		}
		wantCode(t, second(w.Webhook(ctx, w.admin, old.ID.String())), hostler.CodeNotFound)
		wantCode(t, second(w.Delivery(ctx, w.admin, d.ID)), hostler.CodeNotFound)
		wantCode(t, second(w.ResendDelivery(ctx, w.admin, d.ID)), hostler.CodeNotFound)
		wantCode(t, w.DeleteWebhook(ctx, w.admin, old.ID.String()), hostler.CodeNotFound)
		if l := must(w.Deliveries(ctx, w.admin, hostler.DeliveryFilter{}, hostler.Page{}))(t); len(l.Items) != 0 {
			t.Errorf("deliveries of the deleted webhook are listed: %+v", l.Items)
		}
		if l := must(w.Webhooks(ctx, w.admin, hostler.Page{}))(t); len(l.Items) != 1 || l.Items[0].ID != next.ID {
			t.Errorf("listed: %+v, want the new one", l.Items)
		}
	})
}
