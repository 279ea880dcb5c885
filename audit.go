package hostler

import (
	"encoding/json"
	"time"
)

// Audit is one row of the append-only record of changes by people and keys. Each row
// is written in the transaction of the change that it records, and soon after that gets
// a position in the chain of hashes.
type Audit struct {
	ID       AuditID         `json:"id"`
	Position int64           `json:"position,omitempty" doc:"in the chain; absent in the seconds before the row is chained"`
	At       time.Time       `json:"at"`
	Project  string          `json:"project,omitempty"`
	User     string          `json:"user"`
	UserID   UserID          `json:"user_id,omitzero" doc:"none in records of earlier versions"`
	Key      KeyID           `json:"key,omitzero"`
	Remote   string          `json:"remote,omitempty"`
	Verb     string          `json:"verb"`
	Object   string          `json:"object"`
	Detail   json.RawMessage `json:"detail,omitempty"`
}

// AuditFilter selects rows of the audit; an empty field selects all.
type AuditFilter struct {
	User   string     `json:"user,omitempty"`
	Verb   string     `json:"verb,omitempty"`
	Object string     `json:"object,omitempty"`
	Since  *time.Time `json:"since,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
}

// AuditVerification is the result of one step of a verification of the audit: each step
// checks a part, and Next leads to the next one.
type AuditVerification struct {
	Rows     int          `json:"rows" doc:"rows that this step checked"`
	Pending  int          `json:"pending" doc:"rows that are not in the chain yet"`
	Head     AuditHead    `json:"head" doc:"the end of the chain, as the newest checkpoint states it"`
	Archived AuditHead    `json:"archived,omitzero" doc:"the last position that was archived"`
	Keys     []AuditKey   `json:"keys"`
	Faults   []AuditFault `json:"faults"`
	Next     string       `json:"next,omitempty" doc:"cursor of the next step; absent after the last one"`
}

// AuditHead is a position in the chain and its hash.
type AuditHead struct {
	Position int64     `json:"position"`
	Hash     string    `json:"hash"`
	At       time.Time `json:"at,omitzero"`
	Key      string    `json:"key,omitempty" doc:"id of the key that signed it"`
}

// AuditKey is a key that signs checkpoints of the audit. It is derived from the master
// key; the public part verifies archives without the server.
type AuditKey struct {
	ID      string `json:"id"`
	Public  string `json:"public" doc:"Ed25519, in base64"`
	Current bool   `json:"current,omitempty"`
	Until   int64  `json:"until,omitempty" doc:"number of its last checkpoint; absent without a limit"`
}

// AuditFaultCode names the kind of a fault.
type AuditFaultCode string

// The kinds of fault that a verification of the audit finds.
const (
	AuditAltered    AuditFaultCode = "altered"    // a row or its hash is not what was chained
	AuditMissing    AuditFaultCode = "missing"    // a chained row, or a position, is gone
	AuditUnchained  AuditFaultCode = "unchained"  // a row was inserted beside the chain
	AuditSignature  AuditFaultCode = "signature"  // a checkpoint is not signed by a known key
	AuditCheckpoint AuditFaultCode = "checkpoint" // the chain is not what a checkpoint states
	AuditTruncated  AuditFaultCode = "truncated"  // the end of the chain was removed or replaced
	AuditBroken     AuditFaultCode = "broken"     // the server found and recorded one of these earlier
)

// AuditFault is a place where the audit is not as it was written.
type AuditFault struct {
	Code     AuditFaultCode `json:"code"`
	Position int64          `json:"position,omitempty"`
	ID       AuditID        `json:"id,omitzero"`
	Text     Text           `json:"text"`
}
