package app

import (
	"context"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// Lane reads a lane by the name that jobs show: the key of a device, or a key of the
// acting project. A device's lane exists for a project that has the device, or jobs in the
// lane. Jobs that the caller may not see are shown by their state only; an admin of the
// installation sees those of all projects.
func (a *App) Lane(ctx context.Context, c auth.Caller, name string) (hostler.Lane, error) {
	g, err := a.allow(c, auth.ReadJob)
	if err != nil {
		return hostler.Lane{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.Lane, error) {
		l, err := s.lane(name)
		if err != nil {
			return hostler.Lane{}, err
		}
		return s.describeLane(name, l)
	})
}

// lane finds a lane that exists for the caller. One that no job has used lately has no
// state: it is empty.
func (s *scope) lane(name string) (*store.LaneState, error) {
	if name == "" || !check.Storable(name) {
		return nil, hostler.NotFound(laneKind, name)
	}
	// Of an ad-hoc host, jobs show the address.
	device, err := s.DeviceAt(s.caller.Project, name, 0)
	if err != nil {
		return nil, err
	}
	for _, key := range []string{name, device} {
		l, err := s.LaneByKey(hostler.AssetLaneKey(key))
		if err != nil {
			return nil, err
		}
		seen, err := s.seesLane(key, l)
		if err != nil {
			return nil, err
		}
		switch {
		case seen && l == nil:
			return &store.LaneState{}, nil
		case seen:
			return l, nil
		}
	}
	l, err := s.LaneByKey(hostler.OwnLaneKey(s.caller.Project, name))
	if err == nil && (l == nil || s.limit().LimitsAssets()) {
		err = hostler.NotFound(laneKind, name)
	}
	return l, err
}

// seesLane reports whether the lane of a device exists for the caller.
func (s *scope) seesLane(key string, l *store.LaneState) (bool, error) {
	if l != nil && s.may(auth.ReleaseLane) {
		return true, nil
	}
	sees, err := s.SeesDevice(s.caller.Project, key)
	if err != nil || sees || l == nil || s.limit().LimitsAssets() {
		return sees, err
	}
	return s.LaneHasJobs(l, s.caller.Project)
}

func (s *scope) describeLane(name string, l *store.LaneState) (hostler.Lane, error) {
	out := hostler.Lane{
		Lane: name, Limit: max(1, int(l.Limit)), Waiting: l.Waiting, Shared: l.Shared(),
		Holders: []hostler.LaneHolder{},
	}
	holders, err := s.LaneHolders(l)
	if err != nil {
		return out, err
	}
	named, err := s.namedHolders(holders)
	if err != nil {
		return out, err
	}
	for _, h := range holders {
		shown := hostler.LaneHolder{State: h.State, Since: h.Since, Foreign: h.Project != s.caller.Project}
		if named == nil || slices.Contains(named, h.Job) {
			shown.Job, shown.Project, shown.Action = h.Job, h.Name, h.Action
			shown.Queue, shown.CreatedBy = h.Queue, h.CreatedBy
		}
		out.Holders = append(out.Holders, shown)
	}
	return out, nil
}

// namedHolders returns the holders that the caller may see; nil means all.
func (s *scope) namedHolders(holders []store.LaneHolder) ([]hostler.JobID, error) {
	if s.may(auth.ReleaseLane) {
		return nil, nil
	}
	own := []hostler.JobID{}
	for _, h := range holders {
		if h.Project == s.caller.Project {
			own = append(own, h.Job)
		}
	}
	if !s.limit().LimitsAssets() {
		return own, nil
	}
	jobs, err := s.Tx.Jobs(s.caller.Project, own)
	seen := make([]hostler.JobID, len(jobs))
	for i, j := range jobs {
		seen[i] = j.ID
	}
	return seen, err
}

// ReleaseLane takes a lane from the jobs that hold it, of whatever project.
func (a *App) ReleaseLane(
	ctx context.Context, c auth.Caller, name string, in hostler.LaneRelease,
) (hostler.LaneReleased, error) {
	g, err := a.allow(c, auth.ReleaseLane)
	if err != nil {
		return hostler.LaneReleased{}, err
	}
	var fields check.Fields
	fields.Count("jobs", len(in.Jobs), 1000)
	if err := fields.Err(); err != nil {
		return hostler.LaneReleased{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.LaneReleased, error) { return s.releaseLane(name, in) })
}

func (s *scope) releaseLane(name string, in hostler.LaneRelease) (out hostler.LaneReleased, err error) {
	l, err := s.lane(name)
	if err != nil {
		return out, err
	}
	holders, err := s.LaneHolders(l)
	if err != nil {
		return out, err
	}
	if len(in.Jobs) > 0 {
		holders = slices.DeleteFunc(holders, func(h store.LaneHolder) bool { return !slices.Contains(in.Jobs, h.Job) })
	}
	released, cancelled, err := s.Tx.ReleaseLane(l, holders, in.Cancel, s.caller.User)
	if err != nil {
		return out, err
	}
	out.Released, out.Cancelled = len(released), len(cancelled)
	if err := s.auditLane(name, released, cancelled); err != nil {
		return out, err
	}
	if l, err = s.lane(name); err != nil {
		return out, err
	}
	out.Lane, err = s.describeLane(name, l)
	return out, err
}

// auditLane records a release in the audit of each project whose jobs it concerns, and in
// that of the default project.
func (s *scope) auditLane(name string, released, cancelled []store.LaneHolder) error {
	type detail struct {
		Released  []hostler.JobID `json:"released,omitempty"`
		Cancelled []hostler.JobID `json:"cancelled,omitempty"`
	}
	of := map[hostler.ProjectID]*detail{s.project: {}}
	at := func(h store.LaneHolder) *detail {
		if of[h.Project] == nil {
			of[h.Project] = &detail{}
		}
		return of[h.Project]
	}
	for _, h := range released {
		d := at(h)
		d.Released = append(d.Released, h.Job)
	}
	for _, h := range cancelled {
		d := at(h)
		d.Cancelled = append(d.Cancelled, h.Job)
	}
	for p, d := range of {
		if err := s.auditIn(p, "lane.release", name, d); err != nil {
			return err
		}
	}
	return nil
}
