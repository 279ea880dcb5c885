package rest

import (
	"reflect"

	"hostler.dev/hostler"
)

// Dialect is the set of conventions that the routes of one API share: the form of its
// errors, its language, and how strictly it reads requests. Every route and page
// names its dialect.
type Dialect struct {
	// Tag groups the operations of a façade in the OpenAPI document and begins their
	// ids. Without one, an operation is tagged by the kind of object that its path
	// names.
	Tag string
	// Prefix begins every path of the dialect and is left out of operation ids.
	Prefix string
	// Lang is the language of texts unless the request asks for another.
	Lang hostler.Lang
	// Errors is the form of the errors.
	Errors ErrorForm
	// KeyProject makes every request act in the key's own project: the header
	// X-Project is ignored.
	KeyProject bool
	// Lenient accepts what existing scripts send needlessly: null for a member that
	// is not set, and unknown query parameters.
	Lenient bool
	// BadRequest answers 400 also where a field breaks a rule, instead of 422.
	BadRequest bool
	// SchemaName renames a type in the OpenAPI document; nil renames none.
	SchemaName func(t reflect.Type, name string) string
}

// ErrorForm is the JSON form of an error.
type ErrorForm int

// The forms of errors.
const (
	// ProblemJSON is a [Problem] as application/problem+json (RFC 9457).
	ProblemJSON ErrorForm = iota
	// DetailJSON is {"detail", "code": -1, "message"}, which the clients of the façades
	// read. A missing or invalid key is 403 in it.
	DetailJSON
)

func (f ErrorForm) mediaType() string {
	if f == DetailJSON {
		return "application/json"
	}
	return "application/problem+json"
}
