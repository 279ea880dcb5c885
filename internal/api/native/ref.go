package native

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
)

// Inputs that name an object in the path, alone and with a body. Huma reads embedded
// types only when they are exported.
type (
	// Named is the name in the path.
	Named struct {
		Name string `path:"name" maxLength:"128"`
	}
	// NamedBody is Named with a body.
	NamedBody[T any] struct {
		Named
		rest.Payload[T]
	}

	// AssetRef is the asset in the path.
	AssetRef struct {
		Asset string `path:"asset" maxLength:"128" doc:"name or id"`
	}
	// AssetBody is AssetRef with a body.
	AssetBody[T any] struct {
		AssetRef
		rest.Payload[T]
	}

	// WebhookRef is the webhook in the path.
	WebhookRef struct {
		Webhook string `path:"webhook" maxLength:"128" doc:"name or id"`
	}
	// WebhookBody is WebhookRef with a body.
	WebhookBody[T any] struct {
		WebhookRef
		rest.Payload[T]
	}

	// ScheduleRef is the schedule in the path.
	ScheduleRef struct {
		Schedule string `path:"schedule" maxLength:"128" doc:"name or id"`
	}
	// ScheduleBody is ScheduleRef with a body.
	ScheduleBody[T any] struct {
		ScheduleRef
		rest.Payload[T]
	}

	// ChannelRef is the channel in the path.
	ChannelRef struct {
		Channel string `path:"channel" maxLength:"128" doc:"name or id"`
	}
	// ChannelBody is ChannelRef with a body.
	ChannelBody[T any] struct {
		ChannelRef
		rest.Payload[T]
	}

	// JobRef is the job in the path.
	JobRef struct {
		ID rest.JobID `path:"id"`
	}
	// JobOnce is JobRef with an Idempotency-Key.
	JobOnce struct {
		JobRef
		rest.Idempotent
	}
	// JobBody is JobRef with a body.
	JobBody[T any] struct {
		JobRef
		rest.Payload[T]
	}

	// RunRef is the run in the path.
	RunRef struct {
		ID rest.RunID `path:"id"`
	}
	// WorkerRef is the worker in the path.
	WorkerRef struct {
		ID rest.WorkerID `path:"id"`
	}
	// WorkerBody is WorkerRef with a body.
	WorkerBody[T any] struct {
		WorkerRef
		rest.Payload[T]
	}
	// KeyRef is the API key in the path.
	KeyRef struct {
		ID rest.KeyID `path:"id"`
	}
	// DeliveryRef is the delivery in the path.
	DeliveryRef struct {
		ID rest.DeliveryID `path:"id"`
	}
	// ArtefactRef is the artefact in the path.
	ArtefactRef struct {
		ID rest.ArtefactID `path:"id"`
	}
	// HoldRef is the hold in the path.
	HoldRef struct {
		ID rest.HoldID `path:"id"`
	}
	// SetAsideRef are the events in the path that were set aside.
	SetAsideRef struct {
		Last int64 `path:"last" minimum:"1" doc:"position of the last of the events"`
	}
	// HostKeyRef is the host key in the path, below its asset.
	HostKeyRef struct {
		AssetRef
		ID rest.HostKeyID `path:"id"`
	}
)

// Ref is the name.
func (r Named) Ref() string { return r.Name }

// Ref is the name or the id of the asset.
func (r AssetRef) Ref() string { return r.Asset }

// Ref is the name or the id of the webhook.
func (r WebhookRef) Ref() string { return r.Webhook }

// Ref is the name or the id of the schedule.
func (r ScheduleRef) Ref() string { return r.Schedule }

// Ref is the name or id of the channel.
func (r ChannelRef) Ref() string { return r.Channel }

// Ref is the id of the job.
func (r JobRef) Ref() hostler.JobID { return r.ID.V }

// Ref is the id of the run.
func (r RunRef) Ref() hostler.RunID { return r.ID.V }

// Ref is the id of the worker.
func (r WorkerRef) Ref() hostler.WorkerID { return r.ID.V }

// Ref is the id of the key.
func (r KeyRef) Ref() hostler.KeyID { return r.ID.V }

// Ref is the id of the delivery.
func (r DeliveryRef) Ref() hostler.DeliveryID { return r.ID.V }

// Ref is the id of the artefact.
func (r ArtefactRef) Ref() hostler.ArtefactID { return r.ID.V }

// Ref is the id of the hold.
func (r HoldRef) Ref() hostler.HoldID { return r.ID.V }

// Ref is the position of the last event.
func (r SetAsideRef) Ref() int64 { return r.Last }
