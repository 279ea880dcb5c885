package cli

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// This file shows the output of jobs on several hosts. The server gives it in pages; what
// the command holds of it is bounded, however many hosts there are.

// outputFlags are how output is shown.
type outputFlags struct {
	dir  string
	fold bool // also when standard output is not a terminal
}

func (a *app) outputFlags(cmd *cobra.Command, f *outputFlags) {
	fs := cmd.Flags()
	fs.StringVar(&f.dir, "out-dir", "", a.t("also write the output of each host to files in this folder", "同时将每台主机的输出写入此目录"))
	fs.BoolVar(&f.fold, "fold", false, a.t("fold equal output, as on a terminal", "合并相同的输出，如同在终端上"))
}

// showJobs follows new jobs and shows their output.
func (a *app) showJobs(
	ctx context.Context, c *client.Client, created hostler.JobsCreated, inWaves bool, show *outputFlags,
) error {
	err := func() error {
		if id, ok := singleJob(created); ok && show.dir == "" && a.output == "table" {
			return a.showJob(ctx, c, id)
		}
		r, err := a.followRun(ctx, c, created.Run, inWaves)
		if err != nil {
			return err
		}
		return a.showRun(ctx, c, r, show)
	}()
	if err != nil && ctx.Err() != nil {
		return a.noteDetached(created)
	}
	return err
}

// showJob shows the output of a single job as the command itself would: on its own streams,
// byte by byte unless a terminal reads it.
func (a *app) showJob(ctx context.Context, c *client.Client, id hostler.JobID) error {
	p := logPrinter{stdout: a.out, stderr: a.err, raw: !term.IsTerminal(a.out)}
	j, err := followLog(ctx, c, id, &p)
	if err != nil {
		return err
	}
	if result := a.resultText(j); !p.printed && result != "" && j.Error == nil && !isProgram(j.Action) {
		fmt.Fprintln(a.out, term.EscapeLines(result))
	}
	if j.State != hostler.StateSucceeded {
		a.noteEnd(j)
	}
	return outcomeOf(map[hostler.State]int{j.State: 1})
}

// isProgram reports whether the output of an action is that of a program, so that its result
// says nothing else.
func isProgram(action string) bool { return action == "ssh_command" || action == "ssh_script" }

// showRun shows the output of the jobs of a run in the format that -o selects. The exit code
// is that of their outcome.
func (a *app) showRun(ctx context.Context, c *client.Client, r hostler.Run, show *outputFlags) error {
	sink := a.sinkFor(ctx, c, show)
	if r.Total <= sortedHosts {
		sink = &sortedSink{sink: sink}
	}
	for o, err := range client.All(ctx, c.RunOutput(r.Run)) {
		if err != nil {
			return err
		}
		if show.dir != "" {
			if err := a.writeOutput(ctx, c, show.dir, o); err != nil {
				return err
			}
		}
		if err := sink.add(o); err != nil {
			return err
		}
	}
	if err := sink.end(); err != nil {
		return err
	}
	if a.output == "table" || a.output == "wide" {
		a.noteRun(r)
	}
	return outcomeOf(r.States)
}

// noteRun notes how a run ended and, when hosts failed, how to run it on these again.
func (a *app) noteRun(r hostler.Run) {
	took := ""
	if r.StartedAt != nil && r.EndedAt != nil {
		took = " · " + r.EndedAt.Sub(*r.StartedAt).Round(100*time.Millisecond).String()
	}
	a.note("%s%s · %s", "%s%s · %s", a.countsByState(r.RunSummary), took, r.Run)
	switch {
	case r.States[hostler.StateUnknown] > 0:
		a.note("Check the hosts, then run: hostler job resolve --run %s --as succeeded|failed",
			"请检查主机，然后执行：hostler job resolve --run %s --as succeeded|failed", r.Run)
	case r.States[hostler.StateFailed] > 0 && r.State != "":
		a.note("Again on the hosts that failed: hostler run retry %s", "在失败的主机上重试：hostler run retry %s", r.Run)
	}
}

// sink takes the outputs of a run.
type sink interface {
	add(o hostler.JobOutput) error
	end() error
}

// sortedHosts is up to how many hosts output is held back to be shown in the order of names.
const sortedHosts = 500

// sortedSink sorts what another sink gets.
type sortedSink struct {
	sink
	all []hostler.JobOutput
}

func (s *sortedSink) add(o hostler.JobOutput) error {
	s.all = append(s.all, o)
	return nil
}

func (s *sortedSink) end() error {
	slices.SortStableFunc(s.all, func(x, y hostler.JobOutput) int { return naturalOrder(x.Host, y.Host) })
	for _, o := range s.all {
		if err := s.sink.add(o); err != nil {
			return err
		}
	}
	return s.sink.end()
}

// sinkFor chooses how outputs are shown.
func (a *app) sinkFor(ctx context.Context, c *client.Client, show *outputFlags) sink {
	switch a.output {
	case "json", "yaml":
		return &listSink{a: a}
	case "csv":
		return &csvSink{w: csv.NewWriter(a.out), a: a}
	case "name":
		return sinkFunc(func(o hostler.JobOutput) error { _, err := fmt.Fprintln(a.out, o.Host); return err })
	case "wide":
		return &wideSink{a: a}
	}
	if show.fold || term.IsTerminal(a.out) {
		return newFolder(ctx, a, c)
	}
	return sinkFunc(a.printLines)
}

type sinkFunc func(o hostler.JobOutput) error

func (f sinkFunc) add(o hostler.JobOutput) error { return f(o) }
func (f sinkFunc) end() error                    { return nil }

// printLines prints each line of output behind the name of its host: web01 | up 3 days.
func (a *app) printLines(o hostler.JobOutput) error {
	a.linesOf(a.out, o, a.shownText(o))
	if o.State == hostler.StateSucceeded {
		return nil
	}
	a.linesOf(a.err, o, o.Stderr)
	_, err := fmt.Fprintf(a.err, "%s | %s\n", term.Escape(o.Host), term.Escape(a.reasonOf(o)))
	return err
}

func (a *app) linesOf(w io.Writer, o hostler.JobOutput, text string) {
	if text == "" {
		return
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		fmt.Fprintf(w, "%s | %s\n", term.Escape(o.Host), term.EscapeLines(strings.TrimSuffix(line, "\r")))
	}
	if o.More {
		fmt.Fprintf(w, "%s | %s\n", term.Escape(o.Host), a.t("… more: ", "…… 其余：")+"hostler job log "+o.Job.String())
	}
}

// shownText is the standard output of a job, or else its result.
func (a *app) shownText(o hostler.JobOutput) string {
	if o.Stdout != "" || isProgram(o.Action) || o.State != hostler.StateSucceeded {
		return o.Stdout
	}
	return a.resultText(hostler.Job{Result: o.Result})
}

// reasonOf is why a job did not succeed.
func (a *app) reasonOf(o hostler.JobOutput) string {
	return strings.TrimSuffix(a.state(o.State)+": "+a.jobError(hostler.Job{Error: o.Error}), ": ")
}

// listSink writes a JSON or YAML list, an element at a time.
type listSink struct {
	a *app
	n int
}

func (s *listSink) add(o hostler.JobOutput) error {
	if s.a.output == "yaml" {
		s.n++
		return term.WriteYAML(s.a.out, []hostler.JobOutput{o})
	}
	before := ",\n"
	if s.n == 0 {
		before = "[\n"
	}
	s.n++
	if _, err := io.WriteString(s.a.out, before); err != nil {
		return err
	}
	var b strings.Builder
	if err := term.WriteJSON(&b, o); err != nil {
		return err
	}
	_, err := io.WriteString(s.a.out, strings.TrimSuffix(b.String(), "\n"))
	return err
}

func (s *listSink) end() error {
	after := "\n]\n"
	switch {
	case s.n == 0:
		after = "[]\n"
	case s.a.output == "yaml":
		after = ""
	}
	_, err := io.WriteString(s.a.out, after)
	return err
}

// csvSink writes CSV. A cell that a spreadsheet would read as a formula begins with an
// apostrophe.
type csvSink struct {
	w    *csv.Writer
	a    *app
	head bool
}

func (s *csvSink) add(o hostler.JobOutput) error {
	if !s.head {
		s.head = true
		if err := s.w.Write([]string{"host", "state", "exit_code", "seconds", "job", "error", "stdout", "stderr"}); err != nil {
			return err
		}
	}
	exit := ""
	if o.ExitCode != nil {
		exit = strconv.Itoa(*o.ExitCode)
	}
	return s.w.Write([]string{
		csvCell(o.Host), string(o.State), exit, strconv.FormatFloat(o.Seconds, 'f', 3, 64), o.Job.String(),
		csvCell(s.a.jobError(hostler.Job{Error: o.Error})), csvCell(s.a.shownText(o)), csvCell(o.Stderr),
	})
}

func (s *csvSink) end() error {
	s.w.Flush()
	return s.w.Error()
}

// csvCell protects a text from being read as a formula.
func csvCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// wideRows is how many rows of a wide table are aligned together.
const wideRows = 500

// wideSink prints a table, some rows at a time.
type wideSink struct {
	a    *app
	rows []hostler.JobOutput
}

func (s *wideSink) add(o hostler.JobOutput) error {
	o.Stdout = firstLine(s.a.shownText(o))
	s.rows = append(s.rows, o)
	if len(s.rows) < wideRows {
		return nil
	}
	return s.end()
}

func (s *wideSink) end() error {
	rows := s.rows
	s.rows = nil
	if len(rows) == 0 {
		return nil
	}
	table := *s.a
	table.output = "table"
	return list(&table, rows, []column[hostler.JobOutput]{
		col("host", "主机", func(o hostler.JobOutput) string { return dash(o.Host) }),
		col("state", "状态", func(o hostler.JobOutput) string { return s.a.state(o.State) }),
		col("exit", "退出码", func(o hostler.JobOutput) string {
			if o.ExitCode == nil {
				return "-"
			}
			return strconv.Itoa(*o.ExitCode)
		}),
		col("duration", "耗时", func(o hostler.JobOutput) string {
			return time.Duration(o.Seconds * float64(time.Second)).Round(time.Millisecond).String()
		}),
		col("job", "作业", func(o hostler.JobOutput) string { return o.Job.String() }),
		col("output", "输出", func(o hostler.JobOutput) string {
			return dash(cmp.Or(s.a.jobError(hostler.Job{Error: o.Error}), o.Stdout))
		}),
	})
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// writeOutput writes the output of a host to files in a folder: HOST.stdout, and HOST.stderr
// where there is some.
func (a *app) writeOutput(ctx context.Context, c *client.Client, dir string, o hostler.JobOutput) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // readable like what the shell creates
		return badFile(err)
	}
	name := filepath.Join(dir, cmp.Or(strings.ReplaceAll(o.Host, "/", "_"), o.Job.String()))
	if !o.More {
		err := os.WriteFile(name+".stdout", []byte(a.shownText(o)), 0o600)
		if err == nil && o.Stderr != "" {
			err = os.WriteFile(name+".stderr", []byte(o.Stderr), 0o600)
		}
		return err
	}
	stdout, err := os.OpenFile(name+".stdout", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return badFile(err)
	}
	defer stdout.Close()
	stderr, err := os.OpenFile(name+".stderr", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return badFile(err)
	}
	defer stderr.Close()
	all := *a
	all.output = "table"
	return all.printLog(ctx, c, o.Job, 0, &logPrinter{stdout: stdout, stderr: stderr, raw: true})
}
