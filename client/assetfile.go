package client

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"

	"hostler.dev/hostler"
)

// ImportAssets creates and changes assets from a CSV file, all or none. The call is safe
// to repeat: a second import of the same file finds the assets unchanged.
func (c *Client) ImportAssets(ctx context.Context, file []byte, o hostler.ImportOptions) (hostler.AssetImport, error) {
	q := url.Values{}
	if o.DryRun {
		q.Set("dry_run", strconv.FormatBool(true))
	}
	if o.OnConflict != "" {
		q.Set("on_conflict", o.OnConflict)
	}
	media := "text/csv"
	if o.Encoding != "" {
		media = mime.FormatMediaType(media, map[string]string{"charset": o.Encoding})
	}
	for column, field := range o.Mapping {
		q.Add("map", column+":"+field)
	}
	return fetch[hostler.AssetImport](ctx, c, call{
		method: http.MethodPost, path: []string{"assets", "import"}, query: q, raw: file,
		header: http.Header{"Content-Type": {media}},
	})
}

// ExportAssets writes the assets that have all the labels as CSV. An error of w is
// returned as it is.
func (c *Client) ExportAssets(ctx context.Context, labels map[string]string, w io.Writer) error {
	q := url.Values{}
	for key, value := range labels {
		q.Add("label", key+"="+value)
	}
	return c.export(ctx, q, w)
}

// ExportAssetsMatching is ExportAssets of the assets whose labels a selector matches, such as
// app=web,env!=test.
func (c *Client) ExportAssetsMatching(ctx context.Context, selector string, w io.Writer) error {
	return c.export(ctx, url.Values{"selector": {selector}}, w)
}

func (c *Client) export(ctx context.Context, q url.Values, w io.Writer) error {
	return c.download(ctx, call{method: http.MethodGet, path: []string{"assets.csv"}, query: q}, w)
}

// download writes the body of an answer. An error of w is returned as it is.
func (c *Client) download(ctx context.Context, k call, w io.Writer) error {
	res, err := c.send(ctx, k, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	in := &sourceReader{r: res.Body}
	if _, err = io.Copy(w, in); in.err != nil {
		return c.unreachable(in.err)
	}
	return err
}

// sourceReader records the error of its reader: io.Copy returns the errors of reader and
// writer without distinction.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
