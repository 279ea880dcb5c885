package app

import (
	"context"
	"encoding/json"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/auth"
)

// Actions lists the kinds of work, by name.
func (a *App) Actions(_ context.Context, c auth.Caller) ([]hostler.ActionInfo, error) {
	if _, err := a.allow(c, auth.ReadAction); err != nil {
		return nil, err
	}
	all := a.cfg.Actions.List()
	out := make([]hostler.ActionInfo, len(all))
	for i, act := range all {
		out[i] = act.Info()
	}
	return out, nil
}

// Action describes one action, by its name or an alias.
func (a *App) Action(_ context.Context, c auth.Caller, name string) (hostler.ActionInfo, error) {
	if _, err := a.allow(c, auth.ReadAction); err != nil {
		return hostler.ActionInfo{}, err
	}
	act, ok := a.cfg.Actions.Lookup(name)
	if !ok {
		return hostler.ActionInfo{}, hostler.NotFound(actionWord, name)
	}
	return act.Info(), nil
}

// runnable finds an action that a job may be made of, and checks its args.
func (a *App) runnable(name string, args json.RawMessage) (*action.Action, error) {
	act, ok := a.cfg.Actions.Lookup(name)
	switch {
	case !ok:
		return nil, hostler.Invalid("action", "there is no such action; see: hostler action list", "没有此动作；请查看：hostler action list")
	case !act.Enabled:
		return nil, hostler.Invalid("action", "is switched off in the server's configuration", "已在服务器配置中停用")
	}
	if fields := a.cfg.Actions.Problems(act, args); len(fields) > 0 {
		return nil, hostler.InvalidFields(fields...)
	}
	return act, nil
}
