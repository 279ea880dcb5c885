package app

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// Actions lists the actions by name.
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
		return hostler.ActionInfo{}, hostler.NotFound(actionKind, name)
	}
	return act.Info(), nil
}
