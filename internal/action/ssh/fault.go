package ssh

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"

	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// Kinds of job error that only this family has.
const (
	// KindHandshake: a server answered, but the two found no common ground.
	KindHandshake = "ssh_handshake_failed"
	// KindNotStarted: the host could not start the program.
	KindNotStarted = "not_started"
	// KindServiceState: the service manager obeyed, but the service is not in
	// the state that was asked for.
	KindServiceState = "service_state"
)

// fault is why a program did not run, or not to its end.
type fault struct {
	outcome hostler.Outcome
	kind    string
	text    hostler.Text
	noRetry bool
	cause   error
}

func (e *fault) Error() string { return e.kind + ": " + e.text.EN }

func (e *fault) Unwrap() error { return e.cause }

// failed makes the fault of a program that had no effect.
func failed(kind, en, zh string, args ...any) *fault {
	return &fault{outcome: hostler.OutcomeFailed, kind: kind, text: hostler.Textf(en, zh, args...)}
}

// unknown makes the fault of a program that was lost sight of.
func unknown(kind, en, zh string, args ...any) *fault {
	return &fault{outcome: hostler.OutcomeUnknown, kind: kind, text: hostler.Textf(en, zh, args...)}
}

func (e *fault) because(err error) *fault {
	e.cause = err
	return e
}

func (e *fault) final() *fault {
	e.noRetry = true
	return e
}

// result makes the attempt's result, which has no value: nothing is known of what
// was done.
func (e *fault) result() action.Result {
	return action.Result{
		Outcome: e.outcome, NoRetry: e.noRetry,
		Error: &hostler.JobError{Kind: e.kind, Text: e.text},
	}
}

// asFault gives any error the form of a fault.
func asFault(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	return failed(hostler.ErrKindInternal, "a fault of Hostler: %v", "Hostler 内部错误：%v", err).because(err)
}

// stopped makes the fault of a job whose context ended while no program of it
// could live any more; what says how far it came.
func stopped(ctx context.Context, en, zh string) *fault {
	f := &fault{
		outcome: hostler.OutcomeCancelled, kind: hostler.ErrKindCancelled,
		text: hostler.Text{EN: "cancelled " + en, ZH: "已取消（" + zh + "）"},
	}
	if timedOut(ctx) {
		f.outcome, f.kind = hostler.OutcomeFailed, hostler.ErrKindTimeout
		f.text = hostler.Text{EN: "the job's time was over " + en, ZH: "作业超时（" + zh + "）"}
	}
	return f
}

// stopping makes the fault of a call that came after the family's end.
func stopping() *fault {
	return failed(hostler.ErrKindConnLost, "the worker is stopping", "工作节点正在停止")
}

func timedOut(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, action.ErrTimeout) || errors.Is(cause, context.DeadlineExceeded)
}

// dialFault tells why no TCP connection came about.
func dialFault(r *route, err error) *fault {
	var dns *net.DNSError
	var timeout net.Error
	var refused *gossh.OpenChannelError
	switch {
	case errors.As(err, &refused):
		return forwardFault(r, refused)
	case errors.As(err, &dns):
		return failed(hostler.ErrKindUnreachable,
			"%s is unreachable: its name cannot be resolved", "无法到达 %s：域名解析失败", r.where()).because(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return refusedFault(r).because(err)
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return timeoutFault(r).because(err)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return failed(hostler.ErrKindConnLost,
			"the connection to %s was lost while it was made", "与 %s 的连接在建立过程中断开", r.where()).because(err)
	}
	return failed(hostler.ErrKindUnreachable,
		"%s is unreachable: %s", "无法到达 %s：%s", r.where(), reason(err)).because(err)
}

func refusedFault(r *route) *fault {
	return failed(hostler.ErrKindRefused,
		"%s refused the connection: nothing listens there, or a firewall refuses",
		"%s 拒绝连接：该端口无服务监听，或被防火墙拒绝", r.where())
}

func timeoutFault(r *route) *fault {
	return failed(hostler.ErrKindConnTimeout,
		"%s did not answer in time", "连接 %s 超时，未收到应答", r.where())
}

// forwardFault tells why a jump host did not connect onwards.
func forwardFault(r *route, e *gossh.OpenChannelError) *fault {
	msg := strings.ToLower(e.Message)
	switch {
	case e.Reason == gossh.Prohibited:
		return failed(hostler.ErrKindRefused,
			"the jump host does not allow the connection to %s (AllowTcpForwarding)",
			"跳板机不允许转发到 %s（AllowTcpForwarding）", r.where()).because(e)
	case strings.Contains(msg, "refused"):
		return refusedFault(r).because(e)
	case strings.Contains(msg, "timed out"):
		return timeoutFault(r).because(e)
	}
	return failed(hostler.ErrKindUnreachable,
		"%s is unreachable: %s", "无法到达 %s：%s", r.where(), e.Message).because(e)
}

// nothingAsked is how x/crypto/ssh says that a server offered to ask for the password
// (keyboard-interactive) and refused without a question.
const nothingAsked = "unexpected message type 51 (expected 60)"

// handshakeFault tells why a server that took the connection did not let the
// user in.
func (f *Family) handshakeFault(r *route, err error) *fault {
	var algorithms *gossh.AlgorithmNegotiationError
	msg := err.Error()
	switch {
	case strings.Contains(msg, "unable to authenticate"), strings.Contains(msg, "Too many authentication failures"),
		strings.Contains(msg, nothingAsked):
		return failed(hostler.ErrKindAuth,
			"%s refused user %q: check the user name and the credential",
			"%s 拒绝用户 %q 登录：请检查用户名和凭据", r.where(), r.user()).because(err).final()
	case errors.Is(err, errUnanswerable):
		return failed(hostler.ErrKindAuth,
			"%s asks user %q for more than a password, such as a one-time code",
			"%s 要求用户 %q 提供密码以外的验证（如一次性验证码）", r.where(), r.user()).because(err).final()
	case errors.As(err, &algorithms) && f.legacyHelps(algorithms):
		return failed(KindHandshake,
			"%s offers only outdated algorithms, which the setting ssh_algorithms: legacy would allow: %s",
			"%s 仅提供过时的算法；如需允许，请设置 ssh_algorithms: legacy：%s", r.where(), msg).because(err).final()
	case algorithms != nil:
		return failed(KindHandshake, "no SSH handshake with %s: %s", "与 %s 的 SSH 握手失败：%s", r.where(), msg).because(err).final()
	case errors.Is(err, context.DeadlineExceeded):
		return timeoutFault(r).because(err)
	case strings.Contains(msg, "EOF"), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EPIPE):
		return failed(hostler.ErrKindConnLost,
			"%s closed the connection during the handshake (too many connections at once, or an access rule)",
			"%s 在握手过程中关闭了连接（并发连接过多，或访问规则限制）", r.where()).because(err)
	}
	return failed(KindHandshake, "no SSH handshake with %s: %s", "与 %s 的 SSH 握手失败：%s", r.where(), msg).because(err)
}

// reason is the innermost text of a network error, without addresses that the
// sentence around it names already.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}
