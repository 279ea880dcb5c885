package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// logPage is how many log entries one request asks for.
const logPage = 1000

func (a *app) jobLog() *cobra.Command {
	var follow, raw bool
	var tail int
	cmd := a.jobAction("log JOB [flags]", doc{
		short: txt("show the output of a job", "查看作业输出"),
		long: txt(`Show the output of a job; with -f, follow it until the job ends. The job's standard
output is written to standard output, the rest to standard error. Characters that
control a terminal are shown as escapes, unless --raw is given.`,
			`显示作业的输出；-f 持续显示直到作业结束。作业的标准输出写到标准输出，其余写到标准错误。
会控制终端的字符以转义形式显示；--raw 原样输出。`),
		example: "hostler job log job_0001a2b3c4d\nhostler job log -f job_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.JobID) error {
		p := logPrinter{stdout: a.out, stderr: a.err, raw: raw}
		if follow {
			_, err := followLog(ctx, c, id, &p)
			return err
		}
		return a.printLog(ctx, c, id, tail, &p)
	})
	fs := cmd.Flags()
	fs.BoolVarP(&follow, "follow", "f", false, a.t("follow the output until the job ends",
		"持续显示直到作业结束"))
	fs.IntVar(&tail, "tail", 0, a.t("show only this many entries from the end", "只显示最后若干段"))
	fs.BoolVar(&raw, "raw", false, a.t("do not escape control characters", "不转义控制字符"))
	return cmd
}

// printLog prints the stored output, page by page.
func (a *app) printLog(ctx context.Context, c *client.Client, id hostler.JobID, tail int, p *logPrinter) error {
	if a.output != "table" {
		l, err := c.Log(ctx, id, client.LogQuery{Tail: tail})
		if err != nil {
			return err
		}
		return a.structured(l.Items)
	}
	q := client.LogQuery{Tail: tail, Limit: logPage}
	for {
		l, err := c.Log(ctx, id, q)
		if err != nil {
			return err
		}
		for _, e := range l.Items {
			p.print(e)
			q.After = e.Pos
		}
		if l.Next == "" || len(l.Items) == 0 || tail > 0 {
			return nil
		}
	}
}

// logPrinter writes a job's standard output to stdout, the rest to stderr.
type logPrinter struct {
	stdout, stderr io.Writer
	raw            bool
	printed        bool      // standard output was written
	unfinished     io.Writer // where the last line lacks its end; nil when it does not
}

func (p *logPrinter) print(e hostler.LogEntry) {
	w := p.stderr
	if e.Stream == hostler.StreamStdout {
		w = p.stdout
		p.printed = true
	}
	text := e.Text
	if !p.raw {
		text = term.EscapeLines(text)
	}
	fmt.Fprint(w, text)
	p.unfinished = w
	if strings.HasSuffix(text, "\n") {
		p.unfinished = nil
	}
}

// finish ends an unfinished line.
func (p *logPrinter) finish() {
	if p.unfinished != nil && !p.raw {
		fmt.Fprintln(p.unfinished)
	}
	p.unfinished = nil
}

// followLog prints a job's output until the job ends, and returns it.
func followLog(ctx context.Context, c *client.Client, id hostler.JobID, p *logPrinter) (hostler.Job, error) {
	defer p.finish()
	for step, err := range c.Follow(ctx, id, 0) {
		switch {
		case err != nil:
			return hostler.Job{}, err
		case step.Job != nil:
			return *step.Job, nil
		default:
			p.print(step.Entry)
		}
	}
	return hostler.Job{}, context.Canceled
}
