package netcli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/scrapli/scrapligo/transport"
	"github.com/scrapli/scrapligo/util"
	"golang.org/x/text/encoding/simplifiedchinese"

	"hostler.dev/hostler/internal/sshconn"
)

// signal fires when the library's channel has received something. The channel can only be
// polled; the signal is the time to do so.
type signal struct{ c chan struct{} }

func newSignal() *signal { return &signal{c: make(chan struct{}, 1)} }

// Write implements io.Writer, the library's hook for received bytes.
func (s *signal) Write(p []byte) (int, error) {
	select {
	case s.c <- struct{}{}:
	default:
	}
	return len(p), nil
}

// shellTransport is the library's transport over a shell of internal/sshconn, which has
// verified the host key and logged in.
type shellTransport struct{ shell *sshconn.Shell }

var _ transport.Implementation = shellTransport{}

// Open implements transport.Implementation.
func (shellTransport) Open(*transport.Args) error { return nil }

// Close implements transport.Implementation.
func (t shellTransport) Close() error { return t.shell.Close() }

// IsAlive implements transport.Implementation.
func (t shellTransport) IsAlive() bool {
	select {
	case <-t.shell.Gone():
		return false
	default:
		return true
	}
}

// Read implements transport.Implementation. It returns io.EOF for any error: after others
// the library reads on.
func (t shellTransport) Read(n int) ([]byte, error) {
	b := make([]byte, n)
	n, err := t.shell.Read(b)
	if n == 0 && err != nil {
		return nil, io.EOF
	}
	return b[:n], nil
}

// Write implements transport.Implementation. A text may be sent in several packets; n
// counts those that were sent.
func (t shellTransport) Write(b []byte) error {
	n, err := t.shell.Write(b)
	if err != nil && n > 0 {
		return errPartlySent
	}
	return err
}

var (
	errGone = errors.New("the connection is closed")
	// errPartlySent: it was closed while a text was being sent.
	errPartlySent = errors.New("only a part was sent")

	pager    = regexp.MustCompile(`(?i)(?:-+\s*\(?more(?:\s*\d+%)?\)?\s*-+|lines \d+-\d+\s*)$`)
	password = regexp.MustCompile(`(?i)(?:password|passphrase)[^\n]{0,40}:\s*$`)
	question = regexp.MustCompile(`(?i)(?:` +
		`file ?name[^\n]{0,80}[\])]|` +
		`\[y[^\]\n]{0,40}/n[^\]\n]{0,40}\]|` +
		`press the enter key\)|\(y/n\)|\[yes[,/]no\]|\[confirm\]|` +
		`\?\s*\[[^\]\n]{0,80}\]|\[[^\]\n]{0,80}\]\s*\?` +
		`)\s*:?\s*$`)
)

const (
	// promptDelay is how long the first line that looks like a prompt must stay the last
	// one: the network may have split a longer line there.
	promptDelay = 150 * time.Millisecond
	// questionDelay is the same for questions, and for prompts of another host after the
	// device's own is known. They are rare, and mistaking output for one fails the job.
	questionDelay = 600 * time.Millisecond
	// maxLine limits an unfinished line; commands are shorter.
	maxLine = 64 << 10
)

// waitingAt is what a device waits for.
type waitingAt int

const (
	atPrompt waitingAt = iota
	atPassword
	atQuestion
)

// drain moves what the channel has received to pending.
func (c *cli) drain() error {
	for {
		b, err := c.dialect.Channel.Read()
		if err != nil {
			return errGone
		}
		if b == nil {
			return nil
		}
		c.pending = append(c.pending, b...)
	}
}

// wait waits for more output, and reports whether some came within the limit; 0 is no
// limit.
func (c *cli) wait(ctx context.Context, limit time.Duration) (bool, error) {
	var over <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-c.received.c:
		return true, nil
	case <-over:
		return false, nil
	case <-c.shell.Gone():
		return false, errGone
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// readUntilWaiting passes lines to handle until the device waits. It returns what the
// device waits for, and the unfinished last line. The package comment has the rules.
func (c *cli) readUntilWaiting(ctx context.Context, handle func(string)) (waitingAt, string, error) {
	for {
		if err := c.drain(); err != nil {
			return 0, "", err
		}
		c.takeLines(handle)
		tail := stripControl(c.pending)
		trimmed := strings.TrimRight(tail, " ")
		limit := time.Duration(0)
		switch {
		case trimmed == "":
		case (c.isPrompt(tail) || c.isPrompt(trimmed)) && sameHost(trimmed, c.prompt):
			c.pending, c.prompt = nil, trimmed
			return atPrompt, trimmed, nil
		case c.prompt == "" && (c.isPrompt(tail) || c.isPrompt(trimmed)):
			limit = promptDelay
		case c.isPrompt(tail) || c.isPrompt(trimmed):
			limit = questionDelay
		case pager.MatchString(trimmed):
			c.pending, c.pagerMark = nil, len(trimmed)
			if err := c.dialect.Channel.Write([]byte(" "), false); err != nil {
				return 0, "", errGone
			}
			continue
		case password.MatchString(trimmed), question.MatchString(trimmed):
			limit = questionDelay
		}
		came, err := c.wait(ctx, limit)
		if err != nil {
			return 0, "", err
		}
		if came || limit == 0 {
			continue
		}
		c.pending = nil
		switch {
		case c.isPrompt(tail) || c.isPrompt(trimmed):
			c.prompt = trimmed
			return atPrompt, trimmed, nil
		case question.MatchString(trimmed): // it may be about a password
			return atQuestion, trimmed, nil
		}
		return atPassword, trimmed, nil
	}
}

// sameHost reports whether two prompts may be of one host. Modes add to the host's name,
// and some devices cut a long name.
func sameHost(a, b string) bool {
	a, b = hostPart(a), hostPart(b)
	return a != "" && b != "" && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a))
}

// hostPart returns a prompt without its marks and without a mode in brackets.
func hostPart(prompt string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(prompt, "<[~*"), "(")
	return strings.TrimRight(name, "#>]$% ")
}

func (c *cli) isPrompt(tail string) bool {
	return len(tail) <= 300 && c.dialect.Channel.PromptPattern.MatchString(tail)
}

// takeLines removes the finished lines from pending and passes them to handle.
func (c *cli) takeLines(handle func(string)) {
	for {
		line, rest, ended := bytes.Cut(c.pending, []byte("\n"))
		if !ended && len(line) < maxLine {
			return
		}
		handle(toUTF8(c.withoutPagerMark(line)))
		c.pending = rest
	}
}

// stripControl returns a text without control sequences. The library only removes those
// that arrived in one packet.
func stripControl(b []byte) string {
	if bytes.IndexByte(b, 0x1b) >= 0 {
		b = util.StripANSI(b)
	}
	return applyBackspaces(string(b))
}

// applyBackspaces returns what a terminal shows of a line with backspaces, which pagers
// use to erase their mark.
func applyBackspaces(s string) string {
	if !strings.ContainsAny(s, "\a\b") {
		return s
	}
	shown, at := make([]byte, 0, len(s)), 0
	for _, b := range []byte(s) {
		switch {
		case b == '\a':
		case b == '\b':
			at = max(0, at-1)
		case at < len(shown):
			shown[at] = b
			at++
		default:
			shown = append(shown, b)
			at++
		}
	}
	return string(shown)
}

// withoutPagerMark returns a line without the blanks that the device wrote over its
// pager's mark: as many as the mark is long, or always 42 on VRP. A line with backspaces
// has none left.
func (c *cli) withoutPagerMark(line []byte) string {
	s := stripControl(line)
	if c.pagerMark > 0 && bytes.IndexByte(line, '\b') < 0 {
		for _, n := range []int{42, c.pagerMark} {
			if rest, ok := strings.CutPrefix(s, strings.Repeat(" ", n)); ok {
				s = rest
				break
			}
		}
	}
	c.pagerMark = 0
	return strings.TrimRight(s, " ")
}

// toUTF8 returns a line in UTF-8. Devices store the bytes that were typed into them, in
// China often GBK; GB18030 is its superset.
func toUTF8(line string) string {
	if utf8.ValidString(line) {
		return line
	}
	decoded, err := simplifiedchinese.GB18030.NewDecoder().String(line)
	if err != nil || strings.ContainsRune(decoded, utf8.RuneError) {
		return line
	}
	return decoded
}

// progress is how far the last line came on its way to the device.
type progress int

const (
	notSent progress = iota
	typed            // at least a part was sent, but not entered: the device did not run it
	entered
)

// writeLine types a line, waits for its echo and enters it. A secret is not echoed.
func (c *cli) writeLine(ctx context.Context, text string, secret bool) error {
	c.progress = notSent
	if err := c.drain(); err != nil {
		return err
	}
	c.pending, c.pagerMark = nil, 0
	if text != "" {
		err := c.dialect.Channel.Write([]byte(text), secret)
		if err == nil || errors.Is(err, errPartlySent) {
			c.progress = typed
		}
		if err != nil {
			return errGone
		}
	}
	if text != "" && !secret {
		if err := c.awaitEcho(ctx, text); err != nil {
			return err
		}
	}
	if err := c.dialect.Channel.WriteReturn(); err != nil {
		return errGone
	}
	c.progress = entered
	return nil
}

// readReply reads the device's reply to a line that was entered.
func (c *cli) readReply(ctx context.Context, handle func(string)) (waitingAt, string, error) {
	first := true
	return c.readUntilWaiting(ctx, func(s string) {
		if !first || s != "" { // the first newline ends the line that was typed
			handle(s)
		}
		first = false
	})
}

// roundTrip enters a line and reads the reply.
func (c *cli) roundTrip(
	ctx context.Context, text string, secret bool, handle func(string),
) (waitingAt, string, error) {
	if err := c.writeLine(ctx, text, secret); err != nil {
		return 0, "", err
	}
	return c.readReply(ctx, handle)
}

// awaitEcho waits until the device has echoed what was typed, so that earlier output is
// not taken for the reply. Terminals may break a long line, and some echo only its ASCII
// characters.
func (c *cli) awaitEcho(ctx context.Context, text string) error {
	whole := []byte(text)
	ascii := slices.DeleteFunc(slices.Clone(whole), func(b byte) bool { return b >= utf8.RuneSelf })
	for {
		limit := time.Duration(0)
		switch {
		case util.BytesRoughlyContains(whole, c.pending):
			c.pending = nil
			return nil
		case len(ascii) < len(whole) && util.BytesRoughlyContains(ascii, c.pending):
			limit = promptDelay
		}
		came, err := c.wait(ctx, limit)
		if err != nil {
			return err
		}
		if !came {
			c.pending = nil
			return nil
		}
		if err := c.drain(); err != nil {
			return err
		}
		c.pending = c.pending[max(0, len(c.pending)-maxLine):] // a device may print without end
	}
}
