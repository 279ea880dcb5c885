package app

import (
	"context"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/schema"
)

// Dispatch returns whether dispatch is held, and what waits for its release: of the
// caller's project, or of all of them for an admin of the installation.
func (a *App) Dispatch(ctx context.Context, c auth.Caller) (hostler.Dispatch, error) {
	g, err := a.allow(c, auth.ReadQueue)
	if err != nil {
		return hostler.Dispatch{}, err
	}
	return view(ctx, g, (*scope).dispatch)
}

func (s *scope) dispatch() (hostler.Dispatch, error) {
	project := s.project
	if auth.Allow(s.caller, auth.WriteQueue, s.caller.Default) {
		project = 0
	}
	d, err := dispatchOf(s.Tx, project)
	if err != nil || !s.may(auth.ReadHold) {
		return d, err
	}
	d.Holds, err = s.holds()
	return d, err
}

func dispatchOf(tx *store.Tx, project hostler.ProjectID) (hostler.Dispatch, error) {
	h, err := tx.Hold()
	if err != nil || h == nil {
		return hostler.Dispatch{}, err
	}
	d := hostler.Dispatch{
		Held: true, Reason: h.Reason, Text: store.HoldText(*h), Since: &h.Since, By: h.By,
		Note: h.Note, Until: h.Until,
	}
	d.Waiting, d.More, err = tx.HeldJobs(project)
	return d, err
}

// HoldDispatch holds dispatch: no job starts until it is released, or the time is over.
func (a *App) HoldDispatch(ctx context.Context, c auth.Caller, in hostler.HoldTerms) (hostler.Dispatch, error) {
	g, err := a.allow(c, auth.WriteQueue)
	if err != nil {
		return hostler.Dispatch{}, err
	}
	var fields check.Fields
	checkTerms(&fields, in)
	if err := fields.Err(); err != nil {
		return hostler.Dispatch{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Dispatch, error) {
		until, err := s.until(in)
		if err != nil {
			return hostler.Dispatch{}, err
		}
		h := schema.Hold{Reason: hostler.HoldAdmin, By: c.User, Note: in.Reason, Until: timeOrNil(until)}
		if err := s.Tx.HoldDispatch(h); err != nil {
			return hostler.Dispatch{}, err
		}
		if err := s.audit("dispatch.hold", store.InstallationObject, h); err != nil {
			return hostler.Dispatch{}, err
		}
		return s.dispatch()
	})
}

// ReleaseDispatch lets jobs start again. If the request names queues, all others are
// paused before that.
func (a *App) ReleaseDispatch(
	ctx context.Context, c auth.Caller, req hostler.ReleaseRequest,
) (hostler.Dispatch, error) {
	g, err := a.allow(c, auth.WriteQueue)
	if err != nil {
		return hostler.Dispatch{}, err
	}
	if err := a.pauseOthers(ctx, g, req.Queues); err != nil {
		return hostler.Dispatch{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Dispatch, error) {
		if err := s.Tx.ReleaseDispatch(); err != nil {
			return hostler.Dispatch{}, err
		}
		return hostler.Dispatch{}, s.audit("dispatch.release", store.InstallationObject, req)
	})
}

// pauseOthers pauses all queues but those named, one transaction each: a pause may
// change many lanes. Dispatch is still held meanwhile.
func (a *App) pauseOthers(ctx context.Context, g grant, keep []string) error {
	if len(keep) == 0 {
		return nil
	}
	all, err := view(ctx, g, func(s *scope) ([]hostler.Queue, error) { return s.Queues() })
	if err != nil {
		return err
	}
	var fields check.Fields
	for _, name := range keep {
		if !slices.ContainsFunc(all, func(q hostler.Queue) bool { return q.Name == name }) {
			fields.Add("queues", "there is no queue %q; see 'hostler queue list'",
				"队列 %q 不存在；请查看 'hostler queue list'", name)
		}
	}
	if err := fields.Err(); err != nil {
		return err
	}
	for _, q := range all {
		if q.Paused || slices.Contains(keep, q.Name) {
			continue
		}
		if _, err := a.PauseQueue(ctx, g.caller, q.Name); err != nil {
			return err
		}
	}
	return nil
}

// StartDispatch is called when a server starts, on the authority of the process. It holds
// dispatch if hold is set, or if identity shows that the database is a copy; see
// [store.Tx.HoldCopy]. It returns what [App.Dispatch] does for an admin.
func (a *App) StartDispatch(ctx context.Context, identity string, hold bool) (d hostler.Dispatch, err error) {
	err = a.store.InTx(ctx, func(tx *store.Tx) error {
		if identity != "" {
			if err := tx.HoldCopy(identity); err != nil {
				return err
			}
		}
		if hold {
			if err := tx.HoldDispatch(schema.Hold{Reason: hostler.HoldStart}); err != nil {
				return err
			}
		}
		d, err = dispatchOf(tx, 0)
		return err
	})
	return d, err
}
