package ssh

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/check"
)

// programArgs are the args that the actions for programs have in common.
type programArgs struct {
	Env            map[string]string `json:"env"`
	Stdin          string            `json:"stdin"`
	RunAs          string            `json:"run_as"`
	SudoCredential string            `json:"sudo_credential"`
}

// Ended is the result of a program that ran to its end.
type Ended struct {
	ExitCode int `json:"exit_code"`
	// Signal names the signal that an exit code above 128 means, by the shell's
	// convention.
	Signal    string  `json:"signal,omitempty"`
	DurationS float64 `json:"duration_s"`
}

// anyChange returns the traits of an action whose args can do anything.
func anyChange(json.RawMessage) action.Traits { return action.Traits{Changes: true} }

func sudoCredential(args json.RawMessage) []action.CredentialUse {
	var p programArgs
	if json.Unmarshal(args, &p) != nil || p.SudoCredential == "" {
		return nil
	}
	return []action.CredentialUse{{Name: p.SudoCredential, Use: hostler.UseSudo}}
}

// maxArgvBytes limits argv and environment, each. Systems in use allow a program that
// much (Linux: 2 MiB for both, 128 KiB a word).
const maxArgvBytes = 512 << 10

// shellVariables are set or protected by sh itself: a value for them would not reach
// the program, or would stop the shell.
var shellVariables = []string{
	"BASHOPTS", "BASHPID", "BASH_ARGV0", "BASH_VERSINFO", "COMP_WORDBREAKS", "DIRSTACK", "EPOCHREALTIME",
	"EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS", "HISTCMD", "LINENO", "OPTIND", "PPID", "RANDOM", "SECONDS",
	"SHELLOPTS", "SRANDOM", "UID", "_",
}

func checkEnv(f *check.Fields, env map[string]string) {
	total := 0
	for _, k := range slices.Sorted(maps.Keys(env)) {
		total += len(k) + len(env[k])
		f.Require(!slices.Contains(shellVariables, k), "env."+k,
			"the shell itself sets this variable; choose another name",
			"该变量由 shell 自身设置；请换一个名字")
	}
	checkSize(f, "env", total)
}

func checkSize(f *check.Fields, path string, size int) {
	f.Require(size <= maxArgvBytes, path,
		"more than %d bytes in total; use stdin instead", "合计超过 %d 字节；请改用 stdin", maxArgvBytes)
}

// decode reads a call's args into an action's struct.
func decode(c *action.Call, into any) error {
	if errs := action.Decode(c.Args, into); errs != nil {
		return action.NewFault(hostler.ErrKindBadArgs, "%[1]s", "%[2]s", errs[0].Text.EN, errs[0].Text.ZH).Final()
	}
	return nil
}

// runProgram runs one program with the args that all actions have in common.
func (f *Family) runProgram(ctx context.Context, c *action.Call, p program, args programArgs) action.Result {
	h, err := f.hostOf(c)
	if err != nil {
		return action.ResultOf(err)
	}
	p.env, p.stdin = args.Env, args.Stdin
	if p.runAs, p.password, err = h.sudo(args.RunAs, args.SudoCredential); err != nil {
		return action.ResultOf(err)
	}
	ended, lastErrLine, err := h.runTimed(ctx, p, c.Stdout, c.Stderr)
	if err != nil {
		return action.ResultOf(err)
	}
	if ended.ExitCode != 0 {
		return exitFailure(ended, ended, lastErrLine)
	}
	return action.Succeeded(ended)
}

// sudo returns the user to run as, and the password that sudo asks for.
func (h *host) sudo(runAs, credential string) (user, password string, err error) {
	if credential == "" {
		return runAs, "", nil
	}
	cred, ok := h.call.Credentials[credential]
	if !ok || cred.Kind != hostler.CredentialPassword || strings.ContainsAny(cred.Secret.Password, "\n\x00") {
		return "", "", action.NewFault(hostler.ErrKindCredential,
			"credential %q for sudo does not exist or is not a password",
			"sudo 凭据 %q 不存在或不是密码类型", credential).Final()
	}
	h.Hide(cred.Secret.Password)
	return runAs, cred.Secret.Password, nil
}

// runTimed runs a program to its end. It returns how it ended and the last line that it
// wrote to standard error.
func (h *host) runTimed(
	ctx context.Context, p program, stdout, stderr io.Writer,
) (ended Ended, lastErrLine string, err error) {
	began := time.Now()
	var last tail
	e, err := h.run(ctx, p, stdout, io.MultiWriter(stderr, &last))
	if err != nil {
		return Ended{}, "", err
	}
	return Ended{
		ExitCode: e.code, Signal: signalOf(e.code),
		DurationS: float64(time.Since(began).Milliseconds()) / 1000,
	}, h.Redact(action.LastLine([]byte(last.String()))), nil
}

// exitFailure returns the result of a program with another exit status than 0.
func exitFailure(value any, e Ended, lastErrLine string) action.Result {
	status := fmt.Sprint(e.ExitCode)
	if e.Signal != "" {
		status += " (" + e.Signal + ")"
	}
	if lastErrLine == "" {
		return action.Failed(value, hostler.ErrKindCommand, "exit status %s", "退出码 %s", status)
	}
	return action.Failed(value, hostler.ErrKindCommand,
		"exit status %s: %s", "退出码 %s：%s", status, lastErrLine)
}

// signalOf names the signal behind a shell's exit code.
func signalOf(code int) string {
	names := map[int]string{
		1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 11: "SEGV", 13: "PIPE",
		14: "ALRM", 15: "TERM", 24: "XCPU", 25: "XFSZ",
	}
	return names[code-128]
}
