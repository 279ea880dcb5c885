// Package local holds the action that runs a program on the worker itself. It
// hands the worker's rights to whoever may run jobs, so that the configuration
// must switch it on.
package local

import (
	"bytes"
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
)

//go:embed local_command.json
var schema []byte

// killGrace is the time that a program has between TERM and KILL.
const killGrace = 5 * time.Second

// drain is how long output is awaited after the program has ended: a child that
// it left behind may hold the pipe open for ever.
const drain = 2 * time.Second

// Options of the family.
type Options struct {
	Enabled bool // configuration: enable_local_command
	// KillGrace is the time between TERM and KILL (5 s).
	KillGrace time.Duration
}

// Actions lists the actions of the family.
func Actions(o Options) []action.Action {
	if o.KillGrace == 0 {
		o.KillGrace = killGrace
	}
	return []action.Action{{
		Name:  "local_command",
		Title: hostler.Text{EN: "Local command", ZH: "本地命令"},
		Help: hostler.Text{
			EN: "Runs a program on the worker itself, without a shell. Off unless the configuration has enable_local_command: true.",
			ZH: "在工作节点本机直接运行程序（不经过 shell）。需在配置中设置 enable_local_command: true 才可用。",
		},
		Schema:  schema,
		Asset:   action.AssetOptional,
		Traits:  func(json.RawMessage) action.Traits { return action.Traits{} },
		Check:   check,
		Enabled: o.Enabled,
		Run:     o.run,
	}}
}

type args struct {
	Argv  []string          `json:"argv"`
	Env   map[string]string `json:"env"`
	Stdin string            `json:"stdin"`
	Dir   string            `json:"dir"`
}

// check refuses a program whose place depends on where the worker was started.
func check(raw json.RawMessage) []hostler.FieldError {
	var a args
	if faults := action.Decode(raw, &a); faults != nil {
		return faults
	}
	if name := a.Argv[0]; name == "" || strings.Contains(name, "/") && !filepath.IsAbs(name) {
		return []hostler.FieldError{{Path: "argv[0]", Text: hostler.Text{
			EN: "must be the name of a program in the PATH, or an absolute path", ZH: "必须是 PATH 中的程序名或绝对路径",
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
		r := action.Failed(nil, hostler.ErrKindNoAction,
			"local_command is switched off; an administrator can set enable_local_command: true",
			"local_command 未启用；管理员可设置 enable_local_command: true")
		r.NoRetry = true
		return r
	}
	var a args
	if err := json.Unmarshal(c.Args, &a); err != nil || len(a.Argv) == 0 {
		return action.Failed(nil, hostler.ErrKindBadArgs, "the arguments cannot be read", "无法读取参数")
	}
	cmd, err := command(a, c)
	if err != nil {
		return action.Failed(nil, hostler.ErrKindCommand, "the program %q cannot be started: it is not in the PATH, or not executable",
			"无法启动程序 %q：不在 PATH 中或不可执行", a.Argv[0])
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return action.Failed(nil, hostler.ErrKindCommand, "the program %q cannot be started: %v", "无法启动程序 %q：%v", a.Argv[0], errors.Unwrap(err))
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
	return judge(result(cmd, start), err)
}

// command prepares a program with a process group of its own and an environment
// that holds nothing of the server's.
func command(a args, c *action.Call) (*exec.Cmd, error) {
	path, err := exec.LookPath(a.Argv[0])
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, a.Argv[1:]...) //nolint:noctx // killed as a group, with a grace, by kill
	cmd.Dir = a.Dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home(), "LANG=C.UTF-8"}
	for k, v := range a.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Stdin = strings.NewReader(a.Stdin)
	cmd.Stdout, cmd.Stderr = c.Stdout, c.Stderr
	cmd.WaitDelay = drain
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, nil
}

// home is the folder of the worker's user. Programs take configuration from it and
// from where they start, so neither may be a folder that others can write to,
// such as /tmp.
func home() string {
	if dir, err := os.UserHomeDir(); err == nil && filepath.IsAbs(dir) {
		return dir
	}
	return "/"
}

// kill ends the process group: TERM, a grace, KILL.
func (o Options) kill(pgid int, ended <-chan struct{}) {
	_ = syscall.Kill(-pgid, syscall.SIGTERM) // groupGone says what came of it
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

// groupGone waits until no process but zombies is left of a group.
func groupGone(pgid int) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 200 {
		if !groupLives(pgid) {
			return true
		}
		<-tick.C
	}
	return false
}

// groupLives looks through the process table: a signal to a group also counts
// zombies, which nobody can kill any more.
func groupLives(pgid int) bool {
	if errors.Is(syscall.Kill(-pgid, 0), syscall.ESRCH) {
		return false
	}
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return true // not to be known: do not claim that it is gone
	}
	for _, d := range dirs {
		stat, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		if err != nil {
			continue
		}
		// pid (comm) state ppid pgrp …; comm may hold anything.
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
		return action.Unknown(r, hostler.ErrKindUnverified, "the program was killed, but some of its processes may live on", "程序已被终止，但部分子进程可能仍在运行")
	}
	if errors.Is(context.Cause(ctx), action.ErrTimeout) {
		return action.Failed(r, hostler.ErrKindTimeout, "stopped after the job's timeout", "超时后已终止")
	}
	return action.Cancelled(r)
}

func judge(r Result, err error) action.Result {
	switch {
	case r.Signal != "":
		return action.Failed(r, hostler.ErrKindCommand, "ended by signal: %s", "被信号终止：%s", r.Signal)
	case r.ExitCode > 0:
		return action.Failed(r, hostler.ErrKindCommand, "exit status %d", "退出码 %d", r.ExitCode)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return action.Failed(r, hostler.ErrKindInternal, "its output could not be read", "无法读取其输出")
	}
	return action.Succeeded(r)
}
