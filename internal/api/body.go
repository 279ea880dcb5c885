package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hostler.dev/hostler"
)

const (
	// bodyTime is how long a client may take to send its body.
	bodyTime = 30 * time.Second
	// maxDepth is how deep JSON may nest.
	maxDepth = 64
	// maxFaults is how many fields at fault one answer names.
	maxFaults = 50
)

// readBody reads a request's body within the limits of size and time, and leaves
// the connection without a deadline: one that stayed would end a long answer.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.ContentLength == 0 {
		return nil, nil
	}
	if r.ContentLength > limit {
		return nil, errTooLarge(limit)
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTime)) // a recorder of tests has none
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_ = rc.SetReadDeadline(time.Time{})
	if err == nil {
		return body, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, errTooLarge(limit)
	}
	e := hostler.Errorf(hostler.CodeMalformed, "the request body could not be read", "无法读取请求体")
	if errors.Is(err, os.ErrDeadlineExceeded) {
		e = hostler.Errorf(hostler.CodeMalformed, "the request body did not arrive in time", "请求体未能及时到达")
	}
	e.Cause = err
	return nil, e
}

func errTooLarge(limit int64) error {
	return hostler.Errorf(hostler.CodeTooLarge,
		"the request body is over the limit of %d bytes", "请求体超过 %d 字节的上限", limit)
}

// checkJSON refuses a body that is not one JSON value in UTF-8 of the declared
// type, and values that no field may hold: NUL characters, which PostgreSQL cannot
// store, numbers beyond a float64, fields that are there twice.
func checkJSON(contentType string, body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return hostler.Errorf(hostler.CodeMalformed, "a JSON body is needed", "需要 JSON 请求体")
	}
	if !isJSON(contentType) {
		return hostler.Errorf(hostler.CodeMalformed,
			"the body must be sent as Content-Type: application/json", "请求体必须以 Content-Type: application/json 发送")
	}
	if !utf8.Valid(body) {
		return hostler.Errorf(hostler.CodeMalformed, "the body is not valid UTF-8", "请求体不是合法的 UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	walk := walker{dec: dec}
	if err := walk.value("", 0); err != nil {
		return malformed(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return malformed(errors.New("data after the JSON value"))
	}
	if len(walk.bad) > 0 {
		return hostler.InvalidFields(walk.bad...)
	}
	return nil
}

func isJSON(contentType string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	charset := params["charset"]
	return err == nil && media == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8"))
}

// withoutNulls leaves out the members of a body's objects that are null: clients of
// the façades send null for what they do not set.
func withoutNulls(body []byte) []byte {
	if !bytes.Contains(body, []byte("null")) {
		return body
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return body // checkJSON has taken it, so this does not happen
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

const mediaCSV = "text/csv"

// checkCSV refuses a body of another type. What it holds is for app to read: a
// file that is not UTF-8 needs better advice than can be given here.
func checkCSV(contentType string, body []byte) error {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != mediaCSV {
		return hostler.Errorf(hostler.CodeMalformed,
			"the body must be sent as Content-Type: text/csv", "请求体必须以 Content-Type: text/csv 发送")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return hostler.Errorf(hostler.CodeMalformed, "a file of CSV is needed", "需要 CSV 文件")
	}
	return nil
}

// malformed keeps the decoder's words, which name the byte but may repeat a
// character, out of the answer.
func malformed(err error) error {
	e := hostler.Errorf(hostler.CodeMalformed, "the body is not valid JSON", "请求体不是合法的 JSON")
	switch {
	case errors.Is(err, errTooDeep):
		e = hostler.Errorf(hostler.CodeMalformed,
			"the JSON nests deeper than %d levels", "JSON 嵌套超过 %d 层", maxDepth)
	default:
		if at, ok := errors.AsType[*json.SyntaxError](err); ok {
			e = hostler.Errorf(hostler.CodeMalformed,
				"the body is not valid JSON, at byte %d", "请求体不是合法的 JSON，位于第 %d 字节", at.Offset)
		}
	}
	e.Cause = err
	return e
}

var errTooDeep = errors.New("nested too deep")

// walker goes through a JSON value once and collects what no field may hold.
type walker struct {
	dec *json.Decoder
	bad []hostler.FieldError
}

func (k *walker) fault(path, en, zh string) {
	if len(k.bad) < maxFaults {
		k.bad = append(k.bad, hostler.FieldError{Path: path, Text: hostler.Text{EN: en, ZH: zh}})
	}
}

func (k *walker) value(path string, depth int) error {
	tok, err := k.dec.Token()
	if err != nil {
		return err
	}
	switch v := tok.(type) {
	case json.Delim:
		if depth >= maxDepth {
			return errTooDeep
		}
		if v == '{' {
			return k.object(path, depth+1)
		}
		return k.array(path, depth+1)
	case string:
		if strings.ContainsRune(v, 0) {
			k.fault(path, "must not contain NUL", "不能包含 NUL 字符")
		}
	case json.Number:
		if _, err := v.Float64(); err != nil {
			k.fault(path, "is too large a number", "数字过大")
		}
	}
	return nil
}

func (k *walker) object(path string, depth int) error {
	seen := map[string]bool{}
	for k.dec.More() {
		tok, err := k.dec.Token()
		if err != nil {
			return err
		}
		name, _ := tok.(string) // the decoder refuses any other key
		at := name
		if path != "" {
			at = path + "." + name
		}
		if seen[name] {
			k.fault(at, "is there twice", "重复出现")
		}
		if strings.ContainsRune(name, 0) {
			k.fault(path, "has a field whose name contains NUL", "字段名不能包含 NUL 字符")
		}
		seen[name] = true
		if err := k.value(at, depth); err != nil {
			return err
		}
	}
	_, err := k.dec.Token()
	return err
}

func (k *walker) array(path string, depth int) error {
	for i := 0; k.dec.More(); i++ {
		if err := k.value(path+"["+strconv.Itoa(i)+"]", depth); err != nil {
			return err
		}
	}
	_, err := k.dec.Token()
	return err
}

// checkNoBody refuses a body where none is taken, unless it is an empty object,
// which some clients cannot help sending.
func checkNoBody(body []byte) error {
	if b := bytes.TrimSpace(body); len(b) > 0 && !bytes.Equal(b, []byte("{}")) {
		return hostler.Invalid("body", "this call takes no body", "此调用不接受请求体")
	}
	return nil
}
