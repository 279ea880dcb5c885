package ssh

import (
	"bytes"
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
)

const (
	// drainIdle and drainMax bound the reading of output after the program's
	// end, when a process that it left behind holds its streams open.
	drainIdle = time.Second
	drainMax  = 15 * time.Second
	// startWait is how long a program that was sent, and is to be killed, has to
	// say which process it is.
	startWait = 3 * time.Second
	// endWait is how long the wrapper has to report the end of a program that
	// was killed.
	endWait = 3 * time.Second
	// maxPreamble bounds what a host may say before it is ready.
	maxPreamble = 64 << 10
)

// host is an asset as one call sees it.
type host struct {
	secrets []string // what error texts must not show
	family  *Family
	call    *action.Call
	route   *route
}

// exit is how a program ended.
type exit struct {
	code int
}

// run runs a program to its end. The error is a *fault when it did not run to
// its end, or was stopped. A connection may break at any time; when it does so
// before the program was sent, the program goes on another one.
func (h *host) run(ctx context.Context, p program, stdout, stderr io.Writer) (exit, error) {
	for losses := 0; ; {
		x := h.exchange(p, stdout, stderr)
		e, err := x.run(ctx)
		if !x.lost {
			return e, err
		}
		if !x.session.kept {
			losses++
		}
		if losses >= maxLosses {
			return e, err
		}
		h.family.retire(x.session.conn)
	}
}

func (h *host) exchange(p program, stdout, stderr io.Writer) *exchange {
	if p.runAs == h.route.user() {
		p.runAs, p.password = "", ""
	}
	return &exchange{host: h, program: p, nonce: "hst" + rand.Text(), stdout: stdout, stderr: stderr}
}

// exchange is one program on one session, from the login shell's line to the
// last byte of output. Its loop is the only writer of its state.
type exchange struct {
	host    *host
	program program
	nonce   string
	urgent  bool

	stdout, stderr io.Writer

	session *session
	sent    bool // the payload may have arrived: the program may run
	lost    bool // the session broke before the payload was sent
	started bool
	process process
	sudo    bool // it asked for the password
	// complaint is the last line of a host that did not start the program; it
	// may be read once drained is closed.
	complaint string
	// refusal is why the server does not run the wrapper; it may be read once
	// asked is closed.
	refusal error

	asked   chan struct{} // the server was asked to run the wrapper, and answered
	said    chan string   // what the host says to Hostler, word by word
	exited  chan exit
	gone    chan struct{} // the session is closed
	active  chan struct{} // output came
	drained chan struct{} // both streams are at their end
}

func (x *exchange) run(ctx context.Context) (exit, error) {
	if ctx.Err() != nil {
		return exit{}, stopped(ctx, "before it started", "尚未开始")
	}
	s, err := x.host.family.open(ctx, x.host.route, x.host.call, x.urgent)
	if err != nil {
		return exit{}, err
	}
	x.session = s
	x.asked = make(chan struct{})
	x.said = make(chan string)
	x.exited = make(chan exit, 1)
	x.gone = make(chan struct{})
	x.active = make(chan struct{}, 1)
	x.drained = make(chan struct{})
	over := make(chan struct{})
	defer x.end(over)
	go x.readRequests()
	go x.readStreams(over)
	return x.loop(ctx)
}

// end closes the session and gives it back when the server has closed it too.
func (x *exchange) end(over chan struct{}) {
	close(over)
	_ = x.session.Close()
	c := x.session.conn
	wait := func() {
		timer := time.NewTimer(closeWait)
		defer timer.Stop()
		select {
		case <-x.gone:
		case <-timer.C:
		}
		c.family.release(c)
	}
	if !c.family.start(wait) {
		c.family.release(c)
	}
}

// loop takes what happens, in order, until the program is over.
func (x *exchange) loop(ctx context.Context) (exit, error) {
	payload := x.program.payload(x.nonce)
	go x.exec(bootLine(x.nonce, len(payload), x.program))
	asked := x.asked
	for {
		select {
		case word := <-x.said:
			if err := x.hear(word, payload); err != nil {
				return exit{}, err
			}
		case e := <-x.exited:
			return x.finish(ctx, e)
		case <-x.gone:
			return x.closed(ctx)
		case <-asked:
			if asked = nil; x.refusal != nil {
				return exit{}, x.refusal
			}
		case <-ctx.Done():
			return x.stop(ctx)
		}
	}
}

// exec asks for the line to be run. It ends with the session at the latest.
func (x *exchange) exec(line string) {
	defer close(x.asked)
	ok, err := x.session.SendRequest("exec", true, gossh.Marshal(struct{ Command string }{line}))
	if err == nil && !ok {
		x.refusal = failed(KindNotStarted,
			"%s refuses to run commands for %q", "%s 拒绝为 %q 执行命令", x.host.route.where(), x.host.route.user())
	}
}

// hear acts on what the host says.
func (x *exchange) hear(word, payload string) error {
	verb, _, _ := strings.Cut(word, " ")
	switch {
	case verb == sayPrompt && !x.sudo && !x.sent:
		x.sudo = true
		go func() { _, _ = io.WriteString(x.session, x.program.password+"\n") }()
	case verb == sayPrompt:
		return failed(hostler.ErrKindCredential,
			"sudo on %s refused the password of %q",
			"%s 上的 sudo 拒绝了 %q 的密码", x.host.route.addr, x.host.route.user()).final()
	case verb == sayTooMuch:
		return failed(KindNotStarted,
			"the login scripts on %s print too much for a program to be started",
			"%s 上的登录脚本输出过多，无法启动程序", x.host.route.where())
	case verb == sayReady && !x.sent:
		x.sent = true
		go x.send(payload)
	case x.begins(word) && x.program.stdin != "":
		go x.send(x.program.stdin)
	}
	return nil
}

// begins notes what the host says of the program's start, and says whether it does.
func (x *exchange) begins(word string) bool {
	verb, rest, _ := strings.Cut(word, " ")
	if verb != sayStarted || !x.sent || x.started {
		return false
	}
	x.started, x.process = true, parseProcess(strings.Fields(rest))
	return true
}

// send writes a text to standard input, and closes it behind the last one. A
// program need not read it; a failure shows as the session's end.
func (x *exchange) send(text string) {
	_, _ = io.WriteString(x.session, text)
	if x.program.stdin == "" || text == x.program.stdin {
		_ = x.session.CloseWrite()
	}
}

// finish reads the rest of the output and judges the wrapper's exit.
func (x *exchange) finish(ctx context.Context, e exit) (exit, error) {
	x.drain()
	select {
	case word := <-x.said:
		x.begins(word)
	default:
	}
	if x.started {
		return e, nil
	}
	if ctx.Err() != nil {
		return exit{}, stopped(ctx, "before it started", "尚未开始")
	}
	return exit{}, failed(KindNotStarted,
		"%s did not start the program (status %d): %s",
		"%s 未能启动程序（状态 %d）：%s", x.host.route.where(), e.code, x.lastComplaint())
}

func (x *exchange) lastComplaint() string {
	select {
	case <-x.drained:
		return x.host.redact(or(x.complaint, "-"))
	default:
		return "-"
	}
}

// drain reads on until the streams end, or stay silent, or take too long: a
// process that the program left behind may hold them open for ever.
func (x *exchange) drain() {
	most := time.NewTimer(drainMax)
	defer most.Stop()
	silent := time.NewTimer(drainIdle)
	defer silent.Stop()
	for {
		select {
		case <-x.drained:
			return
		case word := <-x.said:
			x.begins(word)
		case <-x.active:
			silent.Reset(drainIdle)
		case <-silent.C:
			x.note("the program ended, but a process that it left behind holds its output open; no longer read",
				"程序已结束，但其遗留进程仍占用输出；不再读取")
			return
		case <-most.C:
			x.note("the program ended, but a process that it left behind goes on writing; no longer read",
				"程序已结束，但其遗留进程仍在写入；不再读取")
			return
		}
	}
}

func (x *exchange) note(en, zh string) {
	if w := x.host.call.System; w != nil {
		_, _ = fmt.Fprintf(w, "%s / %s\n", en, zh)
	}
}

// closed judges a session that ended without an exit status.
func (x *exchange) closed(ctx context.Context) (exit, error) {
	select {
	case e := <-x.exited:
		return x.finish(ctx, e)
	default:
	}
	x.drain()
	<-x.asked
	switch {
	case x.sent:
	case x.refusal != nil:
		return exit{}, x.refusal
	case ctx.Err() != nil:
		return exit{}, stopped(ctx, "before it started", "尚未开始")
	default:
		x.lost = true
		return exit{}, failed(hostler.ErrKindConnLost,
			"the connection to %s was lost before the program started",
			"与 %s 的连接在程序启动前断开", x.host.route.where())
	}
	return exit{}, unknown(hostler.ErrKindConnLost,
		"the connection to %s was lost while the program ran; it may still run there, or have had its effect",
		"与 %s 的连接在程序运行时断开；程序可能仍在运行，或已产生效果", x.host.route.where())
}

// stop ends a program because its job's context ended.
func (x *exchange) stop(ctx context.Context) (exit, error) {
	if !x.sent {
		return exit{}, stopped(ctx, "before it started", "尚未开始")
	}
	if x.urgent {
		return exit{}, unverified(ctx, x.host, x.process, "the host does not answer")
	}
	if !x.started {
		if over := x.awaitStart(ctx); over != nil {
			return over.exit, over.err
		}
	}
	if !x.started {
		return exit{}, unverified(ctx, x.host, x.process, "it did not say which process it is")
	}
	if x.process.pid == 0 {
		return exit{}, unverified(ctx, x.host, x.process, "the host has no means to give a program its own process group")
	}
	fate, why := x.killMeanwhile(ctx)
	switch fate {
	case fateUnseen:
	case fateKilled:
		x.awaitEnd()
		return exit{}, stopped(ctx, "while it ran; its process group was killed and is gone", "运行中；其进程组已终止并确认消失")
	case fateEnded:
		if e, ok := x.awaitEnd(); ok {
			return e, nil
		}
		return exit{}, unknown(hostler.ErrKindConnLost,
			"the program on %s is gone, its exit status is not known", "%s 上的程序已结束，但退出码未知", x.host.route.where())
	}
	return exit{}, unverified(ctx, x.host, x.process, why)
}

// ending is what run says in the end.
type ending struct {
	exit exit
	err  error
}

// awaitStart waits a while for a program that was sent to say that it runs; it
// gives the ending when the program is over by then.
func (x *exchange) awaitStart(ctx context.Context) *ending {
	timer := time.NewTimer(startWait)
	defer timer.Stop()
	for !x.started {
		select {
		case word := <-x.said:
			x.begins(word)
		case e := <-x.exited:
			e, err := x.finish(ctx, e)
			return &ending{e, err}
		case <-x.gone:
			e, err := x.closed(ctx)
			return &ending{e, err}
		case <-timer.C:
			return nil
		}
	}
	return nil
}

// killMeanwhile kills while the session's words are still heard, so that its
// readers never stand still.
func (x *exchange) killMeanwhile(ctx context.Context) (fate, string) {
	type end struct {
		fate fate
		why  string
	}
	done := make(chan end, 1)
	go func() {
		f, why := x.host.kill(ctx, x.program, x.process)
		done <- end{f, why}
	}()
	for {
		select {
		case <-x.said:
		case e := <-done:
			return e.fate, e.why
		}
	}
}

// awaitEnd reads the last output of a program that is gone.
func (x *exchange) awaitEnd() (exit, bool) {
	timer := time.NewTimer(endWait)
	defer timer.Stop()
	for {
		select {
		case <-x.said:
		case e := <-x.exited:
			x.drain()
			return e, true
		case <-timer.C:
			return exit{}, false
		}
	}
}

// readRequests takes the exit status; the end of the requests is the session's.
func (x *exchange) readRequests() {
	defer close(x.gone)
	for req := range x.session.requests {
		var status struct{ Code uint32 }
		if req.Type == "exit-status" && gossh.Unmarshal(req.Payload, &status) == nil {
			select {
			case x.exited <- exit{code: int(status.Code)}:
			default:
			}
		}
		if req.WantReply {
			_ = req.Reply(false, nil)
		}
	}
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

// Words that stand for what the host says otherwise than by a line: sudo's
// question on standard error, and more than can be a login script's greeting.
const (
	sayPrompt  = "prompt"
	sayTooMuch = "too-much"
)

// preamble tells what the host says to Hostler from what the program says to
// people. What login scripts and sudo print before the program starts goes to
// standard error.
type preamble struct {
	exchange *exchange
	over     <-chan struct{}

	mu      sync.Mutex
	started bool
	out     []byte // standard output not yet understood
	err     []byte // standard error not yet understood
}

type preambleWriter struct {
	*preamble
	stderr bool
}

func (w preambleWriter) Write(b []byte) (int, error) {
	select {
	case <-w.over:
		return 0, io.ErrClosedPipe
	default:
	}
	select {
	case w.exchange.active <- struct{}{}:
	default:
	}
	words, held := w.hold(b)
	if !held {
		return w.to().Write(b)
	}
	for _, word := range words {
		select {
		case w.exchange.said <- word:
		case <-w.over:
			return 0, io.ErrClosedPipe
		}
	}
	return len(b), nil
}

func (w preambleWriter) to() io.Writer {
	if w.stderr {
		return w.exchange.stderr
	}
	return w.exchange.stdout
}

// hold keeps output that comes before the program's start and gives the words
// that the host said in it. At the start everything held is handed on before
// anything can overtake it.
func (w preambleWriter) hold(b []byte) (words []string, held bool) {
	p := w.preamble
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started {
		return nil, false
	}
	if w.stderr {
		p.err = append(p.err, b...)
		words = p.prompts()
	} else {
		p.out = append(p.out, b...)
		words = p.lines()
	}
	switch {
	case len(words) > 0 && strings.HasPrefix(words[len(words)-1], sayStarted):
		p.started = true
		p.emit()
	case len(p.out)+len(p.err) > maxPreamble:
		p.started = true
		words = append(words, sayTooMuch)
	}
	return words, true
}

// prompts finds sudo's question; what sudo said before it is of no interest.
func (p *preamble) prompts() []string {
	_, rest, found := bytes.Cut(p.err, []byte(promptOf(p.exchange.nonce)))
	if !found {
		return nil
	}
	p.err = rest
	return []string{sayPrompt}
}

// lines finds the lines that begin with the nonce, up to the start.
func (p *preamble) lines() []string {
	var words []string
	mark := []byte(p.exchange.nonce + " ")
	for {
		noise, rest, found := bytes.Cut(p.out, mark)
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if !found || !whole {
			return words
		}
		p.err = append(p.err, noise...)
		p.out = after
		words = append(words, string(line))
		if bytes.HasPrefix(line, []byte(sayStarted)) {
			return words
		}
	}
}

// emit hands on what was held.
func (p *preamble) emit() {
	if len(p.err) > 0 {
		_, _ = p.exchange.stderr.Write(p.err)
	}
	if len(p.out) > 0 {
		_, _ = p.exchange.stdout.Write(p.out)
	}
	p.out, p.err = nil, nil
}

// flush hands on what came when no program started.
func (p *preamble) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		p.exchange.complaint = lastLine(p.err)
		p.emit()
	}
}
