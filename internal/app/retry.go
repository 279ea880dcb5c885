package app

import (
	"strings"

	"hostler.dev/hostler"
)

// retried is what became of one job that was to be retried.
type retried struct {
	of  hostler.JobID
	id  hostler.JobID // of the new job
	err error
}

// retry makes new jobs like ended ones, in one run. An error for one of them is in
// its place and keeps none of the others; the second result is for errors of the
// whole.
func (s *scope) retry(ids []hostler.JobID) ([]retried, error) {
	specs, err := s.JobSpecs(s.project, ids)
	if err != nil {
		return nil, err
	}
	if err := s.KeepLanes(); err != nil {
		return nil, err
	}
	keys, err := s.deviceKeys(specs)
	if err != nil {
		return nil, err
	}
	run, err := s.NewID()
	if err != nil {
		return nil, err
	}
	out := make([]retried, len(ids))
	var again []hostler.JobSpec
	var at []int
	for i, id := range ids {
		out[i].of = id
		spec, err := s.again(id, specs, keys)
		if hostler.CodeOf(err) == hostler.CodeInternal {
			return nil, err
		}
		if out[i].err = err; err != nil {
			continue
		}
		spec.Run, spec.CreatedBy = hostler.RunID(run), s.caller.User
		again, at = append(again, spec), append(at, i)
	}
	made, err := s.Enqueue(again)
	if err != nil {
		return nil, err
	}
	for n, id := range made {
		out[at[n]].id = id
		if err := s.audit("job.retry", out[at[n]].of.String(), map[string]any{"job": id}); err != nil {
			return nil, err
		}
	}
	if len(made) == 0 {
		s.unchanged()
	}
	return out, nil
}

// deviceKeys finds the device keys that the jobs' assets have by now.
func (s *scope) deviceKeys(specs map[hostler.JobID]hostler.JobSpec) (map[hostler.AssetID]string, error) {
	var ids []hostler.AssetID
	for _, spec := range specs {
		if spec.Asset != 0 {
			ids = append(ids, spec.Asset)
		}
	}
	targets, err := s.Targets(s.project, ids, nil, nil)
	keys := make(map[hostler.AssetID]string, len(targets))
	for _, t := range targets {
		keys[t.ID] = t.DeviceKey
	}
	return keys, err
}

// again is the spec of a new job like an ended one, checked as a new one is.
func (s *scope) again(id hostler.JobID, specs map[hostler.JobID]hostler.JobSpec, keys map[hostler.AssetID]string) (hostler.JobSpec, error) {
	spec, ok := specs[id]
	if !ok {
		if _, err := s.job(id); err != nil {
			return spec, err
		}
		return spec, hostler.Errorf(hostler.CodeConflict,
			"only a job that has ended can be retried", "只有已结束的作业才能重试")
	}
	if spec.Target != nil {
		return spec, errLoginGone(spec.AssetName)
	}
	act, err := s.app.runnable(spec.Action, spec.Args)
	if err != nil {
		return spec, err
	}
	if err := s.checkCredentials(act, spec.Args); err != nil {
		return spec, err
	}
	key, there := keys[spec.Asset]
	if spec.Asset != 0 && !there {
		return spec, hostler.Errorf(hostler.CodeConflict,
			"its asset %q was deleted", "其资产 %q 已被删除", spec.AssetName)
	}
	if strings.HasPrefix(spec.LaneKey, hostler.AssetLaneKey("")) {
		spec.LaneKey = hostler.AssetLaneKey(key)
	}
	return spec, nil
}
