package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// This file folds equal output: what most hosts say once, what others say instead as a
// difference to it, and what failed last.

const (
	keptBytes   = 32 << 20 // of texts; others are read again when they are printed
	foldedHosts = 8        // names that a group shows
	stderrShown = 8        // lines of standard error of failures
)

// folder groups hosts by their output.
type folder struct {
	ctx    context.Context
	a      *app
	c      *client.Client
	groups map[[sha256.Size]byte]*sameOutput
	kept   int
}

// sameOutput are hosts with the same output.
type sameOutput struct {
	hosts  []string
	first  hostler.JobOutput
	text   string
	failed bool
	forgot bool // the text is to be read again
}

func newFolder(ctx context.Context, a *app, c *client.Client) *folder {
	return &folder{ctx: ctx, a: a, c: c, groups: map[[sha256.Size]byte]*sameOutput{}}
}

func (f *folder) add(o hostler.JobOutput) error {
	g := sameOutput{first: o, text: strings.ReplaceAll(f.a.shownText(o), "\r\n", "\n"), failed: o.State != hostler.StateSucceeded}
	if g.failed {
		g.text = lastLines(o.Stderr, stderrShown)
		if g.text == "" {
			g.text = lastLines(o.Stdout, stderrShown)
		}
		g.text = f.a.reasonOf(o) + "\n" + g.text
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%t %t\n%s", g.failed, o.More, g.text))
	if have := f.groups[key]; have != nil {
		have.hosts = append(have.hosts, o.Host)
		return nil
	}
	g.hosts = []string{o.Host}
	g.first.Stdout, g.first.Stderr, g.first.Result = "", "", nil
	if f.kept += len(g.text); f.kept > keptBytes && !g.failed {
		g.text, g.forgot = "", true
	}
	f.groups[key] = &g
	return nil
}

// lastLines returns the last lines of a text.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// end prints the groups: the largest first, the failures last.
func (f *folder) end() error {
	var good, bad []*sameOutput
	for _, g := range f.groups {
		slices.SortFunc(g.hosts, naturalOrder)
		if g.failed {
			bad = append(bad, g)
		} else {
			good = append(good, g)
		}
	}
	for _, groups := range [][]*sameOutput{good, bad} {
		slices.SortFunc(groups, func(x, y *sameOutput) int {
			return cmp.Or(cmp.Compare(len(y.hosts), len(x.hosts)), naturalOrder(x.hosts[0], y.hosts[0]))
		})
	}
	var most *sameOutput
	if len(good) > 1 && len(good[0].hosts) > 1 {
		most = good[0]
	}
	for _, g := range good {
		if err := f.print(g, most); err != nil {
			return err
		}
	}
	for _, g := range bad {
		f.head("31", f.a.hostsAre(g.hosts, "failed", "失败"), g.hosts)
		f.body(g.text)
	}
	return nil
}

// print prints a group that succeeded: as a difference, if most hosts said something else.
func (f *folder) print(g, most *sameOutput) error {
	if err := f.read(g); err != nil {
		return err
	}
	single := len(g.hosts) == 1 && strings.Count(strings.TrimSuffix(g.text, "\n"), "\n") == 0
	switch {
	case single && (most == nil || most == g):
		fmt.Fprintf(f.a.out, "%s | %s\n", f.paint("1", g.hosts[0]), term.EscapeLines(strings.TrimSuffix(g.text, "\n")))
	case most == nil || most == g:
		f.head("32", f.a.hostsAre(g.hosts, "", ""), g.hosts)
		f.body(g.text)
	default:
		f.head("33", f.a.hostsAre(g.hosts, "differ", "不同"), g.hosts)
		if most.forgot {
			f.body(g.text)
			break
		}
		f.body(difference(most.text, g.text))
	}
	if g.first.More {
		f.body(f.a.t("… more: ", "…… 其余：") + "hostler job log " + g.first.Job.String())
	}
	if g.forgot {
		g.text = ""
	}
	return nil
}

// read reads the text of a group again that was not kept.
func (f *folder) read(g *sameOutput) error {
	if !g.forgot {
		return nil
	}
	l, err := f.c.Log(f.ctx, g.first.Job, client.LogQuery{Limit: logPage})
	var b strings.Builder
	for _, e := range l.Items {
		if e.Stream == hostler.StreamStdout {
			b.WriteString(e.Text)
		}
	}
	g.text = b.String()
	return err
}

// hostsAre counts hosts: "2 hosts differ".
func (a *app) hostsAre(hosts []string, en, zh string) string {
	unit := "hosts"
	if len(hosts) == 1 {
		unit = "host"
		en = strings.Replace(en, "differ", "differs", 1)
	}
	return a.t(strings.TrimSpace(fmt.Sprintf("%d %s %s", len(hosts), unit, en)), fmt.Sprintf("%d 台主机%s", len(hosts), zh))
}

// head prints the line above the output of a group, within the width of the terminal.
func (f *folder) head(color, count string, hosts []string) {
	names := strings.Join(hosts[:min(len(hosts), foldedHosts)], ", ")
	if n := len(hosts) - foldedHosts; n > 0 {
		names += fmt.Sprintf(", … (+%d)", n)
	}
	line := term.Escape(names)
	if width := term.Columns(f.a.out); width > 0 {
		line = term.Truncate(line, max(10, width-term.Width(count)-3))
	}
	fmt.Fprintf(f.a.out, "%s: %s\n", f.paint(color, count), line)
}

func (f *folder) paint(color, s string) string {
	if s = term.Escape(s); !term.HasColor(f.a.out) {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

// body prints lines below a head.
func (f *folder) body(text string) {
	if text = strings.TrimRight(text, "\n"); text == "" {
		return
	}
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprintln(f.a.out, "  "+term.EscapeLines(line))
	}
}

// difference lists the lines in which a text differs from that of most hosts.
func difference(most, text string) string {
	if text == "" {
		return "-" + strings.ReplaceAll(strings.TrimSuffix(most, "\n"), "\n", "\n-")
	}
	end := func(s string) []byte { return []byte(strings.TrimSuffix(s, "\n") + "\n") }
	var out []string
	for line := range strings.SplitSeq(string(diff.Diff("", end(most), "", end(text))), "\n") {
		if strings.HasPrefix(line, "-") || strings.HasPrefix(line, "+") {
			out = append(out, line)
		}
	}
	return strings.Join(slices.DeleteFunc(out, func(l string) bool { return l == "--- " || l == "+++ " }), "\n")
}

// naturalOrder compares names so that web2 comes before web10.
func naturalOrder(x, y string) int {
	for x != "" && y != "" {
		nx, ny := digits(x), digits(y)
		if nx > 0 && ny > 0 {
			a, b := strings.TrimLeft(x[:nx], "0"), strings.TrimLeft(y[:ny], "0")
			if c := cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)); c != 0 {
				return c
			}
			x, y = x[nx:], y[ny:]
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Compare(len(x), len(y))
}

// digits counts the digits at the start of a text.
func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }
