package ssh

import (
	"bytes"
	"cmp"
	"io"
	"strings"
	"sync"

	"hostler.dev/hostler/internal/action"
)

// maxPreamble limits the output before the program's start.
const maxPreamble = 64 << 10

// Messages that stand for something other than a line of the wrapper: sudo's prompt on
// standard error, and a preamble over maxPreamble.
const (
	msgPrompt  = "prompt"
	msgTooMuch = "too-much"
)

// preamble separates the wrapper's messages from output, up to the program's start. Output
// of login scripts and sudo before the start goes to standard error.
type preamble struct {
	exchange *exchange
	over     <-chan struct{} // the exchange receives no more messages

	mu      sync.Mutex
	started bool
	out     []byte // standard output that is not parsed yet
	err     []byte // standard error that is not parsed yet
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
	messages, held := w.hold(b)
	if !held {
		return w.dest().Write(b)
	}
	for _, m := range messages {
		select {
		case w.exchange.messages <- m:
		case <-w.over:
			return 0, io.ErrClosedPipe
		}
	}
	return len(b), nil
}

func (w preambleWriter) dest() io.Writer {
	if w.stderr {
		return w.exchange.stderr
	}
	return w.exchange.stdout
}

// hold buffers output that comes before the program's start and returns the messages in it.
// At the start it writes all held output, under the lock, so that no later output
// overtakes it.
func (w preambleWriter) hold(b []byte) (messages []string, held bool) {
	p := w.preamble
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started {
		return nil, false
	}
	if w.stderr {
		p.err = append(p.err, b...)
		messages = p.takePrompt()
	} else {
		p.out = append(p.out, b...)
		messages = p.takeLines()
	}
	switch {
	case len(messages) > 0 && strings.HasPrefix(messages[len(messages)-1], msgStarted):
		p.started = true
		p.writeHeld()
	case len(p.out)+len(p.err) > maxPreamble:
		p.started = true
		messages = append(messages, msgTooMuch)
	}
	return messages, true
}

// takePrompt removes sudo's prompt, and what came before it.
func (p *preamble) takePrompt() []string {
	_, rest, found := bytes.Cut(p.err, []byte(promptOf(p.exchange.nonce)))
	if !found {
		return nil
	}
	p.err = rest
	return []string{msgPrompt}
}

// takeLines removes the lines that begin with the nonce, up to the start.
func (p *preamble) takeLines() []string {
	var messages []string
	mark := []byte(p.exchange.nonce + " ")
	for {
		noise, rest, found := bytes.Cut(p.out, mark)
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if !found || !whole {
			return messages
		}
		p.err = append(p.err, noise...)
		p.out = after
		messages = append(messages, string(line))
		if bytes.HasPrefix(line, []byte(msgStarted)) {
			return messages
		}
	}
}

func (p *preamble) writeHeld() {
	if len(p.err) > 0 {
		_, _ = p.exchange.stderr.Write(p.err)
	}
	if len(p.out) > 0 {
		_, _ = p.exchange.stdout.Write(p.out)
	}
	p.out, p.err = nil, nil
}

// flush writes what is left when the streams ended without a start.
func (p *preamble) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		// A shell such as nologin gives its reason on standard output.
		p.exchange.lastErrLine = cmp.Or(action.LastLine(p.err), action.LastLine(p.out))
		p.writeHeld()
	}
}
