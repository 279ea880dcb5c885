package app

import (
	"encoding/json"
	"fmt"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
)

// runStep is a step of a run that is being prepared.
type runStep struct {
	flow.Spec
	path   string      // in the template, for faults
	values flow.Values // of the template that it is from
	target *hostler.StepTarget
	narrow []*hostler.StepTarget // over target
	row    store.RunStepRow
	jobs   *plan
}

// expand adds the steps of a template to a run, those of other templates that its steps run,
// and their gates and probes. Steps name others in full.
func (n *newRun) expand(t *hostler.Template, within, path string, values flow.Values, narrow []*hostler.StepTarget) error {
	full := func(id string) string {
		if within == "" {
			return id
		}
		return within + "." + id
	}
	needs := flow.Needs(t.Steps)
	for i, step := range t.Steps {
		if len(n.steps) >= hostler.MaxSteps {
			return hostler.Invalid("template", "has more than %d steps with the flows that it runs",
				"连同所运行的流程超过 %d 个步骤", hostler.MaxSteps)
		}
		s := &runStep{
			Spec: flow.Spec{Step: step, Within: within}, path: fmt.Sprintf("%ssteps[%d]", path, i), values: values,
			target: flow.TargetOf(t.Steps, i), narrow: narrow,
		}
		if s.ID = full(step.ID); step.Undoes != "" {
			s.Undoes = full(step.Undoes)
		} else {
			ids := make([]string, len(needs[i]))
			for k, need := range needs[i] {
				ids[k] = full(t.Steps[need].ID)
			}
			s.Needs = &ids
		}
		n.steps = append(n.steps, s)
		if step.Flow != nil {
			if err := n.expandFlow(s); err != nil {
				return err
			}
		}
		n.addParts(s)
	}
	return nil
}

// expandFlow adds the steps of the template that a step runs.
func (n *newRun) expandFlow(s *runStep) error {
	if len(n.within) >= hostler.MaxFlowDepth {
		return hostler.Invalid(s.path+".flow", "nests deeper than %d templates", "嵌套超过 %d 层模板", hostler.MaxFlowDepth)
	}
	row, err := n.scope.template(s.Flow.Template, s.Flow.Version)
	if err == nil && slices.Contains(n.within, row.Name) {
		err = hostler.Invalid("template", "runs itself", "运行了自身")
	}
	if err == nil && !row.RetiredAt.IsZero() {
		err = errRetired(row)
	}
	if err != nil {
		return n.fault(s.path+".flow", err)
	}
	var t hostler.Template
	if err := json.Unmarshal([]byte(row.Spec), &t); err != nil {
		return fmt.Errorf("decode a template: %w", err)
	}
	given, faults := flow.Render(s.Flow.Params, s.path+".flow.params", s.values)
	n.faults = append(n.faults, faults...)
	params, err := flow.Params(t.Param, given)
	if err != nil {
		return n.fault(s.path+".flow", err)
	}
	s.Flow = &hostler.FlowStep{Template: row.Name, Version: row.Version, Params: params}
	values := flow.Values{"params": flow.ParamValues(params), "run": s.values["run"]}
	narrow := s.narrow
	if s.Target != nil {
		narrow = append(slices.Clone(narrow), s.Target)
	}
	n.within = append(n.within, row.Name)
	err = n.expand(&t, s.ID, s.path+".flow.", values, narrow)
	n.within = n.within[:len(n.within)-1]
	return err
}

// addParts adds the gate and the probe of a step.
func (n *newRun) addParts(owner *runStep) {
	add := func(name, path string, p *hostler.Probe) *runStep {
		s := &runStep{
			Spec: flow.Spec{Within: owner.Within, Step: hostler.Step{
				ID: owner.ID + "." + name, Needs: &[]string{}, Action: p.Action, Args: p.Args, Target: p.Target,
				Timeout: p.Timeout, Retry: p.Retry, Queue: owner.Queue, Priority: owner.Priority,
			}},
			path: owner.path + path, values: owner.values, target: p.Target,
		}
		n.steps = append(n.steps, s)
		return s
	}
	if owner.Rollout != nil && owner.Rollout.Gate != nil {
		add("gate", ".rollout.gate", owner.Rollout.Gate).GateOf = owner.ID
	}
	if owner.Verify != nil {
		s := add("verify", ".verify", owner.Verify)
		s.ProbeOf = owner.ID
		// The unknown job holds the lane of its host.
		s.Lane, s.OnLost = hostler.LaneNone, hostler.OnLostRetry
		s.Rollout = &hostler.Rollout{MaxFailures: hostler.Amount{N: 100, Percent: true}}
	}
}

// follow lets a step work on the hosts of the step that it undoes or is a part of. It
// reports whether it does.
func (n *newRun) follow(s *runStep) (bool, error) {
	id := s.PartOf()
	if id == "" {
		id = s.Undoes
	}
	if id == "" || s.Target != nil {
		return false, nil
	}
	at := slices.IndexFunc(n.steps, func(o *runStep) bool { return o.ID == id })
	act, known := n.app.cfg.Actions.Lookup(s.Action)
	owner := n.steps[at]
	if owner.jobs == nil && owner.Action != "" || !known {
		return false, nil // it is at fault itself
	}
	onHosts := owner.jobs != nil && owner.jobs.onAssets
	if s.ProbeOf != "" && onHosts != (act.Asset != action.AssetNever) && (onHosts || act.Asset == action.AssetRequired) {
		return false, hostler.Invalid("action", "must work on the hosts of the step, if that does", "须与步骤一样作用于主机")
	}
	if !onHosts || act.Asset == action.AssetNever {
		return false, nil
	}
	s.Follows, s.row.HostSet, s.row.Total = true, owner.row.HostSet, owner.row.Total
	return true, nil
}
