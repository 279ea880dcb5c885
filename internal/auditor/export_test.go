package auditor

import "context"

// ChainOnce exports chainOnce.
func (a *Auditor) ChainOnce(ctx context.Context) error { return a.chainOnce(ctx) }

// ArchiveOnce exports archiveOnce.
func (a *Auditor) ArchiveOnce(ctx context.Context) error { return a.archiveOnce(ctx) }
