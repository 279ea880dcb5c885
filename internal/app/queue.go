package app

import (
	"context"
	"maps"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// Queues lists the queues that are open to the acting project; all of them for those who
// may change them.
func (a *App) Queues(ctx context.Context, c auth.Caller) ([]hostler.Queue, error) {
	g, err := a.allow(c, auth.ReadQueue)
	if err != nil {
		return nil, err
	}
	return list(ctx, g, (*scope).openQueues)
}

// Queue reads one queue.
func (a *App) Queue(ctx context.Context, c auth.Caller, name string) (hostler.Queue, error) {
	g, err := a.allow(c, auth.ReadQueue)
	if err != nil {
		return hostler.Queue{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Queue, error) { return s.queue(name) })
}

// openQueues lists the queues that exist for the caller. Who may not change them sees
// only that they are open to the own project.
func (s *scope) openQueues() ([]hostler.Queue, error) {
	all, err := s.Queues()
	if err != nil || s.may(auth.WriteQueue) {
		return all, err
	}
	open := make([]hostler.Queue, 0, len(all))
	for _, q := range all {
		if len(q.Projects) > 0 {
			if !slices.Contains(q.Projects, s.caller.ProjectName) {
				continue
			}
			q.Projects = []string{s.caller.ProjectName}
		}
		open = append(open, q)
	}
	return open, nil
}

func (s *scope) queue(name string) (hostler.Queue, error) {
	all, err := s.openQueues()
	if err != nil {
		return hostler.Queue{}, err
	}
	for _, q := range all {
		if q.Name == name {
			return q, nil
		}
	}
	return hostler.Queue{}, hostler.NotFound(queueKind, name)
}

// PutQueue creates a queue, or changes its limits and the projects that may use it.
func (a *App) PutQueue(
	ctx context.Context, c auth.Caller, name string, l hostler.QueueLimits,
) (hostler.Queue, error) {
	g, err := a.allow(c, auth.WriteQueue)
	if err != nil {
		return hostler.Queue{}, err
	}
	var fields check.Fields
	fields.Name("name", name, 64)
	if l.Limit != nil {
		check.Between(&fields, "limit", *l.Limit, 0, 1_000_000)
	}
	if l.MaxDepth != nil {
		check.Between(&fields, "max_depth", *l.MaxDepth, 0, 100_000_000)
	}
	if l.Projects != nil {
		fields.Count("projects", len(*l.Projects), maxGrants)
	}
	if err := fields.Err(); err != nil {
		return hostler.Queue{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Queue, error) {
		q, err := s.SetQueue(name, store.QueueSettings{Limit: l.Limit, MaxDepth: l.MaxDepth})
		if err != nil {
			return q, err
		}
		if l.Projects != nil {
			if q.Projects, err = s.grantQueue(name, *l.Projects); err != nil {
				return q, err
			}
		}
		return q, s.audit("queue.set", name, l)
	})
}

// maxGrants is how many projects a queue can be granted to.
const maxGrants = 1000

// grantQueue grants a queue to projects, and returns their names.
func (s *scope) grantQueue(queue string, projects []string) ([]string, error) {
	var fields check.Fields
	for i, name := range projects {
		fields.Require(check.Storable(name), check.Item("projects", i), "is not the name of a project", "不是项目名称")
	}
	if err := fields.Err(); err != nil {
		return nil, err
	}
	found, err := s.ProjectIDs(projects)
	if err != nil {
		return nil, err
	}
	for i, name := range projects {
		fields.Require(found[name] != 0, check.Item("projects", i), "does not exist", "不存在")
	}
	if err := fields.Err(); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(found)), s.SetGrants(queue, slices.Sorted(maps.Values(found)))
}

// PauseQueue stops starting jobs of the queue; running jobs continue.
func (a *App) PauseQueue(ctx context.Context, c auth.Caller, name string) (hostler.Queue, error) {
	return a.pauseQueue(ctx, c, name, true)
}

// ResumeQueue starts jobs of the queue again.
func (a *App) ResumeQueue(ctx context.Context, c auth.Caller, name string) (hostler.Queue, error) {
	return a.pauseQueue(ctx, c, name, false)
}

func (a *App) pauseQueue(ctx context.Context, c auth.Caller, name string, paused bool) (hostler.Queue, error) {
	g, err := a.allow(c, auth.WriteQueue)
	if err != nil {
		return hostler.Queue{}, err
	}
	verb := "queue.resume"
	if paused {
		verb = "queue.pause"
	}
	return change(ctx, g, func(s *scope) (hostler.Queue, error) {
		if _, err := s.queue(name); err != nil {
			return hostler.Queue{}, err
		}
		q, err := s.SetQueue(name, store.QueueSettings{Paused: &paused})
		if err != nil {
			return q, err
		}
		return q, s.audit(verb, name, nil)
	})
}
