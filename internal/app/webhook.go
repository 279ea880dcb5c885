package app

import (
	"cmp"
	"context"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/webhook"
)

// Webhooks lists the webhooks of the acting project, without their secrets. Webhooks
// of single runs are not listed; the configured one is, to admins of the default
// project.
func (a *App) Webhooks(ctx context.Context, c auth.Caller, p hostler.Page) (hostler.List[hostler.Webhook], error) {
	g, err := a.allow(c, auth.ReadWebhook)
	if err != nil {
		return hostler.List[hostler.Webhook]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Webhook]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Webhook], error) {
		rows, err := s.Tx.Webhooks(s.webhookProjects(), after, limit+1)
		items := make([]hostler.Webhook, len(rows))
		for i := range rows {
			items[i] = rows[i].Webhook
		}
		return cut(items, limit, func(w hostler.Webhook) string { return w.Name }), err
	})
}

// webhookProjects lists the projects whose webhooks and deliveries the caller may
// read: the acting one; and project 0, which the configured webhook belongs to.
func (s *scope) webhookProjects() []hostler.ProjectID {
	if s.project == s.caller.Default && s.may(auth.WriteWebhook) {
		return []hostler.ProjectID{s.project, 0}
	}
	return []hostler.ProjectID{s.project}
}

// Webhook reads one webhook by name or id, without its secrets.
func (a *App) Webhook(ctx context.Context, c auth.Caller, ref string) (hostler.Webhook, error) {
	g, err := a.allow(c, auth.ReadWebhook)
	if err != nil {
		return hostler.Webhook{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Webhook, error) {
		row, err := s.webhook(s.Tx.Webhook, ref)
		if err != nil {
			return hostler.Webhook{}, err
		}
		return row.Webhook, nil
	})
}

// findWebhook reads a webhook of the projects by id, or else by name.
type findWebhook func(projects []hostler.ProjectID, id hostler.WebhookID, name string) (*store.WebhookRow, error)

// webhook finds a webhook that the caller may read, by name or id.
func (s *scope) webhook(find findWebhook, ref string) (*store.WebhookRow, error) {
	if ref == "" || !check.Storable(ref) {
		return nil, hostler.NotFound(webhookKind, ref)
	}
	id, name := webhookRef(ref)
	row, err := find(s.webhookProjects(), id, name)
	if err == nil && row == nil {
		err = hostler.NotFound(webhookKind, ref)
	}
	return row, err
}

// webhookRef parses a reference: an id, or else a name. No name of a webhook has the
// form of an id.
func webhookRef(ref string) (hostler.WebhookID, string) {
	var id hostler.WebhookID
	if id.UnmarshalText([]byte(ref)) == nil {
		return id, ""
	}
	return 0, ref
}

// CreateWebhook creates a webhook. A generated signing secret is in the answer and
// can not be read again.
func (a *App) CreateWebhook(
	ctx context.Context, c auth.Caller, in hostler.WebhookInput,
) (hostler.WebhookCreated, error) {
	g, err := a.allow(c, auth.WriteWebhook)
	if err != nil {
		return hostler.WebhookCreated{}, err
	}
	var fields check.Fields
	e := webhook.Of(in)
	e.Check(&fields)
	generated := ""
	if in.GenerateSecret {
		generated = e.Generate(&fields)
	}
	row := store.WebhookRow{ProjectID: g.project}
	row.Enabled = true
	describeWebhook(&fields, &row, in, e, cmp.Or(c.Lang, hostler.LangEN))
	if err := fields.Err(); err != nil {
		return hostler.WebhookCreated{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.WebhookCreated, error) {
		id, err := s.InsertWebhook(row, s.sealWebhook(e.Secrets()))
		if err != nil {
			return hostler.WebhookCreated{}, err
		}
		w, err := s.recordWebhook("webhook.create", id)
		return hostler.WebhookCreated{Webhook: w, Secret: generated}, err
	})
}

// sealWebhook returns a function that seals the secrets for the id of a new row.
func (g grant) sealWebhook(sec webhook.Secrets) func(id hostler.WebhookID) ([]byte, error) {
	return func(id hostler.WebhookID) ([]byte, error) { return sec.Seal(g.app.cfg.Box, g.project, id) }
}

// describeWebhook checks the input and sets what is not secret of it and of its
// checked endpoint. The language is used when the input has none.
func describeWebhook(
	fields *check.Fields, row *store.WebhookRow, in hostler.WebhookInput, e webhook.Endpoint, lang hostler.Lang,
) {
	fields.Name("name", in.Name, 128)
	if id, _ := webhookRef(in.Name); id != 0 {
		fields.Add("name", "must not have the form of an id", "不能与 ID 的格式相同")
	}
	fields.Require(in.Name != ConfiguredWebhook, "name",
		"is the name of the webhook in the server's configuration", "该名称属于服务器配置中的回调")
	webhook.CheckEvents(fields, e.Format, in.Events)
	row.Filter = hostler.WebhookFilter{}
	if in.Filter != nil {
		webhook.CheckFilter(fields, *in.Filter)
		row.Filter = *in.Filter
	}
	check.Between(fields, "rate", in.Rate, 0, webhook.MaxRate)
	check.Between(fields, "limit", in.Limit, 0, webhook.MaxLimit)
	row.Lang = cmp.Or(in.Lang, lang)
	check.OneOf(fields, "lang", row.Lang, hostler.LangEN, hostler.LangZH)
	row.Name, row.Events = in.Name, slices.Clone(in.Events)
	row.Rate, row.Limit = rateOf(in.Rate, e.Format), cmp.Or(in.Limit, webhook.DefaultLimit)
	if in.Enabled != nil {
		row.Enabled = *in.Enabled
	}
	if row.Enabled {
		row.Reason = nil
	}
	e.Describe(&row.Webhook)
}

// rateOf returns the rate limit, which chat bots always have.
func rateOf(rate int, f hostler.WebhookFormat) int {
	if rate == 0 && f.IsChatBot() {
		return webhook.ChatBotRate
	}
	return rate
}

// changeWebhook changes a webhook and its secrets in one transaction.
func (a *App) changeWebhook(ctx context.Context, c auth.Caller, ref, verb string,
	fn func(s *scope, row *store.WebhookRow, sec *webhook.Secrets) error,
) (hostler.Webhook, error) {
	g, err := a.allow(c, auth.WriteWebhook)
	if err != nil {
		return hostler.Webhook{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Webhook, error) {
		row, err := s.lockWebhook(ref)
		if err != nil {
			return hostler.Webhook{}, err
		}
		sec, err := webhook.Open(a.cfg.Box, row.ProjectID, row.ID, row.Sealed)
		if err != nil {
			return hostler.Webhook{}, err
		}
		if err := fn(s, row, &sec); err != nil {
			return hostler.Webhook{}, err
		}
		if row.Sealed, err = sec.Seal(a.cfg.Box, row.ProjectID, row.ID); err != nil {
			return hostler.Webhook{}, err
		}
		if err := s.UpdateWebhook(*row); err != nil {
			return hostler.Webhook{}, err
		}
		return s.recordWebhook(verb, row.ID)
	})
}

// lockWebhook locks a webhook of the acting project for a change. The configured one
// is refused: it is changed where it is configured.
func (s *scope) lockWebhook(ref string) (*store.WebhookRow, error) {
	row, err := s.webhook(s.LockWebhook, ref)
	if err == nil && row.ProjectID == 0 {
		return nil, hostler.Errorf(hostler.CodeConflict,
			"this webhook comes from the server's configuration (webhook_url, HOSTLER_WEBHOOK_URL): "+
				"change it there and restart the server",
			"该回调来自服务器配置（webhook_url、HOSTLER_WEBHOOK_URL）：请在配置中修改并重启服务")
	}
	return row, err
}

// recordWebhook reads what was written, which never includes a secret, and records it
// in the audit.
func (s *scope) recordWebhook(verb string, id hostler.WebhookID) (hostler.Webhook, error) {
	row, err := s.webhook(s.Tx.Webhook, id.String())
	if err != nil {
		return hostler.Webhook{}, err
	}
	w := row.Webhook
	return w, s.audit(verb, w.Name, map[string]any{
		"id": w.ID, "url": w.URL, "format": w.Format, "events": w.Events, "filter": w.Filter, "method": w.Method,
		"headers": w.Headers, "signed": w.Signed, "token": w.Token, "enabled": w.Enabled,
	})
}

// PutWebhook replaces a webhook. Secret parts that the input omits stay as they are,
// unless the URL leads to another origin; see [webhook.Replace].
func (a *App) PutWebhook(
	ctx context.Context, c auth.Caller, ref string, in hostler.WebhookInput,
) (hostler.Webhook, error) {
	replace := func(_ *scope, row *store.WebhookRow, sec *webhook.Secrets) error {
		var fields check.Fields
		fields.Require(!in.GenerateSecret, "generate_secret",
			"is for new webhooks; rotate the secret instead", "仅用于新建；请改用轮换")
		old := sec.Endpoint()
		e := webhook.Replace(&fields, in, old)
		e.Check(&fields)
		describeWebhook(&fields, row, in, e, row.Lang)
		signing := sec.Signing
		*sec = e.Secrets()
		if e.Secret == old.Secret {
			sec.Signing = signing // including older secrets that still overlap
		}
		return fields.Err()
	}
	return a.changeWebhook(ctx, c, ref, "webhook.update", replace)
}

// EnableWebhook lets a webhook receive events from now on.
func (a *App) EnableWebhook(ctx context.Context, c auth.Caller, ref string) (hostler.Webhook, error) {
	return a.changeWebhook(ctx, c, ref, "webhook.enable", setEnabled(true))
}

// DisableWebhook stops sending events to a webhook.
func (a *App) DisableWebhook(ctx context.Context, c auth.Caller, ref string) (hostler.Webhook, error) {
	return a.changeWebhook(ctx, c, ref, "webhook.disable", setEnabled(false))
}

func setEnabled(enabled bool) func(*scope, *store.WebhookRow, *webhook.Secrets) error {
	return func(_ *scope, row *store.WebhookRow, _ *webhook.Secrets) error {
		row.Enabled, row.Reason = enabled, nil
		return nil
	}
}

// RotateWebhook sets a new signing secret: the given one, or a generated one, which
// is in the answer and can not be read again. The old one signs too until the
// overlap has ended.
func (a *App) RotateWebhook(
	ctx context.Context, c auth.Caller, ref string, in hostler.WebhookRotation,
) (hostler.WebhookCreated, error) {
	overlap := webhook.DefaultOverlap
	if in.Overlap != nil {
		overlap = in.Overlap.D()
	}
	shown := ""
	rotate := func(s *scope, row *store.WebhookRow, sec *webhook.Secrets) error {
		var fields check.Fields
		fields.Duration("overlap", hostler.Duration(overlap), webhook.MaxOverlap)
		next, generated := webhook.NextSecret(&fields, row.Format, in.Secret)
		if shown = ""; generated {
			shown = next
		}
		sec.Rotate(next, s.Now(), overlap)
		row.Signed = true
		return fields.Err()
	}
	w, err := a.changeWebhook(ctx, c, ref, "webhook.rotate", rotate)
	if err != nil {
		return hostler.WebhookCreated{}, err
	}
	return hostler.WebhookCreated{Webhook: w, Secret: shown}, nil
}

// DeleteWebhook deletes a webhook with its deliveries.
func (a *App) DeleteWebhook(ctx context.Context, c auth.Caller, ref string) error {
	g, err := a.allow(c, auth.WriteWebhook)
	if err != nil {
		return err
	}
	_, err = change(ctx, g, func(s *scope) (struct{}, error) {
		row, err := s.lockWebhook(ref)
		if err != nil {
			return struct{}{}, err
		}
		if err := s.Tx.DeleteWebhook(row.ID); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.audit("webhook.delete", row.Name, map[string]any{"id": row.ID})
	})
	return err
}
