// Package hostler is the glossary of Hostler: the words that the code, the API, the
// command line and the documents share, with their states, limits and errors.
//
// # Model
//
// A [Project] isolates everything below it. An [Asset] is a host or device; a
// [Credential] holds its login; an action ([ActionInfo]) is a kind of work. A [Job] is
// one execution of one action on at most one asset. A [JobRequest] creates one job, or a
// run of one job per asset:
//
//	(new) ─▶ scheduled ─▶ queued ─▶ running ─▶ succeeded | failed | cancelled | unknown
//
// A job waits in a [Queue] until a [Worker] leases it. Jobs of one lane run one at a
// time and in order; by default the jobs that may change a host are in the lane of its
// device. A [Webhook] sends an [Event] of a change to a URL, as a [Delivery].
//
// # Contents
//
// There is one file per object, named after it, with the object, its states, and the
// inputs and answers of the REST API that belong to it. Types with JSON tags are the wire
// format: the server validates and encodes them, and package client sends and decodes
// them. The tags minLength, maxLength, minimum, maximum, maxItems and enum are the
// limits that the OpenAPI document shows.
//
// # Invariants
//
// The package does no I/O and imports the standard library only; every other package
// imports it. Types that hold a secret hide it from fmt and slog.
package hostler

// DefaultProject is the name of the project that always exists.
const DefaultProject = "default"

// DefaultQueue is the name of the queue that always exists. A job is in it unless its
// request names another.
const DefaultQueue = "default"

// Version answers GET /api/v1/version.
type Version struct {
	Version string `json:"version"`
	Store   string `json:"store" doc:"sqlite or postgres"`
}
