package client

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"hostler.dev/hostler"
)

// Audit fetches one page of the audit, newest first.
func (c *Client) Audit(ctx context.Context, p hostler.Page) (hostler.List[hostler.Audit], error) {
	return list[hostler.Audit](ctx, c, p, "audit")
}

// AuditWith lists the rows of the audit that the filter selects, for All.
func (c *Client) AuditWith(f hostler.AuditFilter) Lister[hostler.Audit] {
	return func(ctx context.Context, p hostler.Page) (hostler.List[hostler.Audit], error) {
		return get[hostler.List[hostler.Audit]](ctx, c, auditQuery(pageQuery(p), f), "audit")
	}
}

// ExportAudit writes the rows that the filter selects as JSON lines, oldest first. An
// error of w is returned as it is.
func (c *Client) ExportAudit(ctx context.Context, f hostler.AuditFilter, w io.Writer) error {
	return c.download(ctx, call{
		method: http.MethodGet, path: []string{"audit.jsonl"}, query: auditQuery(url.Values{}, f),
	}, w)
}

// VerifyAudit checks one part of the audit: the first for the cursor "", then that of
// Next. expect is "", or a POSITION:HASH that the chain must have.
func (c *Client) VerifyAudit(ctx context.Context, cursor, expect string) (hostler.AuditVerification, error) {
	q := url.Values{}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	if expect != "" {
		q.Set("expect", expect)
	}
	return get[hostler.AuditVerification](ctx, c, q, "audit", "verify")
}

func auditQuery(q url.Values, f hostler.AuditFilter) url.Values {
	for name, value := range map[string]string{
		"user": f.User, "verb": f.Verb, "object": f.Object, "since": timeText(f.Since), "until": timeText(f.Until),
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}
