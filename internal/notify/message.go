package notify

import (
	"context"
	"encoding/json"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/channel"
	"hostler.dev/hostler/internal/store"
)

// body returns what is sent for deliveries, in the format of their webhook. Several are
// merged into one message of a channel.
func (n *Notifier) body(ctx context.Context, w store.WebhookRow, list []store.ClaimedDelivery) (string, error) {
	if len(list) > 1 {
		kind, _ := kindOf(&w)
		return n.merged(ctx, w, kind, list)
	}
	e := &list[0].Event
	var job *hostler.Job
	if e.OfJob() {
		err := n.store.View(ctx, func(tx *store.Tx) (err error) {
			job, err = tx.Job(e.Project, e.Job.Job)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return messageBody(&w, e, job)
}

// messageBody returns the body of one event's message.
func messageBody(w *store.WebhookRow, e *store.Event, job *hostler.Job) (string, error) {
	if kind, forPeople := kindOf(w); forPeople {
		return kind.Body(kind.Render(templateOf(w), valuesOf(w, e, job)))
	}
	b, err := json.Marshal(message(*w, e, job))
	if err != nil {
		return "", fmt.Errorf("encode a message: %w", err)
	}
	return string(b), nil
}

// merged returns the one message for several deliveries.
func (n *Notifier) merged(
	ctx context.Context, w store.WebhookRow, kind channel.Kind, list []store.ClaimedDelivery,
) (string, error) {
	events := make([]channel.Event, len(list))
	for i := range list {
		e := &list[i].Event
		events[i] = channel.Event{Type: e.Type, Subject: subjectOf(e, w.Lang)}
	}
	var waiting int
	err := n.store.View(ctx, func(tx *store.Tx) (err error) {
		waiting, err = tx.PendingDeliveries(w.ID)
		return err
	})
	if err != nil {
		return "", err
	}
	return kind.Body(kind.Merge(events, waiting, w.Lang))
}

// message returns an event in the format of a webhook, to be encoded as JSON:
//
//   - standard: the event with the job's result, signed (format.go, sign.go)
//   - task, netpulse: the messages of other task servers, for their clients (format.go)
//
// Channels and chat bots have texts for people instead; see package channel. The job is
// nil when it was deleted meanwhile, and for events of other objects.
func message(w store.WebhookRow, e *store.Event, job *hostler.Job) any {
	switch w.Format {
	case hostler.FormatTask:
		return simpleTaskMessage(e, job, w.Lang)
	case hostler.FormatNetPulse:
		return netPulseMessage(e, job, w.Lang)
	default:
		return standardMessage(e, job)
	}
}
