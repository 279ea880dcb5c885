package runlog

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"hostler.dev/hostler"
)

// Close ends the output and waits until all of it is stored. It returns the
// lines that are left for the job's report: with inline, the whole output when
// it is small and no chunk of it has left; after a failure, a line that says how
// much is missing. The error says why output could not be stored; nothing is to
// be done about it but to note it. It waits for most at most.
//
// Writes that come later are ignored.
func (l *Log) Close(most time.Duration, inline bool) ([]hostler.LogLine, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nil
	}
	l.release()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if l.cut > 0 {
		l.head.addLine(hostler.StreamSystem, cutMarker(l.cut))
	}
	if inline && l.seq == 0 && l.tail.empty() && l.head.size() <= inlineBytes && l.head.len() <= chunkLines {
		return l.head.take(chunkLines, inlineBytes), nil
	}
	ctx, cancel := context.WithTimeout(l.ctx, most)
	defer cancel()
	return l.drain(ctx)
}

// Discard ends the output without storing what is left.
func (l *Log) Discard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.abandon()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.signal()
}

// release lets go of what the redactors and the UTF-8 decoders hold back.
func (l *Log) release() {
	for i := range l.streams {
		s := &l.streams[i]
		if s.out == nil {
			continue
		}
		// Closing ends in keep, which never fails.
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
		moved := l.moving()
		l.mu.Unlock()
		wait(ctx, moved, stallTime)
		l.mu.Lock()
	}
	var why error
	for _, p := range []*pieces{&l.head, &l.tail} {
		for !p.empty() && !l.dead && ctx.Err() == nil {
			chunk := l.nextChunk(p)
			l.mu.Unlock()
			err := l.store(ctx, chunk)
			l.mu.Lock()
			l.settle(chunk, err)
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

// missing drops what is left and makes the line that says how much is missing,
// if anything is.
func (l *Log) missing(why error) ([]hostler.LogLine, error) {
	lost := l.lost + l.leaving + l.head.size() + l.tail.size()
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

func cutMarker(n int64) string {
	return fmt.Sprintf("\n… %d bytes left out … 省略 %[1]d 字节 …\n", n)
}

func sizeOf(lines []hostler.LogLine) int {
	n := 0
	for i := range lines {
		n += len(lines[i].Text)
	}
	return n
}
