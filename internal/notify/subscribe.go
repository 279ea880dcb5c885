package notify

import (
	"maps"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// Deliver queues deliveries of events that were just published, in the
// transaction of that.
func (n *Notifier) Deliver(tx *store.Tx, p store.Published) error {
	events, err := p.Events()
	if err != nil {
		return err
	}
	ended := map[hostler.RunID]bool{}
	for i := range events {
		if e := &events[i]; e.OfJob() && e.Job.Run != 0 && isEnd(e.Type) {
			ended[e.Job.Run] = true
		}
	}
	hooks, err := tx.Subscribers(slices.Sorted(maps.Keys(ended)))
	if err != nil || len(hooks) == 0 {
		return err
	}
	_, err = tx.QueueDeliveries(matches(events, hooks))
	return err
}

// matches are the deliveries of events to the webhooks that want them. Those of a
// run are found by it, for there may be as many as events.
func matches(events []store.Event, hooks []store.WebhookRow) []store.NewDelivery {
	byRun := map[hostler.RunID][]*store.WebhookRow{}
	for i := range hooks {
		w := &hooks[i]
		byRun[w.Run] = append(byRun[w.Run], w)
	}
	var list []store.NewDelivery
	add := func(e *store.Event, of []*store.WebhookRow) {
		for _, w := range of {
			if wants(w, e) {
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

// isEnd reports whether a job is over, or waits for a person to say so.
func isEnd(t hostler.EventType) bool {
	switch t {
	case hostler.EventJobSucceeded, hostler.EventJobFailed, hostler.EventJobCancelled, hostler.EventJobExpired, hostler.EventJobUnknown:
		return true
	default:
		return false
	}
}

// wants reports whether a webhook subscribes to an event. The configured one,
// which belongs to no project, is told of all projects' events; those of queues
// and workers, which belong to none either, are for everyone.
func wants(w *store.WebhookRow, e *store.Event) bool {
	switch {
	case w.Run != 0:
		return e.OfJob() && e.Job.Run == w.Run && isEnd(e.Type)
	case w.ProjectID != 0 && e.Project != 0 && w.ProjectID != e.Project:
		return false
	case w.Format.OnlyEnds() && !isEnd(e.Type):
		return false
	case len(w.Events) == 0 && !isEnd(e.Type):
		return false
	case len(w.Events) > 0 && !slices.ContainsFunc(w.Events, e.Type.Matches):
		return false
	}
	f := w.Filter
	return !e.OfJob() || among(f.Actions, e.Job.Action) && among(f.Queues, e.Job.Queue) && among(f.Assets, e.Job.AssetName)
}

func among(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }
