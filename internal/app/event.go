package app

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/outbox"
	"hostler.dev/hostler/internal/store"
)

// eventOf maps the verbs of the audit to the events that they emit. The engine emits
// the events of jobs and workers.
var eventOf = map[string]hostler.EventType{
	"asset.create":      hostler.EventAssetCreated,
	"asset.change":      hostler.EventAssetUpdated,
	"asset.delete":      hostler.EventAssetDeleted,
	"asset.confirm":     hostler.EventAssetUpdated,
	"asset.import":      hostler.EventAssetsImported,
	"hostkey.accept":    hostler.EventHostKeyAccepted,
	"hostkey.revoke":    hostler.EventHostKeyRevoked,
	"credential.create": hostler.EventCredentialCreated,
	"credential.change": hostler.EventCredentialUpdated,
	"credential.delete": hostler.EventCredentialDeleted,
	"credential.allow":  hostler.EventCredentialUpdated,
	"credential.forbid": hostler.EventCredentialUpdated,
	"schedule.create":   hostler.EventScheduleCreated,
	"schedule.change":   hostler.EventScheduleUpdated,
	"schedule.delete":   hostler.EventScheduleDeleted,
	"schedule.pause":    hostler.EventSchedulePaused,
	"schedule.resume":   hostler.EventScheduleResumed,
	"calendar.set":      hostler.EventCalendarChanged,
	"calendar.delete":   hostler.EventCalendarChanged,
	"rule.set":          hostler.EventCommandRuleChanged,
	"rule.reset":        hostler.EventCommandRuleChanged,
	"queue.set":         hostler.EventQueueUpdated,
	"queue.pause":       hostler.EventQueuePaused,
	"queue.resume":      hostler.EventQueueResumed,
	"dispatch.hold":     hostler.EventDispatchHeld,
	"dispatch.release":  hostler.EventDispatchReleased,
	"hold.set":          hostler.EventDispatchHeld,
	"hold.end":          hostler.EventDispatchReleased,
	"webhook.create":    hostler.EventWebhookCreated,
	"webhook.update":    hostler.EventWebhookUpdated,
	"webhook.enable":    hostler.EventWebhookUpdated,
	"webhook.disable":   hostler.EventWebhookUpdated,
	"webhook.rotate":    hostler.EventWebhookUpdated,
	"webhook.delete":    hostler.EventWebhookDeleted,
	"run.start":         hostler.EventRunStarted,
	"approval.approve":  hostler.EventApprovalDecided,
	"approval.reject":   hostler.EventApprovalDecided,
	"template.publish":  hostler.EventTemplatePublished,
	"template.restore":  hostler.EventTemplatePublished,
	"template.retire":   hostler.EventTemplatePublished,
	"task.apply":        hostler.EventTaskUpdated,
	"task.delete":       hostler.EventTaskUpdated,
	"alert.rule_set":    hostler.EventAlertRuleChanged,
	"alert.rule_delete": hostler.EventAlertRuleChanged,
	"alert.silence":     hostler.EventAlertRuleChanged,
	"alert.unsilence":   hostler.EventAlertRuleChanged,
	"channel.create":    hostler.EventChannelCreated,
	"channel.update":    hostler.EventChannelUpdated,
	"channel.delete":    hostler.EventChannelDeleted,
}

// eventVerbs maps the kind of an event to the permission that it requires: that to
// read the object.
var eventVerbs = map[string]auth.Verb{
	"job":        auth.ReadJob,
	"asset":      auth.ReadAsset,
	"hostkey":    auth.ReadHostKey,
	"credential": auth.ReadCredential,
	"schedule":   auth.ReadSchedule,
	"queue":      auth.ReadQueue,
	"worker":     auth.ReadWorker,
	"webhook":    auth.ReadWebhook,
	"run":        auth.ReadRun,
	"approval":   auth.ReadRun,
	"template":   auth.ReadTemplate,
	"task":       auth.ReadTemplate,
	"alert":      auth.ReadAlert,
	"command":    auth.ReadCommandRule,
	"channel":    auth.ReadWebhook,
}

// checkEventFilter checks the patterns of a filter.
func checkEventFilter(f hostler.EventFilter) error {
	for _, p := range f.Types {
		if err := hostler.CheckEventPattern("type", p); err != nil {
			return err
		}
	}
	return nil
}

// matches reports whether the filter selects an event. Fields of jobs select events of
// jobs only.
func matches(f hostler.EventFilter, e *store.Event) bool {
	if len(f.Types) > 0 && !slices.ContainsFunc(f.Types, e.Type.Matches) {
		return false
	}
	if f.Action == "" && f.Queue == "" && f.Asset == "" && f.Run == 0 && f.Job == 0 {
		return true
	}
	j := &e.Job
	return e.OfJob() && unsetOr(f.Action, j.Action) && unsetOr(f.Queue, j.Queue) &&
		unsetOr(f.Asset, j.AssetName) && unsetOr(f.Run, j.Run) && unsetOr(f.Job, j.Job)
}

// unsetOr reports whether a field of a filter is not set, or equals the value.
func unsetOr[T comparable](want, have T) bool {
	var zero T
	return want == zero || want == have
}

// EventsFromNow is the position of a stream that receives only future events.
const EventsFromNow = outbox.FromNow

// eventBudget is how many positions one page reads at most.
const eventBudget = 20_000

// Events lists up to limit events after a position, oldest first, and the position to
// continue from; 0 at the end. A page may hold fewer events and yet not be the last,
// because the events that are read for one page are bounded.
func (a *App) Events(
	ctx context.Context, c auth.Caller, f hostler.EventFilter, after int64, limit int,
) (events []json.RawMessage, next int64, err error) {
	if _, err := a.allow(c, auth.ReadEvent); err != nil {
		return nil, 0, err
	}
	if err := checkEventFilter(f); err != nil {
		return nil, 0, err
	}
	s := EventStream{app: a, caller: c, filter: f}
	for from := after; after-from < eventBudget; {
		p, err := a.cfg.Stream.Page(ctx, after, limit-len(events), s.want)
		if err != nil || p.Last == after {
			return events, 0, err
		}
		after = p.Last
		for _, e := range p.Events {
			events = append(events, e.JSON())
		}
		if len(events) == limit {
			break
		}
	}
	return events, after, nil
}

// EventStream delivers the events that a caller may read and that its filter selects,
// from a position on.
type EventStream struct {
	app    *App
	caller auth.Caller
	filter hostler.EventFilter
	reader *outbox.Reader
}

// EventBatch is a part of a stream.
type EventBatch struct {
	Frames [][]byte // the events in the form of a text/event-stream
	Missed int64    // events before them that were deleted already
	Behind int64    // events after them that exist already
	Reset  bool     // the database lost events that were sent
}

// OpenEvents opens a stream after a position, or at [EventsFromNow]. The caller closes
// it.
func (a *App) OpenEvents(
	ctx context.Context, c auth.Caller, f hostler.EventFilter, after int64,
) (*EventStream, error) {
	if _, err := a.allow(c, auth.ReadEvent); err != nil {
		return nil, err
	}
	if err := checkEventFilter(f); err != nil {
		return nil, err
	}
	s := &EventStream{app: a, caller: c, filter: f}
	r, err := a.cfg.Stream.Open(ctx, after, s.want)
	if err != nil {
		return nil, err
	}
	s.reader = r
	return s, nil
}

// Close ends the stream.
func (s *EventStream) Close() { s.reader.Close() }

// Pos is the position of the last event that was read, to resume from.
func (s *EventStream) Pos() int64 { return s.reader.Pos() }

// Lost reports that the position to resume from is not one of this database.
func (s *EventStream) Lost() bool { return s.reader.Diverged() }

// Renew continues the stream with the current roles of the caller, or refuses it.
func (s *EventStream) Renew(c auth.Caller) error {
	if _, err := s.app.allow(c, auth.ReadEvent); err != nil {
		return err
	}
	s.caller = c
	return nil
}

// Next waits for events, at most for the timeout or until stop is closed. A batch may be empty, and Pos may
// have advanced all the same: past events that are not for this caller.
func (s *EventStream) Next(
	ctx context.Context, timeout time.Duration, stop <-chan struct{},
) (EventBatch, error) {
	got, err := s.reader.Next(ctx, timeout, stop)
	b := EventBatch{Missed: got.Missed, Behind: got.Behind, Reset: got.Reset}
	for _, e := range got.Events {
		b.Frames = append(b.Frames, e.Frame)
	}
	return b, err
}

// want reports whether the caller may read an event and selected it.
func (s *EventStream) want(e *store.Event) bool { return s.mayRead(e) && matches(s.filter, e) }

// mayRead reports whether the caller may read an event. Events of project 0 are about
// what belongs to no project.
func (s *EventStream) mayRead(e *store.Event) bool {
	object, _, _ := strings.Cut(string(e.Type), ".")
	v, known := eventVerbs[object]
	if !known || e.Project != 0 && e.Project != s.caller.Project {
		return false
	}
	return auth.Allow(s.caller, v, s.caller.Project)
}
