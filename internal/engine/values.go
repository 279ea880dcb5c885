package engine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
)

// This file finds the values that conditions, texts and args of steps look up.

const (
	// mostOutputs is how many hosts a step may have whose outputs are looked up all together.
	mostOutputs = 1000
	// mostOutputBytes bounds these outputs.
	mostOutputBytes = 256 << 10
)

// valuesOf is what a step sees at a state of the run: parameters and steps of the template
// that it is from, with the outputs that it looks up.
func (a *advance) valuesOf(r *flow.Run, i int) (flow.Values, error) {
	within := a.specs[i].Within
	params, steps := json.RawMessage(a.row.Params), map[string]any{}
	for k := range a.specs {
		if a.specs[k].ID == within {
			params = a.specs[k].Flow.Params
		}
		if a.specs[k].Within == within {
			steps[shortID(a.specs[k].ID, within)] = flow.StepView(&r.Steps[k])
		}
	}
	for _, id := range flow.OutputsUsed(&a.specs[i].Step) {
		view, ok := steps[id].(map[string]any)
		k := a.find(id, within)
		if !ok || k < 0 {
			continue
		}
		if err := a.addOutputs(view, &a.steps[k]); err != nil {
			return nil, err
		}
	}
	return flow.Values{
		"params": flow.ParamValues(params), "steps": steps,
		"run": flow.RunView(a.row.ID, a.row.RequesterName, cmp.Or(r.Stop, hostler.RunRunning)),
	}, nil
}

// shortID is the id that a step has in its template.
func shortID(id, within string) string {
	return strings.TrimPrefix(id, within+".")
}

// find returns the step that another one of the same template calls by an id; -1: none.
func (a *advance) find(id, within string) int {
	for k := range a.specs {
		if a.specs[k].Within == within && shortID(a.specs[k].ID, within) == id {
			return k
		}
	}
	return -1
}

// addOutputs adds the outputs of a step to what others see of it: those of all hosts, and
// those of the only one.
func (a *advance) addOutputs(view map[string]any, row *store.RunStepRow) error {
	all, err := a.AllOutputs(row.ID, mostOutputs+1)
	if err != nil {
		return err
	}
	each, size := map[string]any{}, 0
	for _, o := range all {
		if size += len(o.JSON) + len(o.Host); size > mostOutputBytes || len(all) > mostOutputs {
			return nil // a look-up finds no value
		}
		for name, v := range flow.ParamValues(json.RawMessage(o.JSON)) {
			list, _ := each[name].([]any)
			each[name] = append(list, map[string]any{"host": o.Host, "value": v})
		}
	}
	if view["each"] = each; row.Total == 1 && len(all) == 1 {
		view["outputs"] = flow.ParamValues(json.RawMessage(all[0].JSON))
	}
	return nil
}

// render returns the args of a step for each of its hosts, and why a host cannot have any.
func (a *advance) render(
	next *flow.Run, row *store.RunStepRow, jobs *store.StepJobs, hosts []store.RunHost,
) (args []json.RawMessage, refused []*hostler.Text, err error) {
	args, refused = make([]json.RawMessage, len(hosts)), make([]*hostler.Text, len(hosts))
	spec := &a.specs[row.N]
	if !spec.Late {
		for i := range args {
			args[i] = jobs.Args
		}
		return args, refused, nil
	}
	values, err := a.valuesOf(next, row.N)
	if err != nil {
		return nil, nil, err
	}
	own, err := a.outputsByHost(spec, hosts)
	if err != nil {
		return nil, nil, err
	}
	steps, _ := values["steps"].(map[string]any)
	for i, h := range hosts {
		for id, outputs := range own[h.ID] {
			if view, ok := steps[id].(map[string]any); ok {
				view["outputs"] = outputs
			}
		}
		rendered, faults := flow.Render(jobs.Args, "args", values)
		if len(faults) > 0 {
			text := hostler.Textf("%s: %s", "%s：%s", faults[0].Path, faults[0].Text.EN)
			text.ZH = fmt.Sprintf("%s：%s", faults[0].Path, faults[0].Text.ZH)
			refused[i] = &text
			continue
		}
		args[i] = rendered
	}
	return args, refused, a.checkRendered(row, jobs, args, refused)
}

// outputsByHost returns the outputs that a step looks up, for each of its hosts, by the
// steps that they are from. A step with several hosts has none for a host that is not among
// them; of one host, all others see its outputs.
func (a *advance) outputsByHost(spec *flow.Spec, hosts []store.RunHost) (map[hostler.AssetID]map[string]any, error) {
	ids := make([]hostler.AssetID, 0, len(hosts))
	out := make(map[hostler.AssetID]map[string]any, len(hosts))
	for _, h := range hosts {
		ids = append(ids, h.ID)
		out[h.ID] = map[string]any{}
	}
	for _, id := range flow.OutputsUsed(&spec.Step) {
		k := a.find(id, spec.Within)
		if k < 0 || a.steps[k].Total == 1 {
			continue
		}
		found, err := a.OutputsOf(a.steps[k].ID, ids)
		if err != nil {
			return nil, err
		}
		for h := range out {
			out[h][id] = map[string]any{}
		}
		for _, o := range found {
			out[o.Asset][id] = flow.ParamValues(json.RawMessage(o.JSON))
		}
	}
	return out, nil
}

// checkRendered refuses args that only now are complete, as a request for the job would be.
func (a *advance) checkRendered(
	row *store.RunStepRow, jobs *store.StepJobs, args []json.RawMessage, refused []*hostler.Text,
) error {
	if a.check == nil {
		return nil
	}
	faults, err := a.check(a.Tx, a.row, jobs, args)
	if err != nil {
		return fmt.Errorf("check the jobs of step %s: %w", row.Step, err)
	}
	for i, f := range faults {
		if refused[i] == nil {
			refused[i] = f
		}
	}
	return nil
}
