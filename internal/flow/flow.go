// Package flow holds the rules of flows: documents, parameters, waves, and what a run
// does next. It is pure: no store, no clock.
//
// # Model
//
// A document (YAML or JSON) describes a template or a task. [Parse] reads it strictly,
// [Document.Check] finds what is wrong with it, each fault with its path, line and column.
//
//	document ─ Parse, Check ─▶ hostler.Template ─ Params, Render ─▶ steps of a run
//
// A run is the state of its steps: counters, never jobs. [Next] is the transition
// function: from the state of a run and the time it computes the next state and the
// effects that lead there, such as jobs to create or an approval to ask for.
//
//	run state ─ Next ─▶ run state', effects
//
// # Invariants
//
//	NothingBeforeItsNeeds  a step starts after all steps that it needs have ended
//	NothingLost            every step ends in a terminal state, each host of a wave has one job
//	Ends                   a run whose jobs, approvals and timers end, ends
//	Budget                 no job of a wave starts once the failure budget is used up
//
// # Values
//
// ${{ }} is a look-up of a value, never a computation, and not allowed where a shell would
// read it. A condition (when:) is an expression without side effects and without loops.
package flow

import "hostler.dev/hostler"

// Place is a position in a document, counted from 1.
type Place struct{ Line, Column int }

// Document is one parsed document. One of Template and Task is set.
type Document struct {
	Template *hostler.Template
	Task     *hostler.TaskSpec
	Alert    *hostler.AlertRuleSpec
	// Source is the text of the document.
	Source string
	places map[string]Place
}

// Name returns the name that the document gives to its object.
func (d *Document) Name() string {
	if d.Template != nil {
		return d.Template.Name
	}
	if d.Alert != nil {
		return d.Alert.Name
	}
	return d.Task.Name
}

// Locate adds lines and columns to faults whose paths are those of the document.
func (d *Document) Locate(faults []hostler.FieldError) []hostler.FieldError {
	for i := range faults {
		if faults[i].Line != 0 {
			continue
		}
		p := d.placeOf(faults[i].Path)
		faults[i].Line, faults[i].Column = p.Line, p.Column
	}
	return faults
}

// placeOf returns where the value at path is; if there is none, where the value is that
// should contain it.
func (d *Document) placeOf(path string) Place {
	for {
		if p, ok := d.places[path]; ok {
			return p
		}
		cut := len(path) - 1
		for cut > 0 && path[cut] != '.' && path[cut] != '[' {
			cut--
		}
		if cut <= 0 {
			return d.places[""]
		}
		path = path[:cut]
	}
}
