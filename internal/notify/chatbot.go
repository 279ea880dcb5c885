package notify

import (
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/channel"
	"hostler.dev/hostler/internal/store"
)

// kindOf returns the kind of a channel, or of a webhook in the format of a chat bot.
func kindOf(w *store.WebhookRow) (channel.Kind, bool) {
	switch {
	case w.Channel != nil:
		return channel.Of(w.Channel.Kind)
	case w.Format.IsChatBot():
		return channel.Of(hostler.ChannelKind(w.Format))
	default:
		return channel.Kind{}, false
	}
}

// templateOf returns the template of a channel; webhooks have that of their language.
func templateOf(w *store.WebhookRow) channel.Template {
	var t channel.Template
	if w.Channel != nil {
		t = channel.Template{Title: w.Channel.Title, Text: w.Channel.Text}
	}
	return t.Or(w.Lang)
}

// valuesOf returns what an event has to show in a template.
func valuesOf(w *store.WebhookRow, e *store.Event, job *hostler.Job) channel.Values {
	v := channel.Sample(e.Type, w.Lang) // for the names and the text of the type
	for name := range v {
		if name != "event.type" && name != "event.text" {
			v[name] = ""
		}
	}
	v["event.at"] = e.At.UTC().Format(time.DateTime) + " UTC"
	v["subject"] = subjectOf(e, w.Lang)
	if e.Project != 0 {
		v["project"] = w.Project
	}
	if !e.OfJob() {
		v["object"], v["by"] = e.Object.Object, e.Object.By
		if e.Type == hostler.EventRunMessage {
			v["object"], v["text"] = "", e.Object.Object
		}
		if n := e.Object.Alert; n != nil {
			_, v["text"] = channel.AlertTexts(e.Object.Object, n, w.Lang)
		}
		return v
	}
	v["by"], v["run.id"] = e.Job.CreatedBy, e.Job.Run.String()
	v["job.id"], v["job.action"], v["job.asset"] = e.Job.Job.String(), e.Job.Action, e.Job.AssetName
	v["job.queue"], v["job.state"] = e.Job.Queue, string(e.Job.State)
	if e.Job.Error != nil {
		v["job.error"] = e.Job.Error.Text.In(w.Lang)
	}
	if job != nil && e.Type.SettlesJob() {
		v["job.result"] = truncate(hostler.ResultText(job.Result), maxResult)
	}
	return v
}

// subjectOf returns an event as one line: check_port @ web1 failed.
func subjectOf(e *store.Event, lang hostler.Lang) string {
	switch {
	case e.Type == hostler.EventRunMessage:
		return truncate(e.Object.Object, 200)
	case e.Object.Alert != nil:
		subject, _ := channel.AlertTexts(e.Object.Object, e.Object.Alert, lang)
		return subject
	case !e.OfJob():
		return string(e.Type) + " " + e.Object.Object
	}
	s := e.Job.Action
	if e.Job.AssetName != "" {
		s += " @ " + e.Job.AssetName
	}
	return s + " " + channel.StateText(e.Job.State).In(lang)
}
