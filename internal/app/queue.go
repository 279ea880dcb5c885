package app

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// Queues lists the queues.
func (a *App) Queues(ctx context.Context, c auth.Caller) ([]hostler.Queue, error) {
	g, err := a.allow(c, auth.ReadQueue)
	if err != nil {
		return nil, err
	}
	return list(ctx, g, func(s *scope) ([]hostler.Queue, error) { return s.Queues() })
}

// Queue reads one queue.
func (a *App) Queue(ctx context.Context, c auth.Caller, name string) (hostler.Queue, error) {
	g, err := a.allow(c, auth.ReadQueue)
	if err != nil {
		return hostler.Queue{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Queue, error) { return s.queue(name) })
}

func (s *scope) queue(name string) (hostler.Queue, error) {
	all, err := s.Queues()
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

// PutQueue creates a queue, or changes its limits.
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
	if err := fields.Err(); err != nil {
		return hostler.Queue{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Queue, error) {
		q, err := s.SetQueue(name, store.QueueSettings{Limit: l.Limit, MaxDepth: l.MaxDepth})
		if err != nil {
			return q, err
		}
		return q, s.audit("queue.set", name, l)
	})
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
