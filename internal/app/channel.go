package app

import (
	"cmp"
	"context"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/channel"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/webhook"
)

// Channels lists the notification channels of the acting project, without their secrets.
func (a *App) Channels(ctx context.Context, c auth.Caller, p hostler.Page) (hostler.List[hostler.Channel], error) {
	g, err := a.allow(c, auth.ReadWebhook)
	if err != nil {
		return hostler.List[hostler.Channel]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Channel]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Channel], error) {
		rows, err := s.Tx.Channels([]hostler.ProjectID{s.project}, after, limit+1)
		items := make([]hostler.Channel, len(rows))
		for i := range rows {
			items[i] = channelOf(&rows[i])
		}
		return cut(items, limit, func(ch hostler.Channel) string { return ch.Name }), err
	})
}

// Channel reads one channel by name or id, without its secrets.
func (a *App) Channel(ctx context.Context, c auth.Caller, ref string) (hostler.Channel, error) {
	g, err := a.allow(c, auth.ReadWebhook)
	if err != nil {
		return hostler.Channel{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Channel, error) {
		row, err := s.channel(s.Tx.Channel, ref)
		if err != nil {
			return hostler.Channel{}, err
		}
		return channelOf(row), nil
	})
}

// channelOf returns a row as it is shown.
func channelOf(row *store.WebhookRow) hostler.Channel {
	spec := row.Channel
	return hostler.Channel{
		ID: hostler.ChannelID(row.ID), Project: row.Project, Name: row.Name, Kind: spec.Kind, URL: row.URL,
		From: spec.From, To: spec.To, Events: row.Events, Filter: row.Filter, Lang: row.Lang,
		Title: spec.Title, Text: spec.Text, Secret: row.Signed, Rate: row.Rate,
		Enabled: row.Enabled, Reason: row.Reason, Counts: row.Counts, Created: row.Created, Updated: row.Updated,
	}
}

// channel finds a channel of the acting project, by name or id.
func (s *scope) channel(find findWebhook, ref string) (*store.WebhookRow, error) {
	if ref == "" || !check.Storable(ref) {
		return nil, hostler.NotFound(channelKind, ref)
	}
	id, name := channelRef(ref)
	row, err := find([]hostler.ProjectID{s.project}, id, name)
	if err == nil && row == nil {
		err = hostler.NotFound(channelKind, ref)
	}
	return row, err
}

// channelRef parses a reference: an id, or else a name. No name of a channel has the
// form of an id.
func channelRef(ref string) (hostler.WebhookID, string) {
	var id hostler.ChannelID
	if id.UnmarshalText([]byte(ref)) == nil {
		return hostler.WebhookID(id), ""
	}
	return 0, ref
}

// CreateChannel creates a channel.
func (a *App) CreateChannel(ctx context.Context, c auth.Caller, in hostler.ChannelInput) (hostler.Channel, error) {
	g, err := a.allow(c, auth.WriteWebhook)
	if err != nil {
		return hostler.Channel{}, err
	}
	var fields check.Fields
	row := store.WebhookRow{ProjectID: g.project, Channel: &store.ChannelSpec{}}
	row.Enabled, row.Lang = true, cmp.Or(c.Lang, hostler.LangEN)
	e := describeChannel(&fields, &row, in, webhook.Endpoint{})
	if err := fields.Err(); err != nil {
		return hostler.Channel{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Channel, error) {
		id, err := s.InsertWebhook(row, s.sealWebhook(e.Secrets()))
		if err != nil {
			return hostler.Channel{}, err
		}
		return s.recordChannel("channel.create", id)
	})
}

// describeChannel checks the input over the endpoint of the channel that it replaces, and
// sets what is not secret of it. It returns the new endpoint.
func describeChannel(
	fields *check.Fields, row *store.WebhookRow, in hostler.ChannelInput, old webhook.Endpoint,
) webhook.Endpoint {
	spec := row.Channel
	fields.Name("name", in.Name, 127)
	if id, _ := channelRef(in.Name); id != 0 {
		fields.Add("name", "must not have the form of an id", "不能与 ID 的格式相同")
	}
	kind, known := channel.Of(cmp.Or(in.Kind, spec.Kind))
	if !known {
		check.OneOf(fields, "kind", in.Kind, hostler.ChannelKinds()...)
	}
	fields.Require(spec.Kind == "" || in.Kind == "" || in.Kind == spec.Kind, "kind",
		"cannot be changed: create another channel", "不能修改：请新建渠道")
	spec.Kind = cmp.Or(spec.Kind, in.Kind)
	e := webhook.ReplaceChannel(fields, in, old)
	if known {
		e.CheckChannel(fields, spec.Kind)
		webhook.CheckMailAddresses(fields, spec.Kind, in.From, in.To)
	}
	e.Describe(&row.Webhook)
	row.Name, row.Limit = in.Name, 1
	row.Events = slices.Clone(in.Events)
	if in.Events == nil {
		row.Events = hostler.DefaultChannelEvents()
	}
	webhook.CheckEvents(fields, hostler.FormatStandard, row.Events)
	row.Filter = hostler.WebhookFilter{}
	if in.Filter != nil {
		webhook.CheckFilter(fields, *in.Filter)
		row.Filter = *in.Filter
	}
	row.Lang = cmp.Or(in.Lang, row.Lang)
	check.OneOf(fields, "lang", row.Lang, hostler.LangEN, hostler.LangZH)
	check.Between(fields, "rate", in.Rate, 0, webhook.MaxChannelRate)
	row.Rate = cmp.Or(in.Rate, kind.Rate, 1)
	spec.From, spec.To, spec.Title, spec.Text = in.From, slices.Clone(in.To), in.Title, in.Text
	checkTemplate(fields, in.Title, in.Text)
	if in.Enabled != nil {
		row.Enabled = *in.Enabled
	}
	if row.Enabled {
		row.Reason = nil
	}
	return e
}

func checkTemplate(fields *check.Fields, title, text string) {
	fields.Line("title", title, 500)
	fields.Text("text", text, 4000)
	channel.Template{Title: title, Text: text}.Check(fields)
}

// recordChannel reads what was written, which never includes a secret, and records it in
// the audit.
func (s *scope) recordChannel(verb string, id hostler.WebhookID) (hostler.Channel, error) {
	row, err := s.channel(s.Tx.Channel, hostler.ChannelID(id).String())
	if err != nil {
		return hostler.Channel{}, err
	}
	ch := channelOf(row)
	return ch, s.audit(verb, ch.Name, map[string]any{
		"id": ch.ID, "kind": ch.Kind, "url": ch.URL, "from": ch.From, "to": ch.To, "events": ch.Events,
		"filter": ch.Filter, "title": ch.Title, "text": ch.Text, "secret": ch.Secret, "enabled": ch.Enabled,
	})
}

// PutChannel replaces a channel. A secret that the input omits stays as it is, unless the
// URL leads to another origin; see [webhook.Replace].
func (a *App) PutChannel(
	ctx context.Context, c auth.Caller, ref string, in hostler.ChannelInput,
) (hostler.Channel, error) {
	g, err := a.allow(c, auth.WriteWebhook)
	if err != nil {
		return hostler.Channel{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Channel, error) {
		row, err := s.channel(s.LockChannel, ref)
		if err != nil {
			return hostler.Channel{}, err
		}
		sec, err := webhook.Open(a.cfg.Box, row.ProjectID, row.ID, row.Sealed)
		if err != nil {
			return hostler.Channel{}, err
		}
		var fields check.Fields
		e := describeChannel(&fields, row, in, sec.Endpoint())
		if err := fields.Err(); err != nil {
			return hostler.Channel{}, err
		}
		if row.Sealed, err = e.Secrets().Seal(a.cfg.Box, row.ProjectID, row.ID); err != nil {
			return hostler.Channel{}, err
		}
		if err := s.UpdateWebhook(*row); err != nil {
			return hostler.Channel{}, err
		}
		return s.recordChannel("channel.update", row.ID)
	})
}

// DeleteChannel deletes a channel with its deliveries.
func (a *App) DeleteChannel(ctx context.Context, c auth.Caller, ref string) error {
	g, err := a.allow(c, auth.WriteWebhook)
	if err != nil {
		return err
	}
	_, err = change(ctx, g, func(s *scope) (struct{}, error) {
		row, err := s.channel(s.LockChannel, ref)
		if err != nil {
			return struct{}{}, err
		}
		if err := s.Tx.DeleteWebhook(row.ID); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.audit("channel.delete", row.Name, map[string]any{"id": hostler.ChannelID(row.ID)})
	})
	return err
}

// TestChannel queues a channel.ping for a channel, also for a disabled one.
func (a *App) TestChannel(ctx context.Context, c auth.Caller, ref string) (hostler.Delivery, error) {
	g, err := a.allow(c, auth.SendDelivery)
	if err != nil {
		return hostler.Delivery{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Delivery, error) {
		row, err := s.channel(s.Tx.Channel, ref)
		if err != nil {
			return hostler.Delivery{}, err
		}
		return s.ping(row, hostler.EventChannelPing, "channel.test")
	})
}

// PreviewChannel shows the message that a channel would send for an event with sample
// values. It sends nothing.
func (a *App) PreviewChannel(
	ctx context.Context, c auth.Caller, ref string, in hostler.ChannelPreview,
) (hostler.ChannelMessage, error) {
	g, err := a.allow(c, auth.ReadWebhook)
	if err != nil {
		return hostler.ChannelMessage{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.ChannelMessage, error) {
		row, err := s.channel(s.Tx.Channel, ref)
		if err != nil {
			return hostler.ChannelMessage{}, err
		}
		return preview(row, in)
	})
}

func preview(row *store.WebhookRow, in hostler.ChannelPreview) (hostler.ChannelMessage, error) {
	var fields check.Fields
	t := channel.Template{Title: row.Channel.Title, Text: row.Channel.Text}
	if in.Title != nil {
		t.Title = *in.Title
	}
	if in.Text != nil {
		t.Text = *in.Text
	}
	event, lang := cmp.Or(in.Event, hostler.EventJobFailed), cmp.Or(in.Lang, row.Lang)
	checkTemplate(&fields, t.Title, t.Text)
	check.OneOf(&fields, "lang", lang, hostler.LangEN, hostler.LangZH)
	check.OneOf(&fields, "event", event, hostler.EventTypes()...)
	check.Between(&fields, "count", in.Count, 0, 1000)
	if err := fields.Err(); err != nil {
		return hostler.ChannelMessage{}, err
	}
	kind, _ := channel.Of(row.Channel.Kind)
	sample := channel.Sample(event, lang)
	m := kind.Render(t.Or(lang), sample)
	if in.Count > 1 {
		m = kind.Merge(slices.Repeat([]channel.Event{{Type: event, Subject: sample["subject"]}}, in.Count), 0, lang)
	}
	body, err := kind.Body(m)
	return hostler.ChannelMessage{Title: m.Title, Text: m.Text, Body: body}, err
}
