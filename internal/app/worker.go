package app

import (
	"context"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
)

// stopMost bounds the workers of one call, and the addresses.
const stopMost = 1000

// rescueStep is how many jobs one look of the rescue deals with.
const rescueStep = 500

// Workers lists the workers that live, and those that died lately. Workers belong
// to no project, but the connections that they keep tell of hosts: operators of
// the default project see all of them, those of another project the ones to
// addresses at which it works, and viewers none.
func (a *App) Workers(ctx context.Context, c auth.Caller) ([]hostler.Worker, error) {
	g, err := a.allow(c, auth.ReadWorker)
	if err != nil {
		return nil, err
	}
	return view(ctx, g, func(s *scope) ([]hostler.Worker, error) {
		workers, err := s.Workers()
		if err != nil || auth.AtLeast(c.RoleIn(c.Default), hostler.RoleOperator) {
			return workers, err
		}
		return workers, s.hideSessions(workers)
	})
}

// hideSessions leaves out the sessions that are not the caller's to see.
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
		workers[i].Sessions = slices.DeleteFunc(workers[i].Sessions, func(h hostler.HostSession) bool { return !own[h.Address] })
	}
	return nil
}

// StopWorkers stops workers by force. They are fenced at once; what they run is
// dealt with as its on_lost says, and counted. A process that lives kills what it
// runs as soon as it hears of it, and comes back as a fresh worker. Workers that
// were stopped already are passed over. CodeNotFound: one does not exist.
func (a *App) StopWorkers(ctx context.Context, c auth.Caller, ids []hostler.WorkerID) (stopped []hostler.Worker, interrupted int, err error) {
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
			if err := s.audit("worker.stop", w.ID.String(), map[string]any{"name": w.Name, "running": w.Running}); err != nil {
				return result{}, err
			}
		}
		return result{workers, n}, nil
	})
	return res.workers, res.interrupted, err
}

// listed finds workers as lists show them.
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

// CloseSessions has a worker close the connections that it keeps to addresses,
// whatever their port and user. The worker hears of it at once; a job on one of
// them loses sight of its work. It returns how many jobs the worker runs at these
// addresses. CodeNotFound: no such worker lives.
func (a *App) CloseSessions(ctx context.Context, c auth.Caller, worker hostler.WorkerID, addresses []string) (interrupted int, err error) {
	g, err := a.allow(c, auth.StopWorker)
	if err != nil {
		return 0, err
	}
	var fields check.Fields
	fields.Require(len(addresses) > 0 && len(addresses) <= stopMost, "address", "must be 1 to %d addresses", "须为 1 到 %d 个地址", stopMost)
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
