package app

import (
	"cmp"
	"context"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// Deliveries lists the deliveries that the filter selects, newest first, without their
// bodies. Reading them requires a role of its own, because they hold results of jobs.
func (a *App) Deliveries(
	ctx context.Context, c auth.Caller, f hostler.DeliveryFilter, p hostler.Page,
) (hostler.List[hostler.Delivery], error) {
	g, err := a.allow(c, auth.ReadWebhook)
	if err != nil {
		return hostler.List[hostler.Delivery]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Delivery]{}, err
	}
	var before hostler.DeliveryID
	if before.UnmarshalText([]byte(after)) != nil {
		return hostler.List[hostler.Delivery]{}, errCursor()
	}
	if err := checkDeliveryFilter("", f); err != nil {
		return hostler.List[hostler.Delivery]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Delivery], error) {
		q, ok, err := s.deliveryQuery(f)
		if err != nil || !ok {
			return cut[hostler.Delivery](nil, limit, nil), err
		}
		items, next, err := s.Tx.Deliveries(q, before, limit+1)
		l := cut(items, limit, func(d hostler.Delivery) string { return d.ID.String() })
		if l.Next == "" && next != 0 { // the scan was bounded: others may match
			l.Next = cursor(next.String())
		}
		return l, err
	})
}

// Delivery reads one delivery with its body and its attempts.
func (a *App) Delivery(ctx context.Context, c auth.Caller, id hostler.DeliveryID) (hostler.Delivery, error) {
	g, err := a.allow(c, auth.ReadWebhook)
	if err != nil {
		return hostler.Delivery{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Delivery, error) { return s.delivery(id) })
}

func (s *scope) delivery(id hostler.DeliveryID) (hostler.Delivery, error) {
	d, err := s.Tx.Delivery(s.webhookProjects(), id)
	if err != nil {
		return hostler.Delivery{}, err
	}
	if d == nil {
		return hostler.Delivery{}, hostler.NotFound(deliveryKind, id.String())
	}
	return *d, nil
}

// deliveryQuery resolves the webhook or channel of a filter; ok is false when it does not exist,
// so that no delivery can match.
func (s *scope) deliveryQuery(f hostler.DeliveryFilter) (q store.DeliveryQuery, ok bool, err error) {
	q = store.DeliveryQuery{Projects: s.webhookProjects(), State: f.State, Type: f.Type, Job: f.Job}
	if f.Since != nil {
		q.Since = *f.Since
	}
	if f.Until != nil {
		q.Until = *f.Until
	}
	if f.Webhook == "" && f.Channel == "" {
		return q, true, nil
	}
	if f.Channel != "" {
		row, err := s.channel(s.Tx.Channel, f.Channel)
		if hostler.CodeOf(err) == hostler.CodeNotFound {
			return q, false, nil
		}
		if err == nil {
			q.Webhook = row.ID
		}
		return q, err == nil, err
	}
	if q.Webhook, _ = webhookRef(f.Webhook); q.Webhook != 0 {
		return q, true, nil // the webhook of a run has no name, only an id
	}
	row, err := s.webhook(s.Tx.Webhook, f.Webhook)
	if hostler.CodeOf(err) == hostler.CodeNotFound {
		return q, false, nil
	}
	if err != nil {
		return q, false, err
	}
	q.Webhook = row.ID
	return q, true, nil
}

func checkDeliveryFilter(path string, f hostler.DeliveryFilter) error {
	var fields check.Fields
	fields.Line(path+"webhook", f.Webhook, 128)
	fields.Line(path+"channel", f.Channel, 128)
	fields.Require(f.Webhook == "" || f.Channel == "", path+"channel", "excludes webhook: give one of the two",
		"不能与 webhook 同时指定")
	check.OneOf(&fields, path+"state", f.State,
		"", hostler.DeliveryPending, hostler.DeliveryDelivered, hostler.DeliveryFailed)
	fields.Line(path+"type", string(f.Type), 64)
	checkPeriod(&fields, path, f.Since, f.Until)
	return fields.Err()
}

// ResendDelivery queues a delivery again, under its id and with a new schedule of
// attempts.
func (a *App) ResendDelivery(ctx context.Context, c auth.Caller, id hostler.DeliveryID) (hostler.Delivery, error) {
	g, err := a.allow(c, auth.SendDelivery)
	if err != nil {
		return hostler.Delivery{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Delivery, error) { return s.resend(id) })
}

func (s *scope) resend(id hostler.DeliveryID) (hostler.Delivery, error) {
	d, err := s.delivery(id)
	if err != nil {
		return d, err
	}
	if err := s.checkResend(d); err != nil {
		return d, err
	}
	if err := s.Tx.ResendDelivery(id); err != nil {
		return d, err
	}
	detail := map[string]any{"webhook": receiverOf(d), "type": d.Type, "job": d.Job}
	if err := s.audit("delivery.resend", id.String(), detail); err != nil {
		return d, err
	}
	return s.delivery(id)
}

// checkResend refuses a delivery of a disabled webhook, which would not be sent; only
// tests are.
func (s *scope) checkResend(d hostler.Delivery) error {
	hooks, err := s.WebhooksByID([]hostler.WebhookID{receiverOf(d)})
	isTest := d.Type == hostler.EventWebhookPing || d.Type == hostler.EventChannelPing
	if err != nil || len(hooks) == 0 || hooks[0].Enabled || isTest {
		return err
	}
	if hooks[0].Run != 0 {
		return hostler.Errorf(hostler.CodeConflict,
			"the receiver answered 410 Gone: this URL no longer exists",
			"接收方曾返回 410：该地址已不存在")
	}
	if hooks[0].Channel != nil {
		return hostler.Errorf(hostler.CodeConflict,
			"the channel %s is disabled: enable it first", "通知渠道 %s 已停用：请先启用", hooks[0].Name)
	}
	return hostler.Errorf(hostler.CodeConflict,
		"the webhook %s is disabled: enable it first", "回调 %s 已停用：请先启用", hooks[0].Name)
}

// receiverOf returns the webhook of a delivery; that of a channel has its number.
func receiverOf(d hostler.Delivery) hostler.WebhookID {
	return cmp.Or(d.Webhook, hostler.WebhookID(d.Channel))
}

// ResendDeliveries queues deliveries again, each in a transaction of its own. A filter
// without a state selects those that failed.
func (a *App) ResendDeliveries(
	ctx context.Context, c auth.Caller, sel hostler.DeliverySelection,
) (hostler.BulkResult, error) {
	g, err := a.allow(c, auth.SendDelivery)
	if err != nil {
		return hostler.BulkResult{}, err
	}
	if err := a.checkSelection(sel); err != nil {
		return hostler.BulkResult{}, err
	}
	ids, more, err := a.selectDeliveries(ctx, g, sel)
	if err != nil {
		return hostler.BulkResult{}, err
	}
	res := hostler.BulkResult{Matched: len(ids), Items: make([]hostler.ItemOutcome, 0, len(ids)), More: more}
	for _, id := range ids {
		_, err := change(ctx, g, func(s *scope) (hostler.Delivery, error) { return s.resend(id) })
		item, err := itemOf(id, err)
		if err != nil {
			return res, err
		}
		res.Items = append(res.Items, item)
	}
	return res, nil
}

// checkSelection checks a selection, which must not select all deliveries.
func (a *App) checkSelection(sel hostler.DeliverySelection) error {
	f := sel.Filter
	switch {
	case f == nil && len(sel.IDs) == 0:
		return hostler.Invalid("filter",
			"give a filter or ids: resending all deliveries is not supported",
			"请提供 filter 或 ids：不支持重发全部投递")
	case f != nil && len(sel.IDs) > 0:
		return hostler.Invalid("ids", "give a filter or ids, not both", "filter 与 ids 只能提供一个")
	case len(sel.IDs) > a.cfg.Limits.Bulk:
		return hostler.Invalid("ids", "must be at most %d in one call", "每次调用最多 %d 个", a.cfg.Limits.Bulk)
	case f != nil && *f == (hostler.DeliveryFilter{}):
		return hostler.Invalid("filter",
			"must not be empty: resending all deliveries is not supported",
			"不能为空：不支持重发全部投递")
	case f != nil:
		return checkDeliveryFilter("filter.", *f)
	}
	return nil
}

// resendPages is how many pages of a listing a selection reads: few deliveries may match
// among very many.
const resendPages = 50

// selectDeliveries returns the ids that a selection means, at most as many as one call
// may change, and whether there are more. A filter by which the next call would select
// the same deliveries again is refused if there are more.
func (a *App) selectDeliveries(
	ctx context.Context, g grant, sel hostler.DeliverySelection,
) ([]hostler.DeliveryID, bool, error) {
	if sel.Filter == nil {
		ids := slices.Clone(sel.IDs)
		slices.Sort(ids)
		return slices.Compact(ids), false, nil
	}
	f := *sel.Filter
	f.State = cmp.Or(f.State, hostler.DeliveryFailed)
	limit := a.cfg.Limits.Bulk
	type page struct {
		found []hostler.Delivery
		next  hostler.DeliveryID
	}
	var found []hostler.Delivery
	more := true
	before := hostler.DeliveryID(0)
	for pages := 0; more && len(found) <= limit && pages < resendPages; pages++ {
		got, err := list(ctx, g, func(s *scope) (p page, err error) {
			q, ok, err := s.deliveryQuery(f)
			if err != nil || !ok {
				return p, err
			}
			p.found, p.next, err = s.Tx.Deliveries(q, before, limit+1-len(found))
			return p, err
		})
		if err != nil {
			return nil, false, err
		}
		found, before, more = append(found, got.found...), got.next, got.next != 0
	}
	if more && f.State != hostler.DeliveryFailed {
		return nil, false, hostler.Invalid("filter",
			"selects more than the %d deliveries that one call may resend; narrow it, for example by since and until",
			"选中的投递超过每次可重发的 %d 个；请缩小范围，例如使用 since 和 until", limit)
	}
	ids := make([]hostler.DeliveryID, 0, limit)
	for _, d := range found[:min(limit, len(found))] {
		ids = append(ids, d.ID)
	}
	return ids, more, nil
}

// TestWebhook queues a webhook.ping for a webhook, also for a disabled one.
func (a *App) TestWebhook(ctx context.Context, c auth.Caller, ref string) (hostler.Delivery, error) {
	g, err := a.allow(c, auth.SendDelivery)
	if err != nil {
		return hostler.Delivery{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Delivery, error) {
		row, err := s.webhook(s.Tx.Webhook, ref)
		if err != nil {
			return hostler.Delivery{}, err
		}
		return s.ping(row, hostler.EventWebhookPing, "webhook.test")
	})
}

// ping queues a test of a webhook or channel.
func (s *scope) ping(row *store.WebhookRow, event hostler.EventType, verb string) (hostler.Delivery, error) {
	ids, err := s.QueueDeliveries([]store.NewDelivery{{Webhook: row.ID, Project: row.ProjectID, Event: &store.Event{
		At: s.Now(), Type: event, Project: s.project,
		Object: hostler.ObjectEvent{Object: row.Name, By: s.caller.User},
	}}})
	if err != nil {
		return hostler.Delivery{}, err
	}
	id := ids[0]
	if err := s.audit(verb, row.Name, map[string]any{"id": row.ID, "delivery": id}); err != nil {
		return hostler.Delivery{}, err
	}
	return s.delivery(id)
}
