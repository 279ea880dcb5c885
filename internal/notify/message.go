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
	if kind, forPeople := kindOf(&w); forPeople && e.Type == hostler.EventApprovalRequested {
		v, err := n.approvalValues(ctx, &w, e)
		if err != nil {
			return "", err
		}
		return kind.Body(kind.Render(templateOf(&w), v))
	}
	return messageBody(&w, e, job)
}

// approvalValues are those of an event that asks for an approval: who asks for what, and
// the link to decide.
func (n *Notifier) approvalValues(ctx context.Context, w *store.WebhookRow, e *store.Event) (channel.Values, error) {
	v := valuesOf(w, e, nil)
	var id hostler.ApprovalID
	if err := id.UnmarshalText([]byte(e.Object.Object)); err != nil {
		return v, fmt.Errorf("the id of an approval: %w", err)
	}
	err := n.store.View(ctx, func(tx *store.Tx) error {
		row, _, err := tx.ApprovalByID(id)
		if err != nil || row == nil {
			return err
		}
		steps, err := tx.ApprovalSteps([]hostler.ApprovalID{id})
		at := steps[id]
		v["requester"], v["run.id"] = at.Requester, row.Run.String()
		v["summary"] = row.Title + " · " + at.Name + summaryOf([]byte(row.Plan))
		return err
	})
	if err == nil && n.cfg.ApprovalLink != nil {
		v["link"] = n.cfg.ApprovalLink(id)
	}
	return v, err
}

// maxSummary is how many steps a summary names.
const maxSummary = 10

// summaryOf names the steps that remain to run, with the numbers of their hosts.
func summaryOf(plan []byte) string {
	var p struct {
		Steps []struct {
			Step  hostler.Step
			Hosts int
		}
	}
	if json.Unmarshal(plan, &p) != nil {
		return ""
	}
	out := ""
	for i, s := range p.Steps {
		if i == maxSummary {
			return out + " → …"
		}
		out += " → " + s.Step.ID
		if s.Step.Action != "" {
			out += fmt.Sprintf(" (%s × %d)", s.Step.Action, s.Hosts)
		}
	}
	return out
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
