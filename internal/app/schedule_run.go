package app

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// RunScheduleRequest asks for a run of a schedule now.
type RunScheduleRequest struct {
	Schedule string
	Edit     hostler.ScheduleRunInput
	Key      string // Idempotency-Key
}

// RunSchedule runs a schedule now, with edited args if the request has any. It is recorded
// like a fire of the timer, whose next fire it leaves alone. It runs with the rights of
// the caller, whatever is active, and also when the schedule is paused.
func (a *App) RunSchedule(
	ctx context.Context, c auth.Caller, req RunScheduleRequest,
) (hostler.ScheduleRun, error) {
	g, err := a.allow(c, auth.RunJob)
	if err != nil {
		return hostler.ScheduleRun{}, err
	}
	if _, err := a.allow(c, auth.ReadSchedule); err != nil {
		return hostler.ScheduleRun{}, err
	}
	key, err := g.idempotencyKey("POST /schedules/"+req.Schedule+"/run", req.Key, req.Edit)
	if err != nil {
		return hostler.ScheduleRun{}, err
	}
	find := func(s *scope) (*store.ScheduleRow, error) { return s.findSchedule(s.Tx.Schedule, req.Schedule) }
	row, err := view(ctx, g, find)
	if err != nil {
		return hostler.ScheduleRun{}, err
	}
	if row.Task.IsFlow() {
		return a.runFlowSchedule(ctx, g, req, &row.Schedule, key)
	}
	commands := a.commands(ctx, g, nil)
	// What is wrong with the args is for the transaction to tell, unless it answered before.
	if p, err := a.planSchedule(row.Schedule, req.Edit, ""); err == nil {
		p.judge(commands)
	}
	commands.close()
	return change(ctx, g, func(s *scope) (hostler.ScheduleRun, error) {
		row, err := find(s)
		if err != nil {
			return hostler.ScheduleRun{}, err
		}
		return idempotent(s, key, func() (hostler.ScheduleRun, error) { return s.runSchedule(row, req.Edit, commands) })
	})
}

func (s *scope) runSchedule(
	row *store.ScheduleRow, edit hostler.ScheduleRunInput, commands *commandCheck,
) (hostler.ScheduleRun, error) {
	p, err := s.app.planSchedule(row.Schedule, edit, "")
	if err != nil {
		return hostler.ScheduleRun{}, err
	}
	p.judge(commands)
	created, err := s.runPlan(p)
	if err != nil {
		return hostler.ScheduleRun{}, err
	}
	return s.recordRunNow(row, created)
}

// recordRunNow records a run of a schedule like a fire.
func (s *scope) recordRunNow(row *store.ScheduleRow, created hostler.JobsCreated) (hostler.ScheduleRun, error) {
	id, err := s.InsertFire(store.FireRow{ProjectID: s.project, Active: true, Fire: hostler.Fire{
		Schedule: row.ID, Name: row.Name, At: s.Now(), Count: 1, Trigger: hostler.FireManual,
		State: hostler.FireStarted, Run: created.Run, Jobs: created.Count, By: s.caller.User,
	}})
	message := hostler.Textf("the schedule %s runs now", "计划 %s 已开始执行", row.Name)
	return hostler.ScheduleRun{
		Message: message.In(s.caller.Lang), Run: created.Run, State: string(hostler.RunPending),
		URL: "/api/v1/runs/" + created.Run.String(), Jobs: created.Count, Fire: id,
	}, err
}
