package app

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// Audit lists the changes in the acting project, newest first. Changes of what belongs
// to no project are in the audit of the default project.
func (a *App) Audit(ctx context.Context, c auth.Caller, p hostler.Page) (hostler.List[hostler.Audit], error) {
	g, err := a.allow(c, auth.ReadAudit)
	if err != nil {
		return hostler.List[hostler.Audit]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Audit]{}, err
	}
	var before hostler.AuditID
	if before.UnmarshalText([]byte(after)) != nil {
		return hostler.List[hostler.Audit]{}, errCursor()
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Audit], error) {
		items, err := s.Audits(s.project, before, limit+1)
		return cut(items, limit, func(a hostler.Audit) string { return a.ID.String() }), err
	})
}
