package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
)

// This file starts what follows runs: runs of tasks and schedules, and messages to webhooks.
//
//	a run ends ──▶ its follow-ups are due ──▶ one transaction each: lock, start, done
//
// The engine wakes them in the transaction that ends the run. Any server starts one, with
// the rights that the one who started the run has then. The transaction that starts it
// records that it is done, so that each starts at most once for a run.

const (
	followUpBatch = 50
	// followUpRetry is how soon one is looked at again that could not start for a while, and
	// followUpLimit how long.
	followUpRetry = 5 * time.Second
	followUpLimit = 24 * time.Hour
	// maxDepth is how many runs may follow each other. It ends chains that go in a circle;
	// [Limits.Chain] ends those where several follow each.
	maxDepth = 10
)

// checkFollowUps checks what follows a run when it is asked for. Parameters that look up the
// result are checked when it starts.
func (a *App) checkFollowUps(ctx context.Context, g grant, path string, then []hostler.FollowUp) error {
	if len(then) == 0 {
		return nil
	}
	var fields check.Fields
	flow.CheckFollowUps(&fields, path, then)
	if err := fields.Err(); err != nil {
		return err
	}
	g.unattended = true // as it will start
	for i, u := range then {
		in := check.Item(path, i)
		var task *store.TaskRow
		var sch *store.ScheduleRow
		_, err := view(ctx, g, func(s *scope) (none struct{}, err error) {
			switch {
			case u.Task != "":
				task, err = s.task(u.Task)
			case u.Schedule != "":
				sch, err = s.findSchedule(s.Tx.Schedule, u.Schedule)
			default:
				_, err = s.followWebhook(u.Webhook)
			}
			return none, err
		})
		if err == nil && len(flow.LookupsIn(u.Params, in)) == 0 {
			err = a.checkFollowing(ctx, g, u, task, sch)
		}
		if e, ok := errors.AsType[*hostler.Error](err); ok && e.Code != hostler.CodeInternal && !e.Code.Temporary() {
			return under(e, in)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkFollowing checks a run that is to follow, as if it started now.
func (a *App) checkFollowing(
	ctx context.Context, g grant, u hostler.FollowUp, task *store.TaskRow, sch *store.ScheduleRow,
) error {
	if task == nil && sch == nil {
		return nil
	}
	in, p, err := a.following(u, u.Params, sch)
	if err != nil {
		return err
	}
	if p != nil {
		return p.judge(a.commands(ctx, g, nil)).refusal
	}
	in.Then = nil // its own follow-ups are checked when it starts
	_, err = judgeRun(ctx, g, *in, 0)
	return err
}

// under puts the fields of an error below a path.
func under(e *hostler.Error, path string) error {
	cp := *e
	cp.Fields = nil
	if len(e.Fields) == 0 {
		cp.Fields = []hostler.FieldError{{Path: path, Text: e.Text}}
	}
	for _, f := range e.Fields {
		cp.Fields = append(cp.Fields, hostler.FieldError{Path: path + "." + f.Path, Text: f.Text})
	}
	return &cp
}

// following is the run that a follow-up starts: of a task, or of a schedule.
func (a *App) following(
	u hostler.FollowUp, params json.RawMessage, sch *store.ScheduleRow,
) (*hostler.RunRequest, *plan, error) {
	switch {
	case sch == nil:
		return &hostler.RunRequest{Task: u.Task, Params: params}, nil, nil
	case sch.Task.IsFlow():
		in, err := flowOf(&sch.Schedule, hostler.ScheduleRunInput{Params: params})
		return &in, nil, err
	}
	p, err := a.planSchedule(sch.Schedule, hostler.ScheduleRunInput{Args: params}, "")
	return nil, p, err
}

func (s *scope) followWebhook(name string) (*store.WebhookRow, error) {
	if !s.may(auth.SendDelivery) {
		return nil, refusal(s.caller, auth.SendDelivery)
	}
	row, err := s.webhook(s.Tx.Webhook, name)
	if err == nil && !row.Enabled {
		err = hostler.Errorf(hostler.CodeConflict, "the webhook %s is disabled", "Webhook %s 已停用", row.Name)
	}
	return row, err
}

// insertFollowUps stores what follows a run.
func (s *scope) insertFollowUps(run hostler.RunID, then []hostler.FollowUp) error {
	if len(then) == 0 {
		return nil
	}
	rows := make([]store.FollowUpRow, len(then))
	for i, u := range then {
		u.On = cmp.Or(u.On, hostler.FollowSuccess)
		spec, err := json.Marshal(u)
		if err != nil {
			return fmt.Errorf("encode a follow-up: %w", err)
		}
		rows[i] = store.FollowUpRow{
			Run: run, N: i, Project: s.project, Spec: string(spec), State: hostler.FollowUpWaiting,
			Owner: s.caller.UserID, OwnerName: s.caller.User, OwnerKey: s.caller.Key,
		}
	}
	return s.InsertFollowUps(rows)
}

// followUpsOf lists what follows a run.
func (s *scope) followUpsOf(run hostler.RunID) ([]hostler.RunFollowUp, error) {
	rows, err := s.Tx.FollowUps(run)
	out := make([]hostler.RunFollowUp, len(rows))
	for i := range rows {
		r := &rows[i]
		if err := json.Unmarshal([]byte(r.Spec), &out[i].FollowUp); err != nil {
			return nil, fmt.Errorf("decode a follow-up: %w", err)
		}
		out[i].State, out[i].Run, out[i].Delivery, out[i].Reason = r.State, r.Next, r.Delivery, r.Text()
	}
	return out, err
}

// FollowUps starts some of what follows runs that have ended. It reports whether there may be
// more.
func (a *App) FollowUps(ctx context.Context) (more bool, err error) {
	var rows []store.FollowUpRow
	err = a.work.View(ctx, func(tx *store.Tx) error {
		held, err := tx.Hold()
		if err != nil || held != nil {
			return err // a copy of the data starts nothing by itself
		}
		rows, err = tx.DueFollowUps(followUpBatch)
		return err
	})
	var errs []error
	for _, r := range rows {
		if err := a.followUp(ctx, r); err != nil {
			errs = append(errs, fmt.Errorf("follow run %v: %w", r.Run, err))
			later := a.work.InTx(ctx, func(tx *store.Tx) error {
				f, err := tx.LockFollowUp(r.Run, r.N)
				if err != nil || f == nil {
					return err
				}
				f.DueAt = tx.Now().Add(fireLater)
				return tx.SaveFollowUp(*f, f.Text())
			})
			errs = append(errs, later)
		}
	}
	return len(rows) == followUpBatch, errors.Join(append(errs, err)...)
}

// followUp is one follow-up that is due.
type followUp struct {
	*hostler.FollowUp
	row    store.FollowUpRow
	run    *store.RunRow
	result hostler.RunResult
	hash   string        // of the output
	chain  hostler.RunID // the run that the chain began with
	full   bool          // the chain has as many runs as it may have
	owner  grant
	// what it starts, as it was judged before the transaction
	id       hostler.RunID
	in       *hostler.RunRequest
	plan     *plan
	commands *commandCheck
	refused  error
}

// followUp starts one follow-up, or records why it does not start.
func (a *App) followUp(ctx context.Context, row store.FollowUpRow) error {
	f := &followUp{FollowUp: &hostler.FollowUp{}, row: row}
	if err := json.Unmarshal([]byte(row.Spec), f.FollowUp); err != nil {
		return fmt.Errorf("decode a follow-up: %w", err)
	}
	err := a.work.View(ctx, func(tx *store.Tx) error { return f.read(a, tx) })
	if err != nil {
		return err
	}
	if f.run != nil && f.On == hostler.FollowChange {
		if err := f.hashOutput(ctx, a); err != nil {
			return err
		}
	}
	if f.refused == nil && f.met() {
		f.prepare(ctx, a)
	}
	err = a.work.InGrowingTx(ctx, func(tx *store.Tx) error { return f.decide(tx, nil) })
	failed, ok := errors.AsType[*runError](err)
	if !ok {
		return err
	}
	err = a.work.InTx(ctx, func(tx *store.Tx) error { return f.decide(tx, failed.err) })
	if err == nil {
		a.recordRuleRefusal(ctx, f.owner, failed.err)
	}
	return err
}

// read reads the run that has ended, and who owns what follows.
func (f *followUp) read(a *App, tx *store.Tx) (err error) {
	if f.run, err = tx.RunByID(f.row.Run); err != nil || f.run == nil {
		return err
	}
	projects, err := tx.Projects([]hostler.ProjectID{f.row.Project}, false, "", 1)
	if err != nil || len(projects) == 0 {
		return err
	}
	f.owner, err = a.ownerOf(tx, owner{f.row.Owner, f.row.OwnerName, f.row.OwnerKey, f.row.Project, projects[0].Name})
	if err != nil {
		if hostler.CodeOf(err) == hostler.CodeInternal {
			return err
		}
		f.refused = err
		f.owner = grant{app: a, project: f.row.Project} // its output is compared all the same
	}
	f.chain = cmp.Or(f.run.Chain, f.run.ID)
	n, err := tx.CountChain(f.chain, a.cfg.Limits.Chain)
	if err != nil {
		return err
	}
	f.full = n >= a.cfg.Limits.Chain
	f.result, err = newScope(tx, f.owner).runResult(f.run)
	return err
}

// met reports whether the run ended so that it is followed, but for its output.
func (f *followUp) met() bool {
	if f.run == nil {
		return false
	}
	switch f.On {
	case hostler.FollowSuccess, hostler.FollowChange:
		return f.run.State == hostler.RunSucceeded
	case hostler.FollowFailure:
		return f.run.State == hostler.RunFailed || f.run.State == hostler.RunRejected
	case hostler.FollowEnd:
	}
	return f.run.State.Ended()
}

// prepare judges the run that is to start. What is wrong is in refused.
func (f *followUp) prepare(ctx context.Context, a *App) {
	if f.Webhook != "" {
		return
	}
	f.refused = func() error {
		if f.run.Depth >= maxDepth {
			return hostler.Errorf(hostler.CodeConflict, "%d runs followed each other: does the chain go in a circle?",
				"已连续触发 %d 次执行：是否形成循环？", maxDepth)
		}
		if f.full {
			return hostler.Errorf(hostler.CodeConflict, "%d runs followed %s: does the chain go in a circle?",
				"已有 %d 次执行由 %s 触发：是否形成循环？", a.cfg.Limits.Chain, f.chain)
		}
		params, faults := flow.Render(f.Params, "params", f.values())
		if len(faults) > 0 {
			return hostler.InvalidFields(faults...)
		}
		var sch *store.ScheduleRow
		if f.Schedule != "" {
			var err error
			sch, err = view(ctx, f.owner, func(s *scope) (*store.ScheduleRow, error) {
				return s.findSchedule(s.Tx.Schedule, f.Schedule)
			})
			if err != nil {
				return err
			}
		}
		var err error
		if f.in, f.plan, err = a.following(*f.FollowUp, params, sch); err != nil {
			return err
		}
		if f.plan != nil {
			f.plan.judge(a.commands(ctx, f.owner, nil))
			return f.plan.refusal
		}
		f.id, f.commands, err = a.judgeNewRun(ctx, a.work, f.owner, *f.in)
		return err
	}()
}

// values are what parameters look up.
func (f *followUp) values() flow.Values {
	b, err := json.Marshal(f.result)
	if err != nil {
		return flow.Values{}
	}
	return flow.Values{"run": flow.ParamValues(b)}
}

// decide decides what becomes of a follow-up. failed is why it could not start a moment ago.
func (f *followUp) decide(tx *store.Tx, failed error) error {
	// The run first, as the engine does when it ends and wakes what follows.
	run, err := tx.LockRun(f.row.Run)
	if err != nil {
		return err
	}
	row, err := tx.LockFollowUp(f.row.Run, f.row.N)
	if err != nil || row == nil {
		return err
	}
	if run != nil && f.run != nil && run.State.Ended() && !run.EndedAt.Equal(f.run.EndedAt) {
		return nil // it was restarted and has ended again: the row is due for that end
	}
	if failed == nil {
		failed = f.refused
	}
	row.DueAt = time.Time{}
	switch met, err := f.metNow(tx, run); {
	case err != nil:
		return err
	case !met:
		return tx.SaveFollowUp(*row, nil) // the run may be restarted, and end in another way
	case hostler.CodeOf(failed) == hostler.CodeInternal:
		return failed
	case failed != nil && hostler.CodeOf(failed).Temporary() && tx.Now().Sub(f.run.EndedAt) < followUpLimit:
		row.DueAt = tx.Now().Add(followUpRetry)
		return tx.SaveFollowUp(*row, textOf(failed))
	case failed != nil:
		row.State = hostler.FollowUpRefused
		tx.Emit(row.Project, hostler.EventFollowUpRefused, hostler.ObjectEvent{Object: row.Run.String(), By: row.OwnerName})
		return tx.SaveFollowUp(*row, textOf(failed))
	}
	if err := f.start(newScope(tx, f.owner), row); err != nil {
		return &runError{err: err, owner: f.owner}
	}
	row.State = hostler.FollowUpDone
	return tx.SaveFollowUp(*row, nil)
}

// metNow is met, for the locked run: it may have been restarted.
func (f *followUp) metNow(tx *store.Tx, run *store.RunRow) (bool, error) {
	if run == nil || f.run == nil || !run.EndedAt.Equal(f.run.EndedAt) || !f.met() {
		return false, nil
	}
	if f.On != hostler.FollowChange {
		return true, nil
	}
	return tx.OutputChanged(run, f.hash)
}

// start starts what follows.
func (f *followUp) start(s *scope, row *store.FollowUpRow) error {
	why := cause{origin: "run:" + f.row.Run.String(), depth: f.run.Depth + 1, chain: f.chain}
	if f.Webhook != "" {
		hook, err := s.followWebhook(f.Webhook)
		if err != nil {
			return err
		}
		ids, err := s.QueueDeliveries([]store.NewDelivery{{Webhook: hook.ID, Project: hook.ProjectID, Event: &store.Event{
			At: s.Now(), Type: hostler.EventType("run." + string(f.run.State)), Project: s.project,
			Object: hostler.ObjectEvent{Object: f.run.ID.String(), By: f.run.RequesterName, Result: &f.result},
		}}})
		if err != nil {
			return err
		}
		row.Delivery = ids[0]
		return s.audit("run.follow", f.run.ID.String(), map[string]any{"webhook": hook.Name, "delivery": ids[0]})
	}
	var sch *store.ScheduleRow
	var err error
	if f.Schedule != "" {
		if sch, err = s.findSchedule(s.Tx.Schedule, f.Schedule); err != nil {
			return err
		}
		why.calendar = sch.Calendar
	}
	var created hostler.JobsCreated
	if f.plan != nil {
		f.plan.cause = why
		created, err = s.runPlan(f.plan)
	} else {
		created.Run, err = s.startRun(why, *f.in, f.id, f.commands)
	}
	if err != nil {
		return err
	}
	row.Next = created.Run
	if sch != nil {
		_, err = s.recordRunNow(sch, created)
	}
	return err
}

const (
	// resultHosts is how many results of hosts follow a run, and resultBytes their size.
	resultHosts = 50
	resultBytes = 64 << 10
)

// runResult is what follows a run gets to know of it.
func (s *scope) runResult(r *store.RunRow) (hostler.RunResult, error) {
	out := hostler.RunResult{
		ID: r.ID, State: r.State, Name: r.Name, Origin: r.Origin, Requester: r.RequesterName,
		Params: json.RawMessage(r.Params), URL: "/api/v1/runs/" + r.ID.String(), Results: []hostler.RunResultHost{},
		StartedAt: timeOrNil(r.StartedAt), EndedAt: timeOrNil(r.EndedAt),
	}
	if len(r.Params) > resultBytes {
		out.Params, out.More = nil, true
	}
	steps, err := s.RunSteps(r.ID)
	if err != nil {
		return out, err
	}
	left := resultBytes
	for i := range steps {
		st := &steps[i]
		out.Hosts += st.Total
		out.Succeeded += st.Succeeded + st.Kept
		out.Failed += st.Failed + st.Cancelled
		room := resultHosts - len(out.Results)
		out.More = out.More || st.Jobs != "" && st.Total > room
		if st.Jobs == "" || room <= 0 {
			continue
		}
		hosts, err := s.runHosts(st, 0, room)
		if err != nil {
			return out, err
		}
		var ids []hostler.JobID
		for _, h := range hosts.Items {
			if h.Job != 0 {
				ids = append(ids, h.Job)
			}
		}
		jobs, err := s.Jobs(s.project, ids)
		if err != nil {
			return out, err
		}
		results := map[hostler.JobID]json.RawMessage{}
		for i := range jobs {
			results[jobs[i].ID] = jobs[i].Result
		}
		for _, h := range hosts.Items {
			one := hostler.RunResultHost{
				Step: h.Step, Host: h.Name, Job: h.Job, State: h.State, Result: results[h.Job], Outputs: h.Outputs,
			}
			if size := len(one.Result) + len(one.Outputs); size <= left {
				left -= size
			} else {
				one.Result, one.Outputs, out.More = nil, nil, true
			}
			out.Results = append(out.Results, one)
		}
	}
	return out, nil
}

// hashOutput hashes the output of the run: results, outputs and the first lines of the logs
// of the first hosts, without the times that they took.
func (f *followUp) hashOutput(ctx context.Context, a *App) error {
	const lines = 2000 // of each log
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, r := range f.result.Results {
		var result any
		if json.Unmarshal(r.Result, &result) != nil {
			result = nil
		}
		if err := enc.Encode([]any{r.Step, r.Host, r.State, timeless(result), r.Outputs}); err != nil {
			return fmt.Errorf("encode an output: %w", err)
		}
		if r.Job == 0 {
			continue
		}
		entries, _, err := a.work.ReadLog(ctx, r.Job, 0, lines)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Stream == hostler.StreamStdout {
				if _, err := h.Write([]byte(e.Text)); err != nil {
					return fmt.Errorf("hash a log: %w", err)
				}
			}
		}
	}
	f.hash = hex.EncodeToString(h.Sum(nil))
	return nil
}

// timeless returns a result without the members that say how long something took.
func timeless(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = timeless(v[i])
		}
	case map[string]any:
		for _, name := range []string{"ms", "duration_s", "latency_ms"} {
			delete(v, name)
		}
		for name := range v {
			v[name] = timeless(v[name])
		}
	}
	return v
}
