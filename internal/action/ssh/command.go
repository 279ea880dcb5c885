package ssh

import (
	"context"
	_ "embed" // the schema
	"encoding/json"
	"io"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/risk"
)

//go:embed schema/ssh_command.json
var commandSchema []byte

type commandArgs struct {
	Command   string   `json:"command"`
	Commands  []string `json:"commands"` // instead of Command
	KeepGoing bool     `json:"keep_going"`
	programArgs
}

// maxOutputs limits the output in the result of several commands, in total. The job's
// log has all of it.
const maxOutputs = 1 << 20

// Output is how one of several commands ended, and its output.
type Output struct {
	Command  string `json:"command"`
	Stdout   string `json:"stdout"`
	Stderr   string `json:"stderr"`
	ExitCode int    `json:"exit_code"`
	MS       int64  `json:"ms"`
	// Truncated means that the log has more of the output.
	Truncated bool `json:"truncated,omitempty"`
}

// Outputs is the result of several commands: those that ran to their end.
type Outputs struct {
	Outputs []Output `json:"outputs"`
}

func (f *Family) commandAction() action.Action {
	return action.Action{
		Name:  "ssh_command",
		Title: hostler.Text{EN: "SSH command", ZH: "SSH 命令"},
		Help: hostler.Text{
			EN: "Runs a command line in the login shell of the asset's user, over SSH, or several one after another.",
			ZH: "通过 SSH，在资产用户的登录 shell 中执行一行命令，或依次执行多行命令。",
		},
		Schema: commandSchema, Asset: action.AssetRequired, LogsIn: true, Enabled: true,
		Traits: anyChange, Check: checkCommand, Credentials: sudoCredential, Commands: commandsOf,
		Run: f.runCommand,
	}
}

// commandsOf lists the command lines of a job.
func commandsOf(raw json.RawMessage) []risk.Command {
	var args commandArgs
	if json.Unmarshal(raw, &args) != nil {
		return nil
	}
	var out []risk.Command
	add := func(path, text string) {
		out = append(out, risk.Command{Path: path, Kind: risk.Shell, Text: text, Env: args.Env, Stdin: args.Stdin})
	}
	if args.Command != "" {
		add("command", args.Command)
	}
	for i, c := range args.Commands {
		add(check.Item("commands", i), c)
	}
	return out
}

func checkCommand(raw json.RawMessage) []hostler.FieldError {
	var args commandArgs
	if errs := action.Decode(raw, &args); errs != nil {
		return errs
	}
	var f check.Fields
	checkEnv(&f, args.Env)
	one, several := args.Command != "", len(args.Commands) > 0
	f.Require(one || several, "command", "is required, unless commands is given", "不能为空，或提供 commands")
	f.Require(!one || !several, "commands", "cannot be combined with command", "不能与 command 同时提供")
	f.Require(!several || args.Stdin == "", "stdin", "goes with a single command only", "仅用于单条命令")
	return f.Faults()
}

func (f *Family) runCommand(ctx context.Context, c *action.Call) action.Result {
	var args commandArgs
	if err := decode(c, &args); err != nil {
		return action.ResultOf(err)
	}
	if len(args.Commands) > 0 {
		return f.runCommands(ctx, c, args)
	}
	return f.runProgram(ctx, c, program{command: args.Command}, args.programArgs)
}

// runCommands runs commands one after another, each in a shell of its own.
func (f *Family) runCommands(ctx context.Context, c *action.Call, args commandArgs) action.Result {
	h, err := f.hostOf(c)
	if err != nil {
		return action.ResultOf(err)
	}
	p := program{env: args.Env}
	if p.runAs, p.password, err = h.sudo(args.RunAs, args.SudoCredential); err != nil {
		return action.ResultOf(err)
	}
	left := &budget{left: maxOutputs}
	done := Outputs{Outputs: make([]Output, 0, len(args.Commands))}
	failures := 0
	var first action.Result
	for i, command := range args.Commands {
		p.command = command
		out, ended, lastErrLine, err := h.runCaptured(ctx, p, left)
		if err != nil {
			res := action.ResultOf(err)
			res.Value = done
			return res
		}
		done.Outputs = append(done.Outputs, out)
		if ended.ExitCode == 0 {
			continue
		}
		if failures++; failures == 1 {
			first = nthFailed(i+1, len(args.Commands), ended, lastErrLine)
		}
		if !args.KeepGoing {
			break
		}
	}
	if failures == 0 {
		return action.Succeeded(done)
	}
	first.Value = done
	return first
}

// nthFailed returns the result of a list whose n-th command failed.
func nthFailed(n, of int, e Ended, lastErrLine string) action.Result {
	res := exitFailure(nil, e, lastErrLine)
	which := hostler.Textf("command %d of %d: ", "第 %d 条命令（共 %d 条）：", n, of)
	res.Error.Text.EN, res.Error.Text.ZH = which.EN+res.Error.Text.EN, which.ZH+res.Error.Text.ZH
	return res
}

// runCaptured runs a program whose output goes to the log and, within the budget, into
// the result.
func (h *host) runCaptured(ctx context.Context, p program, left *budget) (Output, Ended, string, error) {
	began := time.Now()
	stdout, stderr := &excerpt{budget: left}, &excerpt{budget: left}
	ended, lastErrLine, err := h.runTimed(ctx, p,
		io.MultiWriter(h.call.Stdout, stdout), io.MultiWriter(h.call.Stderr, stderr))
	if err != nil {
		return Output{}, ended, lastErrLine, err
	}
	return Output{
		Command: p.command, Stdout: stdout.text(), Stderr: stderr.text(), ExitCode: ended.ExitCode,
		MS: time.Since(began).Milliseconds(), Truncated: stdout.isCut() || stderr.isCut(),
	}, ended, lastErrLine, nil
}
