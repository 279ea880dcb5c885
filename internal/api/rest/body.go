package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
)

// maxDepth is how deep JSON may nest.
const maxDepth = 64

// MediaCSV is the media type of a CSV file.
const MediaCSV = "text/csv"

// bodyKind is what an operation takes as its body.
type bodyKind int

const (
	noBody bodyKind = iota
	jsonBody
	csvBody
)

// mostEmpty is how many bytes a call reads that takes no body: an empty object and
// some white space.
const mostEmpty = 64

// readBody reads a request's body within the limits of size and time, and of the
// memory of all bodies. It reads no body where none belongs.
func (s *core) readBody(r *http.Request, answer *recorder, kind bodyKind, c auth.Caller) ([]byte, error) {
	in, _ := r.Body.(*inflow)
	if in == nil {
		return nil, nil
	}
	if kind == noBody {
		if r.ContentLength > mostEmpty {
			return nil, errNoBody()
		}
		body, err := in.readAll(mostEmpty, func(int64) error { return nil })
		if errors.Is(err, errOverLimit) {
			err = errNoBody()
		}
		return body, readError(err)
	}
	limit := s.cfg.BodyLimit
	if r.ContentLength > limit {
		return nil, errTooLarge(limit)
	}
	body, err := in.readAll(limit, func(n int64) error {
		release, err := s.bodies.acquire(c.UserID, n)
		if err != nil {
			if n, now := s.alerts.due("bodies"); now {
				s.cfg.Log.WarnContext(r.Context(), "request bodies in memory reached a limit; some were refused",
					"user", c.User, "limit", s.bodies.most, "times", n)
			}
			return err
		}
		answer.onFinish(release)
		return nil
	})
	if errors.Is(err, errOverLimit) {
		return nil, errTooLarge(limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if n, now := s.alerts.due("slow"); now {
			s.cfg.Log.WarnContext(r.Context(), "a request body arrived too slowly and was refused",
				"user", c.User, "client", c.Remote, "times", n)
		}
	}
	return body, readError(err)
}

// readError describes why a body could not be read.
func readError(err error) error {
	if _, ok := errors.AsType[*hostler.Error](err); ok || err == nil {
		return err
	}
	e := hostler.Errorf(hostler.CodeMalformed, "the request body could not be read", "无法读取请求体")
	if errors.Is(err, os.ErrDeadlineExceeded) {
		e = hostler.Errorf(hostler.CodeMalformed,
			"the request body arrived too slowly: at least %d KiB per second are required",
			"请求体到达过慢：每秒至少须达到 %d KiB", leastRate>>10)
	}
	e.Cause = err
	return e
}

func errNoBody() error {
	return hostler.Invalid("body", "must be empty: this call takes no body", "此调用不接受请求体")
}

func errTooLarge(limit int64) error {
	return hostler.Errorf(hostler.CodeTooLarge,
		"the request body is over the limit of %d bytes", "请求体超过 %d 字节的上限", limit)
}

// formToJSON returns the fields of a form as a JSON object. The fields of the operation
// hold JSON, and all others text; a field that is given twice has its first value.
func formToJSON(body []byte, jsonFields []string) ([]byte, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, hostler.Errorf(hostler.CodeMalformed, "the form cannot be read", "无法读取表单")
	}
	out := make(map[string]json.RawMessage, len(values))
	for name, all := range values {
		value := json.RawMessage(all[0])
		switch {
		case !slices.Contains(jsonFields, name):
			value, _ = json.Marshal(all[0]) // a text always encodes
		case len(bytes.TrimSpace(value)) == 0:
			continue
		case !json.Valid(value):
			return nil, hostler.Errorf(hostler.CodeMalformed, "%s is not valid JSON", "%s 不是合法的 JSON", name)
		}
		out[name] = value
	}
	return json.Marshal(out)
}

func isForm(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && media == "application/x-www-form-urlencoded"
}

// checkBody refuses a body that is not of the route's kind, or has not the shape.
func checkBody(r *http.Request, rt Route, body []byte, shape check.Shape) error {
	contentType := r.Header.Get("Content-Type")
	switch rt.Operation.body {
	case jsonBody:
		if rt.Operation.optional && len(bytes.TrimSpace(body)) == 0 {
			return nil
		}
		return checkJSON(contentType, body, check.JSONLimits{
			Depth: maxDepth, Shape: shape, NullAbsent: rt.Dialect.Lenient, Done: r.Context().Done(),
		})
	case csvBody:
		return checkCSV(contentType, body)
	default:
		return checkNoBody(body)
	}
}

// checkJSON refuses a body that is not one JSON value in UTF-8 of the declared type,
// and values that no field may hold; see [check.JSON].
func checkJSON(contentType string, body []byte, limits check.JSONLimits) error {
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return hostler.Errorf(hostler.CodeMalformed, "a JSON body is required", "需要 JSON 请求体")
	case !isJSON(contentType):
		return hostler.Errorf(hostler.CodeMalformed,
			"the body must be sent as Content-Type: application/json",
			"请求体必须以 Content-Type: application/json 发送")
	case !utf8.Valid(body):
		return hostler.Errorf(hostler.CodeMalformed, "the body is not valid UTF-8", "请求体不是合法的 UTF-8")
	}
	faults, err := check.JSON(body, limits)
	if errors.Is(err, check.ErrStopped) {
		return context.Canceled
	}
	if err != nil {
		return malformed(err)
	}
	if len(faults) > 0 {
		return hostler.InvalidFields(faults...)
	}
	return nil
}

func isJSON(contentType string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	charset := params["charset"]
	return err == nil && media == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8"))
}

// malformed keeps the decoder's text, which may repeat a character, out of the
// answer.
func malformed(err error) error {
	e := hostler.Errorf(hostler.CodeMalformed, "the body is not valid JSON", "请求体不是合法的 JSON")
	if deep, ok := errors.AsType[*check.DepthError](err); ok {
		e = hostler.Errorf(hostler.CodeMalformed,
			"the JSON nests deeper than %d levels", "JSON 嵌套超过 %d 层", deep.Max)
	} else if at, ok := errors.AsType[*json.SyntaxError](err); ok {
		e = hostler.Errorf(hostler.CodeMalformed,
			"the body is not valid JSON, at byte %d", "请求体不是合法的 JSON，位于第 %d 字节", at.Offset)
	}
	e.Cause = err
	return e
}

// checkCSV refuses a body of another type. The content is read by the use case, which
// gives better advice for a file that is not UTF-8.
func checkCSV(contentType string, body []byte) error {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != MediaCSV {
		return hostler.Errorf(hostler.CodeMalformed,
			"the body must be sent as Content-Type: text/csv", "请求体必须以 Content-Type: text/csv 发送")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return hostler.Errorf(hostler.CodeMalformed, "a CSV file is required", "需要 CSV 文件")
	}
	return nil
}

// checkNoBody refuses a body, except for an empty object, which some clients always
// send.
func checkNoBody(body []byte) error {
	if b := bytes.TrimSpace(body); len(b) > 0 && !bytes.Equal(b, []byte("{}")) {
		return errNoBody()
	}
	return nil
}

// withoutNulls removes the members that are null from the objects of a JSON body; see
// [Dialect.Lenient].
func withoutNulls(body []byte) []byte {
	if !bytes.Contains(body, []byte("null")) {
		return body
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return body // checkJSON has accepted it, so this does not happen
	}
	dropNulls(v)
	out, err := json.Marshal(v)
	if err != nil {
		return body
	}
	return out
}

func dropNulls(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			if member == nil {
				delete(v, key)
			}
			dropNulls(member)
		}
	case []any:
		for _, member := range v {
			dropNulls(member)
		}
	}
}
