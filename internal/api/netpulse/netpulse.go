// Package netpulse is NetPulse's job API: run commands on a device, then poll the
// job.
//
// # Model
//
// The calls exist twice ([Version]): at the root in the version that NetPulse's
// documentation prints, and below [Prefix] in that of NetPulse 0.3 and its Python
// client. job.go, worker.go and device.go hold the shapes of NetPulse, their
// translation to and from Hostler's own, and the handlers, which decode, call package
// app, and encode.
//
// # Invariants
//
// No secret of an input is in an output. A field that asks for something which Hostler
// does not do is refused by name, never by value. Only fields that tune the inside of
// NetPulse's drivers are accepted without effect.
package netpulse

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
)

// Dialect is that of both versions.
var Dialect = &rest.Dialect{
	Tag: "netpulse", Lang: hostler.LangZH, Errors: rest.DetailJSON, KeyProject: true, Lenient: true,
	SchemaName: schemaName,
}

// statsDialect lists GET /task-stats under the simple task API in the OpenAPI document:
// its name follows that API, its form NetPulse.
var statsDialect = &rest.Dialect{
	Tag: "simple", Lang: hostler.LangZH, Errors: rest.DetailJSON, KeyProject: true, Lenient: true,
	SchemaName: schemaName,
}

// schemaName distinguishes NetPulse's types from the glossary's of the same name in the
// OpenAPI document.
func schemaName(t reflect.Type, name string) string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.PkgPath() == reflect.TypeFor[Job]().PkgPath() {
		return "NetPulse" + name
	}
	return name
}

// api has the handlers of one version.
type api struct {
	*app.App
	version Version
}

// Routes returns the routes of both versions.
func Routes(a *app.App) []rest.Route {
	page, sdk := &api{a, Page}, &api{a, SDK}
	return append(slices.Concat(page.routes(), sdk.routes()),
		statsDialect.Route("GET /task-stats", auth.ReadJob, rest.List(rest.Do(page.taskStats)),
			"Count ended jobs by action", "按动作统计已结束的作业"))
}

func (a *api) routes() []rest.Route {
	route := func(method, path string, v auth.Verb, o rest.Operation, en, zh string) rest.Route {
		return Dialect.Route(method+" "+a.version.prefix()+path, v, o, en+" (NetPulse)", zh+"（NetPulse）")
	}
	return []rest.Route{
		route("GET", "/job", auth.ReadJob, rest.DoLinked(a.listJobs), "Find jobs", "查询作业"),
		route("DELETE", "/job", auth.ChangeJob, rest.Do(a.cancelJobs), "Cancel jobs that have not started",
			"取消尚未开始的作业"),
		route("GET", "/worker", auth.ReadWorker, rest.List(rest.Do(a.listWorkers)),
			"List workers and their open connections", "列出工作节点及保持的连接"),
		route("DELETE", "/worker", auth.StopWorker, rest.Do(a.stopWorkers),
			"Stop workers, or close open connections", "停止工作节点或关闭保持的连接"),
		route("POST", "/device/exec", auth.RunJob, rest.Created(rest.Do(a.exec)), "Run commands on a device",
			"在设备上执行命令"),
		route("POST", "/device/bulk", auth.RunJob, rest.Created(rest.Do(a.bulk)),
			"Run commands on many devices", "在多台设备上执行命令"),
		route("POST", "/device/test", auth.RunJob, rest.Do(a.test), "Test the connection to a device",
			"测试设备连接"),
	}
}

// Health returns the SDK's endpoint for health: whether the store answers. open
// reports whether a request needs no key.
func Health(storeError func(context.Context) error, open func(*http.Request) bool) rest.Plain {
	return rest.Plain{
		Pattern: "GET " + Prefix + "/health", Dialect: Dialect, Verb: auth.ReadWorker, Open: open,
		Serve: func(w http.ResponseWriter, r *http.Request) error {
			if err := storeError(r.Context()); err != nil {
				return err
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(Success(http.StatusOK, "ok")) // the client may have disconnected
			return nil
		},
	}
}
