package hostler

import (
	"encoding/json"
	"time"
)

// EventType names a kind of event: the object, a dot, and what happened to it.
type EventType string

// The types of event. Those of a job are "job." and the state that it came into,
// but for job.started.
const (
	EventJobScheduled EventType = "job.scheduled"
	EventJobQueued    EventType = "job.queued"
	EventJobStarted   EventType = "job.started"
	EventJobSucceeded EventType = "job.succeeded"
	EventJobFailed    EventType = "job.failed"
	EventJobCancelled EventType = "job.cancelled"
	EventJobExpired   EventType = "job.expired"
	EventJobUnknown   EventType = "job.unknown"

	EventAssetCreated      EventType = "asset.created"
	EventAssetUpdated      EventType = "asset.updated"
	EventAssetDeleted      EventType = "asset.deleted"
	EventHostKeyOffered    EventType = "hostkey.offered"
	EventHostKeyAccepted   EventType = "hostkey.accepted"
	EventHostKeyRevoked    EventType = "hostkey.revoked"
	EventCredentialCreated EventType = "credential.created"
	EventCredentialUpdated EventType = "credential.updated"
	EventCredentialDeleted EventType = "credential.deleted"
	EventQueueUpdated      EventType = "queue.updated"
	EventQueuePaused       EventType = "queue.paused"
	EventQueueResumed      EventType = "queue.resumed"
	EventWorkerStarted     EventType = "worker.started"
	EventWorkerStopped     EventType = "worker.stopped"
	EventWorkerLost        EventType = "worker.lost"
	EventWebhookCreated    EventType = "webhook.created"
	EventWebhookUpdated    EventType = "webhook.updated"
	EventWebhookDeleted    EventType = "webhook.deleted"
	EventWebhookDisabled   EventType = "webhook.disabled"
	EventWebhookPing       EventType = "webhook.ping"
)

// EventTypes lists the types of event.
func EventTypes() []EventType {
	return []EventType{
		EventJobScheduled, EventJobQueued, EventJobStarted, EventJobSucceeded, EventJobFailed, EventJobCancelled,
		EventJobExpired, EventJobUnknown, EventAssetCreated, EventAssetUpdated, EventAssetDeleted, EventHostKeyOffered,
		EventHostKeyAccepted, EventHostKeyRevoked, EventCredentialCreated, EventCredentialUpdated,
		EventCredentialDeleted, EventQueueUpdated, EventQueuePaused, EventQueueResumed, EventWorkerStarted,
		EventWorkerStopped, EventWorkerLost, EventWebhookCreated, EventWebhookUpdated, EventWebhookDeleted,
		EventWebhookDisabled, EventWebhookPing,
	}
}

// Event is a fact about a change of state, written in the transaction of the
// change. Events have one order for all servers, in which what caused something
// stands before it.
type Event struct {
	// Pos is the event's place in that order: the id of the live stream, from
	// which a reader resumes.
	Pos  int64     `json:"pos"`
	Type EventType `json:"type"`
	At   time.Time `json:"at"`
	// Project is empty for what belongs to no project, such as queues.
	Project string `json:"project,omitempty"`
	// Data is a JobEvent for the events of jobs, an ObjectEvent for the others.
	Data json.RawMessage `json:"data"`
}

// JobEvent is what an event of a job tells. It carries neither args nor result:
// GET /api/v1/jobs/{id} has them.
type JobEvent struct {
	Job       JobID     `json:"job"`
	Run       RunID     `json:"run,omitzero"`
	Action    string    `json:"action"`
	Queue     string    `json:"queue"`
	Asset     AssetID   `json:"asset,omitzero"`
	AssetName string    `json:"asset_name,omitempty"`
	State     State     `json:"state"`
	Cause     Cause     `json:"cause"`
	Attempt   int       `json:"attempt,omitempty"`
	Worker    WorkerID  `json:"worker,omitzero"`
	CreatedBy string    `json:"created_by,omitempty"`
	Error     *JobError `json:"error,omitempty"`
}

// ObjectEvent is what an event of anything but a job tells.
type ObjectEvent struct {
	// Object is the name of the object, or its id when it has no name.
	Object string `json:"object"`
	// By is the user whose call it was; empty for what Hostler did itself.
	By string `json:"by,omitempty"`
}
