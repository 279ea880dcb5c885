package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// This file is about the webhooks that nobody manages by the API: that of the
// server's configuration, and those that requests for jobs bring along.

// ConfiguredWebhook is the name of the webhook that the server's configuration
// makes. It gets the ends of all projects' jobs.
const ConfiguredWebhook = "configured"

// WebhookConfig is the webhook of the server's configuration; without a URL there
// is none.
type WebhookConfig struct {
	URL    string
	Token  string
	Secret string
	Format hostler.WebhookFormat
	Lang   hostler.Lang
}

// String hides the secret parts.
func (c WebhookConfig) String() string { return hostler.MaskURL(c.URL) + " (secret)" }

// GoString hides the secret parts from %#v.
func (c WebhookConfig) GoString() string { return c.String() }

// endpoint is the checked endpoint of the configuration. Without a format, what is
// no robot gets the message of the simple task API.
func (c WebhookConfig) endpoint() (endpoint, error) {
	var fields check.Fields
	e := endpoint{url: c.URL, token: c.Token, secret: c.Secret, format: c.Format}
	e.check(&fields)
	if c.Format == "" && !isRobot(e.format) {
		e.format = hostler.FormatTask
	}
	if len(fields.Faults()) > 0 {
		var all check.Fields
		all.Nest("webhook_", fields.Faults()...)
		e := hostler.InvalidFields(all.Faults()...)
		e.Text = hostler.Text{EN: "the configuration of the webhook is not valid", ZH: "回调的配置无效"}
		return endpoint{}, e
	}
	return e, nil
}

// ConfigureWebhook makes the configured webhook what the configuration says, and
// disables it when the configuration has none. It changes nothing when nothing
// changed, so that each of several servers may call it at its start.
func (a *App) ConfigureWebhook(ctx context.Context, c WebhookConfig) error {
	e := endpoint{}
	if c.URL != "" {
		var err error
		if e, err = c.endpoint(); err != nil {
			return err
		}
	}
	err := a.store.InTx(ctx, func(tx *store.Tx) error { return a.configureWebhook(tx, c, e) })
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

func (a *App) configureWebhook(tx *store.Tx, c WebhookConfig, e endpoint) error {
	old, err := tx.LockWebhook([]hostler.ProjectID{0}, 0, ConfiguredWebhook)
	if err != nil {
		return err
	}
	switch {
	case old == nil && c.URL == "":
		return errDone
	case c.URL == "":
		if !old.Enabled {
			return errDone
		}
		old.Enabled = false
		old.Reason = &hostler.Text{EN: "the configuration names no webhook_url any more", ZH: "配置中已没有 webhook_url"}
		if err := tx.UpdateWebhook(*old); err != nil {
			return err
		}
		return recordConfigured(tx, "webhook.disable", old.Webhook)
	case old == nil:
		row := configuredRow(store.WebhookRow{}, c, e)
		if row.ID, err = tx.InsertWebhook(row, func(id hostler.WebhookID) ([]byte, error) { return a.sealWebhook(id, e.secrets()) }); err != nil {
			return err
		}
		return recordConfigured(tx, "webhook.create", row.Webhook)
	}
	row := configuredRow(*old, c, e)
	if same, err := a.sameWebhook(*old, row, e); err != nil || same {
		return cmp.Or(err, errDone)
	}
	if row.Sealed, err = a.sealWebhook(row.ID, e.secrets()); err != nil {
		return err
	}
	if err := tx.UpdateWebhook(row); err != nil {
		return err
	}
	return recordConfigured(tx, "webhook.update", row.Webhook)
}

// configuredRow puts the configuration over what is stored. A new start is a new
// try: it enables a webhook that its receiver ended.
func configuredRow(row store.WebhookRow, c WebhookConfig, e endpoint) store.WebhookRow {
	row.Name, row.Enabled, row.Reason = ConfiguredWebhook, true, nil
	row.Lang, row.Limit, row.Rate = cmp.Or(c.Lang, hostler.LangEN), defaultAtOnce, 0
	if isRobot(e.format) {
		row.Rate = robotRate
	}
	e.show(&row)
	return row
}

// sameWebhook reports whether the stored webhook is already what the row and the
// endpoint say.
func (a *App) sameWebhook(old, row store.WebhookRow, e endpoint) (bool, error) {
	sec, err := a.OpenWebhook(old.ID, old.Sealed)
	if err != nil {
		return false, nil //nolint:nilerr // it is sealed anew
	}
	have, err := json.Marshal([]any{old.Webhook, sec})
	if err != nil {
		return false, fmt.Errorf("compare webhooks: %w", err)
	}
	want, err := json.Marshal([]any{row.Webhook, e.secrets()})
	if err != nil {
		return false, fmt.Errorf("compare webhooks: %w", err)
	}
	return bytes.Equal(have, want), nil
}

// recordConfigured puts a change by the configuration into the audit of the
// default project.
func recordConfigured(tx *store.Tx, verb string, w hostler.Webhook) error {
	p, err := tx.ProjectByName(hostler.DefaultProject)
	if err != nil || p == nil {
		return err
	}
	detail, err := json.Marshal(map[string]any{"id": w.ID, "url": w.URL, "format": w.Format, "signed": w.Signed, "token": w.Token})
	if err != nil {
		return fmt.Errorf("encode audit detail: %w", err)
	}
	tx.Emit(p.ID, eventOf[verb], hostler.ObjectEvent{Object: w.Name})
	return tx.AppendAudit(p.ID, hostler.Audit{User: "local", Verb: verb, Object: w.Name, Detail: detail})
}

// bindWebhook makes the webhook of the jobs of one run. It is in no listing; its
// deliveries are.
func (s *scope) bindWebhook(run hostler.RunID, e endpoint) error {
	row := store.WebhookRow{ProjectID: s.project, Run: run}
	row.Name, row.Enabled, row.Limit = run.String(), true, defaultAtOnce
	row.Lang = cmp.Or(s.caller.Lang, hostler.LangEN)
	if isRobot(e.format) {
		row.Rate = robotRate
	}
	e.show(&row)
	_, err := s.InsertWebhook(row, func(id hostler.WebhookID) ([]byte, error) { return s.app.sealWebhook(id, e.secrets()) })
	return err
}
