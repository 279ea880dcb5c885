package hostler

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Code is the stable, machine-readable class of an error. One table, codes, maps it to
// the HTTP status of an answer and to the exit code of the command line.
type Code string

// The codes.
const (
	CodeMalformed       Code = "malformed"       // the request cannot be read at all
	CodeInvalid         Code = "invalid"         // well-formed, but a field breaks a rule
	CodeUnauthenticated Code = "unauthenticated" // no valid key or session
	CodeForbidden       Code = "forbidden"       // authenticated, but without the permission
	CodeNotFound        Code = "not_found"       // does not exist, or not in the caller's project
	CodeMethod          Code = "method_not_allowed"
	CodeConflict        Code = "conflict"     // the state of the object refuses the change
	CodeStale           Code = "stale"        // the lease was lost to another worker
	CodeTooLarge        Code = "too_large"    // body, output or header over its limit
	CodeQueueFull       Code = "queue_full"   // the queue's maximum depth is reached
	CodeRateLimited     Code = "rate_limited" // too many requests
	CodeUnavailable     Code = "unavailable"  // the store does not answer; try again
	CodeDiskFull        Code = "disk_full"    // not enough disk space for new work
	CodeTimeout         Code = "timeout"      // the answer did not come in time
	CodeInternal        Code = "internal"     // an error in Hostler; the log has the cause
)

// codes is the one table from code to HTTP status and exit code.
var codes = map[Code]struct{ http, exit int }{
	CodeMalformed:       {http.StatusBadRequest, 2},
	CodeInvalid:         {http.StatusUnprocessableEntity, 2},
	CodeUnauthenticated: {http.StatusUnauthorized, 4},
	CodeForbidden:       {http.StatusForbidden, 4},
	CodeNotFound:        {http.StatusNotFound, 5},
	CodeMethod:          {http.StatusMethodNotAllowed, 2},
	CodeConflict:        {http.StatusConflict, 6},
	CodeStale:           {http.StatusConflict, 6},
	CodeTooLarge:        {http.StatusRequestEntityTooLarge, 2},
	CodeQueueFull:       {http.StatusTooManyRequests, 7},
	CodeRateLimited:     {http.StatusTooManyRequests, 7},
	CodeUnavailable:     {http.StatusServiceUnavailable, 8},
	CodeDiskFull:        {http.StatusInsufficientStorage, 8},
	CodeTimeout:         {http.StatusGatewayTimeout, 8},
	CodeInternal:        {http.StatusInternalServerError, 70},
}

// HTTPStatus is the HTTP status that an answer with this code carries; 500 for
// a code that is not in the table.
func (c Code) HTTPStatus() int {
	if e, ok := codes[c]; ok {
		return e.http
	}
	return http.StatusInternalServerError
}

// ExitCode is the exit code of the command line for this code. 1 is reserved for "the
// job did not succeed" and 3 for "the job's outcome is unknown".
func (c Code) ExitCode() int {
	if e, ok := codes[c]; ok {
		return e.exit
	}
	return 70
}

// Temporary reports whether the same request may succeed later, so that a program
// should try again. CodeInternal is temporary, because [CodeOf] returns it for errors
// without a code, such as a broken connection.
func (c Code) Temporary() bool {
	switch c {
	case CodeQueueFull, CodeRateLimited, CodeUnavailable, CodeDiskFull, CodeTimeout, CodeInternal:
		return true
	default:
		return false
	}
}

// Codes lists every code, in no order.
func Codes() []Code {
	all := make([]Code, 0, len(codes))
	for c := range codes {
		all = append(all, c)
	}
	return all
}

// Error is the error type for everything that reaches people. It is safe to show: its
// text and fields contain no secret, no stack trace and no value of the input.
type Error struct {
	Code   Code
	Text   Text         // what happened and what to do, in both languages
	Fields []FieldError // the fields at fault, for CodeInvalid
	// RetryAfter is the number of seconds after which to try again; 0 recommends none.
	RetryAfter int
	// Cause is logged, and never shown to the caller.
	Cause error
}

// FieldError is a field of an input and the rule that it breaks.
type FieldError struct {
	Path string `json:"path"` // JSON path, such as "args.ports[2]"
	Text Text   `json:"text"`
	// Line and Column are where the field is in a document that was sent as text; 0 in
	// other inputs.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
}

// Error returns the English text with the fields at fault.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Text.EN)
	for _, f := range e.Fields {
		fmt.Fprintf(&b, "; %s: %s", f.Path, f.Text.EN)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an Error with both texts; args are formatted into each.
func Errorf(c Code, en, zh string, args ...any) *Error {
	return &Error{Code: c, Text: Textf(en, zh, args...)}
}

// Textf formats args into both texts.
func Textf(en, zh string, args ...any) Text {
	if len(args) == 0 {
		return Text{EN: en, ZH: zh}
	}
	return Text{EN: fmt.Sprintf(en, args...), ZH: fmt.Sprintf(zh, args...)}
}

// Invalid makes a CodeInvalid error for one field.
func Invalid(path, en, zh string, args ...any) *Error {
	return InvalidFields(FieldError{Path: path, Text: Textf(en, zh, args...)})
}

// InvalidFields makes a CodeInvalid error that names every field at fault.
func InvalidFields(fields ...FieldError) *Error {
	return &Error{
		Code:   CodeInvalid,
		Text:   Text{EN: "the request is not valid", ZH: "请求内容无效"},
		Fields: fields,
	}
}

// NotFound makes the error for an object that does not exist or that the caller may not
// read; the two must not be distinguishable. The kind is a word of the glossary.
func NotFound(kind Text, name string) *Error {
	return &Error{Code: CodeNotFound, Text: Text{
		EN: fmt.Sprintf("%s %q does not exist", kind.EN, name),
		ZH: fmt.Sprintf("%s %q 不存在", kind.ZH, name),
	}}
}

// CodeOf returns the code of the first [*Error] in err's chain, CodeInternal when there
// is none, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
