// Package runlog handles the output of a running job on its way from the action
// to the store, and makes stored output safe to show.
//
// Model: a Log has three streams. What an action writes to one of them is
// redacted, made valid UTF-8, limited, and gathered into chunks that a Sink
// stores:
//
//	Write ─▶ redact ─▶ UTF-8 ─▶ limit ─▶ head ─▶ chunks ─▶ Sink
//	                              └─▶ tail (kept until the end)
//
// Invariants:
//   - Memory is bounded whatever is written: the head waits in at most
//     maxPending bytes, the tail keeps the last part of the limit.
//   - A write waits for the Sink for at most stallTime. When the Sink does not
//     move in that time, the rest of the output goes to the tail.
//   - Lines are stored in the order they were written; chunks are numbered from
//     1 without gaps and repeated unchanged until the Sink takes them.
//   - Nothing that the Redactor removes leaves the Log, also when it was written
//     in pieces.
package runlog

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"hostler.dev/hostler"
)

// DefaultLimit is how many bytes of a job's output are kept unless the Config
// says otherwise.
const DefaultLimit = 10 << 20

const (
	flushEvery = 250 * time.Millisecond // how long a line may wait for its chunk
	chunkBytes = 64 << 10
	chunkLines = 2048
	// inlineBytes is the most that Close returns instead of storing it.
	inlineBytes = 4 << 10
	maxPending  = 1 << 20
	stallTime   = 5 * time.Second
	// writeStep bounds what one step of a write handles before it looks at the
	// pending bytes again.
	writeStep = 32 << 10
)

// Sink stores one chunk durably. It is called again with the same chunk after a
// temporary error, and never concurrently. CodeStale means that the lease is
// lost.
type Sink func(ctx context.Context, chunk hostler.LogChunk) error

// Redactor removes secrets from a stream; secret.Redactor is one.
type Redactor interface {
	// Add adds values to remove.
	Add(values ...string)
	// Writer returns a writer that passes on to next what it gets, without the
	// values. It may hold back a part that could be the start of a value; Close
	// lets it go.
	Writer(next io.Writer) io.WriteCloser
}

// Config is what a Log needs to know.
type Config struct {
	Ref     hostler.LeaseRef
	Attempt int
	Sink    Sink
	// Redactor makes the Log's redactor at its first use; nil removes nothing.
	Redactor func() Redactor
	// Limit is how many bytes are kept: the first half, and the last. 0 means
	// DefaultLimit.
	Limit int
	// Stale is called when the Sink says that the lease is lost.
	Stale func()
}

// Log takes the output of one attempt of a job. Make it with Init; it costs
// nothing until something is written.
type Log struct {
	cfg Config
	ctx context.Context //nolint:containedctx // chunks leave in the background, for as long as the attempt may store them

	streams [3]stream

	mu       sync.Mutex
	redactor Redactor
	head     pieces // on its way to the Sink
	tail     pieces // what follows the head; its front is dropped when it is over the limit
	taken    int    // bytes the head has taken
	headOver bool
	cut      int64 // bytes dropped between head and tail
	lost     int   // bytes that the Sink refused for good
	leaving  int   // bytes of the chunk that send is handing over
	seq      int   // chunks handed to the Sink
	sending  bool
	stop     context.CancelFunc // of what is being sent
	moved    chan struct{}      // closed, and replaced, when a chunk has left or sending ended
	timer    *time.Timer
	closed   bool
	dead     bool // the lease is lost: output has nowhere to go
}

// stream is one of a Log's writers.
type stream struct {
	log   *Log
	name  string
	out   io.WriteCloser // redacts, then calls keep
	carry []byte         // an incomplete rune
}

// Init makes the Log ready. The context covers all storing: when it is done,
// what is not stored is lost.
func (l *Log) Init(ctx context.Context, cfg Config) {
	if cfg.Limit <= 0 {
		cfg.Limit = DefaultLimit
	}
	l.cfg, l.ctx = cfg, ctx
	for i, name := range []string{hostler.StreamStdout, hostler.StreamStderr, hostler.StreamSystem} {
		l.streams[i].log, l.streams[i].name = l, name
	}
}

// Stdout returns the writer of the stream; its writes never fail. It is safe for
// concurrent use, as are the other two.
func (l *Log) Stdout() io.Writer { return &l.streams[0] }

// Stderr returns the writer of the stream.
func (l *Log) Stderr() io.Writer { return &l.streams[1] }

// System returns the writer of the stream.
func (l *Log) System() io.Writer { return &l.streams[2] }

// Redact adds values that must not appear in what is written from now on.
func (l *Log) Redact(values ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.redact(); r != nil {
		r.Add(values...)
	}
}

func (l *Log) redact() Redactor {
	if l.redactor == nil && l.cfg.Redactor != nil {
		l.redactor = l.cfg.Redactor()
	}
	return l.redactor
}

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), writeStep)
		if !s.log.write(s, rest[:n]) {
			break
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// write takes one step of output and waits while too much is pending. It
// returns false when the Log takes no more.
func (l *Log) write(s *stream, p []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.dead {
		return false
	}
	if s.out == nil {
		s.out = passing{s}
		if r := l.redact(); r != nil {
			s.out = r.Writer(passing{s})
		}
	}
	// It ends in keep, which never fails.
	_, _ = s.out.Write(p)
	l.schedule()
	l.awaitRoom()
	return true
}

// passing is the end of a stream's redaction.
type passing struct{ s *stream }

func (w passing) Write(p []byte) (int, error) {
	w.s.keep(p)
	return len(p), nil
}

func (passing) Close() error { return nil }

// keep makes redacted bytes valid UTF-8 and keeps them. A rune that is split
// over two writes is not broken.
func (s *stream) keep(p []byte) {
	if len(s.carry) > 0 {
		p = append(s.carry, p...)
		s.carry = nil
	}
	whole := wholeRunes(p)
	if rest := p[whole:]; len(rest) > 0 {
		s.carry = append(make([]byte, 0, 2*len(rest)), rest...)
	}
	s.log.limit(s.name, validUTF8(p[:whole]))
}

// limit sends valid text to the head while it has room, then to the tail.
func (l *Log) limit(stream string, p []byte) {
	if len(p) == 0 {
		return
	}
	now := time.Now()
	if !l.headOver {
		room := l.cfg.Limit/2 - l.taken
		n := len(p)
		over := n > room
		if over {
			n = runeBoundary(p, room)
		}
		l.head.add(now, stream, p[:n])
		l.taken += n
		p = p[n:]
		if over {
			l.endHead()
		}
	}
	if len(p) > 0 {
		l.tail.add(now, stream, p)
		l.cut += l.tail.dropOver(l.cfg.Limit - l.cfg.Limit/2)
	}
}

// endHead sends all further output to the tail, and tells whoever follows.
func (l *Log) endHead() {
	l.headOver = true
	l.head.addLine(hostler.StreamSystem,
		"\n… long output: the rest is shown when the job is over … 输出较长，其余内容在作业结束后显示 …\n")
}

// schedule sees to it that the head leaves: now when it makes a chunk, else
// after the flush time.
func (l *Log) schedule() {
	switch {
	case l.sending || l.closed || l.head.empty():
	case l.head.makesChunk():
		l.startSending()
	case l.timer == nil:
		l.timer = time.AfterFunc(flushEvery, l.flush)
	}
}

func (l *Log) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = nil
	if !l.sending && !l.closed && !l.head.empty() {
		l.startSending()
	}
}

func (l *Log) startSending() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.sending = true
	var ctx context.Context
	ctx, l.stop = context.WithCancel(l.ctx)
	go l.send(ctx)
}

// send hands the head to the Sink, chunk by chunk, until less than a chunk is
// left, which waits for its time.
func (l *Log) send(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for first := true; !l.dead && !l.closed && (first || l.head.makesChunk()); first = false {
		chunk := l.nextChunk(&l.head)
		l.leaving = sizeOf(chunk.Lines)
		l.mu.Unlock()
		err := l.store(ctx, chunk)
		l.mu.Lock()
		l.leaving = 0
		l.settle(chunk, err)
	}
	l.stop()
	l.sending = false
	l.signal()
	l.schedule()
}

// settle notes how storing a chunk went.
func (l *Log) settle(chunk hostler.LogChunk, err error) {
	switch {
	case err == nil:
	case hostler.CodeOf(err) == hostler.CodeStale || l.ctx.Err() != nil:
		l.abandon()
	default:
		l.lost += sizeOf(chunk.Lines)
	}
	l.signal()
}

// abandon drops all that is not stored; nothing is taken any more.
func (l *Log) abandon() {
	l.dead = true
	l.head, l.tail = pieces{}, pieces{}
	if l.sending {
		l.stop()
	}
}

// signal wakes whoever waits for the head to move.
func (l *Log) signal() {
	if l.moved != nil {
		close(l.moved)
		l.moved = nil
	}
}

func (l *Log) moving() <-chan struct{} {
	if l.moved == nil {
		l.moved = make(chan struct{})
	}
	return l.moved
}

// awaitRoom holds a writer back while the head is full. When the Sink does not
// move at all, the head is over: what follows goes to the tail, which needs no
// Sink.
func (l *Log) awaitRoom() {
	for l.head.cost() >= maxPending && l.sending && !l.headOver {
		moved := l.moving()
		l.mu.Unlock()
		stalled := wait(l.ctx, moved, stallTime)
		l.mu.Lock()
		if stalled && !l.headOver {
			l.endHead()
		}
	}
}

// wait reports whether the time passed, or the context ended, without c being
// closed.
func wait(ctx context.Context, c <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c:
		return false
	case <-t.C:
		return true
	case <-ctx.Done():
		return true
	}
}

// nextChunk takes a chunk from the front of p.
func (l *Log) nextChunk(p *pieces) hostler.LogChunk {
	l.seq++
	return hostler.LogChunk{LeaseRef: l.cfg.Ref, Attempt: l.cfg.Attempt, Seq: l.seq, Lines: p.take(chunkLines, chunkBytes)}
}

// Delays between tries of one chunk.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 2 * time.Second
)

// store hands a chunk to the Sink until it is taken, refused for good, or the
// context ends.
func (l *Log) store(ctx context.Context, chunk hostler.LogChunk) error {
	for delay := retryFirst; ; delay = min(2*delay, retryMost) {
		err := l.cfg.Sink(ctx, chunk)
		switch code := hostler.CodeOf(err); {
		case err == nil:
			return nil
		case code == hostler.CodeStale:
			if l.cfg.Stale != nil {
				l.cfg.Stale()
			}
			return err
		case !code.Temporary():
			return err
		}
		wait(ctx, nil, delay)
		if ctx.Err() != nil {
			return err
		}
	}
}

// Clean returns s without the values that must not appear, for texts that do not
// go through a stream.
func (l *Log) Clean(s string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.redact()
	if r == nil || s == "" {
		return s
	}
	var b strings.Builder
	w := r.Writer(&b)
	// A strings.Builder takes everything.
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}
