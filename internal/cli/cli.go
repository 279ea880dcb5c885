// Package cli is the hostler command.
//
// Model: an app is one invocation: its streams, its environment, its language
// and its global flags. Commands stand in one file per object of the glossary;
// each is a thin layer over the client package. Listings go to standard output
// as a table, JSON or YAML; everything else a person reads goes to standard
// error.
//
// Invariants: every text exists in English and Chinese. What came from a server
// is made harmless before it reaches a terminal. No secret is taken from the
// argument list or printed, except a fresh key, once. The exit code is that of
// the error's code, or of the job's outcome.
package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// app is one invocation of the command.
type app struct {
	in       *term.Input
	out, err io.Writer
	lang     hostler.Lang
	now      func() time.Time

	// Global flags.
	url, project, context, output string
}

// Main runs the command with the process's arguments and streams and returns
// the exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	// The first interrupt ends the waiting; the second ends the process.
	context.AfterFunc(ctx, stop)
	a := &app{in: term.NewInput(os.Stdin, ctx.Done()), out: os.Stdout, err: os.Stderr, lang: language(os.Getenv), now: time.Now}
	return a.run(ctx, os.Args[1:])
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if a.in.Interrupted() {
		err = context.Canceled
	}
	return a.report(err)
}

// root builds the whole command tree.
func (a *app) root() *cobra.Command {
	root := a.group("hostler", doc{
		short: txt("run operations work on hosts", "在主机上执行运维作业"),
		long: txt(
			"Hostler runs operations work on your hosts and keeps what ran, where, when,\nby whom, with which result.\n\nStart a server with 'hostler serve'. On the same machine every other command\nfinds it by itself; elsewhere set HOSTLER_URL and HOSTLER_KEY.",
			"Hostler 在您的主机上执行运维作业，并记录何时、何地、由谁执行了什么、结果如何。\n\n用 'hostler serve' 启动服务；同一台机器上的其他命令会自动找到它，\n在别的机器上请设置 HOSTLER_URL 和 HOSTLER_KEY。"),
		example: "hostler serve\nhostler asset add web1 --address 192.0.2.10 --label role=web\nhostler job run check_port --asset web1 --arg port=22 --wait",
	},
		a.serveCmd(), a.assetCmd(), a.credentialCmd(), a.actionCmd(), a.jobCmd(), a.runCmd(),
		a.queueCmd(), a.workerCmd(), a.eventsCmd(), a.webhookCmd(), a.deliveryCmd(), a.userCmd(), a.keyCmd(), a.projectCmd(), a.auditCmd(),
		a.backupCmd(), a.restoreCmd(), a.doctorCmd(), a.benchCmd(), a.contextCmd(), a.completionCmd(), a.versionCmd(),
	)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	pf := root.PersistentFlags()
	pf.StringVar(&a.url, "url", "", a.t("address of the server (HOSTLER_URL)", "服务器地址（HOSTLER_URL）"))
	pf.StringVar(&a.project, "project", "", a.t("project to work in (HOSTLER_PROJECT)", "所在项目（HOSTLER_PROJECT）"))
	pf.StringVar(&a.context, "context", "", a.t("context to use (HOSTLER_CONTEXT)", "使用的上下文（HOSTLER_CONTEXT）"))
	pf.StringVarP(&a.output, "output", "o", "table", a.t("table, json or yaml", "输出格式：table、json 或 yaml"))
	a.complete(root, "output", fixed("table", "json", "yaml"))
	a.complete(root, "context", contextNames)
	a.complete(root, "project", named(func(c *client.Client) client.Lister[hostler.Project] { return c.Projects },
		func(p hostler.Project) string { return p.Name }))
	a.localise(root)
	return root
}
