package app

import (
	"cmp"

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

// refusal is the error for a caller without the role that a verb requires.
func refusal(c auth.Caller, v auth.Verb) error {
	if c.UserID == 0 {
		return hostler.Errorf(hostler.CodeUnauthenticated, "an API key is required", "需要 API 密钥")
	}
	r, _ := auth.RuleOf(v)
	if r.System {
		return hostler.Errorf(hostler.CodeForbidden,
			"this requires the role %s in the project %s",
			"此操作需要项目 %[2]s 中的 %[1]s 角色", r.Role, hostler.DefaultProject)
	}
	return hostler.Errorf(hostler.CodeForbidden,
		"this requires the role %s in the project %s; you have %s",
		"此操作需要项目 %[2]s 中的 %[1]s 角色；当前角色为 %[3]s",
		r.Role, c.ProjectName, cmp.Or(c.RoleIn(c.Project), "none"))
}
