// Package webhook holds the rules of webhooks: what an endpoint may be, which
// secrets it has, and to which addresses they may be sent.
//
// # Model
//
// An [Endpoint] is where requests are sent, and how: what a webhook, the webhook of
// the configuration, and the webhook that a job request brings have in common.
// [Endpoint.Check] validates it and sets the defaults; [Replace] merges a change into
// it. Its secret parts ([Secrets]) are stored sealed; what may be shown of it
// ([Endpoint.Describe]) is stored in the clear.
//
// # Invariants
//
//   - Secrets are bound to the origin of the URL, its scheme, host and port. A
//     change that leads to another origin must give them again: otherwise the right
//     to edit a webhook would be the right to read its secrets.
//   - No error repeats a value, because any value may be a secret.
//   - Which addresses may be reached is not decided here but when a connection is
//     made: a name may resolve to another address by then.
package webhook

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// Limits of a webhook.
const (
	MaxEvents    = 100
	MaxRate      = 6000 // requests per minute
	MaxLimit     = 100  // requests at once
	DefaultLimit = 4
	// ChatBotRate is the requests per minute that DingTalk and WeCom accept.
	ChatBotRate = 20
	// maxNames and maxAssets bound the lists of a filter.
	maxNames  = 100
	maxAssets = 1000
)

// CheckEvents checks the event types and patterns of a subscription: job.failed,
// job.*, *.
func CheckEvents(fields *check.Fields, f hostler.WebhookFormat, events []string) {
	fields.Count("events", len(events), MaxEvents)
	for i, e := range events {
		path := check.Item("events", i)
		if err := hostler.CheckEventPattern(path, e); err != nil {
			fields.Merge(err)
			continue
		}
		fields.Require(!f.OnlyEnds() || hostler.EventType(e).SettlesJob(), path,
			"has no message in the format %s, which supports ends of jobs only",
			"%s 格式只能通知作业结束，不支持此事件", f)
	}
}

// CheckFilter checks the lists that narrow the events of jobs. The objects that they
// name need not exist.
func CheckFilter(fields *check.Fields, f hostler.WebhookFilter) {
	checkNames(fields, "filter.actions", f.Actions, maxNames)
	checkNames(fields, "filter.queues", f.Queues, maxNames)
	checkNames(fields, "filter.assets", f.Assets, maxAssets)
}

func checkNames(fields *check.Fields, path string, names []string, most int) {
	fields.Count(path, len(names), most)
	for i, name := range names {
		fields.Name(check.Item(path, i), name, 128)
	}
}
