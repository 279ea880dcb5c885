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
	"hostler.dev/hostler/internal/webhook"
)

// ConfiguredWebhook is the name of the webhook of the server's configuration. It
// belongs to no project (project 0) and receives the ends of all projects' jobs.
const ConfiguredWebhook = "configured"

// WebhookConfig is the webhook of the server's configuration; there is none without
// a URL.
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

// endpoint checks the configuration. Without a format, a chat bot gets its own
// message, and any other receiver that of the simple task API.
func (c WebhookConfig) endpoint() (webhook.Endpoint, error) {
	var fields check.Fields
	e := webhook.Endpoint{URL: c.URL, Token: c.Token, Secret: c.Secret, Format: c.Format}
	e.Check(&fields)
	if c.Format == "" && !e.Format.IsChatBot() {
		e.Format = hostler.FormatTask
	}
	if len(fields.Faults()) == 0 {
		return e, nil
	}
	var settings check.Fields
	settings.Nest("webhook_", fields.Faults()...)
	invalid := hostler.InvalidFields(settings.Faults()...)
	invalid.Text = hostler.Text{EN: "the configuration of the webhook is not valid", ZH: "回调的配置无效"}
	return webhook.Endpoint{}, invalid
}

// ConfigureWebhook writes the configured webhook as the configuration describes it,
// and disables it when the configuration has none. It writes nothing when nothing
// has changed, so that every server may call it at its start. Its authority is the
// configuration, so there is no Caller.
func (a *App) ConfigureWebhook(ctx context.Context, c WebhookConfig) error {
	e := webhook.Endpoint{}
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

func (a *App) configureWebhook(tx *store.Tx, c WebhookConfig, e webhook.Endpoint) error {
	old, err := tx.LockWebhook([]hostler.ProjectID{0}, 0, ConfiguredWebhook)
	switch {
	case err != nil:
		return err
	case c.URL == "" && (old == nil || !old.Enabled):
		return errDone
	case c.URL == "":
		return disableConfigured(tx, *old)
	case old == nil:
		return a.insertConfigured(tx, c, e)
	default:
		return a.updateConfigured(tx, c, e, *old)
	}
}

func disableConfigured(tx *store.Tx, row store.WebhookRow) error {
	row.Enabled = false
	row.Reason = &hostler.Text{
		EN: "webhook_url is no longer in the configuration",
		ZH: "配置中已没有 webhook_url",
	}
	if err := tx.UpdateWebhook(row); err != nil {
		return err
	}
	return recordConfigured(tx, "webhook.disable", row.Webhook)
}

func (a *App) insertConfigured(tx *store.Tx, c WebhookConfig, e webhook.Endpoint) (err error) {
	row := configuredRow(store.WebhookRow{}, c, e)
	row.ID, err = tx.InsertWebhook(row, func(id hostler.WebhookID) ([]byte, error) {
		return e.Secrets().Seal(a.cfg.Box, row.ProjectID, id)
	})
	if err != nil {
		return err
	}
	return recordConfigured(tx, "webhook.create", row.Webhook)
}

func (a *App) updateConfigured(tx *store.Tx, c WebhookConfig, e webhook.Endpoint, old store.WebhookRow) error {
	row := configuredRow(old, c, e)
	same, err := a.sameWebhook(old, row, e)
	if err != nil || same {
		return cmp.Or(err, errDone)
	}
	if row.Sealed, err = e.Secrets().Seal(a.cfg.Box, row.ProjectID, row.ID); err != nil {
		return err
	}
	if err := tx.UpdateWebhook(row); err != nil {
		return err
	}
	return recordConfigured(tx, "webhook.update", row.Webhook)
}

// configuredRow sets the configured parts of a row. It enables a webhook that was
// disabled because its receiver answered 410: a restart tries again.
func configuredRow(row store.WebhookRow, c WebhookConfig, e webhook.Endpoint) store.WebhookRow {
	row.Name, row.Enabled, row.Reason = ConfiguredWebhook, true, nil
	row.Lang, row.Limit, row.Rate = cmp.Or(c.Lang, hostler.LangEN), webhook.DefaultLimit, rateOf(0, e.Format)
	e.Describe(&row.Webhook)
	return row
}

// sameWebhook reports whether the stored webhook equals the row and the endpoint.
func (a *App) sameWebhook(old, row store.WebhookRow, e webhook.Endpoint) (bool, error) {
	sec, err := webhook.Open(a.cfg.Box, old.ProjectID, old.ID, old.Sealed)
	if err != nil {
		return false, nil //nolint:nilerr // damaged, or sealed with another key: it is sealed again
	}
	have, err := json.Marshal([]any{old.Webhook, sec})
	if err != nil {
		return false, fmt.Errorf("compare webhooks: %w", err)
	}
	want, err := json.Marshal([]any{row.Webhook, e.Secrets()})
	if err != nil {
		return false, fmt.Errorf("compare webhooks: %w", err)
	}
	return bytes.Equal(have, want), nil
}

// recordConfigured records a change by the configuration in the audit of the default
// project.
func recordConfigured(tx *store.Tx, verb string, w hostler.Webhook) error {
	p, err := tx.ProjectByName(hostler.DefaultProject)
	if err != nil || p == nil {
		return err
	}
	detail, err := json.Marshal(map[string]any{
		"id": w.ID, "url": w.URL, "format": w.Format, "signed": w.Signed, "token": w.Token,
	})
	if err != nil {
		return fmt.Errorf("encode audit detail: %w", err)
	}
	tx.Emit(p.ID, eventOf[verb], hostler.ObjectEvent{Object: w.Name})
	return tx.AppendAudit(p.ID, hostler.Audit{User: localUser, Verb: verb, Object: w.Name, Detail: detail})
}
