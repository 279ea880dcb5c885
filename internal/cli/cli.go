// Package cli is the hostler command.
//
// # Model
//
// An [app] is one invocation: its streams, environment, language and global
// flags. Each object of the glossary has a file (asset.go, job.go, queue.go …)
// with its commands, columns and flags; a command is a thin layer over package
// [client]. What the commands share:
//
//	command.go     groups, commands and the number of their arguments
//	help.go        help texts and cobra's own words, in both languages
//	flags.go       types of flags; server_flags.go: the settings of a server as flags
//	completion.go  shell completion
//	connect.go     which server: flags, environment, saved contexts
//	print.go       listings as a table, JSON or YAML
//	exit.go        errors and exit codes
//	secret.go      secrets from files, standard input or the terminal
//	term/          escapes, aligned tables, progress
//
// Results go to standard output; everything else, such as notes, progress and
// errors, goes to standard error.
//
// # Invariants
//
//   - Every text exists in English and Chinese; a test walks the whole tree.
//   - Text from a server is escaped before it reaches a terminal.
//   - No secret is read from the argument list or printed, except a new one, once.
//   - The exit code is that of the error's code, or of the jobs' outcome.
package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
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
	noHeaders, absolute           bool
	empty                         hostler.Text // what to do when a list is empty
}

// Main runs the command with the process's arguments and streams and returns
// the exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	// The first interrupt cancels the command; the second terminates the process.
	context.AfterFunc(ctx, stop)
	a := &app{
		in:   term.NewInput(os.Stdin, ctx.Done()),
		out:  os.Stdout,
		err:  os.Stderr,
		lang: language(os.Getenv),
		now:  time.Now,
	}
	return a.run(ctx, os.Args[1:])
}

// run executes the command line and returns the exit code.
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
		short: txt("run operational tasks on hosts", "在主机上执行运维作业"),
		long: txt(`Run operational tasks on your hosts, and record what ran, where, when, by whom,
and with which result.

Start a server with 'hostler serve'. On the same machine, every other command
finds it automatically; on another machine, set HOSTLER_URL and HOSTLER_KEY.`,
			`在您的主机上执行运维作业，并记录何时、何地、由谁执行了什么、结果如何。

用 'hostler serve' 启动服务。同一台机器上的其他命令会自动找到它；
在别的机器上，请设置 HOSTLER_URL 和 HOSTLER_KEY。`),
		example: `hostler serve
hostler asset add web1 --address 192.0.2.10 --label role=web
hostler job run check_port --asset web1 --arg port=22 --wait`,
	},
		a.serveCmd(),
		a.assetCmd(), a.credentialCmd(), a.actionCmd(), a.jobCmd(), a.runCmd(),
		a.applyCmd(), a.templateCmd(), a.taskCmd(), a.approvalCmd(), a.decideCmd("approve"), a.decideCmd("reject"),
		a.scheduleCmd(), a.triggerCmd(), a.calendarCmd(), a.statsCmd(), a.alertCmd(), a.artefactCmd(), a.queueCmd(), a.laneCmd(), a.dispatchCmd(), a.maintenanceCmd(), a.workerCmd(),
		a.eventsCmd(), a.webhookCmd(), a.channelCmd(), a.deliveryCmd(),
		a.ruleCmd(), a.userCmd(), a.roleCmd(), a.keyCmd(), a.whoamiCmd(), a.canCmd(), a.projectCmd(), a.auditCmd(),
		a.backupCmd(), a.restoreCmd(), a.doctorCmd(), a.benchCmd(),
		a.statusCmd(), a.contextCmd(), a.completionCmd(), a.versionCmd(),
	)
	root.Version = version
	addAliases(root)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	a.globalFlags(root)
	a.localise(root)
	return root
}

func (a *app) globalFlags(root *cobra.Command) {
	fs := root.PersistentFlags()
	fs.StringVar(&a.url, "url", "", a.t("address of the server (HOSTLER_URL)", "服务器地址（HOSTLER_URL）"))
	fs.StringVar(&a.project, "project", "", a.t("project to work in (HOSTLER_PROJECT)",
		"所在项目（HOSTLER_PROJECT）"))
	fs.StringVar(&a.context, "context", "", a.t("saved context to use (HOSTLER_CONTEXT)",
		"使用的上下文（HOSTLER_CONTEXT）"))
	fs.StringVarP(&a.output, "output", "o", "table",
		a.t("output format: table, json or yaml; of lists also csv, name or wide",
			"输出格式：table、json 或 yaml；列表还可用 csv、name 或 wide"))
	fs.BoolVar(&a.noHeaders, "no-headers", false, a.t("tables and CSV without a heading", "表格和 CSV 不输出表头"))
	fs.BoolVar(&a.absolute, "absolute", false, a.t("show dates, also on a terminal", "在终端上也显示日期"))
	a.complete(root, "output", fixed("table", "json", "yaml", "csv", "name", "wide"))
	a.complete(root, "context", contextNames)
	a.complete(root, "project", a.projectNames())
}
