package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/schedule"
	"hostler.dev/hostler/internal/store"
)

// scope is one transaction of a use case.
type scope struct {
	*store.Tx
	grant
	recorded bool // an audit row was written, or nothing was changed
	planning bool // nothing is written, and nothing locked
	// devices tells of device keys whether another project has them; see [scope.checkDevice].
	devices map[string]bool
	foreign map[store.Host]bool // see [scope.findForeign]
	// calendarRows are the calendars of the project, once calendarsRead; calendarTimes what
	// they say, by name, of those that were asked; closedSeen the answers of several at a time.
	calendarRows  []store.CalendarRow
	calendarTimes map[string]*schedule.Closures
	closedSeen    map[string]*closedError
	calendarsRead bool
	// fromSeen has the hosts of earlier runs; see [scope.hostsFrom].
	fromSeen map[hostler.FromRun]map[hostler.AssetID]bool
}

// newScope returns the scope of a transaction, limited to the assets that the caller may
// see. Every transaction of a caller begins with it.
func newScope(tx *store.Tx, g grant) *scope {
	tx.SeeOnly(g.limit().Labels())
	return &scope{Tx: tx, grant: g}
}

// view runs fn on a consistent snapshot.
func view[T any](ctx context.Context, g grant, fn func(s *scope) (T, error)) (T, error) {
	return viewOf(ctx, g.app.store, g, fn)
}

// list is view for what reads many rows: it does not use up the database connections
// that read single ones.
func list[T any](ctx context.Context, g grant, fn func(s *scope) (T, error)) (T, error) {
	return viewOf(ctx, g.app.store.ForLists(), g, fn)
}

func viewOf[T any](ctx context.Context, st *store.Store, g grant, fn func(s *scope) (T, error)) (out T, err error) {
	err = st.View(ctx, func(tx *store.Tx) error {
		out, err = fn(newScope(tx, g))
		return err
	})
	return outcome(out, err)
}

// growing are the verbs that add rows. They are refused while the disk is full;
// what ends work, or makes the system safer, is not.
var growing = map[auth.Verb]bool{
	auth.RunJob: true, auth.WriteAsset: true, auth.WriteCredential: true, auth.CreateProject: true,
	auth.WriteSchedule: true,
	auth.WriteTemplate: true,
}

// change runs fn in one transaction, which the store may repeat from the start. It
// does not commit what fn did not record in the audit. A refusal by command rules is
// recorded apart from it.
func change[T any](ctx context.Context, g grant, fn func(s *scope) (T, error)) (out T, err error) {
	inTx := g.app.store.InTx
	if growing[g.verb] {
		inTx = g.app.store.InGrowingTx
	}
	err = inTx(ctx, func(tx *store.Tx) error {
		s := newScope(tx, g)
		out, err = fn(s)
		if err == nil && !s.recorded {
			err = fmt.Errorf("%s wrote no audit row", g.verb)
		}
		if err == nil {
			err = s.keepDevices()
		}
		return err
	})
	g.app.recordRuleRefusal(ctx, g, err)
	return outcome(out, err)
}

// outcome drops what a failed transaction returned, and describes errors of the
// database to the caller.
func outcome[T any](out T, err error) (T, error) {
	if err == nil {
		return out, nil
	}
	var zero T
	switch {
	case store.IsAmbiguous(err):
		e := hostler.Errorf(hostler.CodeUnavailable,
			"the database did not answer in time: the change may or may not have been made; check before you repeat it",
			"数据库未及时应答：更改可能已生效，也可能没有；请先确认再重试")
		e.Cause = err
		return zero, e
	case errors.Is(err, context.DeadlineExceeded):
		e := hostler.Errorf(hostler.CodeTimeout, "no result within the time limit", "未能及时得到结果")
		e.Cause = err
		return zero, e
	}
	return zero, err
}

// audit records a change in the same transaction, and emits the event of it, if the
// verb has one. The object is a name or an id; the detail describes what changed and
// never holds a secret.
func (s *scope) audit(verb, object string, detail any) error {
	return s.auditIn(s.project, verb, object, detail)
}

// auditIn is [scope.audit] in the audit of another project.
func (s *scope) auditIn(project hostler.ProjectID, verb, object string, detail any) error {
	s.recorded = true
	row := hostler.Audit{
		User: s.caller.User, UserID: s.caller.UserID, Key: s.caller.Key, Remote: s.caller.Remote,
		Verb: verb, Object: object,
	}
	if t, ok := eventOf[verb]; ok {
		s.emit(t, object)
	}
	if detail != nil {
		b, err := json.Marshal(detail)
		if err != nil {
			return fmt.Errorf("encode audit detail: %w", err)
		}
		row.Detail = b
	}
	return s.AppendAudit(project, row)
}

// emit emits the event of a change. A change of what belongs to no project is an
// event of every project, without the user's name, which other projects must not see.
func (s *scope) emit(t hostler.EventType, object string) {
	if r, _ := auth.RuleOf(s.verb); r.System {
		s.Emit(0, t, hostler.ObjectEvent{Object: object})
		return
	}
	s.Emit(s.project, t, hostler.ObjectEvent{Object: object, By: s.caller.User})
}

// unchanged declares that the transaction changes nothing, so that there is nothing
// to record.
func (s *scope) unchanged() { s.recorded = true }
