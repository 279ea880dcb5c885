package rest

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// Problem is an error as RFC 9457 has it (application/problem+json). Code is
// stable; Detail and Errors are in the caller's language; Text and Fields are the
// same in both languages, for programs that show them to another person.
type Problem struct {
	Type   string               `json:"type" doc:"urn:hostler:problem: and the code"`
	Title  string               `json:"title" doc:"the class of the problem"`
	Status int                  `json:"status" doc:"the HTTP status"`
	Detail string               `json:"detail" doc:"what happened and what to do"`
	Code   hostler.Code         `json:"code" doc:"stable name of the class"`
	Errors []ProblemField       `json:"errors,omitempty" doc:"the fields at fault"`
	Text   hostler.Text         `json:"text" doc:"detail in both languages"`
	Fields []hostler.FieldError `json:"fields,omitempty" doc:"errors in both languages"`

	form       ErrorForm
	retryAfter int
}

// ProblemField is a field that breaks a rule.
type ProblemField struct {
	Path string `json:"path" doc:"JSON path, such as args.ports[2]"`
	Text string `json:"text"`
}

// simpleProblem is a problem in the form DetailJSON: detail is for clients of the
// simple task API, code and message are for NetPulse's.
type simpleProblem struct {
	Detail  string         `json:"detail" doc:"what happened and what to do"`
	Code    int            `json:"code" doc:"-1"`
	Message string         `json:"message" doc:"the same as detail"`
	Errors  []ProblemField `json:"errors,omitempty" doc:"the fields at fault"`
	Data    []ProblemField `json:"data,omitempty" doc:"the same as errors"` // where NetPulse's clients look
}

// defaultRetry is the Retry-After, in seconds, of an error that names none.
const defaultRetry = 5

// NewProblem returns the problem for any error. What is not a *hostler.Error becomes
// CodeInternal, with a text that does not name the cause.
func NewProblem(err error, lang hostler.Lang, form ErrorForm) *Problem {
	e := toError(err)
	p := &Problem{
		Type: "urn:hostler:problem:" + string(e.Code), Title: title(e.Code).In(lang),
		Status: e.Code.HTTPStatus(), Detail: e.Text.In(lang), Code: e.Code,
		Text: e.Text, form: form, retryAfter: e.RetryAfter,
	}
	p.Fields = boundedFields(e.Fields)
	for _, f := range p.Fields {
		p.Errors = append(p.Errors, ProblemField{Path: f.Path, Text: f.Text.In(lang)})
	}
	if form == DetailJSON && e.Code == hostler.CodeUnauthenticated {
		p.Status = http.StatusForbidden
	}
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if p.retryAfter == 0 {
			p.retryAfter = defaultRetry
		}
	}
	return p
}

// toError returns the *hostler.Error in the chain of err, or makes one that does not
// name the cause.
func toError(err error) *hostler.Error {
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		return e
	}
	e := hostler.Errorf(hostler.CodeInternal,
		"internal error of Hostler; the server's log has the cause", "Hostler 内部错误；原因见服务器日志")
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		e = hostler.Errorf(hostler.CodeTimeout, "the answer did not come in time", "未能及时得到结果")
	case errors.Is(err, context.Canceled):
		e = hostler.Errorf(hostler.CodeUnavailable, "the request was cancelled", "请求已被取消")
	}
	e.Cause = err
	return e
}

// maxPath is how many bytes of a field's path an answer shows: the names in it may
// be the caller's own.
const maxPath = 200

// boundedFields keeps an answer short, however many fields are at fault.
func boundedFields(fields []hostler.FieldError) []hostler.FieldError {
	fields = slices.Clone(fields[:min(len(fields), check.MaxFaults)])
	for i, f := range fields {
		if len(f.Path) > maxPath {
			fields[i].Path = strings.ToValidUTF8(f.Path[:maxPath], "") + "…"
		}
	}
	return fields
}

// Error implements error, for Huma.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="hostler"`)
	}
	return h
}

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return p.form.mediaType() }

// Line returns the problem as one text, for clients that show no more.
func (p *Problem) Line() string {
	parts := []string{p.Detail}
	for _, e := range p.Errors {
		parts = append(parts, e.Path+": "+e.Text)
	}
	return strings.Join(parts, "; ")
}

// MarshalJSON encodes the problem in its form.
func (p *Problem) MarshalJSON() ([]byte, error) {
	if p.form == DetailJSON {
		line := p.Line()
		return json.Marshal(simpleProblem{Detail: line, Code: -1, Message: line, Errors: p.Errors, Data: p.Errors})
	}
	type plain Problem
	return json.Marshal((*plain)(p))
}

// write sends the problem as an answer of its own.
func (p *Problem) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), p.GetHeaders())
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may have disconnected
}

// title names the class of a problem.
func title(c hostler.Code) hostler.Text {
	if t, ok := titles[c]; ok {
		return t
	}
	return hostler.Text{EN: "Internal error", ZH: "内部错误"}
}

var titles = map[hostler.Code]hostler.Text{
	hostler.CodeMalformed:       {EN: "Malformed request", ZH: "请求格式错误"},
	hostler.CodeInvalid:         {EN: "Invalid input", ZH: "输入无效"},
	hostler.CodeUnauthenticated: {EN: "Not authenticated", ZH: "未认证"},
	hostler.CodeForbidden:       {EN: "Not allowed", ZH: "无权限"},
	hostler.CodeNotFound:        {EN: "Not found", ZH: "不存在"},
	hostler.CodeMethod:          {EN: "Method not allowed", ZH: "方法不允许"},
	hostler.CodeConflict:        {EN: "Conflict", ZH: "状态冲突"},
	hostler.CodeStale:           {EN: "Lease lost", ZH: "租约已失效"},
	hostler.CodeTooLarge:        {EN: "Too large", ZH: "内容过大"},
	hostler.CodeQueueFull:       {EN: "Queue full", ZH: "队列已满"},
	hostler.CodeRateLimited:     {EN: "Too many requests", ZH: "请求过多"},
	hostler.CodeUnavailable:     {EN: "Unavailable", ZH: "暂不可用"},
	hostler.CodeDiskFull:        {EN: "Disk full", ZH: "磁盘已满"},
	hostler.CodeTimeout:         {EN: "Timed out", ZH: "超时"},
}
