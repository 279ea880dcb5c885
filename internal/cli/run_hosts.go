package cli

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// This file is 'hostler run' itself: a command, a script or an action on hosts, now.

// hostFlags are the flags of 'hostler run'.
type hostFlags struct {
	runFlags
	all         bool
	fromRun     string
	state       string
	script      string
	sudo        bool
	user        string
	env         map[string]string
	yes, detach bool
	show        outputFlags
}

// manyHosts is on how many hosts a change asks before it runs.
const manyHosts = 10

// runOnHosts makes the group run a command of its own.
func (a *app) runOnHosts(cmd *cobra.Command) *cobra.Command {
	var f hostFlags
	subcommand := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		w, err := f.words(cmd, args)
		if err != nil {
			return err
		}
		program := f.req.Action != "" || f.script != ""
		switch help, _ := cmd.Flags().GetBool("help"); {
		case help || w.hosts == "" && len(w.command) == 0 && !f.selects() && !program:
			return cmd.Help()
		case w.hosts != "" && len(w.command) == 0 && !program:
			return subcommand(cmd, []string{w.hosts}) // a misspelled one
		}
		if err := a.checkOutput("json", "yaml", "csv", "name", "wide"); err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		ctx := cmd.Context()
		if err := a.hostsOf(ctx, c, &f, w.hosts); err != nil {
			return err
		}
		if err := a.readProgram(&f, w.command); err != nil {
			return err
		}
		return a.createAndShow(ctx, c, &f)
	}
	a.hostFlags(cmd, &f)
	return cmd
}

func (a *app) hostFlags(cmd *cobra.Command, f *hostFlags) {
	fs := cmd.Flags()
	fs.SetInterspersed(false) // a command keeps its own flags
	fs.StringSliceVarP(&f.req.Assets, "asset", "a", nil, a.t("names, ids or patterns such as web*; may be repeated, or separated by commas",
		"资产名称、ID 或 web* 之类的模式；可重复或用逗号分隔"))
	a.selectorFlag(cmd, &f.req.Selector)
	fs.BoolVar(&f.all, "all", false, a.t("all assets", "所有资产"))
	fs.StringSliceVar(&f.req.Exclude, "exclude", nil, a.t("names or patterns to leave out", "要排除的名称或模式"))
	fs.StringVar(&f.fromRun, "from-run", "", a.t("only hosts of this earlier run", "只选此前这次执行的主机"))
	fs.StringVar(&f.state, "state", "failed", a.t("which hosts of --from-run: failed (jobs that started and did not succeed), succeeded or changed",
		"--from-run 的哪些主机：failed（已开始但未成功）、succeeded 或 changed"))
	fs.StringVarP(&f.script, "file", "f", "", a.t("run this script with the arguments; - is standard input", "执行此脚本，其后为参数；- 表示标准输入"))
	fs.StringVar(&f.req.Action, "action", "", a.t("run this action with --arg", "执行此动作，参数用 --arg"))
	fs.StringArrayVar(&f.args, "arg", nil, a.t("argument of the action; may be repeated", "动作的参数；可重复"))
	fs.StringVar(&f.argsFile, "args-file", "", a.t("JSON or YAML file with arguments", "参数文件（JSON 或 YAML）"))
	fs.BoolVarP(&f.sudo, "sudo", "b", false, a.t("run as root by sudo", "通过 sudo 以 root 运行"))
	fs.StringVar(&f.user, "as", "", a.t("run as this user by sudo", "通过 sudo 以此用户运行"))
	fs.VarP(pairsFlag{&f.env}, "env", "e", a.t("environment variable; may be repeated", "环境变量；可重复"))
	fs.StringArrayVar(&f.secrets, "secret", nil, a.t("argument from a credential, such as env.PW=credential:db; may be repeated",
		"取自凭据的参数，例如 env.PW=credential:db；可重复"))
	fs.BoolVarP(&f.yes, "yes", "y", false, a.t("do not ask before a change on many hosts", "在多台主机上更改前不询问"))
	fs.BoolVarP(&f.detach, "detach", "d", false, a.t("print the id of the run and do not wait", "输出执行 ID，不等待"))
	fs.StringVar(&f.idempotencyKey, "idempotency-key", "", a.t("a repeated call with the same key creates no new jobs",
		"以相同的键重复调用不会再次创建作业"))
	a.outputFlags(cmd, &f.show)
	a.runScheduleFlags(cmd, &f.runFlags)
	a.followUpFlags(cmd, &f.then)
	a.overrideFlags(cmd, &f.override)
	a.rolloutFlags(cmd, &f.rollout)
	a.calendarOverrideFlag(fs, &f.overrideCalendar)
	cmd.MarkFlagsMutuallyExclusive("file", "action")
	cmd.MarkFlagsMutuallyExclusive("sudo", "as")
	a.complete(cmd, "asset", assetNames())
	a.complete(cmd, "exclude", assetNames())
	a.complete(cmd, "action", actionNames)
	a.complete(cmd, "arg", a.argNames(&f.req.Action))
	a.complete(cmd, "from-run", runIDs())
	a.complete(cmd, "state", fixed("failed", "succeeded", "changed"))
}

// selects reports whether a flag selects hosts.
func (f *hostFlags) selects() bool {
	return len(f.req.Assets) > 0 || f.req.Selector != "" || f.all || f.fromRun != ""
}

// runWords are the words of a call that are no flags of 'hostler run'.
type runWords struct {
	hosts   string   // the argument that selects the hosts; empty when flags do
	command []string // or the arguments of a script
}

// words reads what follows the first flags. Flags end where a command begins, which keeps its
// own; they may follow the hosts, and the arguments of a script up to --.
func (f *hostFlags) words(cmd *cobra.Command, args []string) (w runWords, err error) {
	fs := cmd.Flags()
	if !f.selects() && len(args) > 0 && fs.ArgsLenAtDash() != 0 {
		w.hosts = args[0]
		if args, err = parseMore(cmd, args[1:]); err != nil {
			return w, err
		}
		if f.selects() && len(args) > 0 {
			return w, hostler.Errorf(hostler.CodeInvalid,
				"the hosts are selected twice, by %[1]q and by a flag; write flags first: hostler run -l app=web COMMAND",
				"主机被选择了两次：%[1]q 和选项；请把选项写在前面：hostler run -l app=web 命令", w.hosts)
		}
		if f.selects() {
			w.hosts, args = "", []string{w.hosts}
		}
	}
	if f.script != "" && len(args) > 0 && fs.ArgsLenAtDash() != 0 {
		fs.SetInterspersed(true)
		args, err = parseMore(cmd, args)
	}
	w.command = args
	return w, err
}

// parseMore reads further flags and returns the words that are left.
func parseMore(cmd *cobra.Command, args []string) ([]string, error) {
	if err := cmd.Flags().Parse(args); err != nil {
		return nil, cmd.FlagErrorFunc()(cmd, err)
	}
	return cmd.Flags().Args(), cmd.ValidateFlagGroups()
}

// hostsOf reads what selects the hosts: flags, or else an argument of labels, names or patterns.
func (a *app) hostsOf(ctx context.Context, c *client.Client, f *hostFlags, hosts string) error {
	if hosts != "" {
		if err := a.readHosts(ctx, c, f, hosts); err != nil {
			return err
		}
	}
	if !f.selects() {
		return hostler.Errorf(hostler.CodeInvalid,
			"select hosts: -l app=web, -a web01,web02, -a 'web*' or --all",
			"请选择主机：-l app=web、-a web01,web02、-a 'web*' 或 --all")
	}
	if f.all {
		f.req.Assets = append(f.req.Assets, "*")
	}
	if f.fromRun != "" {
		run, err := a.runOf(ctx, c, f.fromRun)
		if err != nil {
			return err
		}
		f.req.FromRun = &hostler.FromRun{Run: run, Hosts: f.state}
	}
	return nil
}

// readHosts reads an argument that selects hosts. One word that is no asset is a label.
func (a *app) readHosts(ctx context.Context, c *client.Client, f *hostFlags, text string) error {
	if strings.ContainsAny(text, "=!( ") {
		f.req.Selector = text
		return nil
	}
	f.req.Assets = strings.Split(text, ",")
	if len(f.req.Assets) > 1 || strings.ContainsAny(text, "*?[") {
		return nil
	}
	_, err := c.Asset(ctx, text)
	if hostler.CodeOf(err) == hostler.CodeNotFound {
		f.req.Assets, f.req.Selector = nil, text
		return nil
	}
	return err
}

// readProgram sets the action and its arguments: a command, a script, or those of flags.
func (a *app) readProgram(f *hostFlags, args []string) error {
	base, err := a.readArgsFile(f.argsFile)
	if err != nil {
		return err
	}
	if base == nil {
		base = map[string]any{}
	}
	switch {
	case f.script != "":
		text, err := a.readInput(f.script)
		if err != nil {
			return err
		}
		f.req.Action, base["script"] = "ssh_script", string(text)
		if len(args) > 0 {
			base["args"] = args
		}
	case f.req.Action == "" && len(args) == 0:
		return hostler.Errorf(hostler.CodeInvalid, "give a command after --, a script with -f, or --action",
			"请在 -- 之后给出命令，用 -f 指定脚本，或用 --action 指定动作")
	case f.req.Action == "":
		f.req.Action, base["command"] = "ssh_command", commandLine(args)
	case len(args) > 0:
		return hostler.Errorf(hostler.CodeInvalid, "%q: an action has no command; write its arguments as --arg name=value",
			"%q：动作没有命令，参数请写成 --arg 名称=值", args[0])
	}
	if f.sudo {
		f.user = "root"
	}
	if f.user != "" {
		base["run_as"] = f.user
	}
	if len(f.env) > 0 {
		base["env"] = f.env
	}
	f.base = base
	return nil
}

// commandLine is the text of a command: a single word as it is, for the shell of the host;
// several words so that each arrives there as it was typed.
func commandLine(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shellQuote(w)
	}
	return strings.Join(quoted, " ")
}

// shellQuote writes a word so that a POSIX shell reads it back.
func shellQuote(w string) string {
	plain := w != "" && !strings.ContainsFunc(w, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-", r)
	})
	if plain {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// looking are programs that change nothing, whatever their arguments.
var looking = []string{
	"cat", "df", "du", "free", "grep", "head", "id", "ls", "lsblk", "lscpu", "nproc", "ps",
	"pwd", "stat", "tail", "true", "uname", "uptime", "w", "wc", "who", "whoami",
}

// onlyLooks reports whether a command is one program that changes nothing.
func onlyLooks(command string) bool {
	words := strings.Fields(command)
	return len(words) > 0 && slices.Contains(looking, words[0]) && !strings.ContainsAny(command, ";&|<>`$()\n\\")
}

// createAndShow asks if it must, creates the jobs and shows what becomes of them.
func (a *app) createAndShow(ctx context.Context, c *client.Client, f *hostFlags) error {
	if err := a.completeRequest(ctx, c, &f.runFlags); err != nil {
		return err
	}
	if yes, err := a.askMany(ctx, c, f); err != nil || !yes {
		return err
	}
	created, err := c.CreateJobs(ctx, f.req, client.CreateOptions{IdempotencyKey: f.idempotencyKey})
	if err != nil {
		return err
	}
	if f.detach {
		if a.output != "table" && a.output != "name" {
			return a.structured(created)
		}
		return a.printCreated(created)
	}
	return a.showJobs(ctx, c, created, f.req.Rollout != nil, &f.show)
}

// askMany asks on a terminal before a change on many hosts.
func (a *app) askMany(ctx context.Context, c *client.Client, f *hostFlags) (bool, error) {
	var program struct {
		Command string            `json:"command"`
		Env     map[string]string `json:"env"` // may be what a program is found by
	}
	if err := json.Unmarshal(f.req.Args, &program); err != nil {
		program.Command = "" // args of another action
	}
	command := program.Command
	looks := f.req.Action == "ssh_command" && len(program.Env) == 0 && onlyLooks(command)
	if f.yes || !a.interactive() || looks {
		return true, nil
	}
	plan, err := c.PlanJobs(ctx, f.req)
	if err != nil || !plan.Changes || plan.Count <= manyHosts {
		return true, err
	}
	what := plan.Action
	if command != "" {
		what = term.Truncate(command, 60)
	}
	hosts := strings.Join(plan.Hosts[:min(5, len(plan.Hosts))], ", ")
	text := hostler.Textf("Run %[1]s on %[2]d hosts (%[3]s, …)? [y/N] ", "在 %[2]d 台主机（%[3]s 等）上执行 %[1]s？[y/N] ",
		term.Escape(what), plan.Count, term.Escape(hosts))
	if a.confirm(text.EN, text.ZH) {
		return true, nil
	}
	a.note("nothing was run", "未执行")
	return false, &outcomeError{exitNotSucceeded}
}

// errNoRun reports that an id is neither that of a run nor of a job.
func errNoRun(arg string) error {
	return hostler.Errorf(hostler.CodeInvalid, "%q is neither the id of a run nor of a job; see 'hostler run list'",
		"%q 既不是执行的 ID，也不是作业的 ID；请查看 'hostler run list'", arg)
}

// runOf returns the run of an argument: the id of a run, or of a job of it.
func (a *app) runOf(ctx context.Context, c *client.Client, arg string) (id hostler.RunID, err error) {
	if !strings.HasPrefix(arg, "job_") {
		if id.UnmarshalText([]byte(arg)) != nil {
			return 0, errNoRun(arg)
		}
		return id, nil
	}
	var job hostler.JobID
	if job.UnmarshalText([]byte(arg)) != nil {
		return 0, errNoRun(arg)
	}
	j, err := c.Job(ctx, job)
	if err == nil && j.Run == 0 {
		err = errors.New("the job has no run")
	}
	return j.Run, err
}
