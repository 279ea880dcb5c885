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

func (a *app) jobLog() *cobra.Command {
	var follow, raw bool
	var tail int
	cmd := a.jobAction("log JOB [flags]", doc{
		short:   txt("show a job's output", "查看作业输出"),
		long:    txt("Shows the output of a job, with -f until it ends. What the job wrote to standard\noutput goes to standard output, the rest to standard error. Characters that a\nterminal would obey are shown as escapes; --raw passes them on.", "显示作业的输出，-f 持续显示直到结束。作业的标准输出写到标准输出，其余写到标准错误。\n会控制终端的字符以转义形式显示；--raw 原样输出。"),
		example: "hostler job log job_0001a2b3c4d\nhostler job log -f job_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, id hostler.JobID) error {
		p := printer{a: a, raw: raw}
		if follow {
			_, err := a.follow(ctx, c, id, &p)
			return err
		}
		return a.printLog(ctx, c, id, tail, &p)
	})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, a.t("go on until the job ends", "持续显示直到作业结束"))
	cmd.Flags().IntVar(&tail, "tail", 0, a.t("only the last so many pieces", "只显示最后若干段"))
	cmd.Flags().BoolVar(&raw, "raw", false, a.t("do not escape anything", "不做任何转义"))
	return cmd
}

func (a *app) printLog(ctx context.Context, c *client.Client, id hostler.JobID, tail int, p *printer) error {
	if a.output != "table" {
		l, err := c.Log(ctx, id, client.LogQuery{Tail: tail})
		if err != nil {
			return err
		}
		return a.structured(l.Items)
	}
	q := client.LogQuery{Tail: tail, Limit: 1000}
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

// printer writes a job's output: its standard output to ours, the rest to
// standard error.
type printer struct {
	a       *app
	raw     bool
	printed bool
	open    io.Writer // where a line stands unfinished; nil at the start of one
}

func (p *printer) print(e hostler.LogEntry) {
	w := p.a.err
	if e.Stream == hostler.StreamStdout {
		w = p.a.out
		p.printed = true
	}
	text := e.Text
	if !p.raw {
		text = term.EscapeLines(text)
	}
	fmt.Fprint(w, text)
	p.open = w
	if strings.HasSuffix(text, "\n") {
		p.open = nil
	}
}

// finish ends an unfinished line.
func (p *printer) finish() {
	if p.open != nil && !p.raw {
		fmt.Fprintln(p.open)
	}
	p.open = nil
}

// follow prints a job's output until it ends and returns the ended job.
func (a *app) follow(ctx context.Context, c *client.Client, id hostler.JobID, p *printer) (hostler.Job, error) {
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
