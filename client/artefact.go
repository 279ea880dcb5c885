package client

import (
	"context"
	"io"
	"net/http"

	"hostler.dev/hostler"
)

// Artefacts fetches one page of the artefacts that the filter selects, newest first.
func (c *Client) Artefacts(
	ctx context.Context, f hostler.ArtefactFilter, p hostler.Page,
) (hostler.List[hostler.Artefact], error) {
	q := pageQuery(p)
	for name, value := range map[string]string{"job": f.Job.String(), "run": f.Run.String()} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return get[hostler.List[hostler.Artefact]](ctx, c, q, "artefacts")
}

// ArtefactsLister is Artefacts for All.
func (c *Client) ArtefactsLister(f hostler.ArtefactFilter) Lister[hostler.Artefact] {
	return func(ctx context.Context, p hostler.Page) (hostler.List[hostler.Artefact], error) {
		return c.Artefacts(ctx, f, p)
	}
}

// JobArtefacts fetches the artefacts of a job.
func (c *Client) JobArtefacts(ctx context.Context, id hostler.JobID) ([]hostler.Artefact, error) {
	l, err := get[hostler.List[hostler.Artefact]](ctx, c, nil, "jobs", id.String(), "artefacts")
	return l.Items, err
}

// Artefact fetches the description of an artefact.
func (c *Client) Artefact(ctx context.Context, id hostler.ArtefactID) (hostler.Artefact, error) {
	return get[hostler.Artefact](ctx, c, nil, "artefacts", id.String())
}

// DownloadArtefact writes the content of an artefact. An error of w is returned as it is.
func (c *Client) DownloadArtefact(ctx context.Context, id hostler.ArtefactID, w io.Writer) error {
	return c.download(ctx, call{method: http.MethodGet, path: []string{"artefacts", id.String(), "content"}}, w)
}

// DeleteArtefact deletes an artefact.
func (c *Client) DeleteArtefact(ctx context.Context, id hostler.ArtefactID) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"artefacts", id.String()}}, nil)
}
