package app

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/outbox"
	"hostler.dev/hostler/internal/store"
)

// eventOf are the audited changes that are events. The engine tells of jobs and
// workers itself.
var eventOf = map[string]hostler.EventType{
	"asset.create":      hostler.EventAssetCreated,
	"asset.change":      hostler.EventAssetUpdated,
	"asset.delete":      hostler.EventAssetDeleted,
	"asset.import":      hostler.EventAssetsImported,
	"hostkey.accept":    hostler.EventHostKeyAccepted,
	"hostkey.revoke":    hostler.EventHostKeyRevoked,
	"credential.create": hostler.EventCredentialCreated,
	"credential.change": hostler.EventCredentialUpdated,
	"credential.delete": hostler.EventCredentialDeleted,
	"queue.set":         hostler.EventQueueUpdated,
	"queue.pause":       hostler.EventQueuePaused,
	"queue.resume":      hostler.EventQueueResumed,
	"webhook.create":    hostler.EventWebhookCreated,
	"webhook.update":    hostler.EventWebhookUpdated,
	"webhook.enable":    hostler.EventWebhookUpdated,
	"webhook.disable":   hostler.EventWebhookUpdated,
	"webhook.rotate":    hostler.EventWebhookUpdated,
	"webhook.delete":    hostler.EventWebhookDeleted,
}

// eventVerbs says who may see the events of an object: who may read the object.
var eventVerbs = map[string]auth.Verb{
	"job":        auth.ReadJob,
	"asset":      auth.ReadAsset,
	"hostkey":    auth.ReadHostKey,
	"credential": auth.ReadCredential,
	"queue":      auth.ReadQueue,
	"worker":     auth.ReadWorker,
	"webhook":    auth.ReadWebhook,
}

func checkEventFilter(f hostler.EventFilter) error {
	for _, p := range f.Types {
		if err := hostler.CheckEventPattern("type", p); err != nil {
			return err
		}
	}
	return nil
}

func matches(f hostler.EventFilter, e *store.Event) bool {
	named := len(f.Types) == 0
	for _, p := range f.Types {
		named = named || e.Type.Matches(p)
	}
	if !named {
		return false
	}
	if f.Action == "" && f.Queue == "" && f.Asset == "" && f.Run == 0 && f.Job == 0 {
		return true
	}
	j := &e.Job
	return e.OfJob() && is(f.Action, j.Action) && is(f.Queue, j.Queue) && is(f.Asset, j.AssetName) &&
		is(f.Run, j.Run) && is(f.Job, j.Job)
}

// is reports whether a field is what the filter asks for, if it asks.
func is[T comparable](want, have T) bool {
	var zero T
	return want == zero || want == have
}

// EventsFromNow is where a stream starts that wants only what is still to come.
const EventsFromNow = outbox.FromNow

// eventBudget is how many events one page looks at, at most.
const eventBudget = 20_000

// Events lists up to limit events behind a position, oldest first, and the
// position to go on from: 0 at the end. A page may hold fewer, and yet not be
// the last: the search for those that match is bounded.
func (a *App) Events(ctx context.Context, c auth.Caller, f hostler.EventFilter, after int64, limit int) (events []json.RawMessage, next int64, err error) {
	if _, err := a.allow(c, auth.ReadEvent); err != nil {
		return nil, 0, err
	}
	if err := checkEventFilter(f); err != nil {
		return nil, 0, err
	}
	s := EventStream{app: a, caller: c, filter: f}
	for from := after; after-from < eventBudget; {
		p, err := a.cfg.Feed.Page(ctx, after, limit-len(events), s.want)
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

// EventStream is the events that a caller may see, from a position on.
type EventStream struct {
	app    *App
	caller auth.Caller
	filter hostler.EventFilter
	reader *outbox.Reader
}

// EventBatch is a part of a stream.
type EventBatch struct {
	Frames [][]byte // one each event, as a text/event-stream has it
	Missed int64    // events before them that are no longer kept
	Behind int64    // events that are known to follow
}

// OpenEvents starts a stream behind a position, or at EventsFromNow. Close ends
// it.
func (a *App) OpenEvents(ctx context.Context, c auth.Caller, f hostler.EventFilter, after int64) (*EventStream, error) {
	if _, err := a.allow(c, auth.ReadEvent); err != nil {
		return nil, err
	}
	if err := checkEventFilter(f); err != nil {
		return nil, err
	}
	s := &EventStream{app: a, caller: c, filter: f}
	r, err := a.cfg.Feed.Open(ctx, after, s.want)
	if err != nil {
		return nil, err
	}
	s.reader = r
	return s, nil
}

// Close ends the stream.
func (s *EventStream) Close() { s.reader.Close() }

// Pos is the position that the stream has come to, from which to resume.
func (s *EventStream) Pos() int64 { return s.reader.Pos() }

// Lost reports that the position to resume from is not of this database.
func (s *EventStream) Lost() bool { return s.reader.Diverged() }

// Renew goes on with what is known of the caller by now.
func (s *EventStream) Renew(c auth.Caller) error {
	if _, err := s.app.allow(c, auth.ReadEvent); err != nil {
		return err
	}
	s.caller = c
	return nil
}

// Next waits for events, up to patience. A batch may hold none that the caller may
// see or asked for; Pos may have moved all the same.
func (s *EventStream) Next(ctx context.Context, patience time.Duration) (EventBatch, error) {
	got, err := s.reader.Next(ctx, patience)
	b := EventBatch{Missed: got.Missed, Behind: got.Behind}
	for _, e := range got.Events {
		b.Frames = append(b.Frames, e.Frame)
	}
	return b, err
}

// want is what the caller may see and asked for.
func (s *EventStream) want(e *store.Event) bool { return s.mayRead(e) && matches(s.filter, e) }

func (s *EventStream) mayRead(e *store.Event) bool {
	object, _, _ := strings.Cut(string(e.Type), ".")
	v, known := eventVerbs[object]
	if !known || e.Project != 0 && e.Project != s.caller.Project {
		return false
	}
	return auth.Allow(s.caller, v, s.caller.Project)
}
