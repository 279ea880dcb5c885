package hostler

import (
	"encoding/json"
	"time"
)

// Audit is one row of the append-only record of changes by people and keys. Each row
// is written in the transaction of the change that it records.
type Audit struct {
	ID      AuditID         `json:"id"`
	At      time.Time       `json:"at"`
	Project string          `json:"project,omitempty"`
	User    string          `json:"user"`
	UserID  UserID          `json:"user_id,omitzero" doc:"none in records of earlier versions"`
	Key     KeyID           `json:"key,omitzero"`
	Remote  string          `json:"remote,omitempty"`
	Verb    string          `json:"verb"`
	Object  string          `json:"object"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}
