package runlog

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/wait"
)

// Close ends the output and stores the rest of it, within limit. It returns lines for the
// job's report: with inline, the whole output if it is small and no chunk of it was stored;
// after a failure, a line with the number of missing bytes. The error is why output could not
// be stored; callers can only log it.
//
// Later writes are ignored.
func (l *Log) Close(limit time.Duration, inline bool) ([]hostler.LogLine, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nil
	}
	l.flushStreams()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if l.dropped > 0 {
		l.head.addLine(hostler.StreamSystem, droppedMarker(l.dropped))
	}
	if inline && l.seq == 0 && l.tail.empty() && l.head.size() <= inlineBytes && l.head.len() <= chunkLines {
		return l.head.take(chunkLines, inlineBytes), nil
	}
	ctx, cancel := context.WithTimeout(l.ctx, limit)
	defer cancel()
	return l.drain(ctx)
}

// Discard ends the output without storing the rest.
func (l *Log) Discard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.abandon()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.notify()
}

// flushStreams writes what the redactors and the UTF-8 decoders hold back.
func (l *Log) flushStreams() {
	for i := range l.streams {
		s := &l.streams[i]
		if s.out == nil {
			continue
		}
		// Closing ends in take, which never fails.
		_ = s.out.Close()
		if len(s.carry) > 0 {
			l.limit(s.name, validUTF8(s.carry))
			s.carry = nil
		}
	}
}

// drain stores the rest of the head, then the tail.
func (l *Log) drain(ctx context.Context) ([]hostler.LogLine, error) {
	for l.sending && ctx.Err() == nil {
		changed := l.onChange()
		l.mu.Unlock()
		_, _ = wait.Signal(ctx, stallTime, changed)
		l.mu.Lock()
	}
	var why error
	for _, p := range []*pieces{&l.head, &l.tail} {
		for !p.empty() && !l.dead && ctx.Err() == nil {
			chunk := l.nextChunk(p)
			l.mu.Unlock()
			err := l.store(ctx, chunk)
			l.mu.Lock()
			l.recordStored(chunk, err)
			if err != nil {
				why = err
			}
		}
	}
	if l.dead {
		return nil, nil
	}
	return l.missing(cmp.Or(why, context.Cause(ctx)))
}

// missing drops the rest and, if anything is missing, returns a line with the number of
// bytes.
func (l *Log) missing(why error) ([]hostler.LogLine, error) {
	lost := l.refused + l.inFlight + l.head.size() + l.tail.size()
	l.abandon()
	if lost == 0 {
		return nil, nil
	}
	var line pieces
	line.addLine(hostler.StreamSystem, fmt.Sprintf(
		"\n… %d bytes of output could not be stored … 有 %[1]d 字节输出未能保存 …\n", lost))
	err := hostler.Errorf(hostler.CodeUnavailable,
		"%d bytes of output could not be stored", "有 %d 字节输出未能保存", lost)
	err.Cause = why
	return line.take(1, inlineBytes), err
}

func droppedMarker(n int64) string {
	return fmt.Sprintf("\n… %d bytes left out … 省略 %[1]d 字节 …\n", n)
}

func sizeOf(lines []hostler.LogLine) int {
	n := 0
	for i := range lines {
		n += len(lines[i].Text)
	}
	return n
}
