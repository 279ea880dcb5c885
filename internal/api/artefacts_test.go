package api_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"hostler.dev/hostler"
)

// storeArtefact leases the next job and stores an artefact of it. The job goes on.
func (w *env) storeArtefact(t *testing.T, d *manualWorker, name, content string) hostler.Artefact {
	t.Helper()
	a, err := d.e.StoreArtefact(t.Context(), d.id, d.lease(t).LeaseRef,
		hostler.ArtefactInput{Name: name, MediaType: "text/html"}, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestArtefacts(t *testing.T) { eachEnv(t, artefacts) }

func artefacts(t *testing.T, w *env) {
	job := w.makeJob(t, operator)
	content := "<script>alert(1)</script>" + strings.Repeat("x", 600<<10)
	art := w.storeArtefact(t, w.manualWorker(t), "报表.html", content)
	path := "/api/v1/artefacts/" + art.ID.String()

	c := w.client(t, viewer)
	if l, err := c.JobArtefacts(t.Context(), job.ID); err != nil || len(l) != 1 || l[0] != art {
		t.Errorf("of the job: %+v, %v", l, err)
	}
	for _, f := range []hostler.ArtefactFilter{{}, {Job: job.ID}, {Run: job.Run}} {
		if l, err := c.Artefacts(t.Context(), f, hostler.Page{}); err != nil || len(l.Items) != 1 || l.Items[0].ID != art.ID {
			t.Errorf("%+v: %+v, %v", f, l, err)
		}
	}
	if l, err := c.Artefacts(t.Context(), hostler.ArtefactFilter{Job: 1}, hostler.Page{}); err != nil || len(l.Items) != 0 {
		t.Errorf("of another job: %+v, %v", l, err)
	}
	var got bytes.Buffer
	if err := c.DownloadArtefact(t.Context(), art.ID, &got); err != nil || got.String() != content {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}

	a := w.mustDo(t, viewer, "GET", path+"/content", "", nil)
	for name, want := range map[string]string{
		"Content-Disposition": "attachment; filename*=utf-8''%E6%8A%A5%E8%A1%A8.html", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "sandbox; default-src 'none'", "Etag": `"` + art.SHA256 + `"`, "Accept-Ranges": "bytes",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for ranges, want := range map[string]string{"bytes=1-6": "script", "bytes=-3": "xxx", "bytes=262143-262145": "xxx"} {
		req := w.request(t, viewer, "GET", path+"/content", "")
		req.Header.Set("Range", ranges)
		if a := w.send(t, req); a.Status != http.StatusPartialContent || a.Body != want {
			t.Errorf("%s: %d %q", ranges, a.Status, a.Body)
		}
	}
	req := w.request(t, viewer, "GET", path+"/content", "")
	req.Header.Set("Range", "bytes=9999999-")
	if a := w.send(t, req); a.Status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range behind the end: %d", a.Status)
	}

	for _, p := range []string{path, path + "/content"} {
		if a := w.do(t, stranger, "GET", p, ""); a.Status != http.StatusNotFound {
			t.Errorf("%s of another project: %d", p, a.Status)
		}
	}
	if a := w.do(t, viewer, "DELETE", path, ""); a.Status != http.StatusForbidden {
		t.Errorf("deleted by a viewer: %d", a.Status)
	}
	if err := w.client(t, operator).DeleteArtefact(t.Context(), art.ID); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, path + "/content"} {
		if a := w.do(t, viewer, "GET", p, ""); a.Status != http.StatusNotFound {
			t.Errorf("%s after the deletion: %d", p, a.Status)
		}
	}
}

// TestJobsOpenWhatTheirUsersMayRead: naming an artefact in args gives nobody more than the
// API does.
func TestJobsOpenWhatTheirUsersMayRead(t *testing.T) { eachEnv(t, openedArtefacts) }

func openedArtefacts(t *testing.T, w *env) {
	w.addLimited(t)
	w.mustDo(t, admin, "POST", "/api/v1/assets", `{"name":"live","address":"192.0.2.9","labels":{"env":"live"}}`, nil)
	w.mustDo(t, admin, "POST", "/api/v1/assets", `{"name":"test","address":"192.0.2.8","labels":{"env":"test"}}`, nil)
	d := w.manualWorker(t)
	w.mustDo(t, admin, "POST", "/api/v1/jobs", `{"action":"noop","assets":["live"]}`, nil)
	art := w.storeArtefact(t, d, "dump.sql", "content")
	for person, want := range map[string]hostler.Code{operator: "", limited: hostler.CodeNotFound, stranger: hostler.CodeNotFound} {
		body := `{"action":"noop","assets":["test"]}`
		if person == stranger {
			body = `{"action":"noop"}`
		}
		w.mustDo(t, person, "POST", "/api/v1/jobs", body, nil)
		_, content, err := d.e.OpenArtefact(t.Context(), d.id, d.lease(t).LeaseRef, art.ID)
		if hostler.CodeOf(err) != want {
			t.Errorf("a job of %s: %v, want %q", person, err, want)
		}
		if err != nil {
			continue
		}
		if b, err := io.ReadAll(content); err != nil || string(b) != "content" {
			t.Errorf("a job of %s read %q, %v", person, b, err)
		}
	}
}
