package api_test

import (
	"fmt"
	"net/http"
	"testing"

	"hostler.dev/hostler"
)

// TestRolloutOfARequest sends numbers and parts as the sizes of waves.
func TestRolloutOfARequest(t *testing.T) {
	w := newEnv(t)
	for i := range 3 {
		w.mustDo(t, operator, "POST", "/api/v1/assets", fmt.Sprintf(`{"name":"web%d","address":"192.0.2.%d"}`, i, i+1), nil)
	}
	const body = `{"action":"check_port","args":{"port":22},"assets":["web0","web1","web2"],"rollout":%s}`
	var made hostler.JobsCreated
	w.mustDo(t, operator, "POST", "/api/v1/jobs",
		fmt.Sprintf(body, `{"batch":[1,"50%"],"max_failures":"10%","pause_between":"1s","parallel":2}`), &made)
	var run hostler.Run
	w.mustDo(t, operator, "GET", "/api/v1/runs/"+made.Run.String(), "", &run)
	if run.Source != hostler.RunAdHoc || len(run.Steps) != 1 || run.Steps[0].Hosts != 3 || len(run.Steps[0].Waves) != 3 {
		t.Errorf("the run %+v", run)
	}
	for _, bad := range []string{`{"batch":["x"]}`, `{"batch":[0]}`, `{"batch":["200%"]}`, `{"parallel":-1}`} {
		if a := w.do(t, operator, "POST", "/api/v1/jobs", fmt.Sprintf(body, bad)); a.Status/100 != 4 || a.Status == http.StatusNotFound {
			t.Errorf("%s: %d %s", bad, a.Status, a.Body)
		}
	}
}
