package api_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
)

// task is a task as a client of the simple API reads it.
type task struct {
	ID          int64   `json:"id"`
	Name        string  `json:"name"`
	AssetID     int64   `json:"asset_id"`
	UserID      int64   `json:"user_id"`
	Action      string  `json:"action"`
	Status      string  `json:"status"`
	Result      *string `json:"result"`
	Error       *string `json:"error"`
	CreatedAt   string  `json:"created_at"`
	UpdatedAt   string  `json:"updated_at"`
	CompletedAt *string `json:"completed_at"`
}

type simpleAsset struct {
	ID       int64             `json:"id"`
	Name     string            `json:"name"`
	IP       string            `json:"ip"`
	Port     int               `json:"port"`
	Kind     string            `json:"kind"`
	Platform string            `json:"platform"`
	Labels   map[string]string `json:"labels"`
}

// openPort listens and accepts until the test ends.
func openPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// closedPort was free a moment ago.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (w *env) simpleAsset(t *testing.T, name string, port int) simpleAsset {
	t.Helper()
	var a simpleAsset
	w.mustDo(t, operator, "POST", "/assets", fmt.Sprintf(`{"name":%q,"ip":"127.0.0.1","port":%d}`, name, port), &a)
	return a
}

func (w *env) newTask(t *testing.T, asset int64, act string) task {
	t.Helper()
	var made task
	a := w.mustDo(t, operator, "POST", "/tasks", fmt.Sprintf(`{"asset_id":%d,"action":%q}`, asset, act), &made)
	if a.Status != http.StatusOK {
		t.Errorf("POST /tasks: %d, want 200", a.Status)
	}
	return made
}

// taskEnds polls a task as its clients do.
func (w *env) taskEnds(t *testing.T, id int64) task {
	t.Helper()
	var now task
	eventually(t, "the task ends", func() bool {
		now = task{}
		w.mustDo(t, viewer, "GET", fmt.Sprintf("/tasks/%d", id), "", &now)
		return now.Status == "done" || now.Status == "failed"
	})
	return now
}

func text(s *string) string {
	if s == nil {
		return "(null)"
	}
	return *s
}

func TestSimpleTask(t *testing.T) {
	w := newEnv(t)
	open, closed := openPort(t), closedPort(t)
	up, down := w.simpleAsset(t, "up", open), w.simpleAsset(t, "down", closed)
	portless := w.simpleAsset(t, "portless", 0)
	gone := w.simpleAsset(t, "gone", open)
	user := int64(w.caller(t, operator).UserID)

	made := w.newTask(t, up.ID, "check_port")
	if made.Status != "pending" || made.Result != nil || made.Error != nil || made.CompletedAt != nil || made.AssetID != up.ID ||
		made.UserID != user || made.Action != "check_port" || made.Name != "check_port up" || made.CreatedAt == "" || made.UpdatedAt == "" {
		t.Errorf("a fresh task: %+v", made)
	}
	ids := map[string]int64{
		"open": made.ID, "closed": w.newTask(t, down.ID, "check_port").ID,
		"without a port": w.newTask(t, portless.ID, "check_port").ID,
		"deleted asset":  w.newTask(t, gone.ID, "check_port").ID,
		"unknown action": w.newTask(t, up.ID, "飞行").ID,
	}
	w.mustDo(t, operator, "DELETE", fmt.Sprintf("/assets/%d", gone.ID), "", nil)
	w.work(t)
	for name, want := range map[string]struct{ status, result string }{
		"open":           {"done", fmt.Sprintf("port %d open", open)},
		"closed":         {"failed", fmt.Sprintf("port %d closed (errno=111)", closed)},
		"unknown action": {"failed", "未知操作: 飞行"},
		"deleted asset":  {"failed", "资产在作业等待期间已被删除"},
	} {
		got := w.taskEnds(t, ids[name])
		if got.Status != want.status || text(got.Result) != want.result || got.CompletedAt == nil || got.UserID != user {
			t.Errorf("%s: %s %q completed %s by %d, want %+v", name, got.Status, text(got.Result), text(got.CompletedAt), got.UserID, want)
		}
		if (got.Error != nil) != (want.status == "failed") {
			t.Errorf("%s: error %q", name, text(got.Error))
		}
	}
	if got := w.taskEnds(t, ids["without a port"]); got.Status != "failed" || !strings.Contains(text(got.Error), "端口") {
		t.Errorf("without a port: %s %q", got.Status, text(got.Error))
	}

	t.Run("listed", func(t *testing.T) {
		var failed, all []task
		w.mustDo(t, viewer, "GET", "/tasks?status=failed", "", &failed)
		w.mustDo(t, viewer, "GET", "/tasks?_=123", "", &all)
		if len(failed) != 4 || len(all) != 5 {
			t.Errorf("%d failed of %d, want 4 of 5", len(failed), len(all))
		}
		for i := 1; i < len(all); i++ {
			if all[i-1].ID < all[i].ID {
				t.Error("not the newest first")
			}
		}
		if a := w.do(t, viewer, "GET", "/tasks?status=nonsense", ""); a.Status != 422 {
			t.Errorf("unknown status: %d, want 422", a.Status)
		}
	})
	t.Run("in English", func(t *testing.T) {
		req := w.request(t, viewer, "GET", fmt.Sprintf("/tasks/%d", ids["unknown action"]), "")
		req.Header.Set("Accept-Language", "en")
		if a := w.send(t, req); !strings.Contains(a.Body, "unknown action: 飞行") {
			t.Errorf("in English: %s", a.Body)
		}
	})
}

func TestSimpleListingShowsFifty(t *testing.T) {
	w := newEnv(t)
	a := w.simpleAsset(t, "a", 1)
	for range 51 {
		w.newTask(t, a.ID, "noop")
	}
	var all []task
	w.mustDo(t, viewer, "GET", "/tasks", "", &all)
	if len(all) != 50 {
		t.Errorf("%d tasks, want 50", len(all))
	}
}

func TestSimpleErrors(t *testing.T) {
	w := newEnv(t)
	a := w.simpleAsset(t, "a", 1)
	for name, c := range map[string]struct {
		as, method, path, body string
		status                 int
		detail                 string
	}{
		"unknown asset":    {operator, "POST", "/tasks", `{"asset_id":12345,"action":"noop"}`, 404, "资产不存在"},
		"unknown, unknown": {operator, "POST", "/tasks", `{"asset_id":12345,"action":"fly"}`, 404, "资产不存在"},
		"negative asset":   {operator, "POST", "/tasks", `{"asset_id":-1,"action":"noop"}`, 404, "资产不存在"},
		"asset 0":          {operator, "POST", "/tasks", `{"asset_id":0,"action":"noop"}`, 404, "资产不存在"},
		"huge asset":       {operator, "POST", "/tasks", `{"asset_id":9223372036854775807,"action":"noop"}`, 404, "资产不存在"},
		"unknown task":     {viewer, "GET", "/tasks/999", "", 404, "任务不存在"},
		"negative task":    {viewer, "GET", "/tasks/-5", "", 404, "任务不存在"},
		"no key":           {nobody, "GET", "/tasks", "", 403, "需要 API 密钥"},
		"viewer":           {viewer, "POST", "/tasks", fmt.Sprintf(`{"asset_id":%d,"action":"noop"}`, a.ID), 403, "operator"},
		"wrong method":     {operator, "PATCH", "/tasks", `{}`, 405, "GET"},
		"delete a task":    {operator, "DELETE", "/tasks/1", "", 405, "GET"},
		"no action":        {operator, "POST", "/tasks", fmt.Sprintf(`{"asset_id":%d}`, a.ID), 422, "action"},
		"unknown key":      {operator, "POST", "/tasks", fmt.Sprintf(`{"asset_id":%d,"action":"noop","user_id":1}`, a.ID), 422, "user_id"},
		"bad args":         {operator, "POST", "/tasks", fmt.Sprintf(`{"asset_id":%d,"action":"noop","args":{"x":1}}`, a.ID), 422, "args"},
		"no asset":         {viewer, "GET", "/assets/77", "", 404, "资产不存在"},
		"bad ip":           {operator, "POST", "/assets", `{"name":"b","ip":"-x"}`, 422, "ip"},
		"name twice":       {operator, "POST", "/assets", `{"name":"a","ip":"192.0.2.1"}`, 409, "a"},
	} {
		got := w.do(t, c.as, c.method, c.path, c.body)
		p := got.problem(t)
		if got.Status != c.status || !strings.Contains(p.Detail, c.detail) || p.Code != -1.0 || !strings.Contains(got.Body, `"message":`) {
			t.Errorf("%s: %d %s, want %d %q", name, got.Status, got.Body, c.status, c.detail)
		}
		if ct := got.Header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: %s", name, ct)
		}
	}
	req := w.request(t, nobody, "GET", "/tasks", "")
	req.Header.Set("X-API-KEY", "wrong")
	if a := w.send(t, req); a.Status != http.StatusForbidden {
		t.Errorf("wrong key: %d, want 403", a.Status)
	}
}

func TestSimpleAssets(t *testing.T) {
	w := newEnv(t)
	a := w.simpleAsset(t, "web1", 22)
	path := fmt.Sprintf("/assets/%d", a.ID)
	// Fields that this API does not have must survive an update by it.
	w.mustDo(t, admin, "PUT", "/api/v1/assets/web1", `{"name":"web1","address":"127.0.0.1","port":22,"labels":{"role":"web"},"vars":{"x":"y"},"device_key":"rack1"}`, nil)
	var got simpleAsset
	w.mustDo(t, operator, "PUT", path, `{"name":"web1","ip":"192.0.2.7"}`, &got)
	want := simpleAsset{ID: a.ID, Name: "web1", IP: "192.0.2.7", Port: 22, Kind: "host", Labels: map[string]string{"role": "web"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changed asset (-want +got):\n%s", diff)
	}
	var native hostler.Asset
	w.mustDo(t, viewer, "GET", "/api/v1/assets/web1", "", &native)
	if native.Vars["x"] != "y" || native.DeviceKey != "rack1" || int64(native.ID) != a.ID {
		t.Errorf("the native asset: %+v", native)
	}
	var all []simpleAsset
	w.mustDo(t, viewer, "GET", "/assets", "", &all)
	if len(all) != 1 || all[0].Name != "web1" {
		t.Errorf("assets: %+v", all)
	}
	w.mustDo(t, operator, "DELETE", path, "", nil)
	if a := w.do(t, viewer, "GET", path, ""); a.Status != http.StatusNotFound {
		t.Errorf("after deleting: %d", a.Status)
	}
}

// TestSecretsNeverComeBack: canaries go in through every door that takes a secret
// and are in no answer and in no log.
func TestSecretsNeverComeBack(t *testing.T) {
	w := newEnv(t)
	const canary = "c4nary-S3cret-value"
	var seen strings.Builder
	note := func(a answer) {
		seen.WriteString(a.Body)
		for name, values := range a.Header {
			fmt.Fprint(&seen, name, values)
		}
	}
	cred := func(name string) string {
		return mustJSON(t, map[string]any{"name": name, "kind": "password", "username": "root", "password": canary})
	}
	note(w.mustDo(t, admin, "POST", "/api/v1/credentials", cred("root"), nil))
	note(w.mustDo(t, admin, "PUT", "/api/v1/credentials/root", cred("root"), nil))
	w.mustDo(t, admin, "POST", "/api/v1/assets", `{"name":"a","address":"192.0.2.1","credential":"root"}`, nil)
	for name, body := range map[string]string{
		"unknown kind":   `{"name":"x","kind":"` + canary + `","password":"` + canary + `"}`,
		"wrong type":     `{"name":"x","kind":"password","password":["` + canary + `"]}`,
		"unknown field":  `{"name":"x","kind":"password","passwort":"` + canary + `"}`,
		"bad key":        `{"name":"x","kind":"ssh_key","private_key":"` + canary + `"}`,
		"bad passphrase": `{"name":"x","kind":"ssh_key","private_key":"x","passphrase":"` + canary + `"}`,
		"too long":       `{"name":"x","kind":"password","password":"` + strings.Repeat(canary, 1000) + `"}`,
		"cut off":        `{"name":"x","kind":"password","password":"` + canary,
		"in a number":    `{"name":"x","kind":"password","password":` + canary + `}`,
		"taken":          cred("root"),
		"nul":            `{"name":"x","kind":"password","password":"` + canary + `\u0000"}`,
	} {
		a := w.do(t, admin, "POST", "/api/v1/credentials", body)
		if a.Status/100 != 4 {
			t.Errorf("%s: %d", name, a.Status)
		}
		note(a)
	}
	req := w.request(t, nobody, "GET", "/api/v1/me", "")
	req.Header.Set("X-API-KEY", canary)
	note(w.send(t, req))
	note(w.do(t, admin, "GET", "/api/v1/me?api_key="+canary, ""))
	for _, path := range []string{"/credentials", "/credentials/root", "/audit", "/assets/a", "/assets", "/keys", "/users", "/jobs"} {
		note(w.mustDo(t, admin, "GET", "/api/v1"+path, "", nil))
	}
	note(w.do(t, nobody, "GET", "/metrics", ""))
	for where, text := range map[string]string{"answers": seen.String(), "the log": w.log.String()} {
		if strings.Contains(text, canary) {
			t.Errorf("the canary is in %s", where)
		}
		for name, key := range w.keys {
			if strings.Contains(text, key) {
				t.Errorf("the key of %s is in %s", name, where)
			}
		}
	}
}
