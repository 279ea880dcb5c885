package app

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// Spans of a rotation: how long the old secret signs too.
const (
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 30 * 24 * time.Hour
)

// Webhooks lists the webhooks of the acting project, without their secrets. Those
// of single jobs are not among them; the configured one is, for admins of the
// default project.
func (a *App) Webhooks(ctx context.Context, c auth.Caller, p hostler.Page) (hostler.List[hostler.Webhook], error) {
	g, err := a.allow(c, auth.ReadWebhook)
	if err != nil {
		return hostler.List[hostler.Webhook]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Webhook]{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.List[hostler.Webhook], error) {
		rows, err := s.Tx.Webhooks(s.webhookProjects(), after, limit+1)
		items := make([]hostler.Webhook, len(rows))
		for i := range rows {
			items[i] = rows[i].Webhook
		}
		return cut(items, limit, func(w hostler.Webhook) string { return w.Name }), err
	})
}

// webhookProjects are the projects whose webhooks and deliveries the caller may
// see: the acting one, and none at all, to which the configured webhook belongs.
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

// webhook finds a webhook that the caller may see, by name or id.
func (s *scope) webhook(find func([]hostler.ProjectID, hostler.WebhookID, string) (*store.WebhookRow, error), ref string) (*store.WebhookRow, error) {
	if ref == "" || !check.Storable(ref) {
		return nil, hostler.NotFound(webhookWord, ref)
	}
	id, name := webhookRef(ref)
	row, err := find(s.webhookProjects(), id, name)
	if err == nil && row == nil {
		err = hostler.NotFound(webhookWord, ref)
	}
	return row, err
}

// webhookRef reads a reference: an id, or else a name. No webhook's name looks
// like an id.
func webhookRef(ref string) (hostler.WebhookID, string) {
	var id hostler.WebhookID
	if id.UnmarshalText([]byte(ref)) == nil {
		return id, ""
	}
	return 0, ref
}

// CreateWebhook makes a webhook. A signing secret that Hostler made is returned
// this once.
func (a *App) CreateWebhook(ctx context.Context, c auth.Caller, in hostler.WebhookInput) (hostler.WebhookCreated, error) {
	g, err := a.allow(c, auth.WriteWebhook)
	if err != nil {
		return hostler.WebhookCreated{}, err
	}
	var fields check.Fields
	e := endpointFrom(in)
	e.check(&fields)
	made := generateSecret(&fields, in, &e)
	row := store.WebhookRow{ProjectID: g.project}
	fillWebhook(&fields, in, &row, e, c.Lang)
	if err := fields.Err(); err != nil {
		return hostler.WebhookCreated{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.WebhookCreated, error) {
		id, err := s.InsertWebhook(row, func(id hostler.WebhookID) ([]byte, error) { return a.sealWebhook(id, e.secrets()) })
		if err != nil {
			return hostler.WebhookCreated{}, err
		}
		w, err := s.recordWebhook("webhook.create", id)
		return hostler.WebhookCreated{Webhook: w, Secret: made}, err
	})
}

// generate makes the signing secret that the input asks for.
func generateSecret(fields *check.Fields, in hostler.WebhookInput, e *endpoint) string {
	if !in.GenerateSecret {
		return ""
	}
	fields.Require(e.secret == "", "generate_secret", "excludes secret: give one of the two", "不能与 secret 同时指定")
	fields.Require(!isRobot(e.format), "generate_secret",
		"does not belong to this format: the robot has a secret of its own", "与此格式不符：机器人有自己的密钥")
	e.secret = newSigningSecret()
	return e.secret
}

// fill puts what is not secret of the input and its checked endpoint into the row.
func fillWebhook(fields *check.Fields, in hostler.WebhookInput, row *store.WebhookRow, e endpoint, lang hostler.Lang) {
	fields.Name("name", in.Name, 128)
	if id, _ := webhookRef(in.Name); id != 0 {
		fields.Add("name", "must not look like an id", "不能与 ID 的格式相同")
	}
	fields.Require(in.Name != ConfiguredWebhook, "name", "is the name of the webhook in the server's configuration", "该名称属于服务器配置中的回调")
	checkEvents(fields, e.format, in.Events)
	row.Filter = hostler.WebhookFilter{}
	if in.Filter != nil {
		checkWebhookFilter(fields, *in.Filter)
		row.Filter = *in.Filter
	}
	check.Between(fields, "rate", in.Rate, 0, maxRate)
	check.Between(fields, "limit", in.Limit, 0, maxAtOnce)
	row.Lang = cmp.Or(in.Lang, lang, hostler.LangEN)
	check.OneOf(fields, "lang", row.Lang, hostler.LangEN, hostler.LangZH)
	row.Name, row.Events = in.Name, slices.Clone(in.Events)
	row.Rate, row.Limit = in.Rate, cmp.Or(in.Limit, defaultAtOnce)
	if row.Rate == 0 && isRobot(e.format) {
		row.Rate = robotRate
	}
	switch {
	case in.Enabled != nil:
		row.Enabled = *in.Enabled
	case row.ID == 0:
		row.Enabled = true
	}
	if row.Enabled {
		row.Reason = nil
	}
	e.show(row)
}

// show puts what may be seen of an endpoint into the row.
func (e endpoint) show(row *store.WebhookRow) {
	row.URL, row.Format, row.Method, row.Timeout = hostler.MaskURL(e.url), e.format, e.method, hostler.Duration(e.timeout)
	row.Headers = slices.Sorted(maps.Keys(e.headers))
	row.Signed, row.Token = e.secret != "", e.token != ""
}

// changeWebhook changes a webhook and its secrets in one transaction. The
// configured one is changed where it is configured.
func (a *App) changeWebhook(ctx context.Context, c auth.Caller, ref, verb string,
	fn func(s *scope, row *store.WebhookRow, sec *store.WebhookSecrets) error,
) (hostler.Webhook, error) {
	g, err := a.allow(c, auth.WriteWebhook)
	if err != nil {
		return hostler.Webhook{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Webhook, error) {
		row, err := s.ownWebhook(ref)
		if err != nil {
			return hostler.Webhook{}, err
		}
		sec, err := a.OpenWebhook(row.ID, row.Sealed)
		if err != nil {
			return hostler.Webhook{}, err
		}
		if err := fn(s, row, &sec); err != nil {
			return hostler.Webhook{}, err
		}
		if row.Sealed, err = a.sealWebhook(row.ID, sec); err != nil {
			return hostler.Webhook{}, err
		}
		if err := s.UpdateWebhook(*row); err != nil {
			return hostler.Webhook{}, err
		}
		return s.recordWebhook(verb, row.ID)
	})
}

// ownWebhook locks a webhook of the acting project for a change.
func (s *scope) ownWebhook(ref string) (*store.WebhookRow, error) {
	row, err := s.webhook(s.LockWebhook, ref)
	if err == nil && row.ProjectID == 0 {
		return nil, errConfigured()
	}
	return row, err
}

func errConfigured() error {
	return hostler.Errorf(hostler.CodeConflict,
		"this webhook comes from the server's configuration (webhook_url, HOSTLER_WEBHOOK_URL): change it there and restart",
		"该回调来自服务器配置（webhook_url、HOSTLER_WEBHOOK_URL）：请在配置中修改并重启")
}

// recordWebhook reads what was written, which never holds a secret, and puts that
// into the audit.
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

// PutWebhook replaces a webhook. Secret parts that are left out stay, unless the
// URL leads to another place.
func (a *App) PutWebhook(ctx context.Context, c auth.Caller, ref string, in hostler.WebhookInput) (hostler.Webhook, error) {
	return a.changeWebhook(ctx, c, ref, "webhook.update", func(_ *scope, row *store.WebhookRow, sec *store.WebhookSecrets) error {
		var fields check.Fields
		fields.Require(!in.GenerateSecret, "generate_secret", "is for new webhooks; rotate the secret instead", "仅用于新建；请改用轮换")
		old := sealedEndpoint(*sec)
		e := replaced(&fields, in, old)
		e.check(&fields)
		fillWebhook(&fields, in, row, e, row.Lang)
		signing := sec.Signing
		*sec = e.secrets()
		if e.secret == old.secret {
			sec.Signing = signing // with what is left of an overlap
		}
		return fields.Err()
	})
}

// EnableWebhook has events sent to a webhook from now on.
func (a *App) EnableWebhook(ctx context.Context, c auth.Caller, ref string) (hostler.Webhook, error) {
	return a.changeWebhook(ctx, c, ref, "webhook.enable", func(_ *scope, row *store.WebhookRow, _ *store.WebhookSecrets) error {
		row.Enabled, row.Reason = true, nil
		return nil
	})
}

// DisableWebhook has nothing sent to a webhook.
func (a *App) DisableWebhook(ctx context.Context, c auth.Caller, ref string) (hostler.Webhook, error) {
	return a.changeWebhook(ctx, c, ref, "webhook.disable", func(_ *scope, row *store.WebhookRow, _ *store.WebhookSecrets) error {
		row.Enabled, row.Reason = false, nil
		return nil
	})
}

// RotateWebhook gives a webhook a new signing secret: the given one, or one that is
// made and returned this once. The old one signs too until the overlap is over.
func (a *App) RotateWebhook(ctx context.Context, c auth.Caller, ref string, in hostler.WebhookRotation) (hostler.WebhookCreated, error) {
	overlap := defaultOverlap
	if in.Overlap != nil {
		overlap = in.Overlap.D()
	}
	var made string
	w, err := a.changeWebhook(ctx, c, ref, "webhook.rotate", func(s *scope, row *store.WebhookRow, sec *store.WebhookSecrets) error {
		var fields check.Fields
		fields.Duration("overlap", hostler.Duration(overlap), maxOverlap)
		secret := in.Secret
		switch made = ""; {
		case secret != "" || row.Format == hostler.FormatWeCom:
			checkSigning(&fields, row.Format, cmp.Or(secret, "none"))
		case isRobot(row.Format):
			fields.Add("secret", "is needed: the robot has a secret of its own", "必须提供：机器人有自己的密钥")
		default:
			made = newSigningSecret()
			secret = made
		}
		rotate(sec, secret, s.Now(), overlap)
		row.Signed = true
		return fields.Err()
	})
	if err != nil {
		return hostler.WebhookCreated{}, err
	}
	return hostler.WebhookCreated{Webhook: w, Secret: made}, nil
}

// DeleteWebhook deletes a webhook with its deliveries.
func (a *App) DeleteWebhook(ctx context.Context, c auth.Caller, ref string) error {
	g, err := a.allow(c, auth.WriteWebhook)
	if err != nil {
		return err
	}
	_, err = change(ctx, g, func(s *scope) (struct{}, error) {
		row, err := s.ownWebhook(ref)
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
