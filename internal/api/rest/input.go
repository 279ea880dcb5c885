package rest

import "hostler.dev/hostler"

// Parts of inputs. A handler's input embeds them; Huma reads embedded types only when
// they are exported.
type (
	// None is the input of a handler that takes none.
	None struct{}

	// Payload is the JSON body.
	Payload[T any] struct{ Body T }

	// Idempotent is the header of calls that create work.
	Idempotent struct {
		Key string `header:"Idempotency-Key" maxLength:"255" doc:"makes the call safe to repeat: a second call with the key gets the first one's answer"`
	}

	// PageQuery asks for a page of a listing.
	PageQuery struct {
		Cursor string `query:"cursor" maxLength:"1024" doc:"next of the previous page"`
		Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"items of a page; default 100"`
	}
)

// Content is the decoded body.
func (p Payload[T]) Content() T { return p.Body }

// IdempotencyKey is the value of the header; "" without one.
func (i Idempotent) IdempotencyKey() string { return i.Key }

// Page is the page that the query asks for.
func (p PageQuery) Page() hostler.Page { return hostler.Page{Cursor: p.Cursor, Limit: p.Limit} }
