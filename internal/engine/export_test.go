package engine

import "context"

// RescueOnce exports rescueOnce: one look at the live workers.
func (e *Engine) RescueOnce(ctx context.Context) error { return e.rescueOnce(ctx) }
