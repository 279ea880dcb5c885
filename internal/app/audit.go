package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// refusalTime bounds how long a refused request waits for its record.
const refusalTime = 2 * time.Second

// anonymous is the user in records of requests without a valid key.
const anonymous = "anonymous"

// RecordRefusal records refused requests in the audit: of the caller's project, or of the
// default one without a valid key. The count includes those of the same kind that were
// not recorded. The caller of it limits the rate. A failure is logged: it must not change
// the answer.
func (a *App) RecordRefusal(
	ctx context.Context, c auth.Caller, code hostler.Code, addr, route string, count int,
) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refusalTime)
	defer cancel()
	row := hostler.Audit{
		User: cmp.Or(c.User, anonymous), UserID: c.UserID, Key: c.Key, Remote: addr,
		Verb: "auth.refuse", Object: string(code),
	}
	detail, err := json.Marshal(map[string]any{"route": route, "count": count})
	row.Detail = detail
	err = errors.Join(err, a.store.InTx(ctx, func(tx *store.Tx) error {
		project := c.Project
		if project == 0 {
			p, err := tx.ProjectByName(hostler.DefaultProject)
			if err != nil || p == nil {
				return err
			}
			project = p.ID
		}
		return tx.AppendAudit(project, row)
	}))
	if err != nil {
		a.cfg.Log.WarnContext(ctx, "cannot record a refusal in the audit", "code", string(code), "err", err)
	}
}

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
