package app

import (
	"encoding/json"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// targetsFrom returns the hosts of an earlier run that a selection selects too.
func (n *newRun) targetsFrom(from *hostler.FromRun, sel selection, p *plan) ([]store.Target, error) {
	hosts, err := n.hostsFrom(from)
	if err != nil {
		return nil, err
	}
	var targets []store.Target
	if len(sel.assets)+len(sel.labels) == 0 {
		ids := make([]hostler.AssetID, 0, len(hosts))
		for id := range hosts {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		if targets, err = n.Targets(n.project, ids, nil, nil); err != nil {
			return nil, err
		}
	} else {
		q := *p
		if q.labels = sel.labels; len(sel.labels) == 0 {
			q.labels = nil
		}
		if targets, err = n.targetsOf(sel, &q); err != nil {
			return nil, err
		}
	}
	targets = slices.DeleteFunc(targets, func(t store.Target) bool { return !hosts[t.ID] })
	switch {
	case len(targets) == 0:
		return nil, hostler.Errorf(hostler.CodeNotFound, "no host of that run is selected", "该执行中没有被选中的主机")
	case len(targets) > p.most:
		return nil, hostler.Invalid("target", "selects more than %d hosts", "选中超过 %d 台主机", p.most)
	}
	return targets, nil
}

// hostsFrom returns the hosts of an earlier run that ended in a way.
func (n *newRun) hostsFrom(from *hostler.FromRun) (map[hostler.AssetID]bool, error) {
	if !n.may(auth.ReadRun) {
		return nil, refusal(n.caller, auth.ReadRun)
	}
	if seen, ok := n.fromSeen[*from]; ok {
		return seen, nil
	}
	id := from.Run
	if id == 0 {
		last, err := n.LastEndedRun(n.project, from.Name)
		if err != nil {
			return nil, err
		}
		if last == 0 {
			return nil, hostler.NotFound(runKind, from.Name)
		}
		id = last
	}
	run, err := n.Tx.Run(n.project, id)
	if err != nil {
		return nil, err
	}
	if run == nil {
		return nil, hostler.NotFound(runKind, id.String())
	}
	if !run.State.Ended() {
		return nil, hostler.Errorf(hostler.CodeConflict, "the run %s has not ended", "执行 %s 尚未结束", id)
	}
	rows, err := n.RunSteps(id)
	if err != nil {
		return nil, err
	}
	out, known := map[hostler.AssetID]bool{}, false
	for i := range rows {
		s := &rows[i]
		if s.HostSet == 0 || from.Step != "" && s.Step != from.Step {
			continue
		}
		known = true
		if err := n.addHostsFrom(s, from.Hosts, out); err != nil {
			return nil, err
		}
	}
	if !known && from.Step != "" {
		return nil, hostler.NotFound(stepKind, from.Step)
	}
	n.fromSeen[*from] = out
	return out, nil
}

// addHostsFrom adds the hosts of a step, a part at a time.
func (n *newRun) addHostsFrom(s *store.RunStepRow, want string, out map[hostler.AssetID]bool) error {
	const part = 500
	for from := int64(0); from < int64(s.Total); from += part {
		hosts, err := n.Tx.RunHosts(s.Run, s.HostSet, from, part)
		if err != nil {
			return err
		}
		started, err := n.StartedHosts(s.ID, from, from+int64(len(hosts)))
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
		if err := n.addChanged(at, out); err != nil {
			return err
		}
	}
	return nil
}

// addChanged adds the hosts of jobs whose results say that they changed something.
func (n *newRun) addChanged(at map[hostler.JobID]hostler.AssetID, out map[hostler.AssetID]bool) error {
	ids := make([]hostler.JobID, 0, len(at))
	for id := range at {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for some := range slices.Chunk(ids, 100) {
		jobs, err := n.Jobs(n.project, some)
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
