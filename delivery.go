package hostler

import "time"

// DeliveryState is where a delivery is.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryPending   DeliveryState = "pending"   // to be sent, or to be tried again
	DeliveryDelivered DeliveryState = "delivered" // the receiver took it
	DeliveryFailed    DeliveryState = "failed"    // given up; it can be sent again
)

// Delivery is one event on its way to one webhook. Its id is the webhook-id that
// the receiver sees, the same at every try.
type Delivery struct {
	ID       DeliveryID        `json:"id"`
	Webhook  WebhookID         `json:"webhook"`
	Name     string            `json:"webhook_name"`
	Pos      int64             `json:"pos" doc:"of the event"`
	Type     EventType         `json:"type"`
	Job      JobID             `json:"job,omitzero"`
	State    DeliveryState     `json:"state"`
	Tries    int               `json:"tries"`
	NextAt   *time.Time        `json:"next_at,omitempty" doc:"of the next try"`
	Created  time.Time         `json:"created_at"`
	Ended    *time.Time        `json:"ended_at,omitempty"`
	Body     string            `json:"body,omitempty" doc:"what is sent; left out of listings"`
	Attempts []DeliveryAttempt `json:"attempts,omitempty" doc:"newest last; left out of listings, which have the last one"`
	Last     *DeliveryAttempt  `json:"last,omitempty"`
}

// DeliveryAttempt is one request and what came back.
type DeliveryAttempt struct {
	N        int               `json:"n"`
	At       time.Time         `json:"at"`
	Millis   float64           `json:"ms"`
	Request  map[string]string `json:"request,omitempty" doc:"headers that were sent, without secrets"`
	Status   int               `json:"status,omitempty" doc:"HTTP status; 0 when no answer came"`
	Response string            `json:"response,omitempty" doc:"the first 4 KiB of the answer"`
	Error    *Text             `json:"error,omitempty"`
}

// DeliveryFilter selects deliveries; empty fields select all.
type DeliveryFilter struct {
	Webhook string        `json:"webhook,omitempty" doc:"name or id"`
	State   DeliveryState `json:"state,omitempty" enum:"pending,delivered,failed"`
	Type    EventType     `json:"type,omitempty"`
	Job     JobID         `json:"job,omitzero"`
	Since   *time.Time    `json:"since,omitempty"`
	Until   *time.Time    `json:"until,omitempty"`
}

// DeliverySelection selects the deliveries of a bulk change: by filter or by ids,
// never neither.
type DeliverySelection struct {
	Filter *DeliveryFilter `json:"filter,omitempty" doc:"default state: failed"`
	IDs    []DeliveryID    `json:"ids,omitempty" maxItems:"1000"`
}
