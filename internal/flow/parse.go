package flow

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// Limits of what Parse reads.
const (
	maxDocuments = 100
	maxDepth     = 40
	maxNodes     = 100_000
)

// Parse reads the documents of a text. The error is CodeInvalid and names every fault with
// its path, line and column.
func Parse(src []byte) ([]*Document, error) {
	var f check.Fields
	switch {
	case len(src) > hostler.MaxDocumentBytes:
		f.Add("", "must be at most %d bytes", "最多 %d 字节", hostler.MaxDocumentBytes)
	case !utf8.Valid(src) || bytes.IndexByte(src, 0) >= 0:
		f.Add("", "must be UTF-8 without NUL", "须为不含 NUL 的 UTF-8")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	nodes, err := readNodes(src)
	if err != nil {
		return nil, err
	}
	var docs []*Document
	for i, n := range nodes {
		d, faults := parseDocument(n)
		d.Source = sourceOf(src, nodes, i)
		for _, fault := range d.Locate(faults) {
			if !f.Full() {
				f.AddFault(fault)
			}
		}
		docs = append(docs, d)
	}
	if len(docs) == 0 {
		f.Add("", "has no document", "没有文档")
	}
	return docs, f.Err()
}

// sourceOf returns the text of one document of several.
func sourceOf(src []byte, nodes []*yaml.Node, i int) string {
	if len(nodes) == 1 {
		return string(src)
	}
	lines := bytes.SplitAfter(src, []byte("\n"))
	from, to := nodes[i].Line-1, len(lines)
	if i+1 < len(nodes) {
		to = nodes[i+1].Line - 1
	}
	text := bytes.Join(lines[min(from, len(lines)):max(from, min(to, len(lines)))], nil)
	text = bytes.TrimSpace(text)
	text = bytes.TrimSpace(bytes.TrimSuffix(text, []byte("---")))
	return string(text) + "\n"
}

// readNodes reads the documents of a text as nodes.
func readNodes(src []byte) ([]*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var nodes []*yaml.Node
	for {
		var doc yaml.Node
		err := decodeNode(dec, &doc)
		if errors.Is(err, io.EOF) {
			return nodes, nil
		}
		if err != nil {
			return nil, syntaxFault(err)
		}
		if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
			continue
		}
		if nodes = append(nodes, doc.Content[0]); len(nodes) > maxDocuments {
			return nil, hostler.Invalid("", "has more than %d documents", "文档超过 %d 个", maxDocuments)
		}
	}
}

// decodeNode turns a panic of the library, which some broken texts cause, into an error.
func decodeNode(dec *yaml.Decoder, doc *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: %v", p)
		}
	}()
	return dec.Decode(doc)
}

// syntaxFault describes an error of the YAML parser. Its texts begin with "yaml: line 3: ".
func syntaxFault(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var p Place
	if _, scan := fmt.Sscanf(text, "line %d, column %d:", &p.Line, &p.Column); scan != nil {
		p.Column = 0
		if _, scan := fmt.Sscanf(text, "line %d:", &p.Line); scan != nil {
			p.Line = 0
		}
	}
	if p.Line > 0 && p.Column == 0 {
		p.Column = 1
	}
	fault := hostler.FieldError{
		Line: max(1, p.Line), Column: max(1, p.Column),
		Text: hostler.Textf("is not YAML: %s", "不是合法的 YAML：%s", check.Key(text)),
	}
	return hostler.InvalidFields(fault)
}

// parseDocument reads one document. The faults lack the places of those of its decoder.
func parseDocument(n *yaml.Node) (*Document, []hostler.FieldError) {
	d := &Document{places: map[string]Place{}}
	r := &reader{places: d.places}
	if r.measure(n, 0); len(r.fields.Faults()) > 0 {
		r.places[""] = Place{n.Line, n.Column}
		return d, r.fields.Faults()
	}
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	r.loose = true
	r.value(n, &head)
	r.loose = false
	if len(r.fields.Faults()) > 0 {
		return d, r.fields.Faults()
	}
	r.fields.Require(head.APIVersion == hostler.APIVersion, "apiVersion", "must be %s", "须为 %s", hostler.APIVersion)
	switch head.Kind {
	case "Template":
		var in struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			hostler.Template
		}
		r.value(n, &in)
		d.Template = &in.Template
		checkTemplate(&r.fields, d.Template)
	case "Task":
		var in struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			hostler.TaskSpec
		}
		r.value(n, &in)
		d.Task = &in.TaskSpec
		checkTask(&r.fields, d.Task)
	case "AlertRule": // app checks it
		var in struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			hostler.AlertRuleSpec
		}
		r.value(n, &in)
		d.Alert = &in.AlertRuleSpec
	default:
		r.fields.AddText("kind", check.MustBeOneOf("Template", "Task", "AlertRule"))
	}
	return d, r.fields.Faults()
}
