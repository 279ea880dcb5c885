package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// Holds lists what holds jobs of the acting project: the hold of all of them, and the
// assets and labels in maintenance.
func (a *App) Holds(ctx context.Context, c auth.Caller) ([]hostler.Hold, error) {
	g, err := a.allow(c, auth.ReadHold)
	if err != nil {
		return nil, err
	}
	return list(ctx, g, (*scope).holds)
}

func (s *scope) holds() ([]hostler.Hold, error) {
	rows, waiting, err := s.Tx.Holds(s.project)
	out := make([]hostler.Hold, len(rows))
	for i := range rows {
		if out[i], err = holdOf(&rows[i]); err != nil {
			return nil, err
		}
		out[i].Waiting = waiting[i]
	}
	return out, err
}

func holdOf(h *store.HoldRow) (hostler.Hold, error) {
	out := hostler.Hold{
		ID: h.ID, Asset: h.AssetName, Mode: h.Mode, Reason: h.Reason, By: h.CreatedBy, Since: h.CreatedAt,
		Until: timeOrNil(h.Until), Ended: h.Ended,
	}
	if h.Labels == "" {
		return out, nil
	}
	into := any(&out.Labels)
	if strings.HasPrefix(h.Labels, `"`) {
		into = &out.Select
	}
	if err := json.Unmarshal([]byte(h.Labels), into); err != nil {
		return out, fmt.Errorf("decode the labels of a hold: %w", err)
	}
	return out, nil
}

// CreateHold puts an asset, or all assets with some labels, into maintenance, or holds the
// dispatch of the whole project, which requires an admin of it. It replaces the hold of the
// same asset, labels or project.
func (a *App) CreateHold(ctx context.Context, c auth.Caller, in hostler.HoldInput) (hostler.Hold, error) {
	g, err := a.allow(c, auth.WriteHold)
	if err != nil {
		return hostler.Hold{}, err
	}
	var fields check.Fields
	fields.Require(in.Asset == "" || !in.ByLabels(), "labels", "give either asset or labels", "请指定 asset 或 labels 之一")
	fields.Require(in.Select == "" || len(in.Labels) == 0, "selector", "give either labels or selector",
		"请指定 labels 或 selector 之一")
	checkLabels(&fields, in.Labels)
	checkSelector(&fields, "selector", in.Select)
	if in.Mode == "" {
		in.Mode = hostler.HoldWait
	}
	check.OneOf(&fields, "mode", in.Mode, hostler.HoldWait, hostler.HoldRefuse)
	fields.Given("reason", in.Reason)
	checkTerms(&fields, in.HoldTerms)
	if err := fields.Err(); err != nil {
		return hostler.Hold{}, err
	}
	if err := g.mayHold(in.Asset != "" || in.ByLabels()); err != nil {
		return hostler.Hold{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Hold, error) { return s.createHold(in) })
}

// mayHold refuses callers who may not hold the whole project.
func (g grant) mayHold(part bool) error {
	if part || g.may(auth.HoldProject) {
		return nil
	}
	return refusal(g.caller, auth.HoldProject)
}

// checkTerms checks what no clock is needed for.
func checkTerms(fields *check.Fields, t hostler.HoldTerms) {
	fields.Text("reason", t.Reason, 500)
	fields.Time("until", t.Until)
	fields.Require(t.Until == nil || t.For == 0, "for", "give either until or for", "请指定 until 或 for 之一")
	fields.Require(t.For >= 0, "for", "must not be negative", "不能为负")
}

// until returns when a hold ends, by the clock of the database; zero: never.
func (s *scope) until(t hostler.HoldTerms) (time.Time, error) {
	switch {
	case t.For > 0:
		return s.Now().Add(t.For.D()), nil
	case t.Until == nil:
		return time.Time{}, nil
	case !t.Until.After(s.Now()):
		return time.Time{}, hostler.Invalid("until", "is in the past", "已是过去的时间")
	}
	return *t.Until, nil
}

func (s *scope) createHold(in hostler.HoldInput) (hostler.Hold, error) {
	row := store.HoldRow{
		Project: s.project, Selector: store.ProjectSelector, Mode: in.Mode, Reason: in.Reason, CreatedBy: s.caller.User,
	}
	var err error
	if row.Until, err = s.until(in.HoldTerms); err != nil {
		return hostler.Hold{}, err
	}
	switch {
	case in.Asset != "":
		asset, err := s.asset(in.Asset)
		if err != nil {
			return hostler.Hold{}, err
		}
		row.Asset, row.AssetName, row.Selector = asset.ID, asset.Name, "asset:"+asset.ID.String()
	case in.ByLabels():
		labels := any(in.Labels) // in the order of the keys
		if in.Select != "" {
			labels = in.Select
		}
		b, err := json.Marshal(labels)
		if err != nil {
			return hostler.Hold{}, fmt.Errorf("encode labels: %w", err)
		}
		row.Labels, row.Selector = string(b), "labels:"+string(b)
	}
	saved, err := s.PutHold(row)
	if err != nil {
		return hostler.Hold{}, err
	}
	out, err := holdOf(saved)
	if err != nil {
		return out, err
	}
	return out, s.audit("hold.set", saved.Object(), out)
}

// EndHold ends a hold: what waited for it is queued.
func (a *App) EndHold(ctx context.Context, c auth.Caller, id hostler.HoldID) error {
	g, err := a.allow(c, auth.WriteHold)
	if err != nil {
		return err
	}
	_, err = change(ctx, g, func(s *scope) (struct{}, error) {
		row, err := s.HoldByID(s.project, id)
		if err == nil && (row == nil || row.Ended) {
			err = hostler.NotFound(holdKind, id.String())
		}
		if err != nil {
			return struct{}{}, err
		}
		if err := s.mayHold(row.Selector != store.ProjectSelector); err != nil {
			return struct{}{}, err
		}
		if err := s.Tx.EndHold(id); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.audit("hold.end", row.Object(), map[string]any{"id": id})
	})
	return err
}
