package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
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

// Audit lists the changes in the acting project that the filter selects, newest first.
// Changes of what belongs to no project are in the audit of the default project.
func (a *App) Audit(
	ctx context.Context, c auth.Caller, f hostler.AuditFilter, p hostler.Page,
) (hostler.List[hostler.Audit], error) {
	return a.auditPage(ctx, c, f, p, (*store.Tx).Audits)
}

// auditPage lists a page in the order of one of the store's lists.
func (a *App) auditPage(
	ctx context.Context, c auth.Caller, f hostler.AuditFilter, p hostler.Page,
	read func(*store.Tx, store.AuditQuery, hostler.AuditID, int) ([]hostler.Audit, error),
) (hostler.List[hostler.Audit], error) {
	g, err := a.allow(c, auth.ReadAudit)
	if err != nil {
		return hostler.List[hostler.Audit]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Audit]{}, err
	}
	var from hostler.AuditID
	if from.UnmarshalText([]byte(after)) != nil {
		return hostler.List[hostler.Audit]{}, errCursor()
	}
	q, err := auditQuery(g, f)
	if err != nil {
		return hostler.List[hostler.Audit]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Audit], error) {
		return readPage(from.String(), limit, func(key string, n int) ([]hostler.Audit, error) {
			var at hostler.AuditID
			if err := at.UnmarshalText([]byte(key)); err != nil {
				return nil, err
			}
			return read(s.Tx, q, at, n)
		}, func(a hostler.Audit) string { return a.ID.String() }, auditSize)
	})
}

// auditSize is the size of the texts of a row; see [pageBytes].
func auditSize(a hostler.Audit) int { return len(a.Detail) + len(a.Object) }

func auditQuery(g grant, f hostler.AuditFilter) (store.AuditQuery, error) {
	var fields check.Fields
	fields.Line("user", f.User, 256)
	fields.Line("verb", f.Verb, 64)
	fields.Line("object", f.Object, 256)
	q := store.AuditQuery{Project: g.project, User: f.User, Verb: f.Verb, Object: f.Object}
	for _, t := range []struct {
		from *time.Time
		to   *time.Time
	}{{f.Since, &q.Since}, {f.Until, &q.Until}} {
		if t.from != nil {
			*t.to = *t.from
		}
	}
	return q, fields.Err()
}

// auditExportPage is how many rows an export reads in one transaction.
const auditExportPage = 500

// ExportAudit returns a function that writes the rows which the filter selects, oldest
// first, as JSON lines. The caller's mistakes are errors of ExportAudit itself, before
// anything is written.
func (a *App) ExportAudit(ctx context.Context, c auth.Caller, f hostler.AuditFilter) (Export, error) {
	next := hostler.Page{Limit: auditExportPage}
	page, err := a.auditPage(ctx, c, f, next, (*store.Tx).AuditsAfter)
	if err != nil {
		return nil, err
	}
	return func(w io.Writer, renew Renewal) error {
		lines := json.NewEncoder(w)
		for {
			for i := range page.Items {
				if err := lines.Encode(&page.Items[i]); err != nil {
					return err
				}
			}
			if page.Next == "" {
				return nil
			}
			next.Cursor = page.Next
			if c, err = renew(); err != nil {
				return err
			}
			if page, err = a.auditPage(ctx, c, f, next, (*store.Tx).AuditsAfter); err != nil {
				return err
			}
		}
	}, nil
}

// VerifyAudit checks a part of the audit of all projects: the first, or the one that the
// cursor of the part before names. expect is "", or a position and hash that the chain
// must have.
func (a *App) VerifyAudit(
	ctx context.Context, c auth.Caller, cursor, expect string,
) (hostler.AuditVerification, error) {
	g, err := a.allow(c, auth.VerifyAudit)
	if err != nil {
		return hostler.AuditVerification{}, err
	}
	if a.cfg.Auditor == nil {
		return hostler.AuditVerification{}, hostler.Errorf(hostler.CodeUnavailable,
			"this server does not verify the audit", "此服务不支持验证审计")
	}
	return outcome(a.cfg.Auditor.Verify(ctx, g.app.store.ForLists(), cursor, expect))
}
