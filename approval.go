package hostler

import (
	"encoding/json"
	"time"
)

// ApprovalState is the state of an approval.
type ApprovalState string

// The states of an approval.
const (
	ApprovalPreparing ApprovalState = "preparing" // what it approves is being described
	ApprovalWaiting   ApprovalState = "waiting"   // for people
	ApprovalApproved  ApprovalState = "approved"
	ApprovalRejected  ApprovalState = "rejected"
	ApprovalExpired   ApprovalState = "expired"
	ApprovalVoid      ApprovalState = "void"   // what it approved has changed; another one asks again
	ApprovalClosed    ApprovalState = "closed" // its run ended before
)

// ApprovalStates lists the states in which an approval is shown.
func ApprovalStates() []ApprovalState {
	return []ApprovalState{
		ApprovalWaiting, ApprovalApproved, ApprovalRejected, ApprovalExpired, ApprovalVoid, ApprovalClosed,
	}
}

// Approval is a step of a run that waits for people, or has waited.
type Approval struct {
	ID        ApprovalID         `json:"id"`
	Run       RunID              `json:"run"`
	RunName   string             `json:"run_name"`
	Step      string             `json:"step"`
	Title     string             `json:"title"`
	State     ApprovalState      `json:"state"`
	Requester string             `json:"requester"`
	Approvers []string           `json:"approvers"`
	Quorum    int                `json:"quorum"`
	Self      bool               `json:"self,omitempty" doc:"the requester may decide too"`
	Digest    string             `json:"digest" doc:"SHA-256 of what remains to run; a decision names it"`
	Plan      json.RawMessage    `json:"plan,omitempty" doc:"what remains to run, as it was rendered"`
	CreatedAt time.Time          `json:"created_at"`
	ExpiresAt *time.Time         `json:"expires_at,omitempty"`
	DecidedAt *time.Time         `json:"decided_at,omitempty"`
	Decisions []ApprovalDecision `json:"decisions"`
}

// ApprovalDecision is what one person decided.
type ApprovalDecision struct {
	User     string        `json:"user"`
	Decision ApprovalState `json:"decision"`
	Comment  string        `json:"comment,omitempty"`
	Remote   string        `json:"remote,omitempty"`
	Digest   string        `json:"digest"`
	At       time.Time     `json:"at"`
}

// DecisionInput decides on an approval.
type DecisionInput struct {
	Digest  string `json:"digest" minLength:"64" maxLength:"64" doc:"of what was shown; another one is refused"`
	Comment string `json:"comment,omitempty" maxLength:"2000" doc:"required for a rejection"`
}
