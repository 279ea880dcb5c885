package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
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
	wide bool // not in lists on narrow terminals
}

// wideFrom is the width of a terminal on which lists have all columns.
const wideFrom = 120

// wideCol makes a column that lists have on wide terminals only.
func wideCol[T any](en, zh string, cell func(T) string) column[T] {
	return column[T]{txt(en, zh), cell, true}
}

// col makes a column with a heading in both languages.
func col[T any](en, zh string, cell func(T) string) column[T] {
	return column[T]{txt(en, zh), cell, false}
}

// list writes items in the format that -o selects.
func list[T any](a *app, items []T, cols []column[T]) error {
	if items == nil {
		items = []T{} // [] in JSON, not null
	}
	switch a.output {
	case "table", "wide":
	case "csv":
		return writeCSV(a, items, cols)
	case "name":
		for _, it := range items {
			fmt.Fprintln(a.out, term.Escape(cols[0].cell(it)))
		}
		return nil
	default:
		return a.structured(items)
	}
	if len(items) == 0 && a.empty.EN != "" {
		a.note("%s", "%s", a.empty.In(a.lang))
		return nil
	}
	t := term.Table{Paint: a.paintState}
	if a.output == "table" {
		t.Width = term.Columns(a.out)
		if t.Width > 0 && t.Width < wideFrom {
			cols = slices.DeleteFunc(slices.Clone(cols), func(c column[T]) bool { return c.wide })
		}
	}
	if !a.noHeaders {
		t.Head = heads(a, cols)
	}
	relative := term.IsTerminal(a.out) && !a.absolute
	for _, it := range items {
		row := make([]string, len(cols))
		for i, c := range cols {
			if row[i] = c.cell(it); relative {
				row[i] = a.relativeTime(row[i])
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return a.paged(len(t.Rows)+1, t.Write)
}

// heads are the headings of a table.
func heads[T any](a *app, cols []column[T]) []string {
	head := make([]string, len(cols))
	for i, c := range cols {
		head[i] = strings.ToUpper(c.head.In(a.lang))
	}
	return head
}

// writeCSV writes a list as CSV, with headings that do not depend on the language.
func writeCSV[T any](a *app, items []T, cols []column[T]) error {
	w := csv.NewWriter(a.out)
	row := make([]string, len(cols))
	if !a.noHeaders {
		for i, c := range cols {
			row[i] = strings.ReplaceAll(c.head.EN, " ", "_")
		}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	for _, it := range items {
		for i, c := range cols {
			if row[i] = csvCell(c.cell(it)); row[i] == "-" || row[i] == "'-" {
				row[i] = ""
			}
		}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// relativeTime shows a cell with a time as how long ago it was; other cells stay.
func (a *app) relativeTime(cell string) string {
	t, err := time.ParseInLocation(time.DateTime, cell, time.Local)
	if err != nil {
		return cell
	}
	ago, past := a.now().Sub(t), true
	if ago < 0 {
		ago, past = -ago, false
	}
	span := ""
	switch {
	case ago < time.Minute:
		span = fmt.Sprintf("%ds", int(ago.Seconds()))
	case ago < time.Hour:
		span = fmt.Sprintf("%dm", int(ago.Minutes()))
	case ago < 48*time.Hour:
		span = fmt.Sprintf("%dh", int(ago.Hours()))
	case ago < 60*24*time.Hour:
		span = fmt.Sprintf("%dd", int(ago.Hours()/24))
	default:
		return t.Format(time.DateOnly)
	}
	if past {
		return fmt.Sprintf(a.t("%s ago", "%s 前"), span)
	}
	return fmt.Sprintf(a.t("in %s", "%s 后"), span)
}

// paintState colours a cell that is a state, on a terminal that shows colours.
func (a *app) paintState(cell, padded string) string {
	if !term.HasColor(a.out) {
		return padded
	}
	color := ""
	switch {
	case cell == "":
	case cell == "succeeded" || cell == a.state(hostler.StateSucceeded):
		color = "32"
	case cell == "failed" || cell == a.state(hostler.StateFailed) || cell == "rejected":
		color = "31"
	case cell == "running" || cell == a.state(hostler.StateRunning):
		color = "36"
	case cell == "unknown" || cell == a.state(hostler.StateUnknown) || cell == "waiting" || cell == "paused":
		color = "33"
	case cell == "cancelled" || cell == "expired" || cell == a.state(hostler.StateCancelled):
		color = "90"
	}
	if color == "" {
		return padded
	}
	return "\x1b[" + color + "m" + padded + "\x1b[0m"
}

// paged writes so many lines: through a pager if the terminal has not as many. HOSTLER_PAGER or
// PAGER name it; empty or cat is none.
func (a *app) paged(lines int, write func(io.Writer) error) error {
	pager, set := os.LookupEnv("HOSTLER_PAGER")
	if !set {
		if pager, set = os.LookupEnv("PAGER"); !set {
			pager = "less"
		}
	}
	if !term.IsTerminal(a.out) || !term.IsTerminal(a.in) || lines < term.Rows(a.out) || pager == "" || pager == "cat" {
		return write(a.out)
	}
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	cmd := exec.Command("sh", "-c", pager) //nolint:gosec,noctx // the person's own; an interrupt is the pager's
	cmd.Env = append(os.Environ(), "LESS=-FRX")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(b.Bytes()), a.out, a.err
	if cmd.Run() != nil {
		_, err := a.out.Write(b.Bytes())
		return err
	}
	return nil
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
