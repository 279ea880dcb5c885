package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"go.yaml.in/yaml/v4"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// column is one column of a listing, and one line of a single object.
type column[T any] struct {
	head hostler.Text
	cell func(T) string
}

func col[T any](en, zh string, cell func(T) string) column[T] {
	return column[T]{txt(en, zh), cell}
}

// list writes items as -o says.
func list[T any](a *app, items []T, cols []column[T]) error {
	if items == nil {
		items = []T{}
	}
	if a.output != "table" {
		return a.structured(items)
	}
	head := make([]string, len(cols))
	for i, c := range cols {
		head[i] = strings.ToUpper(c.head.In(a.lang))
	}
	rows := make([][]string, len(items))
	for i, it := range items {
		for _, c := range cols {
			rows[i] = append(rows[i], c.cell(it))
		}
	}
	return writeTable(a.out, head, rows)
}

// one writes a single object as -o says: in a table, one line per column that
// has something to say.
func one[T any](a *app, item T, cols []column[T]) error {
	if a.output != "table" {
		return a.structured(item)
	}
	most := 0
	for _, c := range cols {
		most = max(most, columns(c.head.In(a.lang)))
	}
	for _, c := range cols {
		text := clean(c.cell(item))
		if text == "" || text == "-" {
			continue
		}
		head := c.head.In(a.lang)
		pad := strings.Repeat(" ", most-columns(head)+2)
		if _, err := fmt.Fprintf(a.out, "%s%s%s\n", head, pad, text); err != nil {
			return err
		}
	}
	return nil
}

// structured writes v as JSON or YAML. What a terminal might obey is escaped in
// the way of the format, so that a reader gets the value back as it was.
func (a *app) structured(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	text := b.String()
	if a.output == "yaml" {
		var err error
		if text, err = toYAML(text); err != nil {
			return err
		}
	} else {
		text = escapeQuoted(text, jsonPair)
	}
	_, err := io.WriteString(a.out, text)
	return err
}

// escapeQuoted writes harmful characters as \u escapes. They must stand inside
// double-quoted strings only, as they do in JSON. What lies above U+FFFF is
// written by wide.
func escapeQuoted(s string, wide func(rune) string) string {
	if !strings.ContainsFunc(s, harmful) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || !harmful(r):
			b.WriteRune(r)
		case r > 0xffff:
			b.WriteString(wide(r))
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// jsonPair is a rune above U+FFFF as JSON escapes it: as two surrogates.
func jsonPair(r rune) string {
	hi, lo := utf16.EncodeRune(r)
	return fmt.Sprintf(`\u%04x\u%04x`, hi, lo)
}

// yamlWide is a rune above U+FFFF as YAML escapes it.
func yamlWide(r rune) string { return fmt.Sprintf(`\U%08x`, r) }

// toYAML rewrites JSON, which is YAML, in block style and keeps the order. A
// scalar with harmful characters is double-quoted, where they can be escaped.
func toYAML(text string) (string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(escapeQuoted(text, yamlWide)), &doc); err != nil {
		return "", err
	}
	restyle(&doc)
	out, err := yaml.Marshal(&doc)
	if err != nil {
		return "", err
	}
	return escapeQuoted(string(out), yamlWide), nil
}

func restyle(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && strings.ContainsFunc(n.Value, func(r rune) bool { return r != '\n' && harmful(r) }) {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, sub := range n.Content {
		restyle(sub)
	}
}

// collect walks a listing up to limit items; 0 means all. More says that the
// limit cut it.
func collect[T any](ctx context.Context, lister client.Lister[T], limit int) (items []T, more bool, err error) {
	for it, err := range client.All(ctx, lister) {
		if err != nil {
			return nil, false, err
		}
		if limit > 0 && len(items) == limit {
			return items, true, nil
		}
		items = append(items, it)
	}
	return items, false, nil
}

// Cells.

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

func whenPtr(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return when(*t)
}

func keyValues[V ~string](m map[string]V) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+string(m[k]))
	}
	return strings.Join(parts, ",")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func number[N ~int | ~int64](n N) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(int64(n))
}

func (a *app) yesNo(b bool) string {
	if b {
		return a.t("yes", "是")
	}
	return a.t("no", "否")
}
