package native

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

// mediaJSONLines is the type of one JSON value per line.
const mediaJSONLines = "application/jsonl"

func (a *api) auditRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /audit", auth.ReadAudit, rest.Search[auditPageQuery](a.Audit),
			"List changes by users and keys, newest first", "列出用户和密钥的变更，最新在前"),
		route("GET /audit.jsonl", auth.ReadAudit, rest.Stream(describeAuditExport, a.exportAudit),
			"Export changes as JSON lines, oldest first", "将变更导出为 JSON 行，最早在前"),
		route("GET /audit/verify", auth.VerifyAudit, rest.Do(a.verifyAudit),
			"Verify the chain of the audit, one part at a time", "分步验证审计链"),
	}
}

// AuditQuery selects rows of the audit.
type AuditQuery struct {
	User   string    `query:"user" maxLength:"256"`
	Verb   string    `query:"verb" maxLength:"64" doc:"such as job.run"`
	Object string    `query:"object" maxLength:"256" doc:"name or id of what was changed"`
	Since  time.Time `query:"since" doc:"at or after"`
	Until  time.Time `query:"until" doc:"before"`
}

// Filter is the filter that the query describes.
func (q AuditQuery) Filter() (hostler.AuditFilter, error) {
	return hostler.AuditFilter{
		User: q.User, Verb: q.Verb, Object: q.Object, Since: given(q.Since), Until: given(q.Until),
	}, nil
}

type auditPageQuery struct {
	rest.PageQuery
	AuditQuery
}

func describeAuditExport(_ huma.API, op *huma.Operation) {
	op.Responses = map[string]*huma.Response{"200": {
		Description: "One row of the audit per line, as in the list",
		Content:     map[string]*huma.MediaType{mediaJSONLines: {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
}

func (a *api) exportAudit(ctx context.Context, c *rest.Call, in *AuditQuery) (rest.Send, error) {
	filter, err := in.Filter()
	if err != nil {
		return nil, err
	}
	if err := c.ShareLists(ctx); err != nil {
		return nil, err
	}
	write, err := a.ExportAudit(ctx, c.Caller, filter)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", mediaJSONLines)
		w.Header().Set("Content-Disposition", `attachment; filename="audit.jsonl"`)
		if write(c.NewExport(w), c.Renewed(ctx)) != nil {
			panic(http.ErrAbortHandler) // an incomplete answer must not look complete
		}
	}, nil
}

type verifyQuery struct {
	Cursor string `query:"cursor" maxLength:"256" doc:"next of the step before; absent for the first"`
	Expect string `query:"expect" maxLength:"100" doc:"position:hash of an earlier verification, which the chain must have"`
}

func (a *api) verifyAudit(ctx context.Context, c *rest.Call, in *verifyQuery) (hostler.AuditVerification, error) {
	return a.VerifyAudit(ctx, c.Caller, in.Cursor, in.Expect)
}
