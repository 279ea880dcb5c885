package sshconn

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/egress"
)

// KindHandshake is the kind of the fault of a server that answered, but with which no
// SSH handshake was possible.
const KindHandshake = "ssh_handshake_failed"

// StoppingFault returns the fault of a call that came after Close.
func StoppingFault() *action.Fault {
	return action.NewFault(hostler.ErrKindConnLost, "the worker is stopping", "工作节点正在停止")
}

// dialFault classifies why there is no TCP connection.
func dialFault(r *route, err error) *action.Fault {
	var dns *net.DNSError
	var timeout net.Error
	var refused *ssh.OpenChannelError
	var denied *egress.Denied
	if f := action.ShortageFault(err); f != nil {
		return f
	}
	switch {
	case errors.As(err, &denied):
		return action.NewFault(hostler.ErrKindBadArgs, "%[1]s", "%[2]s", denied.Text().EN, denied.Text().ZH).Final()
	case errors.As(err, &refused):
		return forwardFault(r, refused)
	case errors.As(err, &dns):
		return action.NewFault(hostler.ErrKindUnreachable,
			"%s is unreachable: its name cannot be resolved",
			"无法到达 %s：域名解析失败", r.where()).Because(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return refusedFault(r).Because(err)
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return timeoutFault(r).Because(err)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return action.NewFault(hostler.ErrKindConnLost,
			"the connection to %s was lost while it was being established",
			"与 %s 的连接在建立过程中断开", r.where()).Because(err)
	}
	return action.NewFault(hostler.ErrKindUnreachable,
		"%s is unreachable: %s", "无法到达 %s：%s", r.where(), reason(err)).Because(err)
}

func refusedFault(r *route) *action.Fault {
	return action.NewFault(hostler.ErrKindRefused,
		"%s refused the connection: no service listens on the port, or a firewall rejects it",
		"%s 拒绝连接：该端口无服务监听，或被防火墙拒绝", r.where())
}

func timeoutFault(r *route) *action.Fault {
	return action.NewFault(hostler.ErrKindConnTimeout,
		"%s did not answer in time", "连接 %s 超时，未收到应答", r.where())
}

// forwardFault classifies why a jump host did not connect to the next host.
func forwardFault(r *route, e *ssh.OpenChannelError) *action.Fault {
	msg := strings.ToLower(e.Message)
	switch {
	case e.Reason == ssh.Prohibited:
		return action.NewFault(hostler.ErrKindRefused,
			"the jump host does not allow the connection to %s (AllowTcpForwarding)",
			"跳板机不允许转发到 %s（AllowTcpForwarding）", r.where()).Because(e)
	case strings.Contains(msg, "refused"):
		return refusedFault(r).Because(e)
	case strings.Contains(msg, "timed out"):
		return timeoutFault(r).Because(e)
	}
	return action.NewFault(hostler.ErrKindUnreachable,
		"%s is unreachable: %s", "无法到达 %s：%s", r.where(), e.Message).Because(e)
}

// noQuestionAsked is in the error of x/crypto/ssh when a server offered
// keyboard-interactive and refused without a question.
const noQuestionAsked = "unexpected message type 51 (expected 60)"

// handshakeFault classifies why a server that accepted the TCP connection did not
// accept the login.
func (p *Pool) handshakeFault(r *route, err error) *action.Fault {
	var algorithms *ssh.AlgorithmNegotiationError
	msg := err.Error()
	switch {
	case strings.Contains(msg, "unable to authenticate"),
		strings.Contains(msg, "Too many authentication failures"),
		strings.Contains(msg, noQuestionAsked):
		return action.NewFault(hostler.ErrKindAuth,
			"%s refused the login of user %q", "%s 拒绝用户 %q 登录", r.where(), r.user()).
			WithRemedy("check the user name and the credential", "请检查用户名和凭据").Because(err).Final()
	case errors.Is(err, errMoreThanPassword):
		return action.NewFault(hostler.ErrKindAuth,
			"%s asks user %q for more than a password, such as a one-time code",
			"%s 要求用户 %q 提供密码以外的验证（如一次性验证码）", r.where(), r.user()).Because(err).Final()
	case errors.As(err, &algorithms) && p.legacyHelps(algorithms):
		return action.NewFault(KindHandshake,
			"%s offers only outdated algorithms (%s)", "%s 仅提供过时的算法（%s）", r.where(), msg).
			WithRemedy("to allow them, set ssh_algorithms: legacy", "如需允许，请设置 ssh_algorithms: legacy").
			Because(err).Final()
	case algorithms != nil:
		return noHandshake(r, err).Final()
	case errors.Is(err, context.DeadlineExceeded):
		return timeoutFault(r).Because(err)
	case strings.Contains(msg, "EOF"), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EPIPE):
		return action.NewFault(hostler.ErrKindConnLost,
			"%s closed the connection during the handshake (too many connections at once, or an access rule)",
			"%s 在握手过程中关闭了连接（并发连接过多，或访问规则限制）", r.where()).Because(err)
	}
	return noHandshake(r, err)
}

func noHandshake(r *route, err error) *action.Fault {
	return action.NewFault(KindHandshake,
		"the SSH handshake with %s failed: %s", "与 %s 的 SSH 握手失败：%s", r.where(), err).Because(err)
}

// reason is the innermost text of a network error, without the addresses, which the
// sentence around it has already.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}
