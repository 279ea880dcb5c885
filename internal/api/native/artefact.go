package native

import (
	"context"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

func (a *api) artefactRoutes() []rest.Route {
	route := Dialect.Route
	return []rest.Route{
		route("GET /artefacts", auth.ReadJob, rest.Search[artefactQuery](a.Artefacts),
			"List artefacts, the files that jobs produced, newest first", "列出产物（作业生成的文件），最新在前"),
		route("GET /artefacts/{id}", auth.ReadJob, rest.At[ArtefactRef](a.Artefact), "Get the description of an artefact",
			"查看产物的描述"),
		route("GET /artefacts/{id}/content", auth.ReadJob, rest.Stream(describeArtefact, a.downloadArtefact),
			"Download an artefact, or a range of it", "下载产物或其中一段"),
		route("DELETE /artefacts/{id}", auth.ChangeJob, rest.AtEmpty[ArtefactRef](a.DeleteArtefact),
			"Delete an artefact", "删除产物"),
		route("GET /jobs/{id}/artefacts", auth.ReadJob, rest.AtAll[JobRef](a.JobArtefacts),
			"List the artefacts of a job", "列出作业的产物"),
	}
}

type artefactQuery struct {
	Job rest.JobID `query:"job" doc:"only those of this job"`
	Run rest.RunID `query:"run" doc:"only those of this run"`
	rest.PageQuery
}

// Filter returns what the query selects.
func (q *artefactQuery) Filter() (hostler.ArtefactFilter, error) {
	return hostler.ArtefactFilter{Job: q.Job.V, Run: q.Run.V}, nil
}

func describeArtefact(_ huma.API, op *huma.Operation) {
	file := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	op.Responses = map[string]*huma.Response{
		"200": {Description: "The file; its ETag is the SHA-256 of the content", Content: file},
		"206": {Description: "The range of the file that the header Range names", Content: file},
	}
}

// downloadArtefact sends a file, or ranges of it (RFC 9110, section 14). It counts as a
// follower: a client may read it as slowly as it likes.
func (a *api) downloadArtefact(ctx context.Context, c *rest.Call, in *ArtefactRef) (rest.Send, error) {
	release, err := a.followers.Acquire(c.Caller)
	if err != nil {
		return nil, err
	}
	art, content, err := a.OpenArtefact(ctx, c.Caller, in.ID.V)
	if err != nil {
		release()
		return nil, err
	}
	return func(w http.ResponseWriter) {
		defer release()
		h := w.Header()
		h.Set("Content-Type", art.MediaType)
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": art.Name}))
		// A browser must neither show the file as a page nor guess its type.
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
		h.Set("Cache-Control", "private, no-store")
		h.Set("ETag", `"`+art.SHA256+`"`)
		src := &renewing{ReadSeeker: content, renew: func() error { return c.Renew(ctx) }, renewed: time.Now()}
		http.ServeContent(paced{w, c.NewWriter(w)}, c.Request, "", art.CreatedAt, src)
	}, nil
}

// paced is a ResponseWriter that disconnects a client that does not read.
type paced struct {
	http.ResponseWriter
	out *rest.Writer
}

// Write implements io.Writer.
func (p paced) Write(b []byte) (int, error) { return p.out.Write(b) }

// renewing is the content of an answer that takes long: the key may be revoked meanwhile.
type renewing struct {
	io.ReadSeeker
	renew   func() error
	renewed time.Time
}

// Read implements io.Reader.
func (r *renewing) Read(p []byte) (int, error) {
	if time.Since(r.renewed) >= rest.RenewEvery {
		if err := r.renew(); err != nil {
			return 0, err
		}
		r.renewed = time.Now()
	}
	return r.ReadSeeker.Read(p)
}
