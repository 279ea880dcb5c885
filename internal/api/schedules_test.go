package api_test

import (
	"net/http"
	"testing"

	"hostler.dev/hostler"
)

// TestRunScheduleNow: each fault of a request to run a schedule has an answer of its own.
func TestRunScheduleNow(t *testing.T) {
	w := newEnv(t)
	const saved = `{"trigger":{"cron":"0 3 * * *"},"task":{"action":"noop"},"enabled":false}`
	var s hostler.Schedule
	w.mustDo(t, operator, "PUT", "/api/v1/schedules/night", saved, &s)
	if s.Name != "night" || s.Enabled || s.Owner == "" {
		t.Errorf("saved %+v", s)
	}
	for _, body := range []string{"", "{}"} {
		var run hostler.ScheduleRun
		w.mustDo(t, operator, "POST", "/api/v1/schedules/night/run", body, &run)
		if run.Run == 0 || run.Message == "" || run.State != "pending" || run.URL != "/api/v1/runs/"+run.Run.String() {
			t.Errorf("run %+v", run)
		}
		w.mustDo(t, viewer, "GET", run.URL, "", &hostler.RunSummary{})
	}
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		as                       string
	}{
		{"invalid JSON", "POST", "/night/run", `{"args":`, http.StatusBadRequest, operator},
		{"wrong type", "POST", "/night/run", `{"queue":5}`, http.StatusBadRequest, operator},
		{"args of a wrong type", "POST", "/night/run", `{"args":[1]}`, http.StatusBadRequest, operator},
		{"unknown schedule", "POST", "/none/run", `{}`, http.StatusNotFound, operator},
		{"wrong method", "PUT", "/night/run", `{}`, http.StatusMethodNotAllowed, operator},
		{"no right", "POST", "/night/run", `{}`, http.StatusForbidden, viewer},
	} {
		if got := w.send(t, w.request(t, c.as, c.method, "/api/v1/schedules"+c.path, c.body)); got.Status != c.status {
			t.Errorf("%s: %d %s", c.name, got.Status, got.Body)
		}
	}
	var l hostler.List[hostler.Fire]
	w.mustDo(t, viewer, "GET", "/api/v1/schedules/night/fires?limit=1", "", &l)
	if len(l.Items) != 1 || l.Next == "" || l.Items[0].Trigger != hostler.FireManual {
		t.Errorf("fires %+v", l)
	}
	var next hostler.NextFires
	w.mustDo(t, viewer, "POST", "/api/v1/schedules/next", `{"trigger":{"interval":"5m"},"count":3}`, &next)
	if len(next.Fires) != 3 {
		t.Errorf("next %+v", next)
	}
}
