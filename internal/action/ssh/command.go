package ssh

import (
	"context"
	_ "embed" // the schemas
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

//go:embed schema/ssh_command.json
var commandSchema []byte

//go:embed schema/ssh_script.json
var scriptSchema []byte

// surroundings are the args that every program takes.
type surroundings struct {
	Env            map[string]string `json:"env"`
	Stdin          string            `json:"stdin"`
	RunAs          string            `json:"run_as"`
	SudoCredential string            `json:"sudo_credential"`
}

type commandArgs struct {
	Command   string   `json:"command"`
	Commands  []string `json:"commands"` // instead of Command
	KeepGoing bool     `json:"keep_going"`
	surroundings
}

type scriptArgs struct {
	Script      string   `json:"script"`
	Interpreter string   `json:"interpreter"`
	Args        []string `json:"args"`
	surroundings
}

// Ended is the result of a program that ran to its end.
type Ended struct {
	ExitCode int `json:"exit_code"`
	// Signal names the signal that an exit code above 128 stands for, by the
	// shell's convention.
	Signal    string  `json:"signal,omitempty"`
	DurationS float64 `json:"duration_s"`
}

func (f *Family) commandAction() action.Action {
	return action.Action{
		Name:  "ssh_command",
		Title: hostler.Text{EN: "SSH command", ZH: "SSH 命令"},
		Help: hostler.Text{
			EN: "Runs a command line in the login shell of the asset's user, over SSH, or several one after another.",
			ZH: "通过 SSH，在资产用户的登录 shell 中执行一行命令，或依次执行多行命令。",
		},
		Schema: commandSchema, Asset: action.AssetRequired, Enabled: true,
		Traits: changes, Check: checkCommand, Credentials: sudoCredential,
		Run: f.runCommand,
	}
}

func (f *Family) scriptAction() action.Action {
	return action.Action{
		Name:  "ssh_script",
		Title: hostler.Text{EN: "SSH script", ZH: "SSH 脚本"},
		Help: hostler.Text{
			EN: "Runs a script on the asset over SSH, with arguments, environment and standard input.",
			ZH: "通过 SSH 在资产上运行脚本，可带参数、环境变量和标准输入。",
		},
		Schema: scriptSchema, Asset: action.AssetRequired, Enabled: true,
		Traits: changes, Check: checkScript, Credentials: sudoCredential,
		Run: func(ctx context.Context, c *action.Call) action.Result {
			var args scriptArgs
			return f.runProgram(ctx, c, &args, &args.surroundings, func() program {
				return program{script: &script{
					text: args.Script, interpreter: or(args.Interpreter, "/bin/sh"), args: args.Args,
				}}
			})
		},
	}
}

// changes are the traits of what may do anything.
func changes(json.RawMessage) action.Traits { return action.Traits{Changes: true} }

func sudoCredential(args json.RawMessage) []string {
	var s surroundings
	if json.Unmarshal(args, &s) != nil || s.SudoCredential == "" {
		return nil
	}
	return []string{s.SudoCredential}
}

func checkScript(raw json.RawMessage) []hostler.FieldError {
	var args scriptArgs
	if err := json.Unmarshal(raw, &args); err != nil {
		return unreadable(err)
	}
	errs := checkEnv(args.Env)
	total := 0
	for _, a := range args.Args {
		total += len(a)
	}
	if total > maxWords {
		errs = append(errs, tooLong("args"))
	}
	return errs
}

// maxWords bounds argv and environment, each, below what any system that is in
// use lets a program start with (on Linux 2 MiB for both, 128 KiB a word).
const maxWords = 512 << 10

// shellOwn are variables that sh itself sets or guards: a value for them would
// not reach the program, or would stop the shell.
var shellOwn = []string{
	"BASHOPTS", "BASHPID", "BASH_ARGV0", "BASH_VERSINFO", "COMP_WORDBREAKS", "DIRSTACK", "EPOCHREALTIME",
	"EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS", "HISTCMD", "LINENO", "OPTIND", "PPID", "RANDOM", "SECONDS",
	"SHELLOPTS", "SRANDOM", "UID", "_",
}

func checkEnv(env map[string]string) []hostler.FieldError {
	var errs []hostler.FieldError
	total := 0
	for _, k := range sortedKeys(env) {
		total += len(k) + len(env[k])
		if slices.Contains(shellOwn, k) {
			errs = append(errs, hostler.FieldError{Path: "env." + k, Text: hostler.Text{
				EN: "the shell itself sets this variable; choose another name",
				ZH: "该变量由 shell 自身设置；请换一个名字",
			}})
		}
	}
	if total > maxWords {
		errs = append(errs, tooLong("env"))
	}
	return errs
}

func tooLong(path string) hostler.FieldError {
	return hostler.FieldError{Path: path, Text: hostler.Textf(
		"more than %d bytes together; use stdin for so much", "合计超过 %d 字节；请改用 stdin", maxWords)}
}

func unreadable(err error) []hostler.FieldError {
	return []hostler.FieldError{{Text: hostler.Textf("not readable: %v", "无法解析：%v", err)}}
}

// runProgram is the body of the actions that run one program.
func (f *Family) runProgram(
	ctx context.Context, c *action.Call, args any, s *surroundings, make func() program,
) action.Result {
	if err := json.Unmarshal(c.Args, args); err != nil {
		return action.Result{
			Outcome: hostler.OutcomeFailed, NoRetry: true,
			Error: &hostler.JobError{Kind: hostler.ErrKindBadArgs, Text: unreadable(err)[0].Text},
		}
	}
	h, err := f.hostOf(c)
	if err != nil {
		return asFault(err).result()
	}
	p := make()
	p.env, p.stdin = s.Env, s.Stdin
	if p.runAs, p.password, err = h.sudo(s.RunAs, s.SudoCredential); err != nil {
		return asFault(err).result()
	}
	ended, complaint, err := h.runTimed(ctx, p, c.Stdout, c.Stderr)
	if err != nil {
		return asFault(err).result()
	}
	if ended.ExitCode != 0 {
		return commandFailed(ended, ended, complaint)
	}
	return action.Succeeded(ended)
}

// hostOf finds the call's asset and the way to it, and hides its secrets.
func (f *Family) hostOf(c *action.Call) (*host, error) {
	if c.Asset == nil || c.AssetMissing {
		return nil, failed(hostler.ErrKindAssetMissing, "the asset was deleted", "资产已被删除").final()
	}
	r, err := f.newRoute(c.Asset)
	if err != nil {
		return nil, err
	}
	h := &host{family: f, call: c, route: r, secrets: r.secrets()}
	if c.Redact != nil {
		c.Redact(h.secrets...)
	}
	return h, nil
}

// sudo finds whom to run as and the password for it.
func (h *host) sudo(runAs, credential string) (user, password string, err error) {
	if credential == "" {
		return runAs, "", nil
	}
	cred, ok := h.call.Credentials[credential]
	if !ok || cred.Kind != hostler.CredentialPassword || strings.ContainsAny(cred.Secret.Password, "\n\x00") {
		return "", "", failed(hostler.ErrKindCredential,
			"credential %q for sudo does not exist or is no password",
			"sudo 凭据 %q 不存在或不是密码类型", credential).final()
	}
	h.secrets = append(h.secrets, cred.Secret.Password)
	if h.call.Redact != nil {
		h.call.Redact(cred.Secret.Password)
	}
	return runAs, cred.Secret.Password, nil
}

// runTimed runs a program and gives its end and its last line on standard
// error.
func (h *host) runTimed(ctx context.Context, p program, stdout, stderr io.Writer) (Ended, string, error) {
	began := time.Now()
	var last tail
	e, err := h.run(ctx, p, stdout, io.MultiWriter(stderr, &last))
	if err != nil {
		return Ended{}, "", err
	}
	return Ended{
		ExitCode: e.code, Signal: signalOf(e.code),
		DurationS: float64(time.Since(began).Milliseconds()) / 1000,
	}, h.redact(lastLine([]byte(last.String()))), nil
}

// commandFailed makes the result of a program that ended with another status
// than 0.
func commandFailed(value any, e Ended, complaint string) action.Result {
	status := fmt.Sprint(e.ExitCode)
	if e.Signal != "" {
		status += " (" + e.Signal + ")"
	}
	if complaint == "" {
		return action.Failed(value, hostler.ErrKindCommand, "exit status %s", "退出码 %s", status)
	}
	return action.Failed(value, hostler.ErrKindCommand, "exit status %s: %s", "退出码 %s：%s", status, complaint)
}

// redact hides the call's secrets in a text that goes past the job's log.
func (h *host) redact(s string) string {
	for _, secret := range h.secrets {
		s = strings.ReplaceAll(s, secret, "***")
	}
	return s
}

// signalOf names the signal behind a shell's exit code.
func signalOf(code int) string {
	names := map[int]string{
		1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 11: "SEGV", 13: "PIPE",
		14: "ALRM", 15: "TERM", 24: "XCPU", 25: "XFSZ",
	}
	return names[code-128]
}
