package term

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"go.yaml.in/yaml/v4"
)

// WriteJSON writes v as indented JSON. Harmful characters are written as JSON
// escapes, so that a decoder gets the value back unchanged.
func WriteJSON(w io.Writer, v any) error {
	text, err := encodeJSON(v)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, escapeQuoted(text, jsonSurrogates))
	return err
}

// WriteJSONLine is [WriteJSON] on one line.
func WriteJSONLine(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, escapeQuoted(string(line), jsonSurrogates))
	return err
}

// WriteYAML writes v as YAML with the field names and the order of its JSON.
func WriteYAML(w io.Writer, v any) error {
	text, err := encodeJSON(v)
	if err != nil {
		return err
	}
	if text, err = jsonToYAML(text); err != nil {
		return err
	}
	_, err = io.WriteString(w, text)
	return err
}

func encodeJSON(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.String(), err
}

// escapeQuoted writes harmful characters as \u escapes, and those above U+FFFF by
// escapeWide. It expects them inside double-quoted strings only, as in JSON.
func escapeQuoted(s string, escapeWide func(rune) string) string {
	if !strings.ContainsFunc(s, harmful) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || !harmful(r):
			b.WriteRune(r)
		case r > 0xffff:
			b.WriteString(escapeWide(r))
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// jsonSurrogates escapes a rune above U+FFFF as JSON does: as two surrogates.
func jsonSurrogates(r rune) string {
	hi, lo := utf16.EncodeRune(r)
	return fmt.Sprintf(`\u%04x\u%04x`, hi, lo)
}

// yamlWide escapes a rune above U+FFFF as YAML does.
func yamlWide(r rune) string { return fmt.Sprintf(`\U%08x`, r) }

// jsonToYAML rewrites JSON, which is a subset of YAML, in block style. The order
// of the fields stays.
func jsonToYAML(text string) (string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(escapeQuoted(text, yamlWide)), &doc); err != nil {
		return "", err
	}
	setBlockStyle(&doc)
	out, err := yaml.Marshal(&doc)
	if err != nil {
		return "", err
	}
	return escapeQuoted(string(out), yamlWide), nil
}

// setBlockStyle drops the JSON style of n and its children. A scalar with harmful
// characters stays double-quoted, where they can be escaped.
func setBlockStyle(n *yaml.Node) {
	n.Style = 0
	mustEscape := func(r rune) bool { return r != '\n' && harmful(r) }
	if n.Kind == yaml.ScalarNode && strings.ContainsFunc(n.Value, mustEscape) {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, child := range n.Content {
		setBlockStyle(child)
	}
}
