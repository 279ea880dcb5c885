package engine

import (
	"context"
	"time"
)

// RescueOnce exports rescueOnce.
func (e *Engine) RescueOnce(ctx context.Context) error { return e.rescueOnce(ctx) }

// UpkeepOnce exports upkeepOnce: one round of upkeep.
func (e *Engine) UpkeepOnce(ctx context.Context) error { return e.upkeepOnce(ctx) }

// FollowOnce exports followOnce: what pauses and resumes have left to do.
func (e *Engine) FollowOnce(ctx context.Context) error { return e.followOnce(ctx) }

// Withheld reports whether the next report announces that slots are free.
func (e *Engine) Withheld() bool { return e.withheld.Load() }

// RunsOnce exports runsOnce: runs go on as far as they do by themselves.
func (e *Engine) RunsOnce(ctx context.Context) (time.Duration, error) { return e.runsOnce(ctx) }

// StatsOnce exports statsOnce: jobs that ended are added to the statistics.
func (e *Engine) StatsOnce(ctx context.Context) error { return e.statsOnce(ctx) }

// AlertsOnce exports alertsOnce: alert rules are evaluated.
func (e *Engine) AlertsOnce(ctx context.Context) error { return e.alertsOnce(ctx) }

// AlertRound is how often alert rules are evaluated.
const AlertRound = alertRound
