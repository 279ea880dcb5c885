package native

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
)

// TestLaggingListener: the stream of a client that has caught up and falls far behind
// ends with an error; a client that still catches up may be far behind.
func TestLaggingListener(t *testing.T) {
	stream := rest.Stream(nil, func(_ context.Context, c *rest.Call, _ *rest.None) (rest.Send, error) {
		return func(w http.ResponseWriter) {
			l := listener{call: c, out: c.NewEventStream(w, "")}
			for _, behind := range []int64{5 * maxLag, maxLag, 0, maxLag} {
				if !l.checkLag(app.EventBatch{Behind: behind}) {
					t.Errorf("ended at %d", behind)
				}
			}
			if l.checkLag(app.EventBatch{Behind: maxLag + 1}) {
				t.Error("it goes on")
			}
		}, nil
	})
	h, err := rest.New(rest.Config{Default: Dialect, Document: "/doc"},
		[]rest.Route{Dialect.PublicRoute("GET /lag", stream, "Lag", "落后")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, Prefix+"/lag", nil))
	if got := w.Body.String(); !strings.Contains(got, "event: error\ndata: {") || !strings.Contains(got, "reads too slowly") {
		t.Errorf("the stream is %q", got)
	}
}
