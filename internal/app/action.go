package app

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

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
		out[i] = describe(act)
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
	return describe(act), nil
}

func describe(act *action.Action) hostler.ActionInfo {
	traits := act.Traits(json.RawMessage(`{}`))
	info := hostler.ActionInfo{
		Name: act.Name, Aliases: slices.Clone(act.Aliases), Title: act.Title, Help: act.Help,
		NeedsAsset: act.Asset == action.AssetRequired, Idempotent: traits.Idempotent,
		Lane: hostler.LaneNone, Enabled: act.Enabled, Schema: act.Schema,
	}
	if traits.Changes && act.Asset != action.AssetNever {
		info.Lane = hostler.LaneAsset
	}
	return info
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
	if fields := a.cfg.Actions.Validate(act, args); len(fields) > 0 {
		return nil, hostler.InvalidFields(fields...)
	}
	return act, nil
}

// fieldsOf adds the fields of an error, so that one answer names them all.
func (k *checker) fieldsOf(err error) {
	var e *hostler.Error
	if errors.As(err, &e) {
		k.fields = append(k.fields, e.Fields...)
	}
}
