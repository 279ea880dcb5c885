package app

import (
	"encoding/json"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// hostsFrom returns the hosts of an earlier run that ended in a way.
func (s *scope) hostsFrom(from *hostler.FromRun) (map[hostler.AssetID]bool, error) {
	if !s.may(auth.ReadRun) {
		return nil, refusal(s.caller, auth.ReadRun)
	}
	if seen, ok := s.fromSeen[*from]; ok {
		return seen, nil
	}
	id := from.Run
	if id == 0 {
		last, err := s.LastEndedRun(s.project, from.Name)
		if err != nil {
			return nil, err
		}
		if last == 0 {
			return nil, hostler.NotFound(runKind, from.Name)
		}
		id = last
	}
	run, err := s.Tx.Run(s.project, id)
	if err != nil {
		return nil, err
	}
	if run == nil {
		return nil, hostler.NotFound(runKind, id.String())
	}
	if !run.State.Ended() {
		return nil, hostler.Errorf(hostler.CodeConflict, "the run %s has not ended", "执行 %s 尚未结束", id)
	}
	rows, err := s.RunSteps(id)
	if err != nil {
		return nil, err
	}
	if err := boundFrom(rows, from.Step); err != nil {
		return nil, err
	}
	out, known := map[hostler.AssetID]bool{}, false
	for i := range rows {
		row := &rows[i]
		if row.HostSet == 0 || from.Step != "" && row.Step != from.Step {
			continue
		}
		known = true
		if err := s.addHostsFrom(row, from.Hosts, out); err != nil {
			return nil, err
		}
	}
	if !known && from.Step != "" {
		return nil, hostler.NotFound(stepKind, from.Step)
	}
	if s.fromSeen == nil {
		s.fromSeen = map[hostler.FromRun]map[hostler.AssetID]bool{}
	}
	s.fromSeen[*from] = out
	return out, nil
}

// maxHostsFrom is how many hosts of all steps are read: transactions that start runs read them.
const maxHostsFrom = 50_000

func boundFrom(rows []store.RunStepRow, step string) error {
	hosts := 0
	for i := range rows {
		if rows[i].HostSet != 0 && step == "" {
			hosts += rows[i].Total
		}
	}
	if hosts > maxHostsFrom {
		return hostler.Invalid("from_run.step", "is required: the steps of that run have more than %d hosts together",
			"必须提供：该执行各步骤合计超过 %d 台主机", maxHostsFrom)
	}
	return nil
}

// addHostsFrom adds the hosts of a step, a part at a time.
func (s *scope) addHostsFrom(row *store.RunStepRow, want string, out map[hostler.AssetID]bool) error {
	const part = 500
	for from := int64(0); from < int64(row.Total); from += part {
		hosts, err := s.Tx.RunHosts(row.Run, row.HostSet, from, part)
		if err != nil {
			return err
		}
		started, err := s.StartedHosts(row.ID, from, from+int64(len(hosts)))
		if err != nil {
			return err
		}
		at := map[hostler.JobID]hostler.AssetID{}
		for i, h := range hosts {
			st, ok := started[from+int64(i)]
			switch {
			case !ok:
			case want == "failed" && st.State != string(hostler.StateSucceeded), want == "succeeded" && st.State == want:
				out[h.ID] = true
			case want == "changed" && st.Job != 0:
				at[st.Job] = h.ID
			}
		}
		if err := s.addChanged(at, out); err != nil {
			return err
		}
	}
	return nil
}

// addChanged adds the hosts of jobs whose results say that they changed something.
func (s *scope) addChanged(at map[hostler.JobID]hostler.AssetID, out map[hostler.AssetID]bool) error {
	ids := make([]hostler.JobID, 0, len(at))
	for id := range at {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for some := range slices.Chunk(ids, 100) {
		jobs, err := s.Tx.Jobs(s.project, some)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			var result struct {
				Changed bool `json:"changed"`
			}
			if json.Unmarshal(j.Result, &result) == nil && result.Changed {
				out[at[j.ID]] = true
			}
		}
	}
	return nil
}
