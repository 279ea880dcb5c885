package app

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
)

// Apply publishes templates and tasks: all of the documents, or none. A document that is
// stored already changes nothing.
func (a *App) Apply(ctx context.Context, c auth.Caller, in hostler.ApplyInput) ([]hostler.Applied, error) {
	g, err := a.allow(c, auth.WriteTemplate)
	if err != nil {
		return nil, err
	}
	docs, err := flow.Parse([]byte(in.Documents))
	if err != nil {
		return nil, err
	}
	var fields check.Fields
	for _, d := range docs {
		if d.Template != nil {
			for _, fault := range d.Locate(a.checkActions(d.Template)) {
				fields.AddFault(fault)
			}
		}
	}
	if err := fields.Err(); err != nil {
		return nil, err
	}
	run := change[[]hostler.Applied]
	if in.DryRun {
		run = view[[]hostler.Applied]
	}
	return run(ctx, g, func(s *scope) ([]hostler.Applied, error) {
		s.planning = in.DryRun
		s.unchanged()
		out := make([]hostler.Applied, 0, len(docs))
		for _, d := range docs {
			applied, err := s.applyDocument(d, out)
			if err != nil {
				return nil, err
			}
			out = append(out, applied)
		}
		return out, nil
	})
}

// checkActions checks the actions of a template, and their args as far as they are known
// without parameters.
func (a *App) checkActions(t *hostler.Template) []hostler.FieldError {
	var f check.Fields
	for i := range t.Steps {
		s, path := &t.Steps[i], check.Item("steps", i)
		if s.Action != "" {
			a.checkStepAction(&f, path, s.Action, s.Args)
		}
		if s.Verify != nil {
			a.checkStepAction(&f, path+".verify", s.Verify.Action, s.Verify.Args)
		}
		if s.Rollout != nil && s.Rollout.Gate != nil {
			a.checkStepAction(&f, path+".rollout.gate", s.Rollout.Gate.Action, s.Rollout.Gate.Args)
		}
	}
	return f.Faults()
}

func (a *App) checkStepAction(f *check.Fields, path, name string, args json.RawMessage) {
	act, ok := a.cfg.Actions.Lookup(name)
	if !ok || !act.Enabled {
		f.Add(path+".action", "is not an action that this server runs; see: hostler action list",
			"不是本服务器可用的动作；请查看：hostler action list")
		return
	}
	looked := flow.LookupsIn(args, "args")
	for _, place := range looked {
		f.Require(!act.ReadsAsCode(place), path+"."+place,
			"must not look up values: a shell reads it; pass them as env, argv or stdin",
			"不得取值：此处由 shell 解释；请通过 env、参数或 stdin 传入")
	}
	for _, place := range flow.OutputPaths(args, "args") {
		f.Require(!strings.HasSuffix(place, ".$secret"), path+"."+place,
			"must not look up outputs: a credential is named when the run starts", "不能引用步骤输出：凭据须在运行开始时确定")
	}
	for _, fault := range a.cfg.Actions.Problems(act, args) {
		if !slices.Contains(looked, fault.Path) {
			f.Nest(path+".", fault)
		}
	}
}

// checkReferences checks the channels and templates that a template names.
func (s *scope) checkReferences(t *hostler.Template, done []hostler.Applied) ([]hostler.FieldError, error) {
	var f check.Fields
	for i := range t.Steps {
		step, path := &t.Steps[i], check.Item("steps", i)
		if n := step.Notify; n != nil && n.Channel != "" {
			_, err := s.channel(s.Tx.Channel, n.Channel)
			if err != nil && hostler.CodeOf(err) != hostler.CodeNotFound {
				return nil, err
			}
			f.Require(err == nil, path+".notify.channel", "there is no such channel; create it first: hostler channel add",
				"没有此通道；请先创建：hostler channel add")
		}
		if n := step.Flow; n != nil {
			published := slices.ContainsFunc(done, func(a hostler.Applied) bool {
				return a.Kind == "Template" && a.Name == n.Template
			})
			sub, err := s.Tx.Template(s.project, n.Template, n.Version)
			if err != nil {
				return nil, err
			}
			f.Require(sub != nil || published && s.planning, path+".flow.template",
				"there is no such template, or not this version of it; documents above it may create it", "没有此模板或此版本；可在其上方的文档中创建")
		}
	}
	return f.Faults(), nil
}

// applyDocument publishes one document; done are those before it.
func (s *scope) applyDocument(d *flow.Document, done []hostler.Applied) (hostler.Applied, error) {
	switch {
	case d.Template != nil:
		return s.applyTemplate(d, done)
	case d.Alert != nil:
		return s.applyAlertRule(d)
	}
	return s.applyTask(d, done)
}

func (s *scope) applyTemplate(d *flow.Document, done []hostler.Applied) (hostler.Applied, error) {
	out := hostler.Applied{Kind: "Template", Name: d.Name(), Result: "created", Version: 1}
	faults, err := s.checkReferences(d.Template, done)
	if err == nil && len(faults) > 0 {
		err = hostler.InvalidFields(d.Locate(faults)...)
	}
	if err != nil {
		return out, err
	}
	spec, err := flow.Canonical(d.Template)
	if err != nil {
		return out, fmt.Errorf("encode a template: %w", err)
	}
	was, err := s.Tx.Template(s.project, out.Name, 0)
	if err != nil {
		return out, err
	}
	if was != nil {
		out.Result, out.Version = "changed", was.Version+1
		if was.Spec == string(spec) && was.RetiredAt.IsZero() {
			out.Result, out.Version = "unchanged", was.Version
		}
	}
	if s.planning || out.Result == "unchanged" {
		return out, nil
	}
	if out.Version, err = s.PublishTemplate(s.project, out.Name, d.Source, string(spec), s.caller.User); err != nil {
		return out, err
	}
	return out, s.audit("template.publish", out.Name, map[string]any{"version": out.Version})
}

func (s *scope) applyTask(d *flow.Document, done []hostler.Applied) (hostler.Applied, error) {
	out := hostler.Applied{Kind: "Task", Name: d.Name(), Result: "created"}
	spec, err := flow.Canonical(d.Task)
	if err != nil {
		return out, fmt.Errorf("encode a task: %w", err)
	}
	published := slices.ContainsFunc(done, func(a hostler.Applied) bool {
		return a.Kind == "Template" && a.Name == d.Task.Template
	})
	if !s.planning || !published {
		t, err := s.Tx.Template(s.project, d.Task.Template, d.Task.Version)
		if err != nil {
			return out, err
		}
		if t == nil {
			faults := d.Locate([]hostler.FieldError{{Path: "template", Text: hostler.Text{
				EN: "there is no such template, or not this version of it", ZH: "没有此模板或此版本",
			}}})
			return out, hostler.InvalidFields(faults...)
		}
	}
	was, err := s.Tx.Task(s.project, out.Name)
	if err != nil {
		return out, err
	}
	if was != nil {
		out.Result = "changed"
		if was.Spec == string(spec) {
			out.Result = "unchanged"
		}
	}
	if s.planning || out.Result == "unchanged" {
		return out, nil
	}
	err = s.PutTask(store.TaskRow{
		Project: s.project, Name: out.Name, Source: d.Source, Spec: string(spec), CreatedBy: s.caller.User,
	})
	if err != nil {
		return out, err
	}
	return out, s.audit("task.apply", out.Name, map[string]any{"template": d.Task.Template})
}

// versionOf is a version of a template as people see it.
func versionOf(r store.TemplateRow, whole bool) (hostler.TemplateVersion, error) {
	out := hostler.TemplateVersion{
		Name: r.Name, Version: r.Version, Latest: r.Version == r.Latest, CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt,
		RetiredAt: timeOrNil(r.RetiredAt),
	}
	var spec hostler.Template
	if err := json.Unmarshal([]byte(r.Spec), &spec); err != nil {
		return out, fmt.Errorf("decode a template: %w", err)
	}
	if out.Title = spec.Title; whole {
		out.Source, out.Spec = r.Source, &spec
	}
	return out, nil
}

func versionsOf(rows []store.TemplateRow) ([]hostler.TemplateVersion, error) {
	out := make([]hostler.TemplateVersion, len(rows))
	for i, r := range rows {
		var err error
		if out[i], err = versionOf(r, false); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Templates lists the latest version of each template, by name.
func (a *App) Templates(
	ctx context.Context, c auth.Caller, p hostler.Page,
) (hostler.List[hostler.TemplateVersion], error) {
	return a.listTemplates(ctx, c, p, func(s *scope, after string, limit int) ([]store.TemplateRow, error) {
		return s.Tx.Templates(s.project, after, limit)
	}, func(v hostler.TemplateVersion) string { return v.Name })
}

// TemplateVersions lists the versions of a template, the newest first.
func (a *App) TemplateVersions(
	ctx context.Context, c auth.Caller, name string, p hostler.Page,
) (hostler.List[hostler.TemplateVersion], error) {
	return a.listTemplates(ctx, c, p, func(s *scope, after string, limit int) ([]store.TemplateRow, error) {
		below := math.MaxInt32
		if after != "" {
			n, err := strconv.Atoi(after)
			if err != nil {
				return nil, errCursor()
			}
			below = n
		}
		rows, err := s.Tx.TemplateVersions(s.project, name, below, limit)
		if err == nil && len(rows) == 0 && after == "" {
			err = hostler.NotFound(templateKind, name)
		}
		return rows, err
	}, func(v hostler.TemplateVersion) string { return strconv.Itoa(v.Version) })
}

func (a *App) listTemplates(
	ctx context.Context, c auth.Caller, p hostler.Page,
	read func(s *scope, after string, limit int) ([]store.TemplateRow, error), key func(hostler.TemplateVersion) string,
) (hostler.List[hostler.TemplateVersion], error) {
	g, err := a.allow(c, auth.ReadTemplate)
	if err != nil {
		return hostler.List[hostler.TemplateVersion]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.TemplateVersion]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.TemplateVersion], error) {
		return readPage(after, limit, func(after string, n int) ([]hostler.TemplateVersion, error) {
			rows, err := read(s, after, n)
			if err != nil {
				return nil, err
			}
			return versionsOf(rows)
		}, key, func(hostler.TemplateVersion) int { return 256 })
	})
}

// Template reads a version of a template; 0 is the latest.
func (a *App) Template(
	ctx context.Context, c auth.Caller, name string, version int,
) (hostler.TemplateVersion, error) {
	g, err := a.allow(c, auth.ReadTemplate)
	if err != nil {
		return hostler.TemplateVersion{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.TemplateVersion, error) {
		row, err := s.template(name, version)
		if err != nil {
			return hostler.TemplateVersion{}, err
		}
		return versionOf(*row, true)
	})
}

// template finds a version of a template of the acting project.
func (s *scope) template(name string, version int) (*store.TemplateRow, error) {
	row, err := s.Tx.Template(s.project, name, version)
	if err == nil && row == nil {
		if version != 0 {
			name += " " + strconv.Itoa(version)
		}
		err = hostler.NotFound(templateKind, name)
	}
	return row, err
}

// RestoreTemplate publishes an earlier version again, as a new one.
func (a *App) RestoreTemplate(
	ctx context.Context, c auth.Caller, name string, version int,
) (hostler.TemplateVersion, error) {
	g, err := a.allow(c, auth.WriteTemplate)
	if err != nil {
		return hostler.TemplateVersion{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.TemplateVersion, error) {
		row, err := s.template(name, version)
		if err != nil {
			return hostler.TemplateVersion{}, err
		}
		n, err := s.PublishTemplate(s.project, name, row.Source, row.Spec, s.caller.User)
		if err != nil {
			return hostler.TemplateVersion{}, err
		}
		if err := s.audit("template.restore", name, map[string]any{"version": n, "from": row.Version}); err != nil {
			return hostler.TemplateVersion{}, err
		}
		if row, err = s.template(name, n); err != nil {
			return hostler.TemplateVersion{}, err
		}
		return versionOf(*row, true)
	})
}

// RetireTemplate retires a version of a template: it starts no runs any more.
func (a *App) RetireTemplate(
	ctx context.Context, c auth.Caller, name string, version int,
) (hostler.TemplateVersion, error) {
	g, err := a.allow(c, auth.WriteTemplate)
	if err != nil {
		return hostler.TemplateVersion{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.TemplateVersion, error) {
		row, err := s.template(name, version)
		if err != nil {
			return hostler.TemplateVersion{}, err
		}
		if _, err := s.Tx.RetireTemplate(row.ID, row.Version, true); err != nil {
			return hostler.TemplateVersion{}, err
		}
		if err := s.audit("template.retire", name, map[string]any{"version": row.Version}); err != nil {
			return hostler.TemplateVersion{}, err
		}
		if row, err = s.template(name, row.Version); err != nil {
			return hostler.TemplateVersion{}, err
		}
		return versionOf(*row, true)
	})
}

func taskOf(r store.TaskRow, whole bool) (hostler.TaskInfo, error) {
	out := hostler.TaskInfo{CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt}
	if err := json.Unmarshal([]byte(r.Spec), &out.TaskSpec); err != nil {
		return out, fmt.Errorf("decode a task: %w", err)
	}
	if whole {
		out.Source = r.Source
	}
	return out, nil
}

// Tasks lists the tasks by name.
func (a *App) Tasks(ctx context.Context, c auth.Caller, p hostler.Page) (hostler.List[hostler.TaskInfo], error) {
	g, err := a.allow(c, auth.ReadTemplate)
	if err != nil {
		return hostler.List[hostler.TaskInfo]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.TaskInfo]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.TaskInfo], error) {
		return readPage(after, limit, func(after string, n int) ([]hostler.TaskInfo, error) {
			rows, err := s.Tx.Tasks(s.project, after, n)
			out := make([]hostler.TaskInfo, len(rows))
			for i := 0; err == nil && i < len(rows); i++ {
				out[i], err = taskOf(rows[i], false)
			}
			return out, err
		}, func(t hostler.TaskInfo) string { return t.Name }, func(t hostler.TaskInfo) int { return len(t.Params) + 256 })
	})
}

// Task reads a task.
func (a *App) Task(ctx context.Context, c auth.Caller, name string) (hostler.TaskInfo, error) {
	g, err := a.allow(c, auth.ReadTemplate)
	if err != nil {
		return hostler.TaskInfo{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.TaskInfo, error) {
		row, err := s.task(name)
		if err != nil {
			return hostler.TaskInfo{}, err
		}
		return taskOf(*row, true)
	})
}

func (s *scope) task(name string) (*store.TaskRow, error) {
	row, err := s.Tx.Task(s.project, name)
	if err == nil && row == nil {
		err = hostler.NotFound(taskKind, name)
	}
	return row, err
}

// DeleteTask deletes a task; its runs stay.
func (a *App) DeleteTask(ctx context.Context, c auth.Caller, name string) error {
	g, err := a.allow(c, auth.WriteTemplate)
	if err != nil {
		return err
	}
	_, err = change(ctx, g, func(s *scope) (struct{}, error) {
		found, err := s.Tx.DeleteTask(s.project, name)
		if err == nil && !found {
			err = hostler.NotFound(taskKind, name)
		}
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.audit("task.delete", name, nil)
	})
	return err
}
