package engine

import "context"

// RescueOnce exports rescueOnce.
func (e *Engine) RescueOnce(ctx context.Context) error { return e.rescueOnce(ctx) }
