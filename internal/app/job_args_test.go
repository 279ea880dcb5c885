package app_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/store"
)

// TestArgsOfOneCallAreLimited: each way to create many jobs refuses a call whose jobs have
// too large args together, says so, and creates nothing.
func TestArgsOfOneCallAreLimited(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		const size = 16 << 10
		sized := func(size int, fill string) json.RawMessage {
			return json.RawMessage(`{"port":` + strings.Repeat(" ", size-20) + fill + `}`)
		}
		args := func(fill string) json.RawMessage { return sized(size, fill) }
		var names []string
		rows := make([]store.AssetRow, 1100)
		for i := range rows {
			names = append(names, fmt.Sprintf("host%d", i))
			rows[i].Asset = hostler.Asset{
				Name: names[i], Address: names[i], DeviceKey: names[i], Kind: "host", HostKey: hostler.HostKeyStrict,
			}
		}
		w.tx(t, func(tx *store.Tx) error { return tx.InsertAssets(w.operator.Project, rows) })
		refused := func(what, field string, err error) {
			t.Helper()
			wantCode(t, err, hostler.CodeInvalid)
			if err == nil || !strings.Contains(err.Error(), field) || !strings.Contains(err.Error(), "fewer jobs") {
				t.Errorf("%s: %v; want the field %s and the remedy", what, err, field)
			}
		}
		_, err := w.RunJobs(t.Context(), w.operator, hostler.JobRequest{
			Action: "check_port", Assets: names, Args: sized(1<<20, "1"),
		}, "")
		refused("fan-out", "args", err)
		small := w.limited(app.Limits{DistinctArgs: 64 * size})
		var reqs []hostler.JobRequest
		for i := range 70 {
			reqs = append(reqs, hostler.JobRequest{Action: "check_port", Assets: names[i : i+1], Args: args(fmt.Sprint(i))})
		}
		_, err = small.RunBatch(t.Context(), w.operator, reqs)
		refused("batch", "devices", err)
		if n := len(must(w.Jobs(t.Context(), w.viewer, hostler.JobFilter{}, hostler.Page{}))(t).Items); n != 0 {
			t.Fatalf("%d jobs were created", n)
		}

		for i := range 4 {
			w.run(t, hostler.JobRequest{Action: "check_port", Assets: names[:1], Args: args(fmt.Sprint(i))})
		}
		made := w.run(t, hostler.JobRequest{Action: "check_port", Assets: names[:20], Args: args("9")})
		k := w.worker(t)
		k.finish(t, k.lease(t, 24), hostler.OutcomeFailed)
		failed := &hostler.JobFilter{States: []hostler.State{hostler.StateFailed}}
		small = w.limited(app.Limits{DistinctArgs: 4 * size})
		_, err = small.RetryJobs(t.Context(), w.operator, hostler.BulkRequest{Filter: failed}, "")
		refused("retry of different args", "ids", err)
		small = w.limited(app.Limits{Args: 20 * size})
		_, err = small.RetryJobs(t.Context(), w.operator, hostler.BulkRequest{Filter: failed}, "")
		refused("retry", "ids", err)
		again, err := small.RetryJobs(t.Context(), w.operator, hostler.BulkRequest{IDs: made.Jobs[:15]}, "")
		if err != nil || again.Matched != 15 {
			t.Errorf("a retry within the limit: %+v, %v", again, err)
		}
	})
}
