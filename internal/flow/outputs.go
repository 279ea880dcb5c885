package flow

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// This file holds outputs: values that the jobs of a step leave for later steps. A look-up
// steps.ID.outputs.NAME is the value of the same host, or of the only one;
// steps.ID.each.NAME is a list of all hosts with their values.

// FromStdout is the source of an output that is the text which the job has written.
const FromStdout = "stdout"

var textSchema = json.RawMessage(`{"type":"string"}`)

// schemaOf returns the schema of an output, compiled, and its type.
func schemaOf(o hostler.Output) (schema *jsonschema.Schema, kind string, ok bool) {
	raw := o.Schema
	if len(raw) == 0 {
		raw = textSchema
	}
	doc, ok := decodeObject(raw)
	kind, _ = doc["type"].(string)
	if !ok || kind == "" || kind == "null" {
		return nil, "", false
	}
	schema, ok = compileAny(raw)
	return schema, kind, ok
}

// Extract returns the outputs of a job that succeeded, as JSON, or why it does not have
// them.
func Extract(outputs map[string]hostler.Output, result json.RawMessage, stdout string) (json.RawMessage, *hostler.Text) {
	parsed, err := decodeJSON(result)
	if err != nil {
		parsed = nil
	}
	values := make(map[string]any, len(outputs))
	fault := func(name, en, zh string) (json.RawMessage, *hostler.Text) {
		t := hostler.Textf("its output %s "+en, "输出 %s "+zh, name)
		return nil, &t
	}
	for _, name := range sortedKeys(outputs) {
		o := outputs[name]
		schema, kind, ok := schemaOf(o)
		if !ok {
			return fault(name, "has no schema", "没有类型定义")
		}
		var v any = stdout
		if o.From != FromStdout {
			path := strings.Split(o.From, ".")
			if v, ok = (Values{"": parsed}).find(append([]string{""}, path...)); !ok {
				return fault(name, "is not in the result of the job", "不在作业结果中")
			}
		}
		v = convert(v, kind)
		if schema.Validate(v) != nil {
			return fault(name, "does not match its schema", "不符合其类型定义")
		}
		values[name] = v
	}
	b, err := Canonical(values)
	if err != nil || len(b) > hostler.MaxOutputBytes {
		t := hostler.Textf("its outputs are larger than %d KB together", "输出合计超过 %d KB", hostler.MaxOutputBytes>>10)
		return nil, &t
	}
	return b, nil
}

// convert reads a text as a value of the declared type: programs write text.
func convert(v any, kind string) any {
	text, ok := v.(string)
	switch {
	case !ok:
		return v
	case kind == "string":
		return strings.TrimRight(text, "\r\n")
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(strings.TrimSpace(text))))
	if err != nil {
		return v
	}
	return parsed
}

// checkOutputs checks the outputs that a step declares.
func (c *stepCheck) outputs() {
	path := c.path + ".outputs"
	c.f.Count(path, len(c.s.Outputs), hostler.MaxOutputs)
	for _, name := range sortedKeys(c.s.Outputs) {
		at := check.Member(path, name)
		parts, ok := lookupPath(name)
		c.f.Require(ok && len(parts) == 1, at, "must have a name of letters, digits, _ and -", "名称须由字母、数字、_、- 组成")
		_, ok = lookupPath(c.s.Outputs[name].From)
		c.f.Require(ok, at+".from", "must be stdout, or a path into the result such as exit_code",
			"须为 stdout 或结果中的路径，例如 exit_code")
		_, _, ok = schemaOf(c.s.Outputs[name])
		c.f.Require(ok, at+".schema", "must be a JSON Schema with one type", "须为带单一 type 的 JSON Schema")
	}
}

// outputOf reports whether a look-up reads outputs: steps.ID.outputs.NAME or
// steps.ID.each.NAME.
func outputOf(path []string) bool {
	return len(path) >= 3 && path[0] == "steps" && (path[2] == "outputs" || path[2] == "each")
}

// OutputsUsed lists the steps whose outputs a step looks up, in what is rendered when its
// jobs are created and in what is while the run goes on.
func OutputsUsed(s *hostler.Step) []string {
	var ids []string
	add := func(l lookup) {
		if outputOf(l.path) && !slices.Contains(ids, l.path[1]) {
			ids = append(ids, l.path[1])
		}
	}
	if v, err := decodeJSON(s.Args); err == nil && s.Args != nil {
		lookups(v, "", add)
	}
	for _, text := range textsOf(s) {
		lookups(text, "", add)
	}
	var f check.Fields
	checkCondition(&f, "", s.When, runEnv, add)
	return ids
}

// textsOf are the texts for people of a step.
func textsOf(s *hostler.Step) []string {
	switch {
	case s.Approval != nil:
		return []string{s.Approval.Title}
	case s.Notify != nil:
		return []string{s.Notify.Text}
	}
	return nil
}

// UsesOutputs reports whether args look up outputs of other steps.
func UsesOutputs(args json.RawMessage) bool {
	used := false
	if v, err := decodeJSON(args); err == nil {
		lookups(v, "", func(l lookup) { used = used || outputOf(l.path) })
	}
	return used
}

// OutputPaths lists the paths of the texts in args that look up outputs.
func OutputPaths(args json.RawMessage, at string) []string {
	var out []string
	if v, err := decodeJSON(args); err == nil {
		lookups(v, at, func(l lookup) {
			if outputOf(l.path) {
				out = append(out, l.at)
			}
		})
	}
	return slices.Compact(out)
}

// RenderEarly is [Render] before outputs are known: their look-ups stay empty.
func RenderEarly(args json.RawMessage, at string, values Values) (json.RawMessage, []hostler.FieldError) {
	early := Values{earlyKey: true}
	maps.Copy(early, values)
	return Render(args, at, early)
}

// earlyKey marks values without outputs; no look-up has it.
const earlyKey = ""
