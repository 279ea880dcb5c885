package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"hostler.dev/hostler"
)

// TestEventsNoteAnOutage checks that a lost connection is noted once, and so is its
// return.
func TestEventsNoteAnOutage(t *testing.T) {
	for lang, want := range map[hostler.Lang][]string{
		hostler.LangEN: {"the store is away; reconnecting", "connected again"},
		hostler.LangZH: {"存储不可用；正在重新连接", "已重新连接"},
	} {
		t.Run(string(lang), func(t *testing.T) {
			var requests atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				n := requests.Add(1)
				if n == 2 || n == 3 {
					w.WriteHeader(http.StatusServiceUnavailable)
					io.WriteString(w, `{"code":"unavailable","text":{"en":"the store is away","zh":"存储不可用"}}`)
					return
				}
				fmt.Fprintf(w, "id: %d\nevent: queue.paused\ndata: %s\n\n", n,
					fmt.Sprintf(`{"pos":%d,"type":"queue.paused","data":{"object":"q%[1]d"}}`, n))
				if n > 3 {
					fmt.Fprintf(w, "event: error\ndata: %s\n\n",
						`{"code":"unauthenticated","text":{"en":"revoked","zh":"已吊销"}}`)
				}
			}))
			t.Cleanup(srv.Close)
			t.Setenv("HOSTLER_CONTEXT_FILE", os.DevNull)
			t.Setenv("HOSTLER_URL", srv.URL)
			t.Setenv("HOSTLER_KEY", "hst_test")
			a, out, errs := newApp(lang)
			code := a.run(t.Context(), []string{"events", "-f"})
			if want := hostler.CodeUnauthenticated.ExitCode(); code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
			if got := out.String(); !strings.Contains(got, "q1") || !strings.Contains(got, "q4") {
				t.Errorf("events: %q", got)
			}
			notes := strings.Split(errs.String(), "\n")
			if len(notes) < 2 || notes[0] != want[0] || notes[1] != want[1] {
				t.Errorf("notes %q, want them to begin with %q", notes, want)
			}
		})
	}
}
