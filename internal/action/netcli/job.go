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
)

// maxOutputs limits the output in a result, in total. The job's log has all of it.
const maxOutputs = 1 << 20

// Output is one command and the device's reply.
type Output struct {
	Command string `json:"command"`
	Output  string `json:"output"`
	Failed  bool   `json:"failed"`
	MS      int64  `json:"ms"`
	// Truncated means that the log has more of the output.
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

// loginOf returns the login for the device of a call.
func (f *Family) loginOf(c *action.Call, args cliArgs) (login, error) {
	target, err := f.opts.Conns.Target(c)
	if err != nil {
		return login{}, err
	}
	name := args.Platform
	if name == "" {
		name = c.Asset.Platform
	}
	platform, ok := Platform(name)
	if !ok {
		return login{}, action.NewFault(hostler.ErrKindBadArgs,
			"the platform must be one of %s",
			"平台必须是以下之一：%s", strings.Join(Platforms(), ", ")).Final()
	}
	if l := args.questionMark(); l != "" && !platforms()[platform].literalQuestion {
		return login{}, action.NewFault(hostler.ErrKindBadArgs,
			"%q: a device answers ? with help at once, and would run the line without it",
			"%q：设备收到 ? 会立即显示帮助，并执行不含 ? 的命令", target.Redact(l)).Final()
	}
	enable, err := enableOf(c, args)
	if err != nil {
		return login{}, err
	}
	target.Hide(enable)
	return f.newLogin(target, platform, enable), nil
}

// enableOf returns the enable password of a call, or "".
func enableOf(c *action.Call, args cliArgs) (string, error) {
	enable := c.Asset.Credential.Secret.Enable
	if args.Enable != "" {
		cred := c.Credentials[args.Enable]
		if enable = cred.Secret.Enable; enable == "" {
			enable = cred.Secret.Password
		}
		if enable == "" {
			return "", action.NewFault(hostler.ErrKindCredential,
				"credential %q for enable does not exist or has no password",
				"enable 凭据 %q 不存在或没有密码", args.Enable).Final()
		}
	}
	if strings.ContainsAny(enable, "\r\n\x00") {
		return "", action.NewFault(hostler.ErrKindCredential,
			"the enable password is more than one line", "enable 密码不止一行").Final()
	}
	return enable, nil
}

func (f *Family) decode(c *action.Call) (cliArgs, login, error) {
	var args cliArgs
	if errs := action.Decode(c.Args, &args); errs != nil {
		text := errs[0].Text
		return args, login{}, action.NewFault(hostler.ErrKindBadArgs, "%[1]s", "%[2]s", text.EN, text.ZH).Final()
	}
	l, err := f.loginOf(c, args)
	return args, l, err
}

// runCheck opens a CLI of its own: a reused one would not show whether the login still works.
func (f *Family) runCheck(ctx context.Context, c *action.Call) action.Result {
	_, l, err := f.decode(c)
	if err != nil {
		return action.ResultOf(err)
	}
	began := time.Now()
	cli, err := f.open(ctx, l)
	if err != nil {
		return action.ResultOf(err)
	}
	took := time.Since(began)
	cli.close()
	return action.Succeeded(Checked{
		Address: l.target.Address, Port: l.target.Port, User: l.target.User, Platform: l.platform,
		Prompt: l.target.Redact(cli.prompt), MS: took.Milliseconds(),
	})
}

func (f *Family) runCLI(ctx context.Context, c *action.Call) action.Result {
	args, l, err := f.decode(c)
	if err != nil {
		return action.ResultOf(err)
	}
	for {
		cli, err := f.acquire(ctx, l)
		if err != nil {
			return action.ResultOf(err)
		}
		j := &job{
			cli: cli, args: args, stdout: c.Stdout, left: maxOutputs,
			report: Report{Platform: l.platform, Outputs: []Output{}, Results: map[string]string{}},
		}
		res := j.run(ctx)
		j.report.Prompt = l.target.Redact(cli.prompt)
		res.Value = j.report
		f.release(cli, j.reusable, res.Outcome == hostler.OutcomeSucceeded)
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

	sent      bool // something of the job was sent
	touched   bool // something was entered that may have changed the device
	stale     bool // a reused CLI broke before anything was sent
	committed bool // a candidate configuration took effect
	reusable  bool // the next job may use the CLI
	accepted  int  // commands that the device did not refuse
	refusal   *action.Fault
}

func (j *job) run(ctx context.Context) action.Result {
	if len(j.args.Config) > 0 {
		return j.configure(ctx)
	}
	before := j.cli.prompt
	for _, command := range j.args.Commands {
		if err := j.send(ctx, command, changes(command), j.answer()); err != nil {
			return j.interrupted(ctx, command, err)
		}
		if j.refusal != nil && j.args.stopsOnError() {
			break
		}
	}
	// A CLI in another mode or with changed settings is no good for the next job.
	j.reusable = !j.touched && j.cli.prompt == before
	if j.refusal != nil {
		return j.refusal.Result()
	}
	return action.Succeeded(nil)
}

// configure sets lines. After a refusal no candidate configuration is committed, and the
// CLI is closed, as its mode is uncertain.
func (j *job) configure(ctx context.Context) action.Result {
	err := j.bounded(ctx, func(ctx context.Context) error { return j.cli.acquire(ctx, configuration) })
	if err != nil {
		return j.noConfigMode(ctx, err)
	}
	for _, l := range j.args.Config {
		if err := j.send(ctx, l, true, j.answer()); err != nil {
			return j.interrupted(ctx, l, err)
		}
		if j.refusal != nil && j.args.stopsOnError() {
			return j.abandon(ctx)
		}
	}
	if err := j.commitAndSave(ctx); err != nil {
		return j.interrupted(ctx, "configuration", err)
	}
	if j.refusal != nil {
		return j.abandon(ctx)
	}
	return action.Succeeded(nil)
}

// abandon ends a configuration that the device refused in part. It discards a candidate:
// some outlive the session and would be committed by the next one.
func (j *job) abandon(ctx context.Context) action.Result {
	commit, discard := j.cli.dialect.candidate(j.cli.prompt)
	if commit == "" || j.committed {
		return j.partlyApplied().Result()
	}
	if discard != "" {
		_ = j.bounded(ctx, func(ctx context.Context) error {
			_, _, err := j.cli.roundTrip(ctx, discard, false, discardLine)
			return err
		})
	}
	n, of := j.acceptedLines()
	return j.refusal.Append(hostler.Textf(" (%d of %d lines were accepted, nothing was committed)",
		"（已接受 %d 行，共 %d 行，未提交）", n, of)).Result()
}

// commitAndSave commits, returns to the default mode and saves.
func (j *job) commitAndSave(ctx context.Context) error {
	d := j.cli.dialect
	if commit, _ := d.candidate(j.cli.prompt); commit != "" {
		if j.refusal != nil {
			return nil
		}
		if err := j.send(ctx, commit, true, confirm); err != nil || j.refusal != nil {
			return err
		}
		j.committed = true
	}
	saves := j.args.Save && j.refusal == nil
	if saves && d.save.inConfig {
		if err := j.send(ctx, d.save.command, true, confirm); err != nil || j.refusal != nil {
			return err
		}
	}
	toDefault := func(ctx context.Context) error { return j.cli.acquire(ctx, d.DefaultDesiredPriv) }
	if err := j.bounded(ctx, toDefault); err != nil {
		return err
	}
	if saves && d.save.command != "" && !d.save.inConfig {
		if err := j.send(ctx, d.save.command, true, confirm); err != nil {
			return err
		}
	}
	j.report.Saved = saves && j.refusal == nil
	j.reusable = true
	return nil
}

// answer returns how questions of the device about the job's own lines are answered; nil
// when they fail the job.
func (j *job) answer() func(question string) string {
	if j.args.Confirm {
		return confirm
	}
	return nil
}

// confirm answers yes to a choice, and accepts the default otherwise.
func confirm(question string) string {
	question = strings.ToLower(question)
	switch {
	case strings.Contains(question, "[yes"):
		return "yes"
	case strings.Contains(question, "y/n"), strings.Contains(question, "[y(yes)/"):
		return "y"
	}
	return ""
}

// unansweredError is a question of the device that has no answer.
type unansweredError struct {
	question string
	answered bool // earlier questions of the same command were answered
}

func (q unansweredError) Error() string { return "the device asks: " + q.question }

// maxAnswers limits the questions that are answered for one command.
const maxAnswers = 5

// send runs one command and records the reply. Questions are answered by answer, which may
// be nil.
func (j *job) send(ctx context.Context, command string, touches bool, answer func(string) string) error {
	began := time.Now()
	r := &reply{job: j}
	err := j.bounded(ctx, func(ctx context.Context) error {
		err := j.cli.writeLine(ctx, command, false)
		j.sent = j.sent || j.cli.progress >= typed
		j.touched = j.touched || touches && j.cli.progress == entered
		if err != nil {
			return err
		}
		fmt.Fprintln(j.stdout, j.cli.prompt+command)
		at, question, err := j.cli.readReply(ctx, r.addLine)
		for n := 0; err == nil && at != atPrompt; n++ {
			r.addLine(question)
			if answer == nil || at == atPassword || n >= maxAnswers {
				return unansweredError{question, n > 0}
			}
			at, question, err = j.cli.roundTrip(ctx, answer(question), false, r.addLine)
		}
		return err
	})
	out := r.output(command)
	out.MS, out.Failed = time.Since(began).Milliseconds(), r.refusal != "" || err != nil
	j.report.Outputs = append(j.report.Outputs, out)
	j.report.Results[out.Command] = out.Output
	if err != nil {
		return err
	}
	switch {
	case r.refusal == "":
		j.accepted++
	case j.refusal == nil:
		line := j.cli.target.Redact(action.LastLine([]byte(strings.TrimSpace(r.refusal))))
		j.refusal = action.NewFault(hostler.ErrKindCommand, "%q: %s", "%q：%s", out.Command, line).Final()
	}
	return nil
}

// reply collects the reply to one command, for the log and within the limit for the
// result.
type reply struct {
	job       *job
	text      strings.Builder
	truncated bool
	refusal   string // the first line that refuses the command
}

func (r *reply) addLine(line string) {
	fmt.Fprintln(r.job.stdout, line)
	if r.refusal == "" && r.job.cli.dialect.refuses(line) {
		r.refusal = line
	}
	if r.job.left < len(line)+1 {
		r.truncated = true
		return
	}
	r.job.left -= len(line) + 1
	r.text.WriteString(line + "\n")
}

func (r *reply) output(command string) Output {
	t := r.job.cli.target
	return Output{
		Command: t.Redact(command), Output: t.Redact(strings.Trim(r.text.String(), "\n")), Truncated: r.truncated,
	}
}

// bounded runs fn within the time limit of one command.
func (j *job) bounded(ctx context.Context, fn func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, j.args.limit())
	defer cancel()
	return fn(limited)
}

// partlyApplied adds to a refusal how many lines took effect.
func (j *job) partlyApplied() *action.Fault {
	n, of := j.acceptedLines()
	return j.refusal.Append(hostler.Textf(" (%d of %d lines were applied)",
		"（已应用 %d 行，共 %d 行）", n, of))
}

// acceptedLines counts the configuration lines that the device accepted, and all of them.
// accepted may also count a commit.
func (j *job) acceptedLines() (accepted, all int) {
	all = len(j.args.Config)
	return min(j.accepted, all), all
}

// noConfigMode returns the result of a job that did not enter configuration mode.
func (j *job) noConfigMode(ctx context.Context, err error) action.Result {
	if errors.Is(err, errNoEnable) {
		j.reusable = true
		return action.NewFault(hostler.ErrKindCredential,
			"%s asks for an enable password, and the credential has none",
			"%s 要求 enable 密码，但凭据中没有", j.cli.target.Where()).Final().Result()
	}
	return j.interrupted(ctx, "configuration mode", err)
}

// interrupted returns the result of a command that did not come to its prompt. If it may
// have changed the device the outcome is unknown, except when the device gave the reason
// itself.
func (j *job) interrupted(ctx context.Context, command string, err error) action.Result {
	where, command := j.cli.target.Where(), j.cli.target.Redact(command)
	j.stale = errors.Is(err, errGone) && !j.sent && j.cli.reused
	f, classified := errors.AsType[*action.Fault](err)
	q, unanswered := errors.AsType[unansweredError](err)
	if unanswered && q.answered && j.touched {
		return action.Unknown(nil, hostler.ErrKindCommand,
			"%q: %s asks %q, which is not answered; the effect of the earlier answers is unknown",
			"%q：%s 又询问 %q，未予应答；此前的应答引起的结果未知", command, where, j.cli.target.Redact(q.question))
	}
	if unanswered {
		f, classified = action.NewFault(hostler.ErrKindCommand,
			"%q: the device asks %q, which is not answered", "%q：设备询问 %q，未予应答",
			command, j.cli.target.Redact(q.question)).Final(), true
	}
	switch {
	case classified && j.touched && len(j.args.Config) > 0:
		j.refusal = f
		return j.partlyApplied().Result()
	case classified:
		return f.Result()
	case !j.touched:
		return j.interruptedQuery(ctx, command, err)
	}
	return j.outcomeUnknown(ctx, command, err)
}

// outcomeUnknown returns the result of a command that may have changed the device and was
// not answered.
func (j *job) outcomeUnknown(ctx context.Context, command string, err error) action.Result {
	where := j.cli.target.Where()
	switch {
	case errors.Is(err, errGone):
		return action.Unknown(nil, hostler.ErrKindConnLost,
			"the connection to %s was lost at %q; its effect is unknown (%d commands before it were accepted)",
			"与 %s 的连接在 %q 时中断；其结果未知（此前 %d 条命令已被接受）", where, command, j.accepted)
	case ctx.Err() != nil && !action.TimedOut(ctx):
		return action.Unknown(nil, hostler.ErrKindUnverified,
			"cancelled on %s at %q; its effect is unknown (%d commands before it were accepted)",
			"在 %s 上执行 %q 时被取消；其结果未知（此前 %d 条命令已被接受）", where, command, j.accepted)
	}
	return action.Unknown(nil, hostler.ErrKindTimeout,
		"%s did not show its prompt in time after %q; its effect is unknown (%d commands before it were accepted)",
		"%s 在 %q 之后未及时出现提示符；其结果未知（此前 %d 条命令已被接受）", where, command, j.accepted)
}

// interruptedQuery returns the result of a command that changes nothing and was not
// answered.
func (j *job) interruptedQuery(ctx context.Context, command string, err error) action.Result {
	where := j.cli.target.Where()
	switch {
	case errors.Is(err, errGone):
		return action.Failed(nil, hostler.ErrKindConnLost,
			"the connection to %s was lost at %q", "与 %s 的连接在 %q 时中断", where, command)
	case ctx.Err() != nil:
		return action.StoppedFault(ctx, "at "+command, command).Result()
	}
	return action.Failed(nil, hostler.ErrKindTimeout,
		"%s did not show its prompt in time after %q", "%s 在 %q 之后未及时出现提示符", where, command)
}
