// Package runlog takes the output of a running job from the action to the store.
//
// # Model
//
// A [Log] has three streams: stdout, stderr and system. What is written to one of them is
// redacted, made valid UTF-8, limited, and gathered into chunks that a [Sink] stores:
//
//	Write ─▶ redact ─▶ UTF-8 ─▶ limit ─┬─▶ head ─▶ chunks ─▶ Sink   while the job runs
//	                                   └─▶ tail ─────────────▶ Sink   by Close
//
// The head is the first half of the limit and is stored as it comes, so that people can
// follow a job. The tail is the last half and stays in memory until the end; what is
// between the two is dropped, and a line has the number of bytes.
//
// A small output that no chunk was stored of is returned by [Log.Close] instead, and travels
// in the job's report: one write for most jobs.
//
// # Invariants
//
//   - BoundedMemory: the head waits in at most maxPending bytes, the tail in half of the
//     limit, whatever is written. The tails of all jobs have a bound together ([Tails]):
//     once it is reached, a tail keeps what it has, but at least leastTail.
//   - BoundedWait: a write waits for the Sink for at most stallTime. If the Sink stores
//     nothing in that time, the rest of the output goes to the tail.
//   - Ordered: lines are stored in the order in which they were written. Chunks are numbered
//     from 1 without gaps, and repeated unchanged until the Sink has stored them.
//   - Redacted: nothing that the Redactor removes leaves the Log, also when it was written in
//     several parts.
package runlog

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/wait"
)

// DefaultLimit is how many bytes of a job's output are stored unless Config.Limit is set.
const DefaultLimit = 10 << 20

const (
	flushInterval = 250 * time.Millisecond // how long a line may wait for its chunk
	chunkBytes    = 64 << 10
	chunkLines    = 2048
	// inlineBytes is the largest output that Close returns instead of storing it.
	inlineBytes = 4 << 10
	maxPending  = 1 << 20
	stallTime   = 5 * time.Second
	// writeStep is how much of a write is handled before the pending bytes are checked
	// again.
	writeStep = 32 << 10
)

// Sink stores one chunk durably. After a temporary error it is called again with the same
// chunk; it is never called concurrently. CodeStale means that the lease is lost.
type Sink func(ctx context.Context, chunk hostler.LogChunk) error

// Redactor removes secrets from a stream; secret.Redactor is one.
type Redactor interface {
	// Add adds values to remove.
	Add(values ...string)
	// Writer returns a writer to next that removes the values. It may hold back bytes that
	// could be the start of a value; Close writes them.
	Writer(next io.Writer) io.WriteCloser
}

// Config configures a Log.
type Config struct {
	Ref     hostler.LeaseRef
	Attempt int
	Sink    Sink
	// Redactor returns the Log's redactor; it is called at the first use. Nil removes
	// nothing.
	Redactor func() Redactor
	// Limit is how many bytes are stored: half from the beginning, half from the end. 0
	// means DefaultLimit.
	Limit int
	// Tails is shared by the Logs of a process, and bounds their tails together; nil does
	// not.
	Tails *Tails
	// Stale is called when the Sink returns CodeStale.
	Stale func()
}

// Log takes the output of one attempt of a job. Init makes it ready; it allocates nothing
// until something is written.
type Log struct {
	cfg Config
	ctx context.Context //nolint:containedctx // chunks are stored in the background until it is done

	streams [3]stream

	mu       sync.Mutex
	redactor Redactor
	head     pieces // to be stored while the job runs
	tail     pieces // what follows the head; its front is dropped over the limit
	taken    int    // bytes that went to the head so far
	headFull bool
	held     int   // what the tail counts for in Config.Tails
	dropped  int64 // bytes dropped between head and tail
	refused  int   // bytes of chunks that the Sink refused for good
	inFlight int   // bytes of the chunk that send is storing
	seq      int   // chunks passed to the Sink
	sending  bool
	stop     context.CancelFunc // stops send
	changed  chan struct{}      // closed when a chunk was stored or sending ended; nil: no waiter
	timer    *time.Timer
	closed   bool
	dead     bool // the lease is lost: output cannot be stored
}

// stream is one of a Log's writers.
type stream struct {
	log   *Log
	name  string
	out   io.WriteCloser // redacts, then calls take
	carry []byte         // an incomplete rune
}

// Init makes the Log ready. When the context is done, output that is not stored yet is lost.
func (l *Log) Init(ctx context.Context, cfg Config) {
	if cfg.Limit <= 0 {
		cfg.Limit = DefaultLimit
	}
	l.cfg, l.ctx = cfg, ctx
	for i, name := range []string{hostler.StreamStdout, hostler.StreamStderr, hostler.StreamSystem} {
		l.streams[i].log, l.streams[i].name = l, name
	}
}

// Stdout returns the writer of the stream. Writes never fail. The writers are safe for
// concurrent use.
func (l *Log) Stdout() io.Writer { return &l.streams[0] }

// Stderr returns the writer of the stream.
func (l *Log) Stderr() io.Writer { return &l.streams[1] }

// System returns the writer of the stream.
func (l *Log) System() io.Writer { return &l.streams[2] }

// AddSecrets adds values that are removed from what is written from now on.
func (l *Log) AddSecrets(values ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.theRedactor(); r != nil {
		r.Add(values...)
	}
}

func (l *Log) theRedactor() Redactor {
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

// write handles one step of a write and waits while too much is pending. It returns false
// when the Log takes no more output.
func (l *Log) write(s *stream, p []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.dead {
		return false
	}
	if s.out == nil {
		s.out = redacted{s}
		if r := l.theRedactor(); r != nil {
			s.out = r.Writer(redacted{s})
		}
	}
	// It ends in take, which never fails.
	_, _ = s.out.Write(p)
	l.schedule()
	l.awaitSpace()
	return true
}

// redacted receives a stream's output after redaction.
type redacted struct{ s *stream }

func (w redacted) Write(p []byte) (int, error) {
	w.s.take(p)
	return len(p), nil
}

func (redacted) Close() error { return nil }

// take makes redacted bytes valid UTF-8 and adds them to the Log. A rune that is split over
// two writes stays whole.
func (s *stream) take(p []byte) {
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

// limit adds valid text to the head until that is full, then to the tail.
func (l *Log) limit(stream string, p []byte) {
	if len(p) == 0 {
		return
	}
	now := time.Now()
	if !l.headFull {
		space := l.cfg.Limit/2 - l.taken
		n := len(p)
		over := n > space
		if over {
			n = runeBoundary(p, space)
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
		l.dropped += l.tail.dropOver(l.cfg.Tails.limit(l.cfg.Limit-l.cfg.Limit/2, l.held))
		l.countTail()
	}
}

// countTail counts the size of the tail in what the tails of all Logs share.
func (l *Log) countTail() {
	size := l.tail.cost()
	l.cfg.Tails.add(size - l.held)
	l.held = size
}

// endHead directs all further output to the tail, and adds a line for people who follow the
// job.
func (l *Log) endHead() {
	l.headFull = true
	l.head.addLine(hostler.StreamSystem,
		"\n… long output: the rest is shown when the job has ended … 输出较长，其余内容在作业结束后显示 …\n")
}

// schedule starts storing the head: at once if it fills a chunk, otherwise after
// flushInterval.
func (l *Log) schedule() {
	switch {
	case l.sending || l.closed || l.head.empty():
	case l.head.fillsChunk():
		l.startSending()
	case l.timer == nil:
		l.timer = time.AfterFunc(flushInterval, l.flush)
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

// send stores the head, chunk by chunk, until less than a chunk is left.
func (l *Log) send(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for first := true; !l.dead && !l.closed && (first || l.head.fillsChunk()); first = false {
		chunk := l.nextChunk(&l.head)
		l.inFlight = sizeOf(chunk.Lines)
		l.mu.Unlock()
		err := l.store(ctx, chunk)
		l.mu.Lock()
		l.inFlight = 0
		l.recordStored(chunk, err)
	}
	l.stop()
	l.sending = false
	l.notify()
	l.schedule()
}

// recordStored records the outcome of storing a chunk.
func (l *Log) recordStored(chunk hostler.LogChunk, err error) {
	switch {
	case err == nil:
	case hostler.CodeOf(err) == hostler.CodeStale || l.ctx.Err() != nil:
		l.abandon()
	default:
		l.refused += sizeOf(chunk.Lines)
	}
	l.notify()
}

// abandon drops everything that is not stored, and takes no more output.
func (l *Log) abandon() {
	l.dead = true
	l.head, l.tail = pieces{}, pieces{}
	l.countTail()
	if l.sending {
		l.stop()
	}
}

// notify lets writers that wait for the head check again.
func (l *Log) notify() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

func (l *Log) onChange() <-chan struct{} {
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}

// awaitSpace blocks a writer while maxPending bytes of the head are not stored. If the Sink
// stores nothing within stallTime, the rest goes to the tail, which needs no Sink.
func (l *Log) awaitSpace() {
	for l.head.cost() >= maxPending && l.sending && !l.headFull {
		changed := l.onChange()
		l.mu.Unlock()
		stored, _ := wait.Signal(l.ctx, stallTime, changed)
		l.mu.Lock()
		if !stored && !l.headFull {
			l.endHead()
		}
	}
}

// nextChunk removes a chunk from the front of p.
func (l *Log) nextChunk(p *pieces) hostler.LogChunk {
	l.seq++
	return hostler.LogChunk{
		LeaseRef: l.cfg.Ref, Attempt: l.cfg.Attempt, Seq: l.seq, Lines: p.take(chunkLines, chunkBytes),
	}
}

// store passes a chunk to the Sink until it is stored, refused for good, or the context
// ends.
func (l *Log) store(ctx context.Context, chunk hostler.LogChunk) error {
	retry := wait.Backoff{First: 100 * time.Millisecond, Max: 2 * time.Second}
	for {
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
		if retry.Sleep(ctx) != nil {
			return err
		}
	}
}

// RedactText returns s without the secrets, for texts that do not go through a stream.
func (l *Log) RedactText(s string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.theRedactor()
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
