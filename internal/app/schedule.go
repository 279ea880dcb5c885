package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/schedule"
	"hostler.dev/hostler/internal/store"
)

// Limits of a schedule.
const (
	defaultGrace = time.Minute
	maxGrace     = 366 * 24 * time.Hour
	maxInstances = 100
	// maxScheduleAssets bounds the row of a schedule; labels select any number of assets.
	maxScheduleAssets = 1000
	defaultFires      = 10
	maxNextFires      = 1000
)

// Schedules lists the schedules of the acting project by name.
func (a *App) Schedules(
	ctx context.Context, c auth.Caller, p hostler.Page,
) (hostler.List[hostler.Schedule], error) {
	g, err := a.allow(c, auth.ReadSchedule)
	if err != nil {
		return hostler.List[hostler.Schedule]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Schedule]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Schedule], error) {
		read := func(after string, n int) ([]hostler.Schedule, error) {
			rows, err := s.Tx.Schedules(s.project, after, n)
			items := make([]hostler.Schedule, len(rows))
			for i := range rows {
				items[i] = rows[i].Schedule
			}
			return items, err
		}
		return readPage(after, limit, read, func(x hostler.Schedule) string { return x.Name },
			func(x hostler.Schedule) int { return len(x.Task.Args) + len(x.Task.Params) })
	})
}

// Schedule reads one schedule by name or id.
func (a *App) Schedule(ctx context.Context, c auth.Caller, ref string) (hostler.Schedule, error) {
	g, err := a.allow(c, auth.ReadSchedule)
	if err != nil {
		return hostler.Schedule{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Schedule, error) {
		row, err := s.findSchedule(s.Tx.Schedule, ref)
		if err != nil {
			return hostler.Schedule{}, err
		}
		return row.Schedule, nil
	})
}

// findSchedule finds a schedule of the acting project by name or id.
func (s *scope) findSchedule(
	find func(hostler.ProjectID, hostler.ScheduleID, string) (*store.ScheduleRow, error), ref string,
) (*store.ScheduleRow, error) {
	if ref == "" || !check.Storable(ref) {
		return nil, hostler.NotFound(scheduleKind, ref)
	}
	id, name := scheduleRef(ref)
	row, err := find(s.project, id, name)
	if err == nil && row == nil {
		err = hostler.NotFound(scheduleKind, ref)
	}
	return row, err
}

// scheduleRef parses a reference: an id, or else a name. No name has the form of an id.
func scheduleRef(ref string) (hostler.ScheduleID, string) {
	var id hostler.ScheduleID
	if id.UnmarshalText([]byte(ref)) == nil {
		return id, ""
	}
	return 0, ref
}

// PutSchedule creates a schedule, or replaces the one of that name. From then on it runs
// with the rights of the caller.
func (a *App) PutSchedule(
	ctx context.Context, c auth.Caller, name string, in hostler.ScheduleInput,
) (hostler.Schedule, error) {
	g, err := a.allow(c, auth.WriteSchedule)
	if err != nil {
		return hostler.Schedule{}, err
	}
	row, err := a.scheduleRow(name, in)
	if err == nil {
		err = a.checkFollowUps(ctx, g, "then", in.Then)
	}
	if err != nil {
		return hostler.Schedule{}, err
	}
	if row.Task.IsFlow() {
		return a.putFlowSchedule(ctx, g, row)
	}
	p, err := a.planSchedule(row.Schedule, hostler.ScheduleRunInput{}, "task.")
	if err != nil {
		return hostler.Schedule{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Schedule, error) {
		row := row
		if err := s.checkScheduled(p); err != nil {
			return hostler.Schedule{}, err
		}
		row.ProjectID, row.OwnerID, row.OwnerKey = s.project, s.caller.UserID, s.caller.Key
		return s.putSchedule(row)
	})
}

func (s *scope) putSchedule(row store.ScheduleRow) (hostler.Schedule, error) {
	if row.Calendar != "" {
		if _, err := s.calendar(row.Calendar); err != nil {
			return hostler.Schedule{}, err
		}
	}
	if err := s.checkAfterCircle(&row.Schedule); err != nil {
		return hostler.Schedule{}, err
	}
	old, err := s.LockSchedule(s.project, 0, row.Name)
	if err != nil {
		return hostler.Schedule{}, err
	}
	if old == nil {
		id, err := s.NewID()
		if err != nil {
			return hostler.Schedule{}, err
		}
		row.ID, row.CreatedAt = hostler.ScheduleID(id), s.Now()
		if err := s.plotSchedule(&row); err != nil {
			return hostler.Schedule{}, err
		}
		if err := errNoFires(&row); err != nil {
			return hostler.Schedule{}, err
		}
		if _, err := s.InsertSchedule(row); err != nil {
			return hostler.Schedule{}, err
		}
		return s.recordSchedule("schedule.create", row.Name)
	}
	row.ID, row.CreatedAt, row.SlowedAt, row.PaceAt = old.ID, old.CreatedAt, old.SlowedAt, old.PaceAt
	if same := sameTrigger(old.Trigger, row.Trigger); same && old.Enabled && row.Enabled {
		row.NextAt, row.LookAt = old.NextAt, old.LookAt // what is due stays due
	} else {
		if err := s.plotSchedule(&row); err != nil {
			return hostler.Schedule{}, err
		}
		if err := errNoFires(&row); err != nil && !same {
			return hostler.Schedule{}, err
		}
	}
	if err := s.UpdateSchedule(row); err != nil {
		return hostler.Schedule{}, err
	}
	return s.recordSchedule("schedule.change", row.Name)
}

// errNoFires refuses a new trigger without a fire to come.
func errNoFires(row *store.ScheduleRow) error {
	switch {
	case !row.NextAt.IsZero():
		return nil
	case row.Trigger.Date != nil:
		return hostler.Invalid("trigger.date", "is in the past: give a later date", "已过去：请给出更晚的时间")
	}
	return hostler.Invalid("trigger.end", "leaves no fire: give a later end", "此前没有任何触发：请给出更晚的时间")
}

func sameTrigger(a, b hostler.Trigger) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// plotSchedule sets the next instant of a schedule: the first one after now that was not
// decided yet, as it may have been if the clock was set back.
func (s *scope) plotSchedule(row *store.ScheduleRow) error {
	times, err := timesOf(row)
	if err != nil {
		return err
	}
	last, err := s.LastInstant(row.ID)
	if err != nil {
		return err
	}
	from := s.Now()
	if last.After(from) {
		from = last
	}
	row.NextAt, row.LookAt = times.After(from), time.Time{}
	if row.Enabled {
		row.LookAt = times.Due(row.ID, row.NextAt)
	}
	return nil
}

// timesOf returns the instants of a schedule.
func timesOf(row *store.ScheduleRow) (*schedule.Times, error) {
	var fields check.Fields
	times := schedule.Parse(&fields, "trigger", row.Trigger, row.CreatedAt)
	return times, fields.Err()
}

// recordSchedule reads what was written and records it in the audit, without args, which
// may hold anything.
func (s *scope) recordSchedule(verb, name string) (hostler.Schedule, error) {
	row, err := s.findSchedule(s.Tx.Schedule, name)
	if err != nil {
		return hostler.Schedule{}, err
	}
	return row.Schedule, s.audit(verb, name, map[string]any{
		"id": row.ID, "trigger": row.Trigger, "action": row.Task.Action, "task": row.Task.Task,
		"template": row.Task.Template, "version": row.Task.Version, "target": row.Task.Target, "queue": row.Queue, "enabled": row.Enabled,
	})
}

// scheduleRow checks the input but for the task, and sets the defaults.
func (a *App) scheduleRow(name string, in hostler.ScheduleInput) (store.ScheduleRow, error) {
	var fields check.Fields
	fields.Name("name", name, 128)
	fields.Require(in.Name == "" || in.Name == name, "name", "must be the name in the path", "须与路径中的名称一致")
	fields.Require(name != "forecast", "name", "must not be forecast, which is a path of the API", "不能为 forecast：它是 API 的路径")
	if id, _ := scheduleRef(name); id != 0 {
		fields.Add("name", "must not have the form of an id", "不能与 ID 的格式相同")
	}
	fields.Line("title", in.Title, 200)
	schedule.Parse(&fields, "trigger", in.Trigger, time.Time{})
	grace := hostler.Duration(defaultGrace)
	if in.MisfireGrace != nil {
		grace = *in.MisfireGrace
	}
	fields.Duration("misfire_grace", grace, maxGrace)
	check.Between(&fields, "max_instances", in.MaxInstances, 0, maxInstances)
	check.OneOf(&fields, "overlap", in.Overlap, "", hostler.OverlapSkip, hostler.OverlapQueue, hostler.OverlapReplace)
	checkScheduleTask(&fields, in)
	if t := in.Task.Target; t != nil {
		fields.Require(len(t.Assets) <= maxScheduleAssets, "task.target.assets",
			"must be at most %d: select more by labels", "最多 %d 个：更多资产请按标签选择", maxScheduleAssets)
	}
	flow.CheckFollowUps(&fields, "then", in.Then)
	for i, u := range in.Then {
		fields.Require(u.Schedule != name, check.Item("then", i)+".schedule", "must be another schedule", "须为另一个计划")
	}
	checkAfter(&fields, name, in.After)
	checkSlowDown(&fields, in.SlowDown)
	row := store.ScheduleRow{Schedule: hostler.Schedule{
		Name: name, Title: in.Title, Trigger: in.Trigger, Task: in.Task, MisfireGrace: grace,
		Coalesce: in.Coalesce == nil || *in.Coalesce, MaxInstances: cmp.Or(in.MaxInstances, 1),
		Overlap: cmp.Or(in.Overlap, hostler.OverlapSkip), Enabled: in.Enabled == nil || *in.Enabled,
		Calendar: in.Calendar, After: in.After, Then: in.Then, SlowDown: in.SlowDown,
		Queue: cmp.Or(in.Queue, hostler.DefaultQueue), Priority: cmp.Or(in.Priority, hostler.PriorityDefault),
	}}
	return row, fields.Err()
}

// planSchedule checks what one run of a schedule does. prefix goes before the names of
// fields of the task.
func (a *App) planSchedule(sch hostler.Schedule, edit hostler.ScheduleRunInput, prefix string) (*plan, error) {
	if len(edit.Params) > 0 || edit.Version != 0 {
		return nil, hostler.Invalid("params", "are those of a task or template: this schedule has args",
			"仅用于任务或模板：此计划使用 args")
	}
	args, err := overlay(sch.Task.Args, edit.Args, "args")
	if err != nil {
		return nil, err
	}
	req := hostler.JobRequest{
		Action: sch.Task.Action, Args: args, Queue: cmp.Or(edit.Queue, sch.Queue), Lane: sch.Task.Lane,
		Priority: cmp.Or(edit.Priority, sch.Priority), MaxAttempts: sch.Task.MaxAttempts, Backoff: sch.Task.Backoff,
		Timeout: sch.Task.Timeout, TTL: sch.Task.TTL, OnLost: sch.Task.OnLost, Then: sch.Then,
	}
	if t := cmp.Or(edit.Target, sch.Task.Target); t != nil {
		setTarget(&req, *t)
	}
	p, err := a.plan(req)
	if err != nil {
		return nil, renameTask(err, prefix)
	}
	p.schedule, p.cause, p.overrideCalendar = sch.Name, causeOf(&sch), edit.OverrideCalendar
	return p, nil
}

// originSchedule goes before the name of the schedule that is the origin of a run.
const originSchedule = "schedule:"

// causeOf is the cause of the runs of a schedule.
func causeOf(sch *hostler.Schedule) cause {
	return cause{calendar: sch.Calendar, origin: originSchedule + sch.Name}
}

// overlay returns args in which the members of edit replace those of the same name.
func overlay(args, edit json.RawMessage, field string) (json.RawMessage, error) {
	if len(edit) == 0 {
		return args, nil
	}
	base, over := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if err := json.Unmarshal(edit, &over); err != nil || over == nil {
		return nil, hostler.Invalid(field, "must be an object", "必须是对象")
	}
	if len(args) > 0 {
		if err := json.Unmarshal(args, &base); err != nil {
			return nil, hostler.Invalid(field, "must be an object", "必须是对象")
		}
	}
	maps.Copy(base, over)
	out, err := json.Marshal(base)
	if err != nil {
		return nil, fmt.Errorf("encode args: %w", err)
	}
	return out, nil
}

// renameTask names the fields of a job request as a schedule does.
func renameTask(err error, prefix string) error {
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok {
		return err
	}
	cp := *e
	cp.Fields = make([]hostler.FieldError, len(e.Fields))
	for i, f := range e.Fields {
		switch field, _, _ := strings.Cut(strings.TrimSuffix(f.Path, "]"), "."); {
		case strings.HasPrefix(field, "assets"), strings.HasPrefix(field, "labels"), field == "selector",
			strings.HasPrefix(field, "exclude"), field == "from_run":
			f.Path = prefix + "target." + f.Path
		case field != "queue" && field != "priority":
			f.Path = prefix + f.Path
		}
		cp.Fields[i] = f
	}
	return &cp
}

// checkScheduled checks what a schedule will do like a run by the caller: its right, its
// assets, and the credentials that it uses there, which an admin allows by this. Labels
// may select nothing yet.
func (s *scope) checkScheduled(p *plan) error {
	if err := s.checkRun(p.act, p.spec.Args, p.onAssets); err != nil {
		return err
	}
	if !p.onAssets {
		return s.checkUses(p.act, p.spec.Args, []store.Target{{}}, nil)
	}
	targets, err := s.findHosts(&p.hosts)
	if err != nil || len(targets) == 0 {
		return err
	}
	return s.checkUses(p.act, p.spec.Args, targets, nil)
}

// changeSchedule changes a schedule in one transaction.
func (a *App) changeSchedule(
	ctx context.Context, c auth.Caller, ref, verb string, fn func(s *scope, row *store.ScheduleRow) error,
) (hostler.Schedule, error) {
	g, err := a.allow(c, auth.WriteSchedule)
	if err != nil {
		return hostler.Schedule{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Schedule, error) {
		row, err := s.findSchedule(s.LockSchedule, ref)
		if err != nil {
			return hostler.Schedule{}, err
		}
		if err := fn(s, row); err != nil {
			return hostler.Schedule{}, err
		}
		if err := s.UpdateSchedule(*row); err != nil {
			return hostler.Schedule{}, err
		}
		return s.recordSchedule(verb, row.Name)
	})
}

// PauseSchedule stops the timer of a schedule. Its runs continue, and fires that wait for
// them are kept.
func (a *App) PauseSchedule(ctx context.Context, c auth.Caller, ref string) (hostler.Schedule, error) {
	return a.changeSchedule(ctx, c, ref, "schedule.pause", func(_ *scope, row *store.ScheduleRow) error {
		row.Enabled, row.LookAt = false, time.Time{}
		return nil
	})
}

// ResumeSchedule starts the timer of a schedule again: what it would have fired meanwhile
// is not made up for.
func (a *App) ResumeSchedule(ctx context.Context, c auth.Caller, ref string) (hostler.Schedule, error) {
	return a.changeSchedule(ctx, c, ref, "schedule.resume", func(s *scope, row *store.ScheduleRow) error {
		if row.Enabled {
			return nil
		}
		row.Enabled = true
		if err := s.plotSchedule(row); err != nil {
			return err
		}
		_, queued, err := s.ActiveFires(row.ID)
		if queued > 0 {
			row.LookAt = s.Now()
		}
		return err
	})
}

// DeleteSchedule deletes a schedule. Its runs continue.
func (a *App) DeleteSchedule(ctx context.Context, c auth.Caller, ref string) error {
	g, err := a.allow(c, auth.WriteSchedule)
	if err != nil {
		return err
	}
	_, err = change(ctx, g, func(s *scope) (struct{}, error) {
		row, err := s.findSchedule(s.LockSchedule, ref)
		if err != nil {
			return struct{}{}, err
		}
		if err := s.Tx.DeleteSchedule(row.ID); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.audit("schedule.delete", row.Name, map[string]any{"id": row.ID})
	})
	return err
}

// NextFires returns coming instants of a trigger that is not saved.
func (a *App) NextFires(_ context.Context, c auth.Caller, req hostler.NextRequest) (hostler.NextFires, error) {
	if _, err := a.allow(c, auth.ReadSchedule); err != nil {
		return hostler.NextFires{}, err
	}
	now := a.store.Now()
	var fields check.Fields
	times := schedule.Parse(&fields, "trigger", req.Trigger, now)
	return nextFires(&fields, times, now, req.After, req.Count)
}

func nextFires(
	fields *check.Fields, times *schedule.Times, now time.Time, after *time.Time, n int,
) (hostler.NextFires, error) {
	check.Between(fields, "count", n, 0, maxNextFires)
	fields.Time("after", after)
	if err := fields.Err(); err != nil {
		return hostler.NextFires{}, err
	}
	if after != nil {
		now = *after
	}
	return hostler.NextFires{
		Zone: times.Zone().String(), Fires: times.Next(now, cmp.Or(n, defaultFires)),
	}, nil
}

// NextFiresQuery asks for coming instants of a schedule.
type NextFiresQuery struct {
	Schedule string
	After    *time.Time
	Count    int
}

// NextFiresOf returns coming instants of a schedule; of a paused one, as if it was not.
func (a *App) NextFiresOf(ctx context.Context, c auth.Caller, q NextFiresQuery) (hostler.NextFires, error) {
	g, err := a.allow(c, auth.ReadSchedule)
	if err != nil {
		return hostler.NextFires{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.NextFires, error) {
		row, err := s.findSchedule(s.Tx.Schedule, q.Schedule)
		if err != nil {
			return hostler.NextFires{}, err
		}
		times, err := timesOf(row)
		if err != nil {
			return hostler.NextFires{}, err
		}
		var fields check.Fields
		return nextFires(&fields, times, s.Now(), q.After, q.Count)
	})
}

// Fires lists the fires of a schedule, newest first.
func (a *App) Fires(
	ctx context.Context, c auth.Caller, ref string, p hostler.Page,
) (hostler.List[hostler.Fire], error) {
	g, err := a.allow(c, auth.ReadSchedule)
	if err != nil {
		return hostler.List[hostler.Fire]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Fire]{}, err
	}
	var before hostler.FireID
	if before.UnmarshalText([]byte(after)) != nil {
		return hostler.List[hostler.Fire]{}, errCursor()
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Fire], error) {
		row, err := s.findSchedule(s.Tx.Schedule, ref)
		if err != nil {
			return hostler.List[hostler.Fire]{}, err
		}
		rows, err := s.Tx.Fires(row.ID, before, limit+1)
		items := make([]hostler.Fire, len(rows))
		for i := range rows {
			items[i] = rows[i].Fire
		}
		return cut(items, limit, func(f hostler.Fire) string { return f.ID.String() }), err
	})
}
