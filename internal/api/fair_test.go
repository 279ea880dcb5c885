package api_test

import (
	"net/http"
	"strings"
	"testing"

	"hostler.dev/hostler"
)

// TestDevicesOfOthersOnEveryAPI takes a device of the default project into another one, as
// an admin of that one, through each API: nothing is created, and no job enters its lane.
func TestDevicesOfOthersOnEveryAPI(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.mustDo(t, admin, "POST", "/api/v1/assets", `{"name":"core","address":"192.0.2.1"}`, nil)
		w.mustDo(t, stranger, "POST", "/api/v1/assets", `{"name":"mine","address":"192.0.2.9"}`, nil)
		const conn = `"connection_args":{"host":"192.0.2.1","username":"u","password":"p"}`
		for name, c := range map[string]struct{ method, path, body string }{
			"asset":         {"POST", "/api/v1/assets", `{"name":"x","address":"192.0.2.1"}`},
			"change":        {"PUT", "/api/v1/assets/mine", `{"name":"mine","address":"192.0.2.9","device_key":"192.0.2.1"}`},
			"simple asset":  {"POST", "/assets", `{"name":"x","ip":"192.0.2.1"}`},
			"ad-hoc host":   {"POST", "/api/v1/jobs", `{"action":"ssh_command","lane":"asset","args":{"commands":["x"]},"target":{"address":"192.0.2.1","username":"u","password":"p"}}`},
			"NetPulse exec": {"POST", "/device/exec", `{"driver":"paramiko",` + conn + `,"command":"x","queue_strategy":"pinned"}`},
			"NetPulse push": {"POST", "/device/exec", `{"driver":"paramiko",` + conn + `,"config":"x","queue_strategy":"pinned"}`},
		} {
			if a := w.do(t, stranger, c.method, c.path, c.body); a.Status != http.StatusForbidden {
				t.Errorf("%s: %d %s, want 403", name, a.Status, a.Body)
			}
		}
		bulk := w.do(t, stranger, "POST", "/device/bulk",
			`{"driver":"paramiko","devices":[{"host":"192.0.2.1"}],"connection_args":{"username":"u","password":"p"},"command":"x","queue_strategy":"pinned"}`)
		if strings.Contains(bulk.Body, "job_") || !strings.Contains(bulk.Body, "192.0.2.1") {
			t.Errorf("NetPulse bulk: %d %s", bulk.Status, bulk.Body)
		}
		file := w.send(t, w.csv(t, stranger, "", "name,address\nx,192.0.2.1\n"))
		if !strings.Contains(file.Body, "device_key") {
			t.Errorf("import: %d %s", file.Status, file.Body)
		}
		var assets hostler.List[hostler.Asset]
		w.mustDo(t, stranger, "GET", "/api/v1/assets", "", &assets)
		if len(assets.Items) != 1 || assets.Items[0].DeviceKey != "192.0.2.9" {
			t.Errorf("the other project has %+v", assets.Items)
		}
		var jobs hostler.List[hostler.Job]
		w.mustDo(t, stranger, "GET", "/api/v1/jobs", "", &jobs)
		if len(jobs.Items) != 0 {
			t.Errorf("the other project has %d jobs", len(jobs.Items))
		}
	})
}

// TestLimitsOnEveryAPI creates jobs in a project that may have none waiting beyond one,
// through each API.
func TestLimitsOnEveryAPI(t *testing.T) {
	w := newEnv(t)
	w.mustDo(t, admin, "PATCH", "/api/v1/projects/default", `{"max_queued":1,"max_timeout":"30s"}`, nil)
	w.mustDo(t, operator, "POST", "/api/v1/assets", `{"name":"a","address":"192.0.2.1"}`, nil)
	if a := w.do(t, operator, "POST", "/api/v1/jobs", `{"action":"noop","timeout":"31s"}`); a.Status != http.StatusUnprocessableEntity ||
		!strings.Contains(a.Body, "max_timeout") {
		t.Errorf("a timeout beyond the limit: %d %s", a.Status, a.Body)
	}
	w.mustDo(t, operator, "POST", "/api/v1/jobs", `{"action":"noop"}`, nil)
	const conn = `"connection_args":{"host":"192.0.2.1","username":"u","password":"p"}`
	for name, c := range map[string]struct{ path, body string }{
		"native":   {"/api/v1/jobs", `{"action":"noop"}`},
		"delayed":  {"/api/v1/jobs", `{"action":"noop","delay":"1h"}`},
		"NetPulse": {"/device/exec", `{"driver":"paramiko",` + conn + `,"command":"x"}`},
		"bulk":     {"/device/bulk", `{"driver":"paramiko","devices":[{"host":"192.0.2.2"}],"connection_args":{"username":"u","password":"p"},"command":"x"}`},
	} {
		a := w.do(t, operator, "POST", c.path, c.body)
		if a.Status != http.StatusTooManyRequests || !strings.Contains(a.Body, "max_queued") {
			t.Errorf("%s: %d %s, want 429 that names max_queued", name, a.Status, a.Body)
		}
	}
	if a := w.do(t, operator, "PATCH", "/api/v1/projects/default", `{"max_queued":0}`); a.Status != http.StatusForbidden {
		t.Errorf("an operator raises the limit: %d %s", a.Status, a.Body)
	}
	if a := w.do(t, stranger, "PATCH", "/api/v1/projects/other", `{"weight":9}`); a.Status != http.StatusForbidden {
		t.Errorf("an admin of another project gives it weight: %d %s", a.Status, a.Body)
	}
}
