package store

import (
	"math/rand/v2"
	"time"

	"hostler.dev/hostler"
)

// This file holds the state machine of running jobs: pure functions from a job, its
// policy and a report to a transition.

// runningJob is a locked row of running, with the policy of the job when the
// transition depends on it.
type runningJob struct {
	entry
	Worker    hostler.WorkerID `db:"worker"`
	StartedAt time.Time        `db:"started_at"`
	CancelAt  time.Time        `db:"cancel_at"`
	CancelBy  string           `db:"cancel_by"`

	policy policy // read only when a job did not plainly succeed
}

// cancelled reports whether a person asked for the job to be cancelled.
func (j *runningJob) cancelled() bool { return !j.CancelAt.IsZero() }

// policy is how the job wants failures to be handled.
type policy struct {
	maxAttempts int64
	backoff     hostler.Backoff
	onLost      hostler.OnLost
	onUnknown   hostler.OnUnknown
	onRetry     hostler.OnRetry
}

// transition is the next state of a running job, and how the job gets there.
type transition struct {
	to      hostler.State
	cause   hostler.Cause
	delay   time.Duration // before a retry
	release bool          // give the lane back although the job has not ended
	report  hostler.Report
	outcome string // of the attempt, when the job goes on
}

// decide returns the transition that a report causes.
func decide(j *runningJob, r hostler.Report) transition {
	t := transition{report: r, cause: hostler.CauseFinish}
	switch r.Outcome {
	case hostler.OutcomeSucceeded:
		t.to = hostler.StateSucceeded
	case hostler.OutcomeCancelled:
		t.to, t.cause = hostler.StateCancelled, hostler.CauseCancel
	case hostler.OutcomeHandBack:
		t.to, t.cause, t.outcome = hostler.StateQueued, hostler.CauseHandBack, "handback"
		if j.cancelled() {
			t.to, t.cause = hostler.StateCancelled, hostler.CauseCancel
			t.report.Error = &hostler.JobError{Kind: hostler.ErrKindCancelled, Text: cancelledText(j.CancelBy)}
		}
	case hostler.OutcomeUnknown:
		return decideLost(j, t, "unknown")
	case hostler.OutcomeFailed:
		t.to = hostler.StateFailed
		if j.Attempt < j.policy.maxAttempts && !r.NoRetry && !j.cancelled() {
			t.to, t.cause, t.outcome = hostler.StateScheduled, hostler.CauseRetry, "retry"
			t.delay = j.policy.backoff.Delay(int(j.Attempt), rand.Float64())
			t.release = j.policy.onRetry == hostler.OnRetryRelease
		}
	default:
		t.to = hostler.StateFailed
		t.report.Error = &hostler.JobError{
			Kind: hostler.ErrKindInternal,
			Text: hostler.Text{
				EN: "the worker reported an outcome that does not exist",
				ZH: "工作节点上报了不存在的结果",
			},
		}
	}
	return t
}

// decideLost returns the transition of a job whose worker was lost, or whose outcome
// its worker does not know. on_lost decides.
func decideLost(j *runningJob, t transition, outcome string) transition {
	t.cause, t.outcome = hostler.CauseLost, outcome
	switch {
	case j.policy.onLost == hostler.OnLostRetry && j.cancelled():
		// Running it again would be harmless, but its cancellation was requested.
		t.to, t.cause = hostler.StateCancelled, hostler.CauseCancel
		t.report.Error = &hostler.JobError{Kind: hostler.ErrKindCancelled, Text: cancelledText(j.CancelBy)}
	case j.policy.onLost == hostler.OnLostRetry && j.Losses < hostler.MaxLosses:
		t.to = hostler.StateQueued
	case j.policy.onLost == hostler.OnLostAsk:
		t.to = hostler.StateUnknown
		t.release = j.policy.onUnknown == hostler.OnUnknownRelease
	default:
		t.to = hostler.StateFailed
	}
	return t
}
