package hostler

import "time"

// DeliveryState is the state of a delivery.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryPending   DeliveryState = "pending"   // to be sent, or to be retried
	DeliveryDelivered DeliveryState = "delivered" // the receiver accepted it
	DeliveryFailed    DeliveryState = "failed"    // no retry is left; a person may resend it
)

// Delivery is one event that is sent to one webhook or channel. Its id is the webhook-id that the
// receiver sees, the same in every attempt, by which it detects duplicates.
type Delivery struct {
	ID DeliveryID `json:"id"`
	// Webhook and Name identify the receiver; of a channel they are its number and name.
	Webhook WebhookID `json:"webhook"`
	Name    string    `json:"webhook_name"`
	// Channel and ChannelName are set for a channel only.
	Channel     ChannelID         `json:"channel,omitzero"`
	ChannelName string            `json:"channel_name,omitempty"`
	Pos         int64             `json:"pos" doc:"of the event"`
	Type        EventType         `json:"type"`
	Job         JobID             `json:"job,omitzero"`
	State       DeliveryState     `json:"state"`
	Tries       int               `json:"tries"`
	NextAt      *time.Time        `json:"next_at,omitempty" doc:"of the next attempt"`
	Created     time.Time         `json:"created_at"`
	Ended       *time.Time        `json:"ended_at,omitempty"`
	Body        string            `json:"body,omitempty" doc:"of the request; omitted from listings"`
	Attempts    []DeliveryAttempt `json:"attempts,omitempty" doc:"newest last; omitted from listings, which have the last one"`
	Last        *DeliveryAttempt  `json:"last,omitempty"`
}

// DeliveryAttempt is one request and its response.
type DeliveryAttempt struct {
	N        int               `json:"n"`
	At       time.Time         `json:"at"`
	Millis   float64           `json:"ms"`
	Request  map[string]string `json:"request,omitempty" doc:"headers that were sent, without secrets"`
	Status   int               `json:"status,omitempty" doc:"HTTP status; 0 without a response"`
	Response string            `json:"response,omitempty" doc:"the first 4 KiB"`
	Error    *Text             `json:"error,omitempty"`
	Merged   DeliveryID        `json:"merged,omitzero" doc:"the delivery whose message stands for this one too"`
}

// DeliveryFilter selects deliveries; an empty field selects all.
type DeliveryFilter struct {
	Webhook string        `json:"webhook,omitempty" doc:"name or id"`
	Channel string        `json:"channel,omitempty" doc:"name or id"`
	State   DeliveryState `json:"state,omitempty" enum:"pending,delivered,failed"`
	Type    EventType     `json:"type,omitempty"`
	Job     JobID         `json:"job,omitzero"`
	Since   *time.Time    `json:"since,omitempty"`
	Until   *time.Time    `json:"until,omitempty"`
}

// SetAside are published events that could not be made into deliveries. They stay in the
// stream of events. A retry makes their deliveries, if it can by now.
type SetAside struct {
	First    int64     `json:"first" doc:"position of the first event"`
	Last     int64     `json:"last" doc:"position of the last event, which names them in the path"`
	Webhook  WebhookID `json:"webhook,omitzero" doc:"whose deliveries could not be made; default: all"`
	At       time.Time `json:"at" doc:"when they were set aside"`
	Error    string    `json:"error"`
	Retrying bool      `json:"retrying" doc:"a retry was asked for, and is not over"`
}

// DeliverySelection selects the deliveries of a bulk change, by filter or by ids; one
// of the two is required.
type DeliverySelection struct {
	Filter *DeliveryFilter `json:"filter,omitempty" doc:"default state: failed"`
	IDs    []DeliveryID    `json:"ids,omitempty" maxItems:"1000"`
}
