// Package hostler is the glossary of Hostler: the words that the code, the
// API, the command line and the documents share, with their states, their
// limits and their errors.
//
// The package does no I/O and imports the standard library only; everything
// else in the module imports it. Types with JSON tags are the wire format of
// the REST API: the server encodes them and the client package decodes them.
//
// Model: a Project isolates everything below it. An Asset is a host or device;
// a Credential opens it; an Action is a kind of work. A Job is one execution
// of one action on at most one asset: it waits in a Queue, may be serialised
// by a Lane, is leased by a Worker, and ends in exactly one terminal State.
package hostler

// DefaultProject is the name of the project that always exists.
const DefaultProject = "default"

// DefaultQueue is the name of the queue that always exists and that a job
// uses unless it names another.
const DefaultQueue = "default"

// Version answers GET /api/v1/version.
type Version struct {
	Version string `json:"version"`
	Store   string `json:"store" doc:"sqlite or postgres"`
}
