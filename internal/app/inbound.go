package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/inbound"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

// This file manages inbound triggers; inbound_receive.go receives their requests.

const (
	maxInbound        = 100 // of a project
	defaultInbound    = 60  // requests per minute
	maxInboundParams  = 64 << 10
	maxInboundOverlap = 30 * 24 * time.Hour
	// InboundPath is before the secret part of the URL of a trigger.
	InboundPath = "/trigger/"
)

// Inbounds lists the inbound triggers of the acting project.
func (a *App) Inbounds(ctx context.Context, c auth.Caller, p hostler.Page) (hostler.List[hostler.Inbound], error) {
	g, err := a.allow(c, auth.ReadSchedule)
	if err != nil {
		return hostler.List[hostler.Inbound]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Inbound]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Inbound], error) {
		rows, err := s.Tx.Inbounds(s.project, after, limit+1)
		items := make([]hostler.Inbound, len(rows))
		for i := range rows {
			items[i] = s.inboundOf(&rows[i])
		}
		return cut(items, limit, func(i hostler.Inbound) string { return i.Name }), err
	})
}

// Inbound reads one inbound trigger.
func (a *App) Inbound(ctx context.Context, c auth.Caller, name string) (hostler.Inbound, error) {
	g, err := a.allow(c, auth.ReadSchedule)
	if err != nil {
		return hostler.Inbound{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Inbound, error) {
		row, err := s.findInbound(s.Tx.Inbound, name)
		if err != nil {
			return hostler.Inbound{}, err
		}
		return s.inboundOf(row), nil
	})
}

func (s *scope) findInbound(
	find func(hostler.ProjectID, string) (*store.InboundRow, error), name string,
) (*store.InboundRow, error) {
	row, err := find(s.project, name)
	if err == nil && row == nil {
		err = hostler.NotFound(inboundKind, check.Key(name))
	}
	return row, err
}

func (s *scope) inboundOf(r *store.InboundRow) hostler.Inbound {
	out := hostler.Inbound{
		InboundInput: r.Input, Project: s.caller.ProjectName, Enabled: r.Enabled, Owner: r.OwnerName,
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	if s.Now().Before(r.OldUntil) {
		out.OldSecret = &r.OldUntil
	}
	return out
}

// inboundSecrets are the secrets of a trigger, as they are sealed.
type inboundSecrets struct {
	Current string `json:"s"`
	Old     string `json:"o,omitempty"`
}

// String hides the content.
func (inboundSecrets) String() string { return "(secret)" }

// GoString hides the content from %#v.
func (inboundSecrets) GoString() string { return "(secret)" }

// CreateInbound creates an inbound trigger of a task, which the caller must be allowed to
// run. Its URL and its secret are in the answer and can not be read again.
func (a *App) CreateInbound(ctx context.Context, c auth.Caller, in hostler.InboundInput) (hostler.InboundSecret, error) {
	g, err := a.allow(c, auth.WriteSchedule)
	if err != nil {
		return hostler.InboundSecret{}, err
	}
	if err := checkInbound(in); err != nil {
		return hostler.InboundSecret{}, err
	}
	in.Rate = cmp.Or(in.Rate, defaultInbound)
	token, hash := inbound.NewToken()
	sec := inboundSecrets{Current: inbound.NewSecret(in.Kind)}
	return change(ctx, g, func(s *scope) (hostler.InboundSecret, error) {
		if err := s.LockProject(s.project); err != nil {
			return hostler.InboundSecret{}, err
		}
		if n, err := s.CountInbound(s.project); err != nil || n >= maxInbound {
			return hostler.InboundSecret{}, cmp.Or(err, error(hostler.Errorf(hostler.CodeConflict,
				"the project has %d triggers, which is the most; delete one first", "项目已有 %d 个触发器，达到上限；请先删除", maxInbound)))
		}
		if _, err := s.task(in.Task); err != nil {
			return hostler.InboundSecret{}, err
		}
		row := store.InboundRow{
			Project: s.project, Input: in, Enabled: true, Token: hash, Owner: s.caller.UserID, OwnerKey: s.caller.Key,
		}
		if err := s.InsertInbound(row, func(id int64) ([]byte, error) {
			return a.cfg.Box.SealJSON(secret.InboundOwner(s.project, id), sec)
		}); err != nil {
			return hostler.InboundSecret{}, err
		}
		made, err := s.findInbound(s.Tx.Inbound, in.Name)
		if err != nil {
			return hostler.InboundSecret{}, err
		}
		out := hostler.InboundSecret{Trigger: s.inboundOf(made), Path: InboundPath + token, Secret: sec.Current}
		if a.cfg.PublicURL != "" {
			out.URL = a.cfg.PublicURL + out.Path
		}
		return out, s.audit("inbound.create", in.Name, in)
	})
}

// checkInbound reports every field at fault.
func checkInbound(in hostler.InboundInput) error {
	var fields check.Fields
	fields.Name("name", in.Name, 64)
	fields.Line("title", in.Title, 200)
	check.OneOf(&fields, "kind", in.Kind, hostler.InboundKinds()...)
	fields.Given("task", in.Task)
	check.Between(&fields, "rate", in.Rate, 0, 600)
	fields.Require(len(in.Params) <= maxInboundParams, "params", "must be at most 64 KiB", "最多 64 KiB")
	values := map[string]json.RawMessage{}
	if len(in.Params) > 0 {
		values["params"] = in.Params
		fields.Require(strings.HasPrefix(strings.TrimSpace(string(in.Params)), "{"), "params", "must be an object", "须为对象")
	}
	if in.Targets != nil {
		fields.Require(in.Targets.FromRun == nil, "targets.from_run", "is not available for triggers", "不适用于触发器")
		fields.Require(!strings.Contains(in.Targets.Selector, "${{"), "targets.selector",
			"must have no look-ups: name assets or labels", "不能含取值：请使用 assets 或 labels")
		b, err := json.Marshal(in.Targets)
		if err != nil {
			return fmt.Errorf("encode targets: %w", err)
		}
		values["targets"] = b
	}
	flow.CheckRequest(&fields, inbound.Roots, in.When, values)
	return fields.Err()
}

// changeInbound changes an inbound trigger.
func (a *App) changeInbound(
	ctx context.Context, c auth.Caller, name, verb string, fn func(s *scope, row *store.InboundRow) error,
) (hostler.Inbound, error) {
	g, err := a.allow(c, auth.WriteSchedule)
	if err != nil {
		return hostler.Inbound{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Inbound, error) {
		row, err := s.findInbound(s.LockInbound, name)
		if err != nil {
			return hostler.Inbound{}, err
		}
		if err := fn(s, row); err != nil {
			return hostler.Inbound{}, err
		}
		if err := s.UpdateInbound(*row); err != nil {
			return hostler.Inbound{}, err
		}
		row.UpdatedAt = s.Now()
		return s.inboundOf(row), s.audit(verb, name, nil)
	})
}

// PauseInbound lets an inbound trigger refuse all requests.
func (a *App) PauseInbound(ctx context.Context, c auth.Caller, name string) (hostler.Inbound, error) {
	return a.changeInbound(ctx, c, name, "inbound.pause", enableInbound(false))
}

// ResumeInbound lets a paused inbound trigger accept requests again.
func (a *App) ResumeInbound(ctx context.Context, c auth.Caller, name string) (hostler.Inbound, error) {
	return a.changeInbound(ctx, c, name, "inbound.resume", enableInbound(true))
}

func enableInbound(enabled bool) func(*scope, *store.InboundRow) error {
	return func(_ *scope, row *store.InboundRow) error {
		row.Enabled = enabled
		return nil
	}
}

// RotateInbound replaces the secret of an inbound trigger, whose owner the caller becomes; its
// URL stays. The old secret is accepted too until the overlap has ended.
func (a *App) RotateInbound(
	ctx context.Context, c auth.Caller, name string, in hostler.InboundRotation,
) (hostler.InboundSecret, error) {
	var out hostler.InboundSecret
	t, err := a.changeInbound(ctx, c, name, "inbound.rotate", func(s *scope, row *store.InboundRow) error {
		overlap := time.Duration(0)
		if in.Overlap != nil {
			overlap = in.Overlap.D()
		}
		var fields check.Fields
		check.Between(&fields, "overlap", overlap, 0, maxInboundOverlap)
		if err := fields.Err(); err != nil {
			return err
		}
		var sec inboundSecrets
		owner := secret.InboundOwner(row.Project, row.ID)
		if overlap > 0 {
			if err := a.cfg.Box.OpenJSON(owner, row.Sealed, &sec); err != nil {
				return errInboundSealed(err)
			}
			sec.Old, row.OldUntil = sec.Current, s.Now().Add(overlap)
		} else {
			row.OldUntil = time.Time{}
		}
		sec.Current = inbound.NewSecret(row.Input.Kind)
		// Whoever knows the secret can run the task: with rights of its own, and no others'.
		row.Owner, row.OwnerKey, row.OwnerName = s.caller.UserID, s.caller.Key, s.caller.User
		sealed, err := a.cfg.Box.SealJSON(owner, sec)
		row.Sealed, out.Secret = sealed, sec.Current
		return err
	})
	if err != nil {
		return hostler.InboundSecret{}, err
	}
	out.Trigger = t
	return out, nil
}

func errInboundSealed(cause error) error {
	e := hostler.Errorf(hostler.CodeConflict,
		"the secret of the trigger cannot be opened: the master key is not the one that it was sealed with, or the row in "+
			"the database was altered or moved; rotate it without an overlap",
		"无法解开该触发器的密钥：主密钥与加密时不同，或数据库中的该行被修改或移动；请不设重叠期重新轮换")
	e.Cause = cause
	return e
}

// DeleteInbound deletes an inbound trigger with its log.
func (a *App) DeleteInbound(ctx context.Context, c auth.Caller, name string) error {
	g, err := a.allow(c, auth.WriteSchedule)
	if err != nil {
		return err
	}
	_, err = change(ctx, g, func(s *scope) (none struct{}, err error) {
		row, err := s.findInbound(s.LockInbound, name)
		if err != nil {
			return none, err
		}
		if err := s.Tx.DeleteInbound(row.ID); err != nil {
			return none, err
		}
		return none, s.audit("inbound.delete", name, nil)
	})
	return err
}

// InboundCalls lists the requests to an inbound trigger, newest first.
func (a *App) InboundCalls(
	ctx context.Context, c auth.Caller, name string, p hostler.Page,
) (hostler.List[hostler.InboundCall], error) {
	g, err := a.allow(c, auth.ReadSchedule)
	if err != nil {
		return hostler.List[hostler.InboundCall]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.InboundCall]{}, err
	}
	before := int64(1<<63 - 1)
	if after != "" {
		if before, err = strconv.ParseInt(after, 10, 64); err != nil {
			return hostler.List[hostler.InboundCall]{}, errCursor()
		}
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.InboundCall], error) {
		l := hostler.List[hostler.InboundCall]{Items: []hostler.InboundCall{}}
		row, err := s.findInbound(s.Tx.Inbound, name)
		if err != nil {
			return l, err
		}
		rows, err := s.Tx.InboundCalls(row.ID, before, limit+1)
		for i := range rows[:min(len(rows), limit)] {
			l.Items = append(l.Items, rows[i].InboundCall)
		}
		if len(rows) > limit {
			l.Next = cursor(strconv.FormatInt(rows[limit-1].ID, 10))
		}
		return l, err
	})
}
