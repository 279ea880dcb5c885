package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
)

// Problem is an error as RFC 9457 has it (application/problem+json). Code is
// stable; Detail and Errors are in the caller's language; Text and Fields say the
// same in both, for programs that show it to somebody else.
//
// On the simple task API the same problem is written the way its clients read it:
// {"detail", "code": -1, "message"}.
type Problem struct {
	Type   string               `json:"type" doc:"urn:hostler:problem: and the code"`
	Title  string               `json:"title" doc:"the class of the problem"`
	Status int                  `json:"status" doc:"the HTTP status"`
	Detail string               `json:"detail" doc:"what happened and what to do"`
	Code   hostler.Code         `json:"code" doc:"stable name of the class"`
	Errors []ProblemField       `json:"errors,omitempty" doc:"the fields at fault"`
	Text   hostler.Text         `json:"text" doc:"detail in both languages"`
	Fields []hostler.FieldError `json:"fields,omitempty" doc:"errors in both languages"`

	dialect    dialect
	retryAfter int
}

// ProblemField says which field breaks which rule.
type ProblemField struct {
	Path string `json:"path" doc:"JSON path, such as args.ports[2]"`
	Text string `json:"text"`
}

// dialect is how a part of the surface speaks.
type dialect int

const (
	native dialect = iota // /api/v1: problem+json, English unless asked otherwise
	simple                // the root: {"detail"}, Chinese unless asked otherwise
)

func dialectOf(path string) dialect {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "tasks", "assets", "health", "metrics", "job", "worker", "device", "task-stats", "netpulse":
		return simple
	default:
		return native
	}
}

func (d dialect) defaultLang() hostler.Lang {
	if d == simple {
		return hostler.LangZH
	}
	return hostler.LangEN
}

// retryDefault is what Retry-After says, in seconds, when the error knows no
// better.
const retryDefault = 5

func newProblem(e *hostler.Error, lang hostler.Lang, d dialect) *Problem {
	p := &Problem{
		Type: "urn:hostler:problem:" + string(e.Code), Title: titleOf(e.Code).In(lang),
		Status: e.Code.HTTPStatus(), Detail: e.Text.In(lang), Code: e.Code,
		Text: e.Text, dialect: d, retryAfter: e.RetryAfter,
	}
	p.Fields = boundedFields(e.Fields)
	for _, f := range p.Fields {
		p.Errors = append(p.Errors, ProblemField{Path: f.Path, Text: f.Text.In(lang)})
	}
	if d == simple && e.Code == hostler.CodeUnauthenticated {
		p.Status = http.StatusForbidden
	}
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if p.retryAfter == 0 {
			p.retryAfter = retryDefault
		}
	}
	return p
}

// maxPath is how many bytes of a field's path an answer shows: the names in it may
// be the caller's own.
const maxPath = 200

// boundedFields keeps an answer short, however many fields are at fault.
func boundedFields(fields []hostler.FieldError) []hostler.FieldError {
	fields = slices.Clone(fields[:min(len(fields), maxFaults)])
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
func (p *Problem) ContentType(string) string {
	if p.dialect == simple {
		return "application/json"
	}
	return "application/problem+json"
}

// simpleProblem is a problem on the simple task API: "detail" for its own
// clients, "code" and "message" for NetPulse's.
type simpleProblem struct {
	Detail  string         `json:"detail" doc:"what happened and what to do"`
	Code    int            `json:"code" doc:"-1"`
	Message string         `json:"message" doc:"the same as detail"`
	Errors  []ProblemField `json:"errors,omitempty" doc:"the fields at fault"`
	Data    []ProblemField `json:"data,omitempty" doc:"the same as errors"` // where NetPulse's clients look
}

// describeErrors puts each part's own form of errors into the document, where Huma
// has put one for all.
func describeErrors(doc *huma.OpenAPI) {
	forms := map[dialect]map[string]*huma.MediaType{
		native: {(&Problem{}).ContentType(""): {Schema: doc.Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")}},
		simple: {(&Problem{dialect: simple}).ContentType(""): {Schema: doc.Components.Schemas.Schema(reflect.TypeFor[simpleProblem](), true, "SimpleProblem")}},
	}
	for path, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op != nil {
				op.Responses["default"] = &huma.Response{Description: "Error", Content: forms[dialectOf(path)]}
			}
		}
	}
}

// line is the problem for clients that show one text only.
func (p *Problem) line() string {
	parts := []string{p.Detail}
	for _, e := range p.Errors {
		parts = append(parts, e.Path+": "+e.Text)
	}
	return strings.Join(parts, "; ")
}

// MarshalJSON writes the problem in its dialect.
func (p *Problem) MarshalJSON() ([]byte, error) {
	if p.dialect == simple {
		detail := p.line()
		return json.Marshal(simpleProblem{Detail: detail, Code: -1, Message: detail, Errors: p.Errors, Data: p.Errors})
	}
	type plain Problem
	return json.Marshal((*plain)(p))
}

// titles name the codes for people.
func titleOf(c hostler.Code) hostler.Text {
	switch c {
	case hostler.CodeMalformed:
		return hostler.Text{EN: "Malformed request", ZH: "请求格式错误"}
	case hostler.CodeInvalid:
		return hostler.Text{EN: "Invalid input", ZH: "输入无效"}
	case hostler.CodeUnauthenticated:
		return hostler.Text{EN: "Not authenticated", ZH: "未认证"}
	case hostler.CodeForbidden:
		return hostler.Text{EN: "Not allowed", ZH: "无权限"}
	case hostler.CodeNotFound:
		return hostler.Text{EN: "Not found", ZH: "不存在"}
	case hostler.CodeMethod:
		return hostler.Text{EN: "Method not allowed", ZH: "方法不允许"}
	case hostler.CodeConflict:
		return hostler.Text{EN: "Conflict", ZH: "状态冲突"}
	case hostler.CodeStale:
		return hostler.Text{EN: "Lease lost", ZH: "租约已失效"}
	case hostler.CodeTooLarge:
		return hostler.Text{EN: "Too large", ZH: "内容过大"}
	case hostler.CodeQueueFull:
		return hostler.Text{EN: "Queue full", ZH: "队列已满"}
	case hostler.CodeRateLimited:
		return hostler.Text{EN: "Too many requests", ZH: "请求过多"}
	case hostler.CodeUnavailable:
		return hostler.Text{EN: "Unavailable", ZH: "暂不可用"}
	case hostler.CodeDiskFull:
		return hostler.Text{EN: "Disk full", ZH: "磁盘已满"}
	case hostler.CodeTimeout:
		return hostler.Text{EN: "Timed out", ZH: "超时"}
	default:
		return hostler.Text{EN: "Internal error", ZH: "内部错误"}
	}
}

// toError makes the *hostler.Error that is shown for any error. What it is not
// told becomes CodeInternal, with a text that says nothing of the cause.
func toError(err error) *hostler.Error {
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		return e
	}
	e := hostler.Errorf(hostler.CodeInternal,
		"a fault of Hostler; the server's log has the cause", "Hostler 内部错误；原因见服务器日志")
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		e = hostler.Errorf(hostler.CodeTimeout, "the answer did not come in time", "未能及时得到结果")
	case errors.Is(err, context.Canceled):
		e = hostler.Errorf(hostler.CodeUnavailable, "the request was given up", "请求已被放弃")
	}
	e.Cause = err
	return e
}

// fail answers with an error.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := s.problem(r, err)
	maps.Copy(w.Header(), p.GetHeaders())
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may have gone
}

// problem makes the problem for an error and logs what is our fault.
func (s *server) problem(r *http.Request, err error) *Problem {
	e := toError(err)
	d := dialectOf(r.URL.Path)
	if e.Code.HTTPStatus() >= http.StatusInternalServerError && r.Context().Err() == nil {
		s.log.ErrorContext(r.Context(), "request failed",
			"method", r.Method, "route", r.Pattern, "code", string(e.Code), "error", e.Text.EN, "cause", e.Cause)
	}
	return newProblem(e, langOf(r.Header.Get("Accept-Language"), d.defaultLang()), d)
}

// humaProblem makes the problem for what Huma refuses: inputs that break the
// schema. The texts are translated; values are never repeated.
func humaProblem(hc huma.Context, status int, _ string, errs ...error) huma.StatusError {
	e := hostler.InvalidFields(humaFields(errs)...)
	if status >= http.StatusInternalServerError {
		e = toError(errors.Join(errs...))
	}
	d, lang := native, hostler.LangEN
	if hc != nil {
		u := hc.URL()
		d = dialectOf(u.Path)
		lang = langOf(hc.Header("Accept-Language"), d.defaultLang())
	}
	return newProblem(e, lang, d)
}

func humaFields(errs []error) []hostler.FieldError {
	var fields []hostler.FieldError
	for _, err := range errs {
		if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			fields = append(fields, humaField(d))
		}
	}
	return fields
}

// humaField drops the value that Huma adds, and says where the field is as the
// rest of Hostler does: without "body." or "query." before it.
func humaField(d *huma.ErrorDetail) hostler.FieldError {
	path := d.Location
	for _, in := range []string{"body.", "query.", "path.", "header."} {
		if rest, ok := strings.CutPrefix(path, in); ok {
			path = rest
			break
		}
	}
	if field, ok := misfitOf(d.Message); ok {
		return field
	}
	if name, ok := strings.CutPrefix(d.Message, "expected required property "); ok {
		name = strings.TrimSuffix(name, " to be present")
		if path != "body" {
			name = path + "." + name
		}
		return hostler.FieldError{Path: name, Text: textRequired}
	}
	return hostler.FieldError{Path: path, Text: ruleText(d.Message)}
}

var (
	textWrongForm = hostler.Text{EN: "has the wrong form", ZH: "格式不正确"}
	textRequired  = hostler.Text{EN: "is required", ZH: "必填"}
)

// ruleText translates a rule of Huma's. One that is not known is replaced, for it
// might repeat the value.
func ruleText(msg string) hostler.Text {
	if strings.HasSuffix(msg, "parameter is missing") {
		return textRequired
	}
	if both, ok := strings.CutPrefix(msg, "invalid value: "); ok {
		if en, zh, ok := strings.Cut(both, paramSep); ok {
			return hostler.Text{EN: en, ZH: zh}
		}
	}
	for _, r := range humaRules {
		if rest, ok := strings.CutPrefix(msg, r.prefix); ok {
			return hostler.Text{EN: r.en + rest, ZH: r.zh + rest}
		}
	}
	return textWrongForm
}

// humaRules are Huma's rules by the beginning of their text; what follows it is a
// limit or a list of the schema, never the input.
var humaRules = []struct{ prefix, en, zh string }{
	{"unexpected property", "is not a known field", "是未知字段"},
	{"unknown query parameter", "is not a known parameter", "是未知参数"},
	{"expected value to be one of ", "must be one of ", "必须是以下之一："},
	{"expected number >= ", "must be at least ", "不能小于 "},
	{"expected number > ", "must be more than ", "必须大于 "},
	{"expected number <= ", "must be at most ", "不能大于 "},
	{"expected number < ", "must be less than ", "必须小于 "},
	{"expected length >= ", "must have at least this many characters: ", "字符数不能少于 "},
	{"expected length <= ", "must have at most this many characters: ", "字符数不能超过 "},
	{"expected array length >= ", "must have at least this many items: ", "项数不能少于 "},
	{"expected array length <= ", "must have at most this many items: ", "项数不能超过 "},
	{"expected string to be RFC 3339 date-time", "must be a time like 2026-01-31T08:00:00Z", "必须是 2026-01-31T08:00:00Z 形式的时间"},
	{"invalid date/time", "must be a time like 2026-01-31T08:00:00Z", "必须是 2026-01-31T08:00:00Z 形式的时间"},
	{"expected string to be a duration like ", "must be a duration like ", "必须是如下形式的时长："},
	{"expected string to be an id like ", "must be an id like ", "必须是如下形式的 ID："},
	{"expected string to be ", "must be ", "必须是 "},
	{"expected boolean", "must be true or false", "必须是 true 或 false"},
	{"invalid boolean", "must be true or false", "必须是 true 或 false"},
	{"expected integer", "must be a whole number", "必须是整数"},
	{"invalid integer", "must be a whole number", "必须是整数"},
	{"expected number", "must be a number", "必须是数字"},
	{"expected string", "must be a text", "必须是文本"},
	{"expected array", "must be a list", "必须是列表"},
	{"expected object", "must be an object", "必须是对象"},
}

// langOf picks English or Chinese by an Accept-Language header (RFC 9110 §12.5.4);
// without one, or when it names neither, the default.
func langOf(header string, def hostler.Lang) hostler.Lang {
	best, bestQ := def, 0.0
	for part := range strings.SplitSeq(header, ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		base, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		lang := hostler.Lang(base)
		if lang != hostler.LangEN && lang != hostler.LangZH {
			continue
		}
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			q, _ = strconv.ParseFloat(v, 64)
		}
		if q > bestQ {
			best, bestQ = lang, q
		}
	}
	return best
}
