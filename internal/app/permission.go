package app

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// grant is the permission for one use case. It is the only way to the store: [view]
// and [change] require one.
type grant struct {
	app     *App
	caller  auth.Caller
	verb    auth.Verb
	project hostler.ProjectID // that the objects belong to
	// unattended: the caller is not there, but a schedule of its own acts for it. What an
	// admin's own action would allow on its own is not allowed then.
	unattended bool
}

// allow decides whether the caller may use the verb. Every use case calls it before
// it reads or reports anything.
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

// may reports whether the caller has a further right, which widens what a use case
// shows or accepts.
func (g grant) may(v auth.Verb) bool { return auth.Allow(g.caller, v, g.caller.Project) }

// limit is what narrows the caller's role in its project.
func (g grant) limit() auth.Limit { return g.caller.LimitIn(g.caller.Project) }

// refusal is the error for a caller without the role that a verb requires.
func refusal(c auth.Caller, v auth.Verb) error { return auth.Refusal(c, v) }
