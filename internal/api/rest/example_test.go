package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/auth"
)

// createProject is a use case, such as a method of app.App.
func createProject(_ context.Context, c auth.Caller, in hostler.ProjectInput) (hostler.Project, error) {
	return hostler.Project{ID: 1, Name: in.Name}, nil
}

// An API is a table of routes. The framework authenticates, decodes and validates; a use
// case is called with typed values.
func Example() {
	dialect := &rest.Dialect{Prefix: "/api/v2", Lang: hostler.LangEN}
	routes := []rest.Route{
		dialect.Route("POST /projects", auth.CreateProject, rest.Created(rest.Body(createProject)),
			"Create a project", "创建项目"),
	}
	admin := auth.Caller{
		Default: 1, Project: 1, KeyRole: hostler.RoleAdmin,
		Roles: map[hostler.ProjectID]hostler.Role{1: hostler.RoleAdmin},
	}
	h, err := rest.New(rest.Config{
		Authenticate: func(_ context.Context, key, _, _ string) (auth.Caller, error) { return admin, nil },
		Default:      dialect, Document: "/api/v2/openapi.json",
	}, routes, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, body := range []string{`{"name":"ops"}`, `{"name":""}`} {
		r := httptest.NewRequest(http.MethodPost, "/api/v2/projects", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-API-KEY", "hst_…")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Content-Type"))
	}
	// Output:
	// 201 application/json
	// 422 application/problem+json
}
