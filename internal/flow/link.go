package flow

import (
	"slices"

	"hostler.dev/hostler"
)

// This file links the steps of a run: which needs which, which is a part of which.

// Spec is a step of a run as it is stored: a step of a template, and where it comes from.
// Steps of a run name what they need in full.
type Spec struct {
	hostler.Step
	Within  string `json:"within,omitempty"`   // the flow step that brought it
	GateOf  string `json:"gate_of,omitempty"`  // the step between whose waves it runs
	ProbeOf string `json:"probe_of,omitempty"` // the step whose unknown jobs it decides
	// Late tells that its args are rendered when its jobs are created, because they look up
	// outputs.
	Late bool `json:"late,omitempty"`
	// Follows tells that its hosts are some of those of the step that it is a part of, or
	// undoes.
	Follows bool `json:"follows,omitempty"`
}

// PartOf returns the step that this one is the gate or the probe of; "" for none.
func (s *Spec) PartOf() string {
	if s.GateOf != "" {
		return s.GateOf
	}
	return s.ProbeOf
}

// Link returns the steps of a run that have not started.
func Link(specs []Spec) []Step {
	at := map[string]int{}
	plain := make([]hostler.Step, len(specs))
	for i := range specs {
		at[specs[i].ID], plain[i] = i+1, specs[i].Step
	}
	needs := Needs(plain)
	order, _ := sortSteps(needs)
	out := make([]Step, len(specs))
	for rank, i := range order {
		out[i].rank = rank
	}
	for i := range specs {
		s := &out[i]
		s.Spec, s.Needs, s.State = &specs[i].Step, needs[i], hostler.StepPending
		s.In, s.PartOf, s.Undoes = at[specs[i].Within], at[specs[i].PartOf()], at[specs[i].Undoes]
		switch {
		case s.PartOf == 0:
		case specs[i].GateOf != "":
			out[s.PartOf-1].Gate = i + 1
		default:
			out[s.PartOf-1].Probe = i + 1
		}
	}
	return out
}

// Graph returns for each step of a run those before it: what it needs itself, and what the
// steps need that it is a part of; for a flow step those within it; for one that undoes
// another all that a rollback may follow. See [Behind].
func Graph(specs []Spec) [][]int {
	steps := Link(specs)
	out := make([][]int, len(steps))
	for i := range steps {
		out[i] = slices.Clone(steps[i].Needs)
		if owner := steps[i].PartOf; owner > 0 {
			out[i] = append(append(out[i], steps[owner-1].Needs...), owner-1)
		}
		for p := steps[i].In; p > 0; p = steps[p-1].In {
			out[i] = append(out[i], steps[p-1].Needs...)
			out[p-1] = append(out[p-1], i)
		}
		if steps[i].Undoes == 0 {
			continue
		}
		for j := range steps {
			if steps[j].In == steps[i].In && steps[j].Ordinary() {
				out[i] = append(out[i], j)
			}
		}
	}
	return out
}

// Approved returns the steps that start only after other people have approved: those behind
// an approval that neither its requester nor time can grant, and that no condition skips.
func Approved(specs []Spec) []bool {
	steps := Link(specs)
	asks := make([]bool, len(steps))
	needs := make([][]int, len(steps))
	for i := range steps {
		a := steps[i].Spec.Approval
		asks[i] = a != nil && !a.Self && a.OnExpiry != hostler.OnExpiryContinue && certain(steps, i)
		needs[i] = slices.Clone(steps[i].Needs)
		for p := steps[i].In; p > 0; p = steps[p-1].In {
			needs[i] = append(needs[i], steps[p-1].Needs...)
			needs[p-1] = append(needs[p-1], i)
		}
		if owner := steps[i].PartOf; owner > 0 {
			needs[i] = append(needs[i], owner-1)
		}
	}
	out := Behind(needs, asks)
	for i := range steps {
		for j := i + 1; j > 0; j = steps[j-1].In {
			if s := &steps[j-1]; s.Spec.Always || s.Undoes > 0 {
				out[i] = false
			}
		}
	}
	return out
}

// certain reports whether what is behind a step starts only after its success.
func certain(steps []Step, i int) bool {
	for j := i + 1; j > 0; j = steps[j-1].In {
		if s := steps[j-1].Spec; s.When != "" || s.OnFailure == hostler.OnFailureContinue {
			return false
		}
	}
	return true
}
