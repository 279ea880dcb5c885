package cli

import (
	"context"
	"errors"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/cli/term"
)

// Exit codes besides those of [hostler.Code.ExitCode]. [outcomeOf] chooses that of
// --wait.
const (
	exitNotSucceeded = 1   // a job, or an item of a change, did not succeed
	exitUnknown      = 3   // the outcome of a job is unknown
	exitInterrupted  = 130 // Ctrl-C, as shells report it
)

// outcomeError ends the command with an exit code after its output is complete.
// [app.report] prints nothing for it.
type outcomeError struct{ code int }

func (e *outcomeError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// report prints the error with its fields and a remedy and returns the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return 0
	}
	if o, ok := errors.AsType[*outcomeError](err); ok {
		return o.code
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.err, a.t("interrupted", "已中断"))
		return exitInterrupted
	}
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok {
		e = hostler.Errorf(hostler.CodeInvalid, "%v", "%v", err)
	}
	fmt.Fprintln(a.err, "hostler: "+term.Escape(e.Text.In(a.lang)))
	for _, f := range e.Fields {
		at := term.Escape(f.Path)
		if f.Line > 0 {
			at = fmt.Sprintf("%d:%d: %s", f.Line, f.Column, at)
		}
		fmt.Fprintf(a.err, "  %s: %s\n", at, term.Escape(f.Text.In(a.lang)))
	}
	if text := remedy(e.Code).In(a.lang); text != "" {
		fmt.Fprintln(a.err, text)
	}
	return e.Code.ExitCode()
}

// remedy returns what to do about errors for which it depends on the command
// line, not on the server.
func remedy(c hostler.Code) hostler.Text {
	switch c {
	case hostler.CodeUnauthenticated:
		return txt("Set HOSTLER_KEY to a valid key, or choose a context with 'hostler context use'.",
			"请将 HOSTLER_KEY 设为有效的密钥，或用 'hostler context use' 选择上下文。")
	case hostler.CodeForbidden:
		return txt("'hostler whoami' shows your role and what limits it; an admin can grant another.",
			"可用 'hostler whoami' 查看您的角色及其限制；如需其他角色，请联系管理员。")
	case hostler.CodeUnavailable:
		return txt("Check that the server runs there; start one with 'hostler serve', or set HOSTLER_URL.",
			"请确认服务在该地址运行；可用 'hostler serve' 启动，或设置 HOSTLER_URL。")
	case hostler.CodeQueueFull:
		return txt("Check the queue with 'hostler queue list', and try again when fewer jobs are waiting.",
			"请用 'hostler queue list' 查看队列，待等待的作业减少后再试。")
	default:
		return hostler.Text{}
	}
}
