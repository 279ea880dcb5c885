package notify

import (
	"maps"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// Deliver queues a delivery for each webhook that subscribes to one of the events. It
// runs in the transaction that publishes them, so that a delivery exists if and only if
// its event was published.
func (n *Notifier) Deliver(tx *store.Tx, p store.Published) error {
	events, err := p.Events()
	if err != nil {
		return err
	}
	runs := map[hostler.RunID]bool{} // of the jobs that ended: a run may have a webhook
	for i := range events {
		if e := &events[i]; e.OfJob() && e.Job.Run != 0 && e.Type.SettlesJob() {
			runs[e.Job.Run] = true
		}
	}
	hooks, err := tx.Subscribers(slices.Sorted(maps.Keys(runs)))
	if err != nil || len(hooks) == 0 {
		return err
	}
	_, err = tx.QueueDeliveries(match(events, hooks))
	return err
}

// match returns the deliveries of events to the webhooks that subscribe to them. The
// webhooks of runs are looked up by run, since there may be as many as events.
func match(events []store.Event, hooks []store.WebhookRow) []store.NewDelivery {
	byRun := map[hostler.RunID][]*store.WebhookRow{} // 0: the webhooks of no run
	for i := range hooks {
		w := &hooks[i]
		byRun[w.Run] = append(byRun[w.Run], w)
	}
	var list []store.NewDelivery
	add := func(e *store.Event, hooks []*store.WebhookRow) {
		for _, w := range hooks {
			if subscribes(w, e) {
				list = append(list, store.NewDelivery{Webhook: w.ID, Project: w.ProjectID, Event: e})
			}
		}
	}
	for i := range events {
		e := &events[i]
		add(e, byRun[0])
		if e.OfJob() && e.Job.Run != 0 {
			add(e, byRun[e.Job.Run])
		}
	}
	return list
}

// subscribes reports whether a webhook subscribes to an event.
//
// The webhook of the configuration belongs to no project and gets the events of all
// projects. The events of queues and workers belong to no project either; webhooks of
// every project get them.
func subscribes(w *store.WebhookRow, e *store.Event) bool {
	switch {
	case w.Run != 0:
		return e.OfJob() && e.Job.Run == w.Run && e.Type.SettlesJob()
	case w.ProjectID != 0 && e.Project != 0 && w.ProjectID != e.Project:
		return false
	case w.Format.OnlyEnds() && !e.Type.SettlesJob():
		return false
	case len(w.Events) == 0 && !e.Type.SettlesJob():
		return false
	case len(w.Events) > 0 && !slices.ContainsFunc(w.Events, e.Type.Matches):
		return false
	}
	f := w.Filter
	return !e.OfJob() ||
		allows(f.Actions, e.Job.Action) && allows(f.Queues, e.Job.Queue) && allows(f.Assets, e.Job.AssetName)
}

// allows reports whether a list of a filter allows a value; an empty one allows all.
func allows(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }
