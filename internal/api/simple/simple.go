// Package simple is the simple task API at the root: run one operation on one asset,
// then poll the task until it is done.
//
// # Model
//
// A task is a job in other words ([hostler.TaskStatus]), and ids are decimal: the
// native ids in another form. Errors are {"detail"}, in Chinese unless asked
// otherwise.
package simple

import (
	"errors"
	"reflect"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
)

// Dialect is that of the API.
var Dialect = &rest.Dialect{
	Tag: "simple", Lang: hostler.LangZH, Errors: rest.DetailJSON, KeyProject: true, Lenient: true,
	SchemaName: schemaName,
}

// api has the handlers of the API.
type api struct{ *app.App }

// Routes returns the routes of the API.
func Routes(a *app.App) []rest.Route {
	s := &api{a}
	return slices.Concat(s.taskRoutes(), s.assetRoutes(), s.namedRoutes())
}

// schemaName distinguishes the assets of this API from the native ones in the OpenAPI
// document.
func schemaName(t reflect.Type, name string) string {
	switch t {
	case reflect.TypeFor[Asset](), reflect.TypeFor[AssetInput]():
		return "Simple" + name
	}
	return name
}

var (
	errNoTask  = hostler.Text{EN: "the task does not exist", ZH: "任务不存在"}
	errNoAsset = hostler.Text{EN: "the asset does not exist", ZH: "资产不存在"}
)

func notFound(what hostler.Text) error {
	return &hostler.Error{Code: hostler.CodeNotFound, Text: what}
}

// orNotFound replaces the text of a CodeNotFound error.
func orNotFound(err error, what hostler.Text) error {
	if hostler.CodeOf(err) == hostler.CodeNotFound {
		return &hostler.Error{Code: hostler.CodeNotFound, Text: what, Cause: err}
	}
	return err
}

// renamed names the fields of an error as this API does.
func renamed(err error) error {
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok {
		return err
	}
	cp := *e
	cp.Fields = slices.Clone(e.Fields)
	for i, f := range cp.Fields {
		if f.Path == "address" {
			cp.Fields[i].Path = "ip"
		}
	}
	return &cp
}

// Ref is the object in the path.
type Ref struct {
	ID int64 `path:"id" doc:"decimal id"`
}

// maxID is the largest id; see [hostler.IDBits].
const maxID = 1<<hostler.IDBits - 1

// valid reports whether the number can be an id.
func (r Ref) valid() bool { return r.ID > 0 && r.ID <= maxID }
