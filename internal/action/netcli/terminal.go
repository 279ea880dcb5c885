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

	"hostler.dev/hostler/internal/action/ssh"
)

// bell rings when the library's channel has received something. The channel can
// only be polled; this way it is polled when there is something.
type bell struct{ rung chan struct{} }

func newBell() *bell { return &bell{rung: make(chan struct{}, 1)} }

// Write implements io.Writer, the library's hook for what was received.
func (b *bell) Write(p []byte) (int, error) {
	select {
	case b.rung <- struct{}{}:
	default:
	}
	return len(p), nil
}

// line is the library's transport over a shell of Hostler's own SSH client, which
// has judged the host key and logged in.
type line struct{ shell *ssh.Shell }

var _ transport.Implementation = line{}

// Open implements transport.Implementation.
func (line) Open(*transport.Args) error { return nil }

// Close implements transport.Implementation.
func (l line) Close() error { return l.shell.Close() }

// IsAlive implements transport.Implementation.
func (l line) IsAlive() bool {
	select {
	case <-l.shell.Gone():
		return false
	default:
		return true
	}
}

// Read implements transport.Implementation. Any error is the end: the library
// reads on after others.
func (l line) Read(n int) ([]byte, error) {
	b := make([]byte, n)
	n, err := l.shell.Read(b)
	if n == 0 && err != nil {
		return nil, io.EOF
	}
	return b[:n], nil
}

// Write implements transport.Implementation. A text may go in several packets, each
// of which counts as a whole or not at all.
func (l line) Write(b []byte) error {
	n, err := l.shell.Write(b)
	if err != nil && n > 0 {
		return errPartly
	}
	return err
}

var (
	errGone = errors.New("the connection is gone")
	// errPartly: it went while a text was sent.
	errPartly = errors.New("a part was sent")

	pager    = regexp.MustCompile(`(?i)(?:-+\s*\(?more(?:\s*\d+%)?\)?\s*-+|lines \d+-\d+\s*)$`)
	password = regexp.MustCompile(`(?i)(?:password|passphrase)[^\n]{0,40}:\s*$`)
	question = regexp.MustCompile(`(?i)(?:file ?name[^\n]{0,80}[\])]|\[y[^\]\n]{0,40}/n[^\]\n]{0,40}\]|press the enter key\)|\(y/n\)|\[yes[,/]no\]|\[confirm\]|\?\s*\[[^\]\n]{0,80}\]|\[[^\]\n]{0,80}\]\s*\?)\s*:?\s*$`)
)

const (
	// settle is how long the first line that looks like a prompt must be the last: a
	// text may break there on its way.
	settle = 150 * time.Millisecond
	// settleLater is the same for questions, and for prompts of another host once
	// the device's own is known. They are rare, and to see one wrongly costs the job.
	settleLater = 600 * time.Millisecond
	// maxLine bounds an unfinished line; a command is shorter.
	maxLine = 64 << 10
)

// ending is at what the device waits.
type ending int

const (
	atPrompt ending = iota
	atPassword
	atQuestion
)

// drain takes what was received.
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

// wait waits for more; a limit of 0 is none. It says whether something came.
func (c *cli) wait(ctx context.Context, limit time.Duration) (bool, error) {
	var over <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-c.bell.rung:
		return true, nil
	case <-over:
		return false, nil
	case <-c.shell.Gone():
		return false, errGone
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// listen gives lines to each until the device waits. What it waits with is the
// unfinished line at the end.
func (c *cli) listen(ctx context.Context, each func(string)) (ending, string, error) {
	for {
		if err := c.drain(); err != nil {
			return 0, "", err
		}
		c.lines(each)
		tail := plain(c.pending)
		trimmed := strings.TrimRight(tail, " ")
		limit := time.Duration(0)
		switch {
		case trimmed == "":
		case (c.isPrompt(tail) || c.isPrompt(trimmed)) && akin(trimmed, c.prompt):
			c.pending, c.prompt = nil, trimmed
			return atPrompt, trimmed, nil
		case c.prompt == "" && (c.isPrompt(tail) || c.isPrompt(trimmed)):
			limit = settle
		case c.isPrompt(tail) || c.isPrompt(trimmed):
			limit = settleLater
		case pager.MatchString(trimmed):
			c.pending, c.paged = nil, len(trimmed)
			if err := c.dialect.Channel.Write([]byte(" "), false); err != nil {
				return 0, "", errGone
			}
			continue
		case password.MatchString(trimmed), question.MatchString(trimmed):
			limit = settleLater
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

// akin says whether two prompts seem to be of one host in any of its modes, which
// add to its name, and may cut a long one.
func akin(a, b string) bool {
	a, b = hostPart(a), hostPart(b)
	return a != "" && b != "" && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a))
}

// hostPart is a prompt without its marks and, of those that have it in brackets,
// the mode.
func hostPart(prompt string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(prompt, "<[~*"), "(")
	return strings.TrimRight(name, "#>]$% ")
}

func (c *cli) isPrompt(tail string) bool {
	return len(tail) <= 300 && c.dialect.Channel.PromptPattern.MatchString(tail)
}

// lines takes the finished lines off what is pending.
func (c *cli) lines(each func(string)) {
	for {
		line, rest, ended := bytes.Cut(c.pending, []byte("\n"))
		if !ended && len(line) < maxLine {
			return
		}
		each(readable(c.unpaged(line)))
		c.pending = rest
	}
}

// plain is a text without the terminal's control sequences. The library removes
// those that the network did not break.
func plain(b []byte) string {
	if bytes.IndexByte(b, 0x1b) >= 0 {
		b = util.StripANSI(b)
	}
	return overtyped(string(b))
}

// overtyped is what a line shows when it goes back over itself, as pagers do to
// wipe their mark.
func overtyped(s string) string {
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

// unpaged is a line as the device meant it: without what it wrote over its pager's
// mark, which is as many blanks, or a fixed 42 on VRP. One that goes back has wiped
// them itself.
func (c *cli) unpaged(line []byte) string {
	s := plain(line)
	if c.paged > 0 && bytes.IndexByte(line, '\b') < 0 {
		for _, n := range []int{42, c.paged} {
			if rest, ok := strings.CutPrefix(s, strings.Repeat(" ", n)); ok {
				s = rest
				break
			}
		}
	}
	c.paged = 0
	return strings.TrimRight(s, " ")
}

// readable is a line in UTF-8. Devices keep what was typed into them, in China
// often GBK; GB18030 is its superset.
func readable(line string) string {
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
	untyped progress = iota // nothing of it was sent
	typed                   // at least a part was sent, but not entered: the device did not run it
	entered
)

// enter types a line and enters it. A secret is not echoed.
func (c *cli) enter(ctx context.Context, text string, secret bool) error {
	c.progress = untyped
	if err := c.drain(); err != nil {
		return err
	}
	c.pending, c.paged = nil, 0
	if text != "" {
		err := c.dialect.Channel.Write([]byte(text), secret)
		if err == nil || errors.Is(err, errPartly) {
			c.progress = typed
		}
		if err != nil {
			return errGone
		}
	}
	if text != "" && !secret {
		if err := c.echoed(ctx, text); err != nil {
			return err
		}
	}
	if err := c.dialect.Channel.WriteReturn(); err != nil {
		return errGone
	}
	c.progress = entered
	return nil
}

// answer listens to what the device says to a line that was entered.
func (c *cli) answer(ctx context.Context, each func(string)) (ending, string, error) {
	first := true
	return c.listen(ctx, func(s string) {
		if !first || s != "" { // the end of the line that was typed
			each(s)
		}
		first = false
	})
}

// say enters a line and listens.
func (c *cli) say(ctx context.Context, text string, secret bool, each func(string)) (ending, string, error) {
	if err := c.enter(ctx, text, secret); err != nil {
		return 0, "", err
	}
	return c.answer(ctx, each)
}

// echoed waits until the device has shown what was typed, so that its answer is
// not taken from what it said before. Terminals may break a long line, and some
// show only the ASCII of it.
func (c *cli) echoed(ctx context.Context, text string) error {
	whole := []byte(text)
	ascii := slices.DeleteFunc(slices.Clone(whole), func(b byte) bool { return b >= utf8.RuneSelf })
	for {
		limit := time.Duration(0)
		switch {
		case util.BytesRoughlyContains(whole, c.pending):
			c.pending = nil
			return nil
		case len(ascii) < len(whole) && util.BytesRoughlyContains(ascii, c.pending):
			limit = settle
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
		c.pending = c.pending[max(0, len(c.pending)-maxLine):] // it may print without end
	}
}
