package rest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,"x",null,{"b":true}]}`, `[`, `{"a":1,"a":2}`, "\xff", `"\u0000"`, `1e999`, `{"a":{}} x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := checkJSON("application/json", b, check.JSONLimits{Depth: maxDepth})
		var v any
		if parsed := unmarshal(b, &v); err == nil && parsed != nil {
			t.Errorf("%q passes, and then does not decode: %v", b, parsed)
		}
		if c := hostler.CodeOf(err); err != nil && c != hostler.CodeMalformed && c != hostler.CodeInvalid {
			t.Errorf("%q: %v", b, err)
		}
	})
}

func TestErrorsRepeatNoValue(t *testing.T) {
	const canary = "c4nary"
	var into struct {
		Port  int            `json:"port"`
		When  time.Time      `json:"when"`
		Inner map[string]int `json:"inner"`
		ID    hostler.JobID  `json:"id"`
	}
	for _, body := range []string{
		`{"port":"` + canary + `"}`, `{"when":"` + canary + `"}`, `{"inner":{"` + canary + `":"x"}}`,
		`{"id":"` + canary + `"}`, canary, `{"` + canary + `":`,
	} {
		if err := unmarshal([]byte(body), &into); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", body, err)
		}
		if err := checkJSON("application/json", []byte(body), check.JSONLimits{Depth: maxDepth}); err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", body, err)
		}
	}
	f := fieldError(&huma.ErrorDetail{Message: "invalid URL " + canary, Location: "body.port", Value: canary})
	if f.Path != "port" || strings.Contains(f.Text.EN+f.Text.ZH, canary) {
		t.Errorf("an unknown message of Huma: %+v", f)
	}
	p := NewProblem(errors.New(canary), hostler.LangEN, ProblemJSON)
	if b, err := json.Marshal(p); err != nil || strings.Contains(string(b), canary) {
		t.Errorf("an internal error: %s, %v", b, err)
	}
}
