// Package native is Hostler's own REST API, under /api/v1.
//
// # Model
//
// Each file has the routes of one kind of object: a table with one row for each route
// (method, path, permission, use case, title), and the inputs and handlers that the
// table needs. Most rows name a method of [app.App]; the framework in package rest
// decodes, validates and answers.
//
// # Invariants
//
// A handler decides nothing: permission, rules and audit are in package app. Types of
// bodies are those of the root package, which the Go client also uses.
package native

import (
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/app"
)

// Prefix begins every path of the API.
const Prefix = "/api/v1"

// Dialect is that of the API: problem+json, in English unless asked otherwise.
var Dialect = &rest.Dialect{Prefix: Prefix, Lang: hostler.LangEN, Errors: rest.ProblemJSON}

// Config is what the API needs.
type Config struct {
	App     *app.App
	Version string
	// Followers is the number of streams of output at once, half of them for one user;
	// 0 means 512.
	Followers int
	// Listeners is the number of streams of events at once, likewise; 0 means 1,024.
	Listeners int
}

// api has the handlers of the API.
type api struct {
	*app.App
	version   string
	followers *rest.Limiter // of output
	listeners *rest.Limiter // of events
	glances   glances       // at the jobs that are followed
}

// Routes returns the routes of the API.
func Routes(cfg Config) []rest.Route {
	if cfg.Followers == 0 {
		cfg.Followers = 512
	}
	if cfg.Listeners == 0 {
		cfg.Listeners = 1024
	}
	a := &api{
		App:       cfg.App,
		version:   cfg.Version,
		followers: rest.NewLimiter(cfg.Followers, hostler.Text{EN: "streams of output", ZH: "输出流"}),
		listeners: rest.NewLimiter(cfg.Listeners, hostler.Text{EN: "streams of events", ZH: "事件流"}),
	}
	return slices.Concat(
		a.callerRoutes(), a.projectRoutes(), a.userRoutes(), a.roleRoutes(), a.commandRuleRoutes(), a.keyRoutes(),
		a.assetRoutes(), a.assetFileRoutes(), a.hostKeyRoutes(), a.credentialRoutes(),
		a.actionRoutes(), a.jobRoutes(), a.flowRoutes(), a.scheduleRoutes(), a.inboundRoutes(), a.calendarRoutes(), a.statsRoutes(), a.alertRoutes(), a.logRoutes(), a.artefactRoutes(), a.eventRoutes(),
		a.queueRoutes(), a.laneRoutes(), a.dispatchRoutes(), a.workerRoutes(), a.webhookRoutes(), a.channelRoutes(), a.deliveryRoutes(), a.auditRoutes(),
	)
}
