package cli

import (
	"context"
	"errors"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/cli/term"
)

// Exit codes beside those of hostler.Code.
const (
	exitNotSucceeded = 1
	exitUnknown      = 3
	exitInterrupted  = 130
)

// report prints the error and returns the exit code.
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
		fmt.Fprintf(a.err, "  %s: %s\n", term.Escape(f.Path), term.Escape(f.Text.In(a.lang)))
	}
	if hint := remedy(e.Code).In(a.lang); hint != "" {
		fmt.Fprintln(a.err, hint)
	}
	return e.Code.ExitCode()
}

// remedy says what to do about errors whose text cannot know it.
func remedy(c hostler.Code) hostler.Text {
	switch c {
	case hostler.CodeUnauthenticated:
		return txt("Set HOSTLER_KEY to a valid key, or choose a context with 'hostler context use'.",
			"请将 HOSTLER_KEY 设为有效的密钥，或用 'hostler context use' 选择上下文。")
	case hostler.CodeForbidden:
		return txt("'hostler key list' shows what your key may do; an admin can give you a role.",
			"用 'hostler key list' 查看密钥的权限；可请管理员授予角色。")
	case hostler.CodeUnavailable:
		return txt("Is the server running there? Start one with 'hostler serve', or set HOSTLER_URL.",
			"服务是否在该地址运行？可用 'hostler serve' 启动，或设置 HOSTLER_URL。")
	case hostler.CodeQueueFull:
		return txt("'hostler queue list' shows the queue; try again when it is shorter.",
			"用 'hostler queue list' 查看队列；待队列变短后再试。")
	default:
		return hostler.Text{}
	}
}

// outcomeError ends the command with a code after everything was said.
type outcomeError struct{ code int }

func (e *outcomeError) Error() string { return fmt.Sprintf("exit code %d", e.code) }
