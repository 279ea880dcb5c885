package app

import (
	"context"
	"encoding/json"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// checkLimit refuses a job that the caller's limits exclude: its action, or a job without
// an asset for a role that is limited to assets. (The assets of the project that the
// limits exclude are not found in the first place.)
func (g grant) checkLimit(name string, onAsset bool) error {
	limit := g.limit()
	if !limit.AllowsAction(name) {
		return hostler.Errorf(hostler.CodeForbidden,
			"your role %s does not permit the action %s; an admin of the project %s can change that",
			"当前角色 %s 不允许动作 %s；项目 %s 的管理员可以修改",
			g.caller.RoleNameIn(g.project), check.Key(name), g.caller.ProjectName)
	}
	if limit.LimitsAssets() && !onAsset {
		return hostler.Errorf(hostler.CodeForbidden,
			"your role %s permits jobs on certain assets only: name assets instead of another host or none; "+
				"an admin of the project %s can change that",
			"当前角色 %s 只允许针对特定资产的作业：请指定资产，不能使用其他主机或不指定；项目 %s 的管理员可以修改",
			g.caller.RoleNameIn(g.project), g.caller.ProjectName)
	}
	return nil
}

// checkRun refuses a new job that the caller's limits exclude, or whose action is one of
// [Config.Restricted].
func (g grant) checkRun(act *action.Action, args json.RawMessage, onAsset bool) error {
	if err := g.checkLimit(act.Name, onAsset); err != nil {
		return err
	}
	if g.limit().LimitsAssets() && act.Elsewhere != nil && act.Elsewhere(args) {
		return hostler.Errorf(hostler.CodeForbidden,
			"your role %s permits jobs on certain assets only, and this one may work on another host: "+
				"give http_request a path instead of a URL, and no follow_redirects; "+
				"local_command needs a role without labels",
			"当前角色 %s 只允许针对特定资产的作业，而此作业可能针对其他主机：http_request 请使用路径而非 URL，"+
				"且不跟随重定向；local_command 需要不限标签的角色", g.caller.RoleNameIn(g.project))
	}
	projects, restricted := g.app.cfg.Restricted[act.Name]
	if !restricted || slices.Contains(projects, g.caller.ProjectName) ||
		auth.Allow(g.caller, auth.RunRestricted, g.project) {
		return nil
	}
	return hostler.Errorf(hostler.CodeForbidden,
		"the action %s requires the role admin in the project %s, or a project that local_command_projects names "+
			"in the server's configuration",
		"动作 %s 需要项目 %s 的 admin 角色，或由服务器配置 local_command_projects 指定当前项目", act.Name, hostler.DefaultProject)
}

// hideHolders counts the jobs that the caller may not see instead of naming them.
func (s *scope) hideHolders(all []hostler.Waiting) error {
	if !s.limit().LimitsAssets() {
		return nil
	}
	for i := range all {
		w := &all[i]
		if len(w.Holders) == 0 {
			continue
		}
		seen, err := s.Tx.Jobs(s.project, w.Holders)
		if err != nil {
			return err
		}
		before := len(w.Holders)
		w.Holders = slices.DeleteFunc(w.Holders, func(id hostler.JobID) bool {
			return !slices.ContainsFunc(seen, func(j hostler.Job) bool { return j.ID == id })
		})
		w.Foreign += before - len(w.Holders)
	}
	return nil
}

// explainForbidden returns why a waiting job may not start, if its user lost the right to
// run it, or its project the queue.
func (s *scope) explainForbidden(j hostler.Job) ([]hostler.Waiting, error) {
	may, err := s.MayStart(j.ID)
	if err != nil || may {
		return nil, err
	}
	u, err := s.UserByName(j.CreatedBy)
	if err != nil {
		return nil, err
	}
	admission, err := s.Admission(s.project, j.Queue)
	if err != nil {
		return nil, err
	}
	w := hostler.Waiting{Reason: hostler.WaitForbidden}
	if !admission.Open(j.Queue, s.project) {
		w.Text = hostler.Textf(
			"the queue %s is no longer granted to the project %s; an admin of the project %s can grant it "+
				"(hostler queue set %[1]s --grant %[2]s); or cancel the job and run it in another queue",
			"队列 %s 已不再授权给项目 %s；项目 %s 的管理员可重新授权（hostler queue set %[1]s --grant %[2]s），"+
				"或取消作业并在其他队列中运行", j.Queue, s.caller.ProjectName, hostler.DefaultProject)
	} else if u != nil && u.Disabled {
		w.Text = hostler.Textf(
			"the user %s, who created it, is disabled; enable the user (hostler user enable %[1]s) or cancel the job",
			"创建该作业的用户 %s 已停用；请启用该用户（hostler user enable %[1]s）或取消作业", j.CreatedBy)
	} else {
		w.Text = hostler.Textf(
			"the user %s, who created it, no longer has a role in the project %s that permits it; "+
				"give the user one (hostler user set %[1]s --role %[2]s=…) or cancel the job",
			"创建该作业的用户 %s 在项目 %s 中已没有允许它的角色；请重新授权（hostler user set %[1]s --role %[2]s=…）或取消作业",
			j.CreatedBy, s.caller.ProjectName)
	}
	return []hostler.Waiting{w}, nil
}

// Can reports whether the caller may run an action, on an asset if one is named, and if
// not, why and who can allow it.
func (a *App) Can(ctx context.Context, c auth.Caller, q hostler.CanQuery) (hostler.Can, error) {
	g, err := a.allow(c, auth.OwnKeys)
	if err != nil {
		return hostler.Can{}, err
	}
	var fields check.Fields
	fields.Line("action", q.Action, 64)
	fields.Given("action", q.Action)
	fields.Line("asset", q.Asset, 253)
	if err := fields.Err(); err != nil {
		return hostler.Can{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Can, error) {
		err := s.canRun(q)
		out := hostler.Can{Allowed: err == nil, Action: q.Action, Asset: q.Asset}
		switch hostler.CodeOf(err) {
		case "":
			out.Reason = hostler.Textf("your role %s permits it", "当前角色 %s 允许此操作", c.RoleNameIn(c.Project))
			return out, nil
		case hostler.CodeForbidden, hostler.CodeNotFound, hostler.CodeInvalid:
			out.Reason = reasonOf(err)
		default:
			return out, err
		}
		if hostler.CodeOf(err) == hostler.CodeForbidden {
			out.AllowedBy, err = s.Admins(s.project, adminsShown)
			return out, err
		}
		return out, nil
	})
}

// adminsShown is how many admins an answer names.
const adminsShown = 10

// reasonOf is the text of an error with the fields at fault.
func reasonOf(err error) hostler.Text {
	item, _ := itemOf(hostler.JobID(0), err)
	if item.Error == nil {
		return hostler.Textf("%v", "%v", err)
	}
	return *item.Error
}

// canRun returns why the caller may not run an action, by the checks of a job request, in
// their order. Credentials that args would name are not known here.
func (s *scope) canRun(q hostler.CanQuery) error {
	if !auth.Allow(s.caller, auth.RunJob, s.project) {
		return refusal(s.caller, auth.RunJob)
	}
	act, ok := s.app.cfg.Actions.Lookup(q.Action)
	switch {
	case !ok:
		return hostler.NotFound(actionKind, check.Key(q.Action))
	case !act.Enabled:
		return hostler.Errorf(hostler.CodeForbidden,
			"the action %s is disabled in the server's configuration", "动作 %s 已在服务器配置中停用", act.Name)
	}
	if err := s.checkRun(act, nil, q.Asset != ""); err != nil {
		return err
	}
	if q.Asset == "" {
		return nil
	}
	row, err := s.asset(q.Asset)
	if err != nil || !act.LogsIn {
		return err
	}
	u := &jobUses{scope: s, logsIn: true, admin: s.may(auth.WriteCredential)}
	if err := u.checkTargets([]store.Target{{ID: row.ID, Name: row.Name, DeviceKey: row.DeviceKey}}); err != nil {
		return err
	}
	if len(u.fields) > 0 {
		return errUse(u.fields)
	}
	return nil
}
