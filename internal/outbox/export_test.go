package outbox

import "context"

// RunOnce exports runOnce.
func (p *Publisher) RunOnce(ctx context.Context) error { return p.runOnce(ctx) }

// RunOnce exports runOnce.
func (s *Stream) RunOnce(ctx context.Context) error { return s.runOnce(ctx) }
