package netcli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/ssh"
)

// maxOutputs bounds what a result keeps of the outputs, all together. The job's
// log has the rest.
const maxOutputs = 1 << 20

// Output is one command and what the device said to it.
type Output struct {
	Command string `json:"command"`
	Output  string `json:"output"`
	Failed  bool   `json:"failed"`
	MS      int64  `json:"ms"`
	// Truncated says that the log has more of the output.
	Truncated bool `json:"truncated,omitempty"`
}

// Report is the result of net_cli.
type Report struct {
	Platform string            `json:"platform"`
	Prompt   string            `json:"prompt"` // the last one
	Outputs  []Output          `json:"outputs"`
	Results  map[string]string `json:"results"` // output by command
	Saved    bool              `json:"saved"`
}

// Checked is the result of check_cli.
type Checked struct {
	Address  string `json:"address"`
	Port     int    `json:"port"`
	User     string `json:"user"`
	Platform string `json:"platform"`
	Prompt   string `json:"prompt"`
	MS       int64  `json:"ms"` // from the dial to the prompt
}

// loginOf finds what opens the device of a call.
func (f *Family) loginOf(c *action.Call, args cliArgs) (login, error) {
	way, err := f.opts.SSH.Way(c)
	if err != nil {
		return login{}, err
	}
	name := args.Platform
	if name == "" {
		name = c.Asset.Platform
	}
	platform, ok := Platform(name)
	if !ok {
		return login{}, fail(hostler.ErrKindBadArgs,
			"the platform must be one of %s", "平台必须是以下之一：%s", strings.Join(Platforms(), ", ")).final()
	}
	if l := args.question(); l != "" && !known()[platform].literal {
		return login{}, fail(hostler.ErrKindBadArgs,
			"%q: a device answers ? with help at once, and would run the line without it",
			"%q：设备收到 ? 会立即显示帮助，并执行不含 ? 的命令", way.Redact(l)).final()
	}
	enable := c.Asset.Credential.Secret.Enable
	if args.Enable != "" {
		cred := c.Credentials[args.Enable]
		if enable = cred.Secret.Enable; enable == "" {
			enable = cred.Secret.Password
		}
		if enable == "" {
			return login{}, fail(hostler.ErrKindCredential,
				"credential %q for enable does not exist or holds no password", "enable 凭据 %q 不存在或没有密码", args.Enable).final()
		}
	}
	if strings.ContainsAny(enable, "\r\n\x00") {
		return login{}, fail(hostler.ErrKindCredential,
			"the enable password is more than one line", "enable 密码不止一行").final()
	}
	way.Hide(enable)
	return f.newLogin(way, platform, enable), nil
}

func (f *Family) decode(c *action.Call) (cliArgs, login, error) {
	var args cliArgs
	if errs := action.Decode(c.Args, &args); errs != nil {
		return args, login{}, &failure{action.Result{
			Outcome: hostler.OutcomeFailed, NoRetry: true,
			Error: &hostler.JobError{Kind: hostler.ErrKindBadArgs, Text: errs[0].Text},
		}}
	}
	l, err := f.loginOf(c, args)
	return args, l, err
}

// runCheck opens a CLI of its own: a kept one would not tell whether the login
// still opens the device.
func (f *Family) runCheck(ctx context.Context, c *action.Call) action.Result {
	_, l, err := f.decode(c)
	if err != nil {
		return resultOf(err)
	}
	began := time.Now()
	cli, err := f.open(ctx, l)
	if err != nil {
		return resultOf(err)
	}
	took := time.Since(began)
	cli.close()
	return action.Succeeded(Checked{
		Address: l.way.Address, Port: l.way.Port, User: l.way.User, Platform: l.platform,
		Prompt: l.way.Redact(cli.prompt), MS: took.Milliseconds(),
	})
}

func (f *Family) runCLI(ctx context.Context, c *action.Call) action.Result {
	args, l, err := f.decode(c)
	if err != nil {
		return resultOf(err)
	}
	for {
		cli, err := f.take(ctx, l)
		if err != nil {
			return resultOf(err)
		}
		j := &job{
			cli: cli, args: args, stdout: c.Stdout, left: maxOutputs,
			report: Report{Platform: l.platform, Outputs: []Output{}, Results: map[string]string{}},
		}
		res := j.run(ctx)
		j.report.Prompt = l.way.Redact(cli.prompt)
		res.Value = j.report
		f.giveBack(cli, j.clean, res.Outcome == hostler.OutcomeSucceeded)
		if !j.stale || ctx.Err() != nil {
			return res
		}
	}
}

// job is one call on a CLI.
type job struct {
	cli    *cli
	args   cliArgs
	stdout io.Writer
	left   int // of maxOutputs
	report Report

	sent    bool // something of the job was sent
	touched bool // something was entered that may have changed the device
	stale   bool // a kept CLI broke before anything was sent
	// committed: a candidate configuration came into force.
	committed bool
	clean     bool // the CLI is at a prompt outside configuration
	applied   int  // commands that the device took
	first     *failure
}

func (j *job) run(ctx context.Context) action.Result {
	if len(j.args.Config) > 0 {
		return j.configure(ctx)
	}
	before := j.cli.prompt
	for _, command := range j.args.Commands {
		if err := j.send(ctx, command, changes(command), j.reply()); err != nil {
			return j.lost(ctx, command, err)
		}
		if j.first != nil && j.args.stops() {
			break
		}
	}
	// The next job wants no CLI in another mode or context, nor one with settings
	// that it does not know of.
	j.clean = !j.touched && j.cli.prompt == before
	if j.first != nil {
		return j.first.Result
	}
	return action.Succeeded(nil)
}

// configure sets lines. After a refusal nothing of a candidate configuration comes
// into force, and the CLI is closed: who knows in which mode it is.
func (j *job) configure(ctx context.Context) action.Result {
	if err := j.bounded(ctx, func(ctx context.Context) error { return j.cli.acquire(ctx, configuration) }); err != nil {
		return j.noConfig(ctx, err)
	}
	for _, l := range j.args.Config {
		if err := j.send(ctx, l, true, j.reply()); err != nil {
			return j.lost(ctx, l, err)
		}
		if j.first != nil && j.args.stops() {
			return j.abandon(ctx)
		}
	}
	if err := j.finish(ctx); err != nil {
		return j.lost(ctx, "configuration", err)
	}
	if j.first != nil {
		return j.abandon(ctx)
	}
	return action.Succeeded(nil)
}

// abandon ends a configuration that the device refused in part. A candidate is
// discarded, as some outlive the session and would be committed by the next one.
func (j *job) abandon(ctx context.Context) action.Result {
	commit, discard := j.cli.dialect.candidate(j.cli.prompt)
	if commit == "" || j.committed {
		return j.partly().Result
	}
	if discard != "" {
		_ = j.bounded(ctx, func(ctx context.Context) error {
			_, _, err := j.cli.say(ctx, discard, false, ignore)
			return err
		})
	}
	n, of := j.lines()
	return j.first.and(hostler.Textf(" (%d of %d lines were accepted, nothing was committed)", "（已接受 %d 行，共 %d 行，未提交）", n, of)).Result
}

// finish commits, leaves configuration mode and saves.
func (j *job) finish(ctx context.Context) error {
	d := j.cli.dialect
	if commit, _ := d.candidate(j.cli.prompt); commit != "" {
		if j.first != nil {
			return nil
		}
		if err := j.send(ctx, commit, true, confirm); err != nil || j.first != nil {
			return err
		}
		j.committed = true
	}
	saves := j.args.Save && j.first == nil
	if saves && d.save.inConfig {
		if err := j.send(ctx, d.save.command, true, confirm); err != nil || j.first != nil {
			return err
		}
	}
	if err := j.bounded(ctx, func(ctx context.Context) error { return j.cli.acquire(ctx, d.DefaultDesiredPriv) }); err != nil {
		return err
	}
	if saves && d.save.command != "" && !d.save.inConfig {
		if err := j.send(ctx, d.save.command, true, confirm); err != nil {
			return err
		}
	}
	j.report.Saved = saves && j.first == nil
	j.clean = true
	return nil
}

// reply answers the questions of the job's own lines; nil when nobody does.
func (j *job) reply() func(string) string {
	if j.args.Confirm {
		return confirm
	}
	return nil
}

// confirm says yes to a choice, and takes the proposal otherwise.
func confirm(asked string) string {
	asked = strings.ToLower(asked)
	switch {
	case strings.Contains(asked, "[yes"):
		return "yes"
	case strings.Contains(asked, "y/n"), strings.Contains(asked, "[y(yes)/"):
		return "y"
	}
	return ""
}

// asked is a question of the device that nobody answers.
type asked struct {
	text     string
	answered bool // others of the same command were
}

func (q asked) Error() string { return "the device asks: " + q.text }

// send runs one command and notes what the device says. A question is answered
// when reply is given; else nobody is here to answer it.
func (j *job) send(ctx context.Context, command string, touches bool, reply func(string) string) error {
	began := time.Now()
	var out Output
	var text strings.Builder
	refusal := ""
	each := func(l string) {
		fmt.Fprintln(j.stdout, l)
		if refusal == "" && j.cli.dialect.refuses(l) {
			refusal = l
		}
		if j.left < len(l)+1 {
			out.Truncated = true
			return
		}
		j.left -= len(l) + 1
		text.WriteString(l + "\n")
	}
	err := j.bounded(ctx, func(ctx context.Context) error {
		err := j.cli.enter(ctx, command, false)
		j.sent = j.sent || j.cli.progress >= typed
		j.touched = j.touched || touches && j.cli.progress == entered
		if err != nil {
			return err
		}
		fmt.Fprintln(j.stdout, j.cli.prompt+command)
		at, asks, err := j.cli.answer(ctx, each)
		for n := 0; err == nil && at != atPrompt; n++ {
			each(asks)
			if reply == nil || at == atPassword || n >= 5 {
				return asked{asks, n > 0}
			}
			at, asks, err = j.cli.say(ctx, reply(asks), false, each)
		}
		return err
	})
	out.MS, out.Failed = time.Since(began).Milliseconds(), refusal != "" || err != nil
	out.Output = j.cli.way.Redact(strings.Trim(text.String(), "\n"))
	out.Command = j.cli.way.Redact(command)
	j.report.Outputs = append(j.report.Outputs, out)
	j.report.Results[out.Command] = out.Output
	if err != nil {
		return err
	}
	switch {
	case refusal == "":
		j.applied++
	case j.first == nil:
		j.first = fail(hostler.ErrKindCommand, "%q: %s", "%q：%s", out.Command, j.cli.way.Redact(ssh.LastLine(refusal))).final()
	}
	return nil
}

// bounded runs fn within the time of one command.
func (j *job) bounded(ctx context.Context, fn func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, j.args.limit())
	defer cancel()
	return fn(limited)
}

// partly adds to a refusal which lines the device has taken.
func (j *job) partly() *failure {
	n, of := j.lines()
	return j.first.and(hostler.Textf(" (%d of %d lines were applied)", "（已应用 %d 行，共 %d 行）", n, of))
}

// lines counts the lines that the device took, and all of them. A commit may have
// been taken beside them.
func (j *job) lines() (taken, all int) {
	all = len(j.args.Config)
	return min(j.applied, all), all
}

// noConfig makes the result of a job that came not as far as its first line.
func (j *job) noConfig(ctx context.Context, err error) action.Result {
	if errors.Is(err, errNoEnable) {
		j.clean = true
		return fail(hostler.ErrKindCredential,
			"%s asks for an enable password, and the credential has none", "%s 要求 enable 密码，但凭据中没有", j.cli.way.Where()).final().Result
	}
	return j.lost(ctx, "configuration mode", err)
}

// lost makes the result of a command without an answer. What may have changed the
// device is unknown, except when the device said why it went no further.
func (j *job) lost(ctx context.Context, command string, err error) action.Result {
	where, command := j.cli.way.Where(), j.cli.way.Redact(command)
	j.stale = errors.Is(err, errGone) && !j.sent && j.cli.kept
	f, told := errors.AsType[*failure](err)
	q, asks := errors.AsType[asked](err)
	if asks && q.answered && j.touched {
		return action.Unknown(nil, hostler.ErrKindCommand,
			"%q: %s asks %q, and nobody answers; what the answers before it have set off is not known",
			"%q：%s 又询问 %q，无人应答；此前的应答引起的结果未知", command, where, j.cli.way.Redact(q.text))
	}
	if asks {
		f, told = fail(hostler.ErrKindCommand, "%q: the device asks %q, and nobody answers", "%q：设备询问 %q，无人应答",
			command, j.cli.way.Redact(q.text)).final(), true
	}
	if told && j.touched && len(j.args.Config) > 0 {
		j.first = f
		return j.partly().Result
	}
	if told {
		return f.Result
	}
	if !j.touched {
		return j.unseen(ctx, command, err)
	}
	switch {
	case errors.Is(err, errGone):
		return action.Unknown(nil, hostler.ErrKindConnLost,
			"the connection to %s was lost at %q; what it did is not known (%d commands before it were accepted)",
			"与 %s 的连接在 %q 时中断；其结果未知（此前 %d 条命令已被接受）", where, command, j.applied)
	case ctx.Err() != nil && !ssh.TimedOut(ctx):
		return action.Unknown(nil, hostler.ErrKindUnverified,
			"cancelled on %s at %q; what it did is not known (%d commands before it were accepted)",
			"在 %s 上执行 %q 时被取消；其结果未知（此前 %d 条命令已被接受）", where, command, j.applied)
	}
	return action.Unknown(nil, hostler.ErrKindTimeout,
		"%s did not show its prompt in time after %q; what it did is not known (%d commands before it were accepted)",
		"%s 在 %q 之后未及时出现提示符；其结果未知（此前 %d 条命令已被接受）", where, command, j.applied)
}

// unseen makes the result of a command that only looks.
func (j *job) unseen(ctx context.Context, command string, err error) action.Result {
	where := j.cli.way.Where()
	switch {
	case errors.Is(err, errGone):
		return action.Failed(nil, hostler.ErrKindConnLost,
			"the connection to %s was lost at %q", "与 %s 的连接在 %q 时中断", where, command)
	case ctx.Err() != nil:
		return ssh.Stopped(ctx, "at "+command, command)
	}
	return action.Failed(nil, hostler.ErrKindTimeout,
		"%s did not show its prompt in time after %q", "%s 在 %q 之后未及时出现提示符", where, command)
}
