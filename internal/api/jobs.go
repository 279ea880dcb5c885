package api

import (
	"context"
	"time"

	"hostler.dev/hostler"
)

// maxWait is how long an answer may be held back for the end of a job.
const maxWait = 60 * time.Second

type createJobsInput struct {
	Idempotent
	Wait param[hostler.Duration, *hostler.Duration] `query:"wait" doc:"hold the answer back for the end of the jobs, at most 60s; then they are answered as they are"`
	Body hostler.JobRequest
}

func createJobs(ctx context.Context, c call, in *createJobsInput) (hostler.JobsCreated, error) {
	wait := in.Wait.V.D()
	if wait > maxWait {
		return hostler.JobsCreated{}, hostler.Invalid("wait", "must be at most %v", "不能超过 %v", maxWait)
	}
	out, err := c.app.RunJobs(ctx, c.Caller, in.Body, in.Key)
	if err != nil || wait == 0 {
		return out, err
	}
	// The jobs exist: whatever goes wrong from here on, the answer says so.
	return c.awaitJobs(ctx, out, wait), nil
}

// awaitJobs looks until the jobs have ended, the time is over, or the server is
// about to stop.
func (c call) awaitJobs(ctx context.Context, out hostler.JobsCreated, wait time.Duration) hostler.JobsCreated {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	p := pace{first: 10 * time.Millisecond, most: 500 * time.Millisecond}
	for p.sleep(ctx, c.server.cfg.Draining) {
		if out.Job == nil {
			sum, err := c.app.Run(ctx, c.Caller, out.Run)
			if err != nil || sum.Done {
				return out
			}
			continue
		}
		job, err := c.app.Job(ctx, c.Caller, out.Job.ID)
		if err != nil {
			return out
		}
		out.Job = &job
		if job.State.Settled() {
			return out
		}
	}
	return out
}

// pace is a wait that grows while nothing happens.
type pace struct {
	first, most, next time.Duration
}

// reset begins anew: something happened.
func (p *pace) reset() { p.next = 0 }

// sleep waits the next step; false means that the context or the server ended.
func (p *pace) sleep(ctx context.Context, draining <-chan struct{}) bool {
	p.next = min(max(p.next*3/2, p.first), p.most)
	t := time.NewTimer(p.next)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	case <-draining:
		return false
	}
}

type jobPage struct {
	PageQuery
	States []string  `query:"states" enum:"scheduled,queued,running,succeeded,failed,cancelled,expired,unknown" doc:"with commas between"`
	Queue  string    `query:"queue" maxLength:"64"`
	Action string    `query:"action" maxLength:"64"`
	Asset  string    `query:"asset" maxLength:"253" doc:"name or id; of a host that is no asset, its address"`
	Lane   string    `query:"lane" maxLength:"300"`
	Run    runParam  `query:"run"`
	Since  time.Time `query:"since" doc:"made at or after"`
	Until  time.Time `query:"until" doc:"made before"`
}

type runParam = param[hostler.RunID, *hostler.RunID]

func (p jobPage) filter() hostler.JobFilter {
	f := hostler.JobFilter{
		Queue: p.Queue, Action: p.Action, Asset: p.Asset, Lane: p.Lane, Run: p.Run.V,
		Since: timePtr(p.Since), Until: timePtr(p.Until),
	}
	for _, s := range p.States {
		f.States = append(f.States, hostler.State(s))
	}
	return f
}

func timePtr(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
