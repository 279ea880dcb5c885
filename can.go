package hostler

// CanQuery asks whether the caller may run an action.
type CanQuery struct {
	Action string
	Asset  string // name or id; "" for none
}

// Can answers whether the caller may run an action.
type Can struct {
	Allowed bool   `json:"allowed"`
	Action  string `json:"action"`
	Asset   string `json:"asset,omitempty"`
	Reason  Text   `json:"reason"`
	// AllowedBy are people who can allow it; the first ten by name.
	AllowedBy []string `json:"allowed_by,omitempty" doc:"users who can allow it"`
}

// JobsCancelled answers a request to cancel all jobs of a user.
type JobsCancelled struct {
	Cancelled int  `json:"cancelled" doc:"waiting jobs that were cancelled and running ones that were asked to stop"`
	More      bool `json:"more" doc:"there may be more: repeat the request"`
}
