package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// grant is the permission for one use case, and its only way to the store.
type grant struct {
	app     *App
	caller  auth.Caller
	verb    auth.Verb
	project hostler.ProjectID // that the objects belong to
}

// allow is the choke point: nothing is read or changed for a caller without a
// grant from here.
func (a *App) allow(c auth.Caller, v auth.Verb) (grant, error) {
	p := c.Project
	if r, _ := auth.RuleOf(v); r.System {
		p = c.Default
	}
	if !auth.Allow(c, v, p) {
		return grant{}, refusal(c, v)
	}
	return grant{app: a, caller: c, verb: v, project: p}, nil
}

// may reports whether the caller has a further right, which widens what a use
// case shows or takes.
func (g grant) may(v auth.Verb) bool { return auth.Allow(g.caller, v, g.caller.Project) }

func refusal(c auth.Caller, v auth.Verb) error {
	if c.UserID == 0 {
		return hostler.Errorf(hostler.CodeUnauthenticated, "an API key is needed", "需要 API 密钥")
	}
	r, _ := auth.RuleOf(v)
	if r.System {
		return hostler.Errorf(hostler.CodeForbidden,
			"this needs the role %s in the project %s", "此操作需要项目 %[2]s 中的 %[1]s 角色", r.Role, hostler.DefaultProject)
	}
	return hostler.Errorf(hostler.CodeForbidden,
		"this needs the role %s in the project %s; you have %s", "此操作需要项目 %[2]s 中的 %[1]s 角色；当前角色为 %[3]s",
		r.Role, c.ProjectName, orNone(c.RoleIn(c.Project)))
}

func orNone(r hostler.Role) string {
	if r == hostler.RoleNone {
		return "none"
	}
	return string(r)
}

// scope is one transaction of a use case.
type scope struct {
	*store.Tx
	grant
	recorded bool
}

// audit records the change in the same transaction. The object is a name or an
// id; the detail says what changed and never holds a secret.
func (s *scope) audit(verb, object string, detail any) error {
	return s.auditIn(s.project, verb, object, detail)
}

func (s *scope) auditIn(p hostler.ProjectID, verb, object string, detail any) error {
	s.recorded = true
	row := hostler.Audit{User: s.caller.User, Key: s.caller.Key, Remote: s.caller.Remote, Verb: verb, Object: object}
	if t, is := eventOf[verb]; is {
		of, what := p, hostler.ObjectEvent{Object: object, By: s.caller.User}
		if r, _ := auth.RuleOf(s.verb); r.System {
			// It belongs to no project, and every project hears of it, but not
			// the names of foreign users.
			of, what.By = 0, ""
		}
		s.Emit(of, t, what)
	}
	if detail != nil {
		b, err := json.Marshal(detail)
		if err != nil {
			return fmt.Errorf("encode audit detail: %w", err)
		}
		row.Detail = b
	}
	return s.AppendAudit(p, row)
}

// unchanged says that the transaction changes nothing, so that there is nothing
// to record.
func (s *scope) unchanged() { s.recorded = true }

// view runs fn on a consistent snapshot.
func view[T any](ctx context.Context, g grant, fn func(s *scope) (T, error)) (out T, err error) {
	err = g.app.store.View(ctx, func(tx *store.Tx) error {
		out, err = fn(&scope{Tx: tx, grant: g})
		return err
	})
	return outcome(out, err)
}

// growing are the verbs that bring new rows to keep. They are refused while the
// disk is full; what ends work, or makes the system safer, goes on.
var growing = map[auth.Verb]bool{
	auth.RunJob: true, auth.WriteAsset: true, auth.WriteCredential: true, auth.CreateProject: true,
}

// change runs fn in one transaction. It refuses to commit what fn did not record
// in the audit.
func change[T any](ctx context.Context, g grant, fn func(s *scope) (T, error)) (out T, err error) {
	inTx := g.app.store.InTx
	if growing[g.verb] {
		inTx = g.app.store.InGrowingTx
	}
	err = inTx(ctx, func(tx *store.Tx) error {
		s := &scope{Tx: tx, grant: g}
		out, err = fn(s)
		if err == nil && !s.recorded {
			err = fmt.Errorf("%s wrote no audit row", g.verb)
		}
		return err
	})
	return outcome(out, err)
}

// outcome drops what a failed transaction returned, and puts errors of the
// surroundings into words.
func outcome[T any](out T, err error) (T, error) {
	if err == nil {
		return out, nil
	}
	var zero T
	switch {
	case store.IsAmbiguous(err):
		e := hostler.Errorf(hostler.CodeUnavailable,
			"the database did not answer in time: the change may or may not have been made; look before you repeat it",
			"数据库未及时应答：更改可能已生效，也可能没有；请先确认再重试")
		e.Cause = err
		return zero, e
	case errors.Is(err, context.DeadlineExceeded):
		e := hostler.Errorf(hostler.CodeTimeout, "the answer did not come in time", "未能及时得到结果")
		e.Cause = err
		return zero, e
	}
	return zero, err
}
