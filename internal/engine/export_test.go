package engine

import "context"

// RescueOnce exports rescueOnce.
func (e *Engine) RescueOnce(ctx context.Context) error { return e.rescueOnce(ctx) }

// UpkeepOnce exports upkeepOnce: one round of upkeep.
func (e *Engine) UpkeepOnce(ctx context.Context) error { return e.upkeepOnce(ctx) }

// FollowOnce exports followOnce: what pauses and resumes have left to do.
func (e *Engine) FollowOnce(ctx context.Context) error { return e.followOnce(ctx) }

// Withheld reports whether the next report announces that slots are free.
func (e *Engine) Withheld() bool { return e.withheld.Load() }
