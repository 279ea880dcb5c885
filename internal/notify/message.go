package notify

import (
	"context"
	"encoding/json"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// body returns what is sent for a delivery, in the format of its webhook.
func (n *Notifier) body(ctx context.Context, w store.WebhookRow, d store.ClaimedDelivery) (string, error) {
	var job *hostler.Job
	if d.Event.OfJob() {
		err := n.store.View(ctx, func(tx *store.Tx) (err error) {
			job, err = tx.Job(d.Event.Project, d.Event.Job.Job)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	b, err := json.Marshal(message(w, &d.Event, job))
	if err != nil {
		return "", fmt.Errorf("encode a message: %w", err)
	}
	return string(b), nil
}

// message returns an event in the format of a webhook, to be encoded as JSON:
//
//   - standard: the event with the job's result, signed (format.go, sign.go)
//   - task, netpulse: the messages of other task servers, for their clients (format.go)
//   - dingtalk, wecom, feishu: a text for people, without markup (chatbot.go)
//
// The job is nil when it was deleted meanwhile, and for events of other objects.
func message(w store.WebhookRow, e *store.Event, job *hostler.Job) any {
	switch {
	case w.Format.IsChatBot():
		return chatMessage(w.Format, e, job, w.Lang)
	case w.Format == hostler.FormatTask:
		return simpleTaskMessage(e, job, w.Lang)
	case w.Format == hostler.FormatNetPulse:
		return netPulseMessage(e, job, w.Lang)
	default:
		return standardMessage(e, job)
	}
}
