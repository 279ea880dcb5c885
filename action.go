package hostler

import "encoding/json"

// ActionInfo describes an action.
type ActionInfo struct {
	Name       string          `json:"name"`
	Aliases    []string        `json:"aliases,omitempty"`
	Title      Text            `json:"title"`
	Help       Text            `json:"help"`
	NeedsAsset bool            `json:"needs_asset"`
	Idempotent bool            `json:"idempotent" doc:"with its default args; some args change it"`
	Lane       string          `json:"lane" doc:"asset or none: the default lane"`
	Enabled    bool            `json:"enabled"`
	Schema     json.RawMessage `json:"schema" doc:"JSON Schema 2020-12 of args"`
}
