package app

import (
	"context"
	"maps"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
)

// Projects lists the projects in which the caller has a role; all of them for an
// admin of the default project.
func (a *App) Projects(ctx context.Context, c auth.Caller, p hostler.Page) (hostler.List[hostler.Project], error) {
	g, err := a.allow(c, auth.ReadProject)
	if err != nil {
		return hostler.List[hostler.Project]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Project]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Project], error) {
		mine := slices.Collect(maps.Keys(c.Roles))
		mine = slices.DeleteFunc(mine, func(id hostler.ProjectID) bool { return c.RoleIn(id) == hostler.RoleNone })
		items, err := s.Projects(mine, g.may(auth.CreateProject), after, limit+1)
		return cut(items, limit, func(p hostler.Project) string { return p.Name }), err
	})
}

// CreateProject creates a project; the caller becomes its admin.
func (a *App) CreateProject(ctx context.Context, c auth.Caller, in hostler.ProjectInput) (hostler.Project, error) {
	g, err := a.allow(c, auth.CreateProject)
	if err != nil {
		return hostler.Project{}, err
	}
	var fields check.Fields
	fields.Name("name", in.Name, 64)
	if err := fields.Err(); err != nil {
		return hostler.Project{}, err
	}
	defer a.callers.clear()
	return change(ctx, g, func(s *scope) (hostler.Project, error) {
		p, err := s.InsertProject(in.Name)
		if err != nil {
			return p, err
		}
		if err := s.SetRole(c.UserID, p.ID, hostler.RoleAdmin, 0); err != nil {
			return p, err
		}
		return p, s.audit("project.create", p.Name, nil)
	})
}

// maxWeight is the largest weight of a project.
const maxWeight = 1000

// Project reads one of the projects that [App.Projects] lists.
func (a *App) Project(ctx context.Context, c auth.Caller, name string) (hostler.Project, error) {
	g, err := a.allow(c, auth.ReadProject)
	if err != nil {
		return hostler.Project{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Project, error) { return s.findProject(name) })
}

func (s *scope) findProject(name string) (hostler.Project, error) {
	var p *hostler.Project
	var err error
	if check.Storable(name) {
		p, err = s.ProjectByName(name)
	}
	if err == nil && (p == nil || s.caller.RoleIn(p.ID) == hostler.RoleNone && !s.may(auth.CreateProject)) {
		err = hostler.NotFound(projectKind, name)
	}
	if err != nil {
		return hostler.Project{}, err
	}
	return *p, nil
}

// ChangeProject changes the weight and the limits of a project.
func (a *App) ChangeProject(
	ctx context.Context, c auth.Caller, name string, in hostler.ProjectChange,
) (hostler.Project, error) {
	g, err := a.allow(c, auth.WriteProject)
	if err != nil {
		return hostler.Project{}, err
	}
	var fields check.Fields
	check.Between(&fields, "weight", value(in.Weight, 1), 1, maxWeight)
	check.Between(&fields, "max_running", value(in.MaxRunning, 0), 0, 1_000_000)
	check.Between(&fields, "max_queued", value(in.MaxQueued, 0), 0, 100_000_000)
	fields.Duration("max_timeout", value(in.MaxTimeout, 0), maxTimeout)
	fields.Duration("max_backoff", value(in.MaxBackoff, 0), maxBackoff)
	if err := fields.Err(); err != nil {
		return hostler.Project{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Project, error) {
		p, err := s.findProject(name)
		if err != nil {
			return p, err
		}
		if err := s.LockProject(p.ID); err != nil {
			return p, err
		}
		if p, err = s.findProject(name); err != nil {
			return p, err
		}
		p.ProjectLimits = hostler.ProjectLimits{
			Weight: value(in.Weight, p.Weight), MaxRunning: value(in.MaxRunning, p.MaxRunning),
			MaxQueued:  value(in.MaxQueued, p.MaxQueued),
			MaxTimeout: value(in.MaxTimeout, p.MaxTimeout), MaxBackoff: value(in.MaxBackoff, p.MaxBackoff),
		}
		if err := s.SetProjectLimits(p.ID, p.ProjectLimits); err != nil {
			return p, err
		}
		if p.FourEyes = value(in.FourEyes, p.FourEyes); in.FourEyes != nil {
			if err := s.SetFourEyes(p.ID, p.FourEyes); err != nil {
				return p, err
			}
		}
		return p, s.audit("project.change", p.Name, in)
	})
}

// value is what a change sets, or else what is there.
func value[T any](set *T, is T) T {
	if set != nil {
		return *set
	}
	return is
}
