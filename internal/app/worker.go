package app

import (
	"context"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
)

// stopMost is how many workers, or addresses, one call may name.
const stopMost = 1000

// rescueStep is how many jobs one statement of the rescue handles.
const rescueStep = 500

// Workers lists the active workers and those that were lost lately. Workers belong to
// no project, but their open connections reveal hosts: an operator of the default
// project sees all connections, one of another project, or whose role is limited to
// certain assets, those to addresses of its own assets and jobs, and a viewer none.
func (a *App) Workers(ctx context.Context, c auth.Caller) ([]hostler.Worker, error) {
	g, err := a.allow(c, auth.ReadWorker)
	if err != nil {
		return nil, err
	}
	return list(ctx, g, func(s *scope) ([]hostler.Worker, error) {
		workers, err := s.Workers()
		all := auth.AtLeast(c.RoleIn(c.Default), hostler.RoleOperator) && !c.LimitIn(c.Default).LimitsAssets()
		if err != nil || all {
			return workers, err
		}
		return workers, s.hideSessions(workers)
	})
}

// hideSessions removes the connections that the caller must not see.
func (s *scope) hideSessions(workers []hostler.Worker) error {
	own := map[string]bool{}
	if auth.AtLeast(s.caller.RoleIn(s.project), hostler.RoleOperator) {
		var all []string
		for _, w := range workers {
			for _, h := range w.Sessions {
				all = append(all, h.Address)
			}
		}
		var err error
		if own, err = s.AddressesOf(s.project, all); err != nil {
			return err
		}
	}
	for i := range workers {
		foreign := func(h hostler.HostSession) bool { return !own[h.Address] }
		workers[i].Sessions = slices.DeleteFunc(workers[i].Sessions, foreign)
	}
	return nil
}

// StopWorkers fences workers at once and applies on_lost to the jobs that they run;
// it returns the number of these jobs. A worker process that is still running kills
// its jobs at its next heartbeat and registers as a new worker. Workers that were
// stopped already are skipped. CodeNotFound: one of the workers does not exist.
func (a *App) StopWorkers(
	ctx context.Context, c auth.Caller, ids []hostler.WorkerID,
) (stopped []hostler.Worker, interrupted int, err error) {
	g, err := a.allow(c, auth.StopWorker)
	if err != nil {
		return nil, 0, err
	}
	if len(ids) == 0 || len(ids) > stopMost {
		return nil, 0, hostler.Invalid("ids", "must be 1 to %d workers", "须为 1 到 %d 个工作节点", stopMost)
	}
	type result struct {
		workers     []hostler.Worker
		interrupted int
	}
	res, err := change(ctx, g, func(s *scope) (result, error) {
		workers, err := s.listed(ids)
		if err != nil {
			return result{}, err
		}
		gone, n, err := s.Tx.StopWorkers(ids)
		if err != nil {
			return result{}, err
		}
		if len(gone) == 0 {
			s.unchanged()
			return result{}, nil
		}
		for k := rescueStep; k == rescueStep; {
			if k, err = s.RescueJobs(rescueStep); err != nil {
				return result{}, err
			}
		}
		workers = slices.DeleteFunc(workers, func(w hostler.Worker) bool { return !slices.Contains(gone, w.ID) })
		for _, w := range workers {
			detail := map[string]any{"name": w.Name, "running": w.Running}
			if err := s.audit("worker.stop", w.ID.String(), detail); err != nil {
				return result{}, err
			}
		}
		return result{workers, n}, nil
	})
	return res.workers, res.interrupted, err
}

// listed returns the workers with the ids, as lists show them.
func (s *scope) listed(ids []hostler.WorkerID) ([]hostler.Worker, error) {
	all, err := s.Workers()
	if err != nil {
		return nil, err
	}
	byID := make(map[hostler.WorkerID]hostler.Worker, len(all))
	for _, w := range all {
		byID[w.ID] = w
	}
	out := make([]hostler.Worker, 0, len(ids))
	for _, id := range ids {
		w, ok := byID[id]
		if !ok {
			return nil, hostler.NotFound(workerKind, id.String())
		}
		out = append(out, w)
	}
	return out, nil
}

// CloseSessions sends a worker the command to close its connections to addresses, for
// any port and user. The outcome of a job on such a connection becomes unknown if its
// command may have taken effect. It returns how many jobs the worker runs at these
// addresses. CodeNotFound: there is no such active worker.
func (a *App) CloseSessions(
	ctx context.Context, c auth.Caller, worker hostler.WorkerID, addresses []string,
) (interrupted int, err error) {
	g, err := a.allow(c, auth.StopWorker)
	if err != nil {
		return 0, err
	}
	var fields check.Fields
	fields.Require(len(addresses) > 0 && len(addresses) <= stopMost, "address",
		"must be 1 to %d addresses", "须为 1 到 %d 个地址", stopMost)
	hosts := make([]string, len(addresses))
	for i, address := range addresses {
		hosts[i] = fields.Address("address", address)
	}
	if err := fields.Err(); err != nil {
		return 0, err
	}
	return change(ctx, g, func(s *scope) (int, error) {
		n, found, err := s.CloseConnections(worker, hosts)
		if err != nil {
			return 0, err
		}
		if !found {
			return 0, hostler.NotFound(workerKind, worker.String())
		}
		return n, s.audit("worker.close_session", worker.String(), map[string]any{"addresses": hosts, "running": n})
	})
}
