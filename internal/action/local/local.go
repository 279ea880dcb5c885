// Package local has the action that runs a program on the worker itself.
//
// It is disabled unless the configuration enables it. Then only admins of the installation
// may run it, and the operators of the projects that the configuration names (package app
// decides), as a user of its own: see [AccountFor].
//
// # Model
//
// The program is executed without a shell, in a process group of its own, with an environment
// that contains nothing of the server's. To stop it, the group gets TERM and, after
// KillGrace, KILL; the process table is then searched for what is left of the group.
//
// # Invariants
//
//   - StoppedMeansGone: the job is reported as stopped only if no process of the group is
//     left; otherwise it is unknown.
package local

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/risk"
)

//go:embed local_command.json
var schema []byte

// drainTime is how long to read output after the program's end: a child that it left behind
// may hold the pipe open for ever.
const drainTime = 2 * time.Second

// Options configure the family.
type Options struct {
	Enabled bool // configuration: enable_local_command
	Account Account
	// KillGrace is the time between TERM and KILL (5 s).
	KillGrace time.Duration
}

// Actions lists the actions of the family.
func Actions(o Options) []action.Action {
	o.KillGrace = cmp.Or(o.KillGrace, 5*time.Second)
	return []action.Action{{
		Name:  "local_command",
		Title: hostler.Text{EN: "Local command", ZH: "本地命令"},
		Help: hostler.Text{
			EN: "Runs a program on the worker itself, without a shell. Disabled unless the configuration " +
				"has enable_local_command: true.",
			ZH: "在工作节点本机直接运行程序（不经过 shell）。需在配置中设置 enable_local_command: true 才可用。",
		},
		Schema: schema,
		Asset:  action.AssetOptional,
		Traits: func(json.RawMessage) action.Traits { return action.Traits{} },
		Check:  checkArgs,
		NoSecrets: hostler.Text{
			EN: "local_command takes no secrets: all its programs run as one user, who can read the environment " +
				"of each of them, also for other projects; use ssh_script on an asset",
			ZH: "local_command 不接受机密：其所有程序以同一用户运行，该用户可读取每个程序（包括其他项目）的环境变量；" +
				"请改用资产上的 ssh_script",
		},
		Elsewhere: func(json.RawMessage) bool { return true },
		Commands:  commandsOf,
		Enabled:   o.Enabled,
		Run:       o.run,
	}}
}

type args struct {
	Argv  []string          `json:"argv"`
	Env   map[string]string `json:"env"`
	Stdin string            `json:"stdin"`
	Dir   string            `json:"dir"`
}

// checkArgs refuses a path that depends on where the worker was started.
func checkArgs(raw json.RawMessage) []hostler.FieldError {
	var a args
	if faults := action.Decode(raw, &a); faults != nil {
		return faults
	}
	if name := a.Argv[0]; name == "" || strings.Contains(name, "/") && !filepath.IsAbs(name) {
		return []hostler.FieldError{{Path: "argv[0]", Text: hostler.Text{
			EN: "must be the name of a program in the PATH, or an absolute path",
			ZH: "必须是 PATH 中的程序名或绝对路径",
		}}}
	}
	return nil
}

// Result is the result of local_command.
type Result struct {
	ExitCode  int     `json:"exit_code"`
	Signal    string  `json:"signal,omitempty"`
	DurationS float64 `json:"duration_s"`
}

func (o Options) run(ctx context.Context, c *action.Call) action.Result {
	if !o.Enabled {
		return action.NewFault(hostler.ErrKindNoAction, "local_command is disabled", "local_command 未启用").
			WithRemedy("an administrator can set enable_local_command: true",
				"管理员可设置 enable_local_command: true").Final().Result()
	}
	var a args
	if errs := action.Decode(c.Args, &a); errs != nil || len(a.Argv) == 0 {
		return action.Failed(nil, hostler.ErrKindBadArgs, "the args cannot be read", "无法读取参数")
	}
	cmd, err := o.command(a, c)
	if err != nil {
		return action.Failed(nil, hostler.ErrKindCommand,
			"the program %q cannot be started: it is not in the PATH, or not executable",
			"无法启动程序 %q：不在 PATH 中或不可执行", a.Argv[0])
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		if f := action.ShortageFault(err); f != nil {
			return f.Result()
		}
		return action.Failed(nil, hostler.ErrKindCommand,
			"the program %q cannot be started: %v", "无法启动程序 %q：%v", a.Argv[0], errors.Unwrap(err))
	}
	ended := make(chan struct{})
	go func() {
		err = cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		o.kill(cmd.Process.Pid, ended)
		return stopped(ctx, cmd.Process.Pid, result(cmd, start))
	}
	return evaluate(result(cmd, start), err)
}

// command prepares a program with a process group of its own and an environment that
// contains nothing of the server's.
func (o Options) command(a args, c *action.Call) (*exec.Cmd, error) {
	path, err := exec.LookPath(a.Argv[0])
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, a.Argv[1:]...) //nolint:noctx // killed as a group, with a grace, by kill
	cmd.Dir = cmp.Or(a.Dir, "/")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + o.Account.homeFolder(), "LANG=C.UTF-8"}
	for k, v := range a.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Stdin = strings.NewReader(a.Stdin)
	cmd.Stdout, cmd.Stderr = c.Stdout, c.Stderr
	cmd.WaitDelay = drainTime
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	o.Account.apply(cmd)
	return cmd, nil
}

// home returns the home folder of the worker's user. Programs read configuration from it and
// from their working folder, so neither may be a folder that others can write to, such as
// /tmp.
func home() string {
	if dir, err := os.UserHomeDir(); err == nil && filepath.IsAbs(dir) {
		return dir
	}
	return "/"
}

// kill ends the process group: TERM, a grace time, KILL.
func (o Options) kill(pgid int, ended <-chan struct{}) {
	_ = syscall.Kill(-pgid, syscall.SIGTERM) // groupGone verifies the effect
	grace := time.NewTimer(o.KillGrace)
	defer grace.Stop()
	select {
	case <-ended:
	case <-grace.C:
		_ = syscall.Kill(-pgid, syscall.SIGKILL)
		<-ended
	}
	_ = syscall.Kill(-pgid, syscall.SIGKILL) // children that outlived their parent
}

// groupGone waits until only zombies are left of a group; it gives up after two seconds.
func groupGone(pgid int) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 200 {
		if !groupRunning(pgid) {
			return true
		}
		<-tick.C
	}
	return false
}

// groupRunning searches the process table. A signal to the group would also find zombies,
// which cannot be killed any more.
func groupRunning(pgid int) bool {
	if errors.Is(syscall.Kill(-pgid, 0), syscall.ESRCH) {
		return false
	}
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return true // not verifiable
	}
	for _, d := range dirs {
		stat, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		if err != nil {
			continue
		}
		// pid (comm) state ppid pgrp …; comm may contain anything.
		_, rest, _ := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(" "))
		var state string
		var ppid, group int
		if _, err := fmt.Sscan(string(rest), &state, &ppid, &group); err == nil && group == pgid && state != "Z" {
			return true
		}
	}
	return false
}

func result(cmd *exec.Cmd, start time.Time) Result {
	r := Result{DurationS: time.Since(start).Seconds(), ExitCode: -1}
	if s := cmd.ProcessState; s != nil {
		r.ExitCode = s.ExitCode()
		if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			r.Signal = ws.Signal().String()
		}
	}
	return r
}

func stopped(ctx context.Context, pgid int, r Result) action.Result {
	if !groupGone(pgid) {
		return action.Unknown(r, hostler.ErrKindUnverified,
			"the program was killed, but some of its processes may still be running",
			"程序已被终止，但部分子进程可能仍在运行")
	}
	res := action.StoppedFault(ctx, "while it was running; its process group was killed",
		"运行中；其进程组已终止").Result()
	res.Value = r
	return res
}

// evaluate returns the result of a program that ended by itself.
func evaluate(r Result, err error) action.Result {
	switch {
	case r.Signal != "":
		return action.Failed(r, hostler.ErrKindCommand, "ended by signal: %s", "被信号终止：%s", r.Signal)
	case r.ExitCode > 0:
		return action.Failed(r, hostler.ErrKindCommand, "exit status %d", "退出码 %d", r.ExitCode)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return action.Failed(r, hostler.ErrKindInternal, "the output of the program could not be read",
			"无法读取其输出")
	}
	return action.Succeeded(r)
}

// commandsOf is the program that a job runs.
func commandsOf(raw json.RawMessage) []risk.Command {
	var a args
	if json.Unmarshal(raw, &a) != nil {
		return nil
	}
	return []risk.Command{{
		Path: "argv", Kind: risk.Argv, Argv: a.Argv, Env: a.Env, Stdin: a.Stdin, Dir: cmp.Or(a.Dir, "/"),
	}}
}
