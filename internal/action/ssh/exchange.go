package ssh

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/sshconn"
)

const (
	// drainIdle and drainMax limit the reading of output after the program's end, when
	// a process that it left behind holds its streams open.
	drainIdle = time.Second
	drainMax  = 15 * time.Second
	// startWait is how long a program that was sent, and is to be killed, has to print
	// its process id.
	startWait = 3 * time.Second
	// endWait is how long the wrapper has to report the end of a killed program.
	endWait = 3 * time.Second
)

// exit is how a program ended.
type exit struct {
	code int
}

// run runs a program to its end. The error is an [action.Fault] when the program did not
// run to its end, or was stopped. A connection that breaks before the program was sent is
// replaced: nothing had an effect yet.
func (h *host) run(ctx context.Context, p program, stdout, stderr io.Writer) (exit, error) {
	for losses := 0; ; {
		x := h.exchange(p, stdout, stderr)
		e, err := x.run(ctx)
		if !x.lostEarly {
			return e, err
		}
		if !x.session.Reused() {
			losses++
		}
		if losses >= sshconn.MaxLosses {
			return e, err
		}
		x.session.RetireConnection()
	}
}

func (h *host) exchange(p program, stdout, stderr io.Writer) *exchange {
	if p.runAs == h.User {
		p.runAs, p.password = "", ""
	}
	return &exchange{host: h, program: p, nonce: "hst" + rand.Text(), stdout: stdout, stderr: stderr}
}

// exchange is one program on one session, from the boot line to the last byte of output.
// The goroutine in loop is the only one that changes its state.
//
//	execAnswered      the server accepted or refused the boot line
//	messages: ready   → sent      the payload is on its way: the program may run
//	messages: started → started   process is its id and start time
//	exited            the wrapper's exit status
//	closed            the session has ended
//	drained           both output streams are at their end
type exchange struct {
	host    *host
	program program
	nonce   string
	urgent  bool // it kills another program

	stdout, stderr io.Writer

	session   *sshconn.Session
	sent      bool // the payload may have arrived
	lostEarly bool // the session broke before the payload was sent
	started   bool
	process   process
	asked     bool // sudo asked for the password
	// lastErrLine is the last line of a host that did not start the program; it may be
	// read once drained is closed.
	lastErrLine string
	// refusal is why the server does not run the wrapper; it may be read once
	// execAnswered is closed.
	refusal error

	// signal ended the wrapper, which then has no exit status; it may be read once closed
	// is.
	signal string

	execAnswered chan struct{}
	messages     chan string // of the wrapper, without the nonce
	exited       chan exit
	closed       chan struct{}
	active       chan struct{} // output came
	drained      chan struct{}
}

func (x *exchange) run(ctx context.Context) (exit, error) {
	if ctx.Err() != nil {
		return exit{}, action.StoppedFault(ctx, "before it started", "尚未开始")
	}
	conns := x.host.family.opts.Conns
	s, err := conns.OpenSession(ctx, x.host.Target, sshconn.SessionOptions{Urgent: x.urgent})
	if err != nil {
		return exit{}, err
	}
	x.session = s
	x.makeChannels()
	over := make(chan struct{})
	defer func() {
		close(over)
		x.session.Release(x.closed)
	}()
	go x.readRequests()
	go x.readStreams(over)
	return x.loop(ctx)
}

func (x *exchange) makeChannels() {
	x.execAnswered = make(chan struct{})
	x.messages = make(chan string)
	x.exited = make(chan exit, 1)
	x.closed = make(chan struct{})
	x.active = make(chan struct{}, 1)
	x.drained = make(chan struct{})
}

// loop handles events in order until the program has ended.
func (x *exchange) loop(ctx context.Context) (exit, error) {
	payload := x.program.payload(x.nonce)
	go x.exec(bootLine(x.nonce, len(payload), x.program))
	answered := x.execAnswered
	for {
		select {
		case m := <-x.messages:
			if err := x.handleMessage(m, payload); err != nil {
				return exit{}, err
			}
		case e := <-x.exited:
			return x.finish(ctx, e)
		case <-x.closed:
			return x.handleClosed(ctx)
		case <-answered:
			if answered = nil; x.refusal != nil {
				return exit{}, x.refusal
			}
		case <-ctx.Done():
			return x.stop(ctx)
		}
	}
}

// exec sends the boot line. It returns at the latest when the session ends.
func (x *exchange) exec(line string) {
	defer close(x.execAnswered)
	ok, err := x.session.SendRequest("exec", true, gossh.Marshal(struct{ Command string }{line}))
	if err == nil && !ok {
		x.refusal = action.NewFault(KindNotStarted,
			"%s refuses to run commands for user %q",
			"%s 拒绝为用户 %q 执行命令", x.host.Where(), x.host.User)
	}
}

func (x *exchange) handleMessage(m, payload string) error {
	verb, _, _ := strings.Cut(m, " ")
	switch {
	case verb == msgPrompt && !x.asked && !x.sent:
		x.asked = true
		go func() { _, _ = io.WriteString(x.session, x.program.password+"\n") }()
	case verb == msgPrompt:
		return action.NewFault(hostler.ErrKindCredential,
			"sudo on %s refused the password of %q",
			"%s 上的 sudo 拒绝了 %q 的密码", x.host.HostPort(), x.host.User).Final()
	case verb == msgTooMuch:
		return action.NewFault(KindNotStarted,
			"the login scripts on %s print more than %d bytes; the program was not started",
			"%s 上的登录脚本输出超过 %d 字节，程序未启动", x.host.Where(), maxPreamble)
	case verb == msgReady && !x.sent:
		x.sent = true
		go x.send(payload)
	case x.noteStarted(m) && x.program.stdin != "":
		go x.send(x.program.stdin)
	}
	return nil
}

// noteStarted records a "started" message, and reports whether m is the one expected.
func (x *exchange) noteStarted(m string) bool {
	verb, rest, _ := strings.Cut(m, " ")
	if verb != msgStarted || !x.sent || x.started {
		return false
	}
	x.started, x.process = true, parseProcess(strings.Fields(rest))
	return true
}

// send writes a text to standard input, and closes it after the last one. A program need
// not read it; an error shows as the end of the session.
func (x *exchange) send(text string) {
	_, _ = io.WriteString(x.session, text)
	if x.program.stdin == "" || text == x.program.stdin {
		_ = x.session.CloseWrite()
	}
}

// finish reads the rest of the output and interprets the wrapper's exit status.
func (x *exchange) finish(ctx context.Context, e exit) (exit, error) {
	x.drain()
	select {
	case m := <-x.messages:
		x.noteStarted(m)
	default:
	}
	if x.started {
		return e, nil
	}
	if ctx.Err() != nil {
		return exit{}, action.StoppedFault(ctx, "before it started", "尚未开始")
	}
	return exit{}, action.NewFault(KindNotStarted,
		"%s did not start the program (exit status %d): %s",
		"%s 未能启动程序（退出码 %d）：%s", x.host.Where(), e.code, x.startError())
}

// startError is the last line that the host printed instead of starting the program.
func (x *exchange) startError() string {
	select {
	case <-x.drained:
		return x.host.Redact(cmp.Or(x.lastErrLine, "-"))
	default:
		return "-"
	}
}

// drain reads on until the streams end, stay silent or take too long: a process that the
// program left behind may hold them open for ever.
func (x *exchange) drain() {
	most := time.NewTimer(drainMax)
	defer most.Stop()
	silent := time.NewTimer(drainIdle)
	defer silent.Stop()
	for {
		select {
		case <-x.drained:
			return
		case m := <-x.messages:
			x.noteStarted(m)
		case <-x.active:
			silent.Reset(drainIdle)
		case <-silent.C:
			x.note("the program ended, but a process that it left behind holds its output open; stopped reading",
				"程序已结束，但其遗留进程仍占用输出；停止读取")
			return
		case <-most.C:
			x.note("the program ended, but a process that it left behind keeps writing; stopped reading",
				"程序已结束，但其遗留进程仍在写入；停止读取")
			return
		}
	}
}

func (x *exchange) note(en, zh string) {
	if w := x.host.call.System; w != nil {
		_, _ = fmt.Fprintf(w, "%s / %s\n", en, zh)
	}
}

// handleClosed interprets a session that ended without an exit status.
func (x *exchange) handleClosed(ctx context.Context) (exit, error) {
	select {
	case e := <-x.exited:
		return x.finish(ctx, e)
	default:
	}
	x.drain()
	<-x.execAnswered
	switch {
	case x.signal != "" && x.sent:
		return exit{}, action.NewUnknownFault(KindShellKilled,
			"the shell that ran the program on %s was ended by signal %s; "+
				"the program may still be running there, or may already have taken effect",
			"%s 上运行程序的 shell 被信号 %s 终止；程序可能仍在运行，或已产生效果", x.host.Where(), x.signal)
	case x.signal != "" && ctx.Err() == nil:
		return exit{}, action.NewFault(KindNotStarted,
			"%s did not start the program: its shell was ended by signal %s",
			"%s 未能启动程序：其 shell 被信号 %s 终止", x.host.Where(), x.signal)
	case x.sent:
	case x.refusal != nil:
		return exit{}, x.refusal
	case ctx.Err() != nil:
		return exit{}, action.StoppedFault(ctx, "before it started", "尚未开始")
	default:
		x.lostEarly = true
		return exit{}, action.NewFault(hostler.ErrKindConnLost,
			"the connection to %s was lost before the program started",
			"与 %s 的连接在程序启动前断开", x.host.Where())
	}
	return exit{}, action.NewUnknownFault(hostler.ErrKindConnLost,
		"the connection to %s was lost while the program was running; "+
			"it may still be running there, or may already have taken effect",
		"与 %s 的连接在程序运行时断开；程序可能仍在运行，或已产生效果", x.host.Where())
}

// stop ends the program because the job's context ended.
func (x *exchange) stop(ctx context.Context) (exit, error) {
	if !x.sent {
		return exit{}, action.StoppedFault(ctx, "before it started", "尚未开始")
	}
	if x.urgent {
		return exit{}, unverified(ctx, x.host, x.process,
			hostler.Text{EN: "the host does not answer", ZH: "主机没有应答"})
	}
	if !x.started {
		if end := x.awaitStart(ctx); end != nil {
			return end.exit, end.err
		}
	}
	if !x.started {
		return exit{}, unverified(ctx, x.host, x.process,
			hostler.Text{EN: "the host did not report the process id", ZH: "主机未报告进程号"})
	}
	if x.process.pid == 0 {
		return exit{}, unverified(ctx, x.host, x.process, hostler.Text{
			EN: "the host has no command that gives a program its own process group",
			ZH: "主机上没有可为程序建立独立进程组的命令",
		})
	}
	outcome, why := x.killWhileReading(ctx)
	switch outcome {
	case killUnverified:
	case killDone:
		x.awaitEnd()
		return exit{}, action.StoppedFault(ctx,
			"while it was running; its process group was killed and is verified gone",
			"运行中；其进程组已终止并确认消失")
	case killNotNeeded:
		if e, ok := x.awaitEnd(); ok {
			return e, nil
		}
		return exit{}, action.NewUnknownFault(hostler.ErrKindConnLost,
			"the program on %s ended, but its exit status is unknown",
			"%s 上的程序已结束，但退出码未知", x.host.HostPort())
	}
	return exit{}, unverified(ctx, x.host, x.process, why)
}

// runEnd is what run returns.
type runEnd struct {
	exit exit
	err  error
}

// awaitStart waits up to startWait for a program that was sent to report its start. It
// returns the end of the run if the program ended meanwhile.
func (x *exchange) awaitStart(ctx context.Context) *runEnd {
	timer := time.NewTimer(startWait)
	defer timer.Stop()
	for !x.started {
		select {
		case m := <-x.messages:
			x.noteStarted(m)
		case e := <-x.exited:
			e, err := x.finish(ctx, e)
			return &runEnd{e, err}
		case <-x.closed:
			e, err := x.handleClosed(ctx)
			return &runEnd{e, err}
		case <-timer.C:
			return nil
		}
	}
	return nil
}

// killWhileReading kills the program and keeps receiving messages meanwhile, so that the
// readers of the streams are never blocked.
func (x *exchange) killWhileReading(ctx context.Context) (killOutcome, hostler.Text) {
	type killed struct {
		outcome killOutcome
		why     hostler.Text
	}
	done := make(chan killed, 1)
	go func() {
		outcome, why := x.host.kill(ctx, x.program, x.process)
		done <- killed{outcome, why}
	}()
	for {
		select {
		case <-x.messages:
		case k := <-done:
			return k.outcome, k.why
		}
	}
}

// awaitEnd waits up to endWait for the exit status of a program that is gone, and reads
// its last output.
func (x *exchange) awaitEnd() (exit, bool) {
	timer := time.NewTimer(endWait)
	defer timer.Stop()
	for {
		select {
		case <-x.messages:
		case e := <-x.exited:
			x.drain()
			return e, true
		case <-timer.C:
			return exit{}, false
		}
	}
}

// readRequests receives the exit status. The end of the requests is the session's end.
func (x *exchange) readRequests() {
	defer close(x.closed)
	for req := range x.session.Requests {
		var status struct{ Code uint32 }
		if req.Type == "exit-status" && gossh.Unmarshal(req.Payload, &status) == nil {
			select {
			case x.exited <- exit{code: int(status.Code)}:
			default:
			}
		}
		var killed struct {
			Signal string
			Rest   []byte `ssh:"rest"`
		}
		if req.Type == "exit-signal" && gossh.Unmarshal(req.Payload, &killed) == nil {
			x.signal = signalName(killed.Signal)
		}
		if req.WantReply {
			_ = req.Reply(false, nil)
		}
	}
}

// signalName returns the name of a signal as the host gave it, or "unknown" for a text that
// is none (RFC 4254, 6.10): it is shown to people.
func signalName(s string) string {
	named := func(r rune) bool { return r > ' ' && r <= '~' }
	if s == "" || len(s) > 32 || strings.ContainsFunc(s, func(r rune) bool { return !named(r) }) {
		return "unknown"
	}
	return s
}

// readStreams copies the two streams until their end.
func (x *exchange) readStreams(over <-chan struct{}) {
	p := &preamble{exchange: x, over: over}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(preambleWriter{p, false}, x.session) })
	wg.Go(func() { _, _ = io.Copy(preambleWriter{p, true}, x.session.Stderr()) })
	wg.Wait()
	p.flush()
	close(x.drained)
}
