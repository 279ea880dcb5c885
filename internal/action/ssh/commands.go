package ssh

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// maxOutputs bounds what the result of several commands keeps of their output,
// all together. The job's log has the rest.
const maxOutputs = 1 << 20

// Output is how one of several commands ended and what it wrote.
type Output struct {
	Command  string `json:"command"`
	Stdout   string `json:"stdout"`
	Stderr   string `json:"stderr"`
	ExitCode int    `json:"exit_code"`
	MS       int64  `json:"ms"`
	// Truncated says that the log has more of the output.
	Truncated bool `json:"truncated,omitempty"`
}

// Outputs is the result of several commands: those that ran to their end.
type Outputs struct {
	Outputs []Output `json:"outputs"`
}

// runCommands runs commands one after another, each in a shell of its own.
func (f *Family) runCommands(ctx context.Context, c *action.Call, args commandArgs) action.Result {
	h, err := f.hostOf(c)
	if err != nil {
		return asFault(err).result()
	}
	p := program{env: args.Env}
	if p.runAs, p.password, err = h.sudo(args.RunAs, args.SudoCredential); err != nil {
		return asFault(err).result()
	}
	kept := &budget{left: maxOutputs}
	done := Outputs{Outputs: make([]Output, 0, len(args.Commands))}
	failures := 0
	var first action.Result
	for i, command := range args.Commands {
		p.command = command
		out, ended, complaint, err := h.runKept(ctx, p, kept)
		if err != nil {
			res := asFault(err).result()
			res.Value = done
			return res
		}
		done.Outputs = append(done.Outputs, out)
		if ended.ExitCode == 0 {
			continue
		}
		if failures++; failures == 1 {
			first = nthFailed(i+1, len(args.Commands), ended, complaint)
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

// nthFailed makes the result of a list of which the n-th command failed.
func nthFailed(n, of int, e Ended, complaint string) action.Result {
	res := commandFailed(nil, e, complaint)
	which := hostler.Textf("command %d of %d: ", "第 %d 条命令（共 %d 条）：", n, of)
	res.Error.Text.EN, res.Error.Text.ZH = which.EN+res.Error.Text.EN, which.ZH+res.Error.Text.ZH
	return res
}

// runKept runs a program whose output goes to the log and, within the budget,
// into the result.
func (h *host) runKept(ctx context.Context, p program, kept *budget) (Output, Ended, string, error) {
	began := time.Now()
	stdout, stderr := &excerpt{budget: kept}, &excerpt{budget: kept}
	ended, complaint, err := h.runTimed(ctx, p, io.MultiWriter(h.call.Stdout, stdout), io.MultiWriter(h.call.Stderr, stderr))
	if err != nil {
		return Output{}, ended, complaint, err
	}
	return Output{
		Command: p.command, Stdout: stdout.text(), Stderr: stderr.text(), ExitCode: ended.ExitCode,
		MS: time.Since(began).Milliseconds(), Truncated: stdout.isCut() || stderr.isCut(),
	}, ended, complaint, nil
}

// budget is how many bytes may still be kept.
type budget struct {
	mu   sync.Mutex
	left int
}

// excerpt keeps the beginning of what is written to it, as far as the budget
// goes.
type excerpt struct {
	budget *budget
	buf    []byte
	cut    bool
}

func (x *excerpt) Write(b []byte) (int, error) {
	x.budget.mu.Lock()
	defer x.budget.mu.Unlock()
	n := min(len(b), x.budget.left)
	if x.cut {
		n = 0 // no hole in the middle
	}
	x.buf = append(x.buf, b[:n]...)
	x.budget.left -= n
	x.cut = x.cut || n < len(b)
	return len(b), nil
}

func (x *excerpt) text() string {
	x.budget.mu.Lock()
	defer x.budget.mu.Unlock()
	return strings.ToValidUTF8(string(x.buf), "\uFFFD")
}

func (x *excerpt) isCut() bool {
	x.budget.mu.Lock()
	defer x.budget.mu.Unlock()
	return x.cut
}

// runCommand is the action ssh_command.
func (f *Family) runCommand(ctx context.Context, c *action.Call) action.Result {
	var args commandArgs
	// What cannot be read is told by runProgram.
	if json.Unmarshal(c.Args, &args) == nil && len(args.Commands) > 0 {
		return f.runCommands(ctx, c, args)
	}
	return f.runProgram(ctx, c, &args, &args.surroundings, func() program { return program{command: args.Command} })
}

func checkCommand(raw json.RawMessage) []hostler.FieldError {
	var args commandArgs
	if err := json.Unmarshal(raw, &args); err != nil {
		return unreadable(err)
	}
	errs := checkEnv(args.Env)
	fault := func(path, en, zh string) {
		errs = append(errs, hostler.FieldError{Path: path, Text: hostler.Text{EN: en, ZH: zh}})
	}
	several := len(args.Commands) > 0
	switch {
	case args.Command == "" && !several:
		fault("command", "is needed, or commands", "不能为空，或提供 commands")
	case args.Command != "" && several:
		fault("commands", "excludes command: give one of the two", "不能与 command 同时提供")
	}
	if several && args.Stdin != "" {
		fault("stdin", "belongs to a single command", "仅用于单条命令")
	}
	return errs
}
