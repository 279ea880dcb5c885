package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// column is one column of a listing, and one line of a single object.
type column[T any] struct {
	head hostler.Text
	cell func(T) string
}

// col makes a column with a heading in both languages.
func col[T any](en, zh string, cell func(T) string) column[T] {
	return column[T]{txt(en, zh), cell}
}

// list writes items in the format that -o selects.
func list[T any](a *app, items []T, cols []column[T]) error {
	if items == nil {
		items = []T{} // [] in JSON, not null
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
	return term.WriteTable(a.out, head, rows)
}

// one writes a single object in the format that -o selects: in a table, one line
// per column that has a value.
func one[T any](a *app, item T, cols []column[T]) error {
	if a.output != "table" {
		return a.structured(item)
	}
	fields := make([]term.Field, len(cols))
	for i, c := range cols {
		fields[i] = term.Field{Name: c.head.In(a.lang), Value: c.cell(item)}
	}
	return term.WriteFields(a.out, fields)
}

// structured writes v as JSON or YAML.
func (a *app) structured(v any) error {
	if a.output == "yaml" {
		return term.WriteYAML(a.out, v)
	}
	return term.WriteJSON(a.out, v)
}

// collect reads a paged listing up to limit items; 0 means all. more reports
// that the limit left items out.
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

// defaultLimit is how many items a listing shows without --limit.
const defaultLimit = 100

// limitFlag adds --limit to a listing that shows the newest items first.
func (a *app) limitFlag(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "limit", defaultLimit, a.t("show at most this many; 0 for all",
		"最多显示的条数；0 表示全部"))
}

// noteMore notes that --limit left items out.
func (a *app) noteMore(more bool, limit int) {
	if more {
		a.note("showing the newest %d; use --limit for more (0 for all)",
			"仅显示最新的 %d 条；用 --limit 显示更多（0 表示全部）", limit)
	}
}

// noteDeleted notes that an object was deleted.
func (a *app) noteDeleted(kind hostler.Text, name string) {
	a.note("deleted the %[1]s %[3]s", "已删除%[2]s %[3]s", kind.EN, kind.ZH, name)
}

// localTime is a cell with a time in the local zone.
func localTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// optionalTime is [localTime] of a time that may be missing.
func optionalTime(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return localTime(*t)
}

// keyValues is a cell with the entries of m, sorted by key.
func keyValues[V ~string](m map[string]V) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+string(m[k]))
	}
	return strings.Join(parts, ",")
}

// dash returns "-" for an empty cell.
func dash(s string) string { return cmp.Or(s, "-") }

// number returns "-" for zero.
func number[N ~int | ~int64](n N) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(int64(n))
}

// yesNo is a cell with a truth value.
func (a *app) yesNo(b bool) string {
	if b {
		return a.t("yes", "是")
	}
	return a.t("no", "否")
}
