package notify

import (
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// subscribes reports whether a webhook subscribes to an event.
//
// It is asked when the deliveries of the event are made, a moment after the event was
// published: a webhook that was changed in between decides by what it is now, and one
// that was created or enabled in between does not get the event.
//
// The webhook of the configuration belongs to no project and gets the events of all
// projects. The events of queues and workers belong to no project either; webhooks of
// every project get them. A step of a run may address one channel of its project, which
// gets the message whatever it subscribes to; so may an alert rule address some.
func subscribes(w *store.WebhookRow, e *store.Event) bool {
	switch {
	case e.Pos <= w.Since:
		return false
	case w.Run != 0:
		return e.OfJob() && e.Job.Run == w.Run && e.Type.SettlesJob()
	case w.ProjectID != 0 && e.Project != 0 && w.ProjectID != e.Project:
		return false
	case e.Type == hostler.EventRunMessage && e.Object.Channel != "":
		return w.Channel != nil && w.Name == e.Object.Channel && w.ProjectID == e.Project
	case e.Object.Alert != nil && len(e.Object.Alert.Channels) > 0 && w.Channel != nil:
		return w.ProjectID == e.Project && slices.Contains(e.Object.Alert.Channels, w.Name)
	case w.Channel != nil && len(w.Events) == 0:
		return false // messages of runs only
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
