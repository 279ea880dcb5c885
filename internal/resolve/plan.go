package resolve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
)

// planStep is a step in the text of a plan.
type planStep struct {
	Step    json.RawMessage `json:"step"`
	Jobs    json.RawMessage `json:"jobs,omitempty"`
	Hosts   int             `json:"hosts,omitempty"`
	HostSet int             `json:"host_set,omitempty"`
	Waves   []int           `json:"waves,omitempty"`
	// Inputs are the outputs that the step looks up, by the steps that leave them.
	Inputs map[string]planInput `json:"inputs,omitempty"`
}

// planInput is what a step has left, or the types of what it will leave.
type planInput struct {
	ToCome map[string]hostler.Output `json:"to_come,omitempty"`
	Values []json.RawMessage         `json:"values,omitempty"` // of the first hosts
	SHA256 string                    `json:"sha256,omitempty"` // of the values of all hosts
}

// shownWaves is how many waves of a step a plan lists.
const shownWaves = 20

// Plan computes what an approval approves at this moment: the steps behind it, as they were
// rendered, and their hosts, by where their jobs will go. It reads hosts in parts, and
// holds no transaction meanwhile: what changes while it reads gives another digest next
// time, and other bindings than those that leases are compared with.
func (r *Resolver) Plan(ctx context.Context, a store.ApprovalRow) (*store.ApprovalPlan, error) {
	var row *store.RunRow
	var steps []store.RunStepRow
	err := r.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if row, err = tx.Run(a.Project, a.Run); err != nil || row == nil {
			return err
		}
		steps, err = tx.RunSteps(a.Run)
		return err
	})
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, hostler.NotFound(hostler.Text{EN: "run", ZH: "执行"}, a.Run.String())
	}
	behind, err := stepsBehind(steps, a.Step)
	if err != nil {
		return nil, err
	}
	inputs, err := r.inputs(ctx, steps, a.Step)
	if err != nil {
		return nil, err
	}
	p := &store.ApprovalPlan{}
	if p.Text, err = planText(row, behind, inputs); err != nil {
		return nil, err
	}
	hash := sha256.New()
	hash.Write(p.Text)
	seen := map[int]bool{}
	for _, s := range behind {
		if s.HostSet == 0 || seen[s.HostSet] {
			continue
		}
		seen[s.HostSet] = true
		if err := r.addHosts(ctx, p, row, s, hash); err != nil {
			return nil, err
		}
	}
	p.Digest = hex.EncodeToString(hash.Sum(nil))
	return p, nil
}

// partSize is how many hosts are read at once.
const partSize = 500

// addHosts adds the hosts of a step to the plan and to its hash.
func (r *Resolver) addHosts(
	ctx context.Context, p *store.ApprovalPlan, row *store.RunRow, s store.RunStepRow, hash io.Writer,
) error {
	for from := int64(0); from < int64(s.Total); from += partSize {
		part := store.PlanPart{Set: s.HostSet, From: from}
		err := r.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			part.Hosts, err = tx.RunHosts(row.ID, s.HostSet, from, partSize)
			return err
		})
		if err != nil {
			return err
		}
		ids := make([]hostler.AssetID, len(part.Hosts))
		for i, h := range part.Hosts {
			ids[i] = h.ID
		}
		bindings, err := r.Bindings(ctx, row.Project, ids)
		if err != nil {
			return err
		}
		for i := range part.Hosts {
			h := &part.Hosts[i]
			h.Bind = bindings[h.ID]
			fmt.Fprintf(hash, "\n%d %v %s", s.HostSet, h.ID, h.Bind)
		}
		p.Parts = append(p.Parts, part)
	}
	return nil
}

// stepsBehind returns the steps that run after another, in their order.
func stepsBehind(rows []store.RunStepRow, of hostler.RunStepID) ([]store.RunStepRow, error) {
	specs := make([]flow.Spec, len(rows))
	for i := range rows {
		if err := json.Unmarshal([]byte(rows[i].Spec), &specs[i]); err != nil {
			return nil, fmt.Errorf("decode step %d: %w", i, err)
		}
	}
	first := make([]bool, len(rows))
	for i := range rows {
		first[i] = rows[i].ID == of
	}
	behind := flow.Behind(flow.Graph(specs), first)
	var out []store.RunStepRow
	for i := range rows {
		if behind[i] && !first[i] {
			out = append(out, rows[i])
		}
	}
	return out, nil
}

// shownInputs is how many values of a step a plan lists; all of them are hashed.
const shownInputs = 20

// inputs returns what steps with args to fill in get, by their ids: the outputs of steps
// before the approval, and the types of those that come later.
func (r *Resolver) inputs(
	ctx context.Context, rows []store.RunStepRow, approval hostler.RunStepID,
) (map[string]map[string]planInput, error) {
	specs := make([]flow.Spec, len(rows))
	at, byID := 0, map[string]int{}
	for i := range rows {
		if err := json.Unmarshal([]byte(rows[i].Spec), &specs[i]); err != nil {
			return nil, fmt.Errorf("decode step %d: %w", i, err)
		}
		if byID[specs[i].ID] = i; rows[i].ID == approval {
			at = i
		}
	}
	graph, out := flow.Graph(specs), map[string]map[string]planInput{}
	for i := range specs {
		for _, short := range flow.OutputsUsed(&specs[i].Step) {
			id := short
			if specs[i].Within != "" {
				id = specs[i].Within + "." + short
			}
			source, ok := byID[id]
			if !ok {
				continue
			}
			first := make([]bool, len(specs))
			first[source] = true
			in := planInput{ToCome: specs[source].Outputs}
			if source != at && flow.Behind(graph, first)[at] {
				var err error
				if in, err = r.knownInput(ctx, rows[source].ID); err != nil {
					return nil, err
				}
			}
			if out[specs[i].ID] == nil {
				out[specs[i].ID] = map[string]planInput{}
			}
			out[specs[i].ID][short] = in
		}
	}
	return out, nil
}

// knownInput describes the outputs of a step that has ended.
func (r *Resolver) knownInput(ctx context.Context, step hostler.RunStepID) (in planInput, err error) {
	hash := sha256.New()
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		in.Values = nil
		hash.Reset()
		return tx.EachOutput(step, func(o *store.Output) error {
			fmt.Fprintf(hash, "%d %v %s\n", o.Seq, o.Asset, o.JSON)
			if len(in.Values) < shownInputs {
				b, err := json.Marshal(map[string]any{"host": o.Host, "values": json.RawMessage(o.JSON)})
				if err != nil {
					return fmt.Errorf("encode outputs: %w", err)
				}
				in.Values = append(in.Values, b)
			}
			return nil
		})
	})
	in.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return in, err
}

func planText(
	row *store.RunRow, steps []store.RunStepRow, inputs map[string]map[string]planInput,
) ([]byte, error) {
	list := make([]planStep, len(steps))
	for i, s := range steps {
		var spec hostler.Step
		if err := json.Unmarshal([]byte(s.Spec), &spec); err != nil {
			return nil, fmt.Errorf("decode step %s: %w", s.Step, err)
		}
		list[i] = planStep{Step: json.RawMessage(s.Spec), Jobs: json.RawMessage(s.Jobs), HostSet: s.HostSet, Inputs: inputs[s.Step]}
		if s.Jobs != "" {
			list[i].Hosts, list[i].Waves = s.Total, flow.Waves(spec.Rollout, s.Total, shownWaves)
		}
	}
	return flow.Canonical(map[string]any{
		"run": row.ID, "template": row.Template, "version": row.Version,
		"params": json.RawMessage(row.Params), "steps": list,
	})
}
