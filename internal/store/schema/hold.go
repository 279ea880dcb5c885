package schema

import "time"

// HoldKey is the row of the table meta that holds dispatch; its value is a [Hold] as JSON.
const HoldKey = "hold"

// Hold says why dispatch is held. A backup of the driver contains one.
type Hold struct {
	Reason string    `json:"reason"` // see the constants of the root package
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
	Note   string    `json:"note,omitempty"`
	// Until is when the hold ends by itself; nil: never.
	Until *time.Time `json:"until,omitempty"`
}
