package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
)

// This file reads what jobs of runs have left: outputs for later steps, and what probes
// found out. Both are read outside of the transaction that advances the run, in parts.

const (
	collectAtOnce = 50
	// stdoutLines and stdoutBytes bound what is read of the output of a job.
	stdoutLines = 2000
	stdoutBytes = 64 << 10
)

// gather stores outputs of jobs that have ended, and decides jobs that probes looked at. It
// reports whether anything changed.
func (e *Engine) gather(ctx context.Context, id hostler.RunID) (changed bool, err error) {
	a := &advance{}
	err = e.store.View(ctx, func(tx *store.Tx) (err error) {
		a.Tx = tx
		if a.row, err = tx.RunByID(id); err != nil || a.row == nil {
			return err
		}
		if a.steps, err = tx.RunSteps(id); err != nil {
			return err
		}
		_, err = a.state()
		return err
	})
	if err != nil || a.row == nil {
		return false, err
	}
	for i := range a.steps {
		s, spec := &a.steps[i], &a.specs[i]
		if s.State.Ended() || s.State == hostler.StepPending {
			continue
		}
		if len(spec.Outputs) > 0 && s.Started == s.Succeeded+s.Failed+s.Cancelled {
			did, err := e.collect(ctx, a.row, s, spec)
			if changed = changed || did; err != nil {
				return changed, err
			}
		}
		if probe := a.partOf(i, func(p *flow.Spec) string { return p.ProbeOf }); probe != nil && s.Unknown > 0 {
			did, err := e.settle(ctx, a.row, s, probe)
			if changed = changed || did; err != nil {
				return changed, err
			}
		}
	}
	return changed, nil
}

// partOf returns the step that is a part of another; nil when there is none.
func (a *advance) partOf(i int, of func(*flow.Spec) string) *store.RunStepRow {
	k := slices.IndexFunc(a.specs, func(s flow.Spec) bool { return of(&s) == a.specs[i].ID })
	if k < 0 {
		return nil
	}
	return &a.steps[k]
}

// collect stores outputs of a part of the hosts of a step. A host whose outputs are not as
// declared counts as failed.
func (e *Engine) collect(ctx context.Context, run *store.RunRow, s *store.RunStepRow, spec *flow.Spec) (bool, error) {
	var hosts []store.JobHost
	jobs := map[hostler.JobID]hostler.Job{}
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		if hosts, err = tx.UncollectedHosts(s.ID, collectAtOnce); err != nil || len(hosts) == 0 {
			return err
		}
		ids := make([]hostler.JobID, len(hosts))
		for i, h := range hosts {
			ids[i] = h.Job
		}
		all, err := tx.Jobs(run.Project, ids)
		for _, j := range all {
			jobs[j.ID] = j
		}
		return err
	})
	if err != nil || len(hosts) == 0 {
		return false, err
	}
	var rows []store.Output
	failed := map[int64]hostler.Text{}
	for _, h := range hosts {
		job, ok := jobs[h.Job]
		if !ok {
			failed[h.Seq] = hostler.Text{EN: "its job was deleted before its outputs were read", ZH: "读取输出前作业已被删除"}
			continue
		}
		stdout, err := e.stdoutOf(ctx, &job, spec.Outputs)
		if err != nil {
			return false, err
		}
		values, fault := flow.Extract(spec.Outputs, job.Result, stdout)
		if fault != nil {
			failed[h.Seq] = *fault
			continue
		}
		rows = append(rows, store.Output{
			Step: s.ID, Seq: h.Seq, Round: h.Round, Asset: job.Asset, Host: job.AssetName, JSON: string(values),
		})
	}
	err = e.store.InTx(ctx, func(tx *store.Tx) error {
		if r, err := tx.LockRun(run.ID); err != nil || r == nil {
			return err
		}
		if err := tx.PutOutputs(rows); err != nil {
			return err
		}
		if err := tx.FailHosts(s.ID, failed); err != nil {
			return err
		}
		return tx.WakeRuns(run.ID)
	})
	return true, err
}

// stdoutOf returns what the last attempt of a job wrote to its standard output, if an output
// is made of it.
func (e *Engine) stdoutOf(ctx context.Context, job *hostler.Job, outputs map[string]hostler.Output) (string, error) {
	wanted := false
	for _, o := range outputs {
		wanted = wanted || o.From == flow.FromStdout
	}
	if !wanted {
		return "", nil
	}
	lines, err := e.store.TailLog(ctx, job.ID, stdoutLines)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, l := range lines {
		if l.Stream == hostler.StreamStdout && l.Attempt == job.Attempt && b.Len() < stdoutBytes {
			b.WriteString(l.Text)
		}
	}
	return b.String(), nil
}

// undecided are the kinds of error of a probe that tell nothing about the job.
var undecided = []string{
	hostler.ErrKindTimeout, hostler.ErrKindCancelled, hostler.ErrKindExpired, hostler.ErrKindWorkerLost,
	hostler.ErrKindUnreachable, hostler.ErrKindRefused, hostler.ErrKindConnTimeout, hostler.ErrKindAuth,
	hostler.ErrKindHostKey, hostler.ErrKindConnLost, hostler.ErrKindUnverified, hostler.ErrKindAssetMissing,
	hostler.ErrKindNoAction, hostler.ErrKindBadArgs, hostler.ErrKindCredential, hostler.ErrKindInternal,
	hostler.ErrKindShortage, hostler.ErrKindResolved, hostler.ErrKindChanged, hostler.ErrKindArtefact,
}

// settle decides jobs of a step whose outcome is unknown by what the probe has found: it
// succeeded where the work was done, and failed where it was not. Where it could not look,
// a person must decide.
func (e *Engine) settle(ctx context.Context, run *store.RunRow, s, probe *store.RunStepRow) (bool, error) {
	var found []store.Probed
	jobs := map[hostler.JobID]hostler.Job{}
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		if found, err = tx.ProbedHosts(s.ID, probe.ID, collectAtOnce); err != nil || len(found) == 0 {
			return err
		}
		ids := make([]hostler.JobID, 0, len(found))
		for _, f := range found {
			if f.Probe != 0 {
				ids = append(ids, f.Probe)
			}
		}
		all, err := tx.Jobs(run.Project, ids)
		for _, j := range all {
			jobs[j.ID] = j
		}
		return err
	})
	if err != nil {
		return false, err
	}
	for _, f := range found {
		if err := e.decideProbed(ctx, run, probe, f, jobs[f.Probe]); err != nil {
			return true, err
		}
	}
	return len(found) > 0, nil
}

// decideProbed decides one job in one transaction, with the evidence.
func (e *Engine) decideProbed(
	ctx context.Context, run *store.RunRow, probe *store.RunStepRow, f store.Probed, job hostler.Job,
) error {
	to, why := hostler.State(""), ""
	switch {
	case job.State == hostler.StateSucceeded:
		to, why = hostler.StateSucceeded, string(job.Result)
	case job.State == hostler.StateFailed && job.Error != nil && !slices.Contains(undecided, job.Error.Kind):
		to, why = hostler.StateFailed, job.Error.Text.EN
	}
	note := hostler.Textf("%s could not tell; a person must decide: hostler job resolve", "%s 无法判断，需人工确认：hostler job resolve", f.Probe)
	err := e.store.InTx(ctx, func(tx *store.Tx) error {
		if to == "" {
			return tx.SetNote(probe.ID, f.Seq, note)
		}
		evidence := fmt.Sprintf("%v: %.300s", f.Probe, strings.ToValidUTF8(why, "?"))
		if err := tx.ResolveJob(f.Job, to, probe.Step, evidence); err != nil {
			return err
		}
		detail, err := json.Marshal(map[string]any{"run": run.ID, "state": to, "probe": f.Probe, "step": probe.Step})
		if err != nil {
			return fmt.Errorf("encode a detail: %w", err)
		}
		return tx.AppendAudit(run.Project, hostler.Audit{
			User: run.RequesterName, UserID: run.Requester, Verb: "job.verify", Object: f.Job.String(), Detail: detail,
		})
	})
	if hostler.CodeOf(err) == hostler.CodeConflict {
		return nil // a person was faster
	}
	return err
}
