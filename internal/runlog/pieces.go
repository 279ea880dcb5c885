package runlog

import (
	"time"

	"hostler.dev/hostler"
)

const (
	// joinWithin is how far apart in time two writes to one stream may be to
	// count as one piece.
	joinWithin = 10 * time.Millisecond
	pieceBytes = 16 << 10
	// pieceCost is what the record of a piece counts for, beside its text, where
	// memory is bounded.
	pieceCost = 48
)

// pieces is a queue of pieces of output: their text in one buffer, with a
// record for each. Room at the front is reused, so that any amount of output
// passes through without garbage.
type pieces struct {
	buf  []byte
	from int // start of the first piece
	recs []piece
	done int // records that were taken
}

type piece struct {
	at     time.Time
	stream string
	size   int
}

func (p *pieces) empty() bool { return p.done == len(p.recs) }

// size is the bytes of text that wait.
func (p *pieces) size() int { return len(p.buf) - p.from }

// cost is what counts where memory is bounded: the text and its records.
func (p *pieces) cost() int { return p.size() + p.len()*pieceCost }

func (p *pieces) len() int { return len(p.recs) - p.done }

// makesChunk reports whether what waits fills a chunk.
func (p *pieces) makesChunk() bool {
	return p.size() >= chunkBytes || p.len() >= chunkLines
}

// add puts text at the end, joined to the last piece when it belongs to the same
// stream and moment.
func (p *pieces) add(at time.Time, stream string, text []byte) {
	p.compact()
	for len(text) > 0 {
		n := len(text)
		if n > pieceBytes {
			n = runeBoundary(text, pieceBytes)
		}
		p.addPiece(at, stream, text[:n])
		text = text[n:]
	}
}

func (p *pieces) addPiece(at time.Time, stream string, text []byte) {
	p.buf = append(p.buf, text...)
	if !p.empty() {
		if r := &p.recs[len(p.recs)-1]; r.stream == stream && r.size+len(text) <= pieceBytes && at.Sub(r.at) < joinWithin {
			r.size += len(text)
			return
		}
	}
	p.recs = append(p.recs, piece{at, stream, len(text)})
}

func (p *pieces) addLine(stream, text string) { p.addPiece(time.Now(), stream, []byte(text)) }

// compact moves what waits to the front when that frees half of the buffer.
func (p *pieces) compact() {
	if p.from > 0 && p.from >= p.size() {
		p.buf = p.buf[:copy(p.buf, p.buf[p.from:])]
		p.from = 0
	}
	if p.done > 0 && p.done >= p.len() {
		p.recs = p.recs[:copy(p.recs, p.recs[p.done:])]
		p.done = 0
	}
}

// dropOver drops pieces from the front until the rest, with its records, fits
// into limit bytes. It returns the bytes of text that it dropped.
func (p *pieces) dropOver(limit int) (dropped int64) {
	for !p.empty() && p.cost() > limit {
		n := p.recs[p.done].size
		p.done++
		p.from += n
		dropped += int64(n)
	}
	return dropped
}

// take removes up to maxLines pieces of together up to maxBytes from the front;
// at least one, if there is any.
func (p *pieces) take(maxLines, maxBytes int) []hostler.LogLine {
	n, size := 0, 0
	for n < maxLines && p.done+n < len(p.recs) {
		s := p.recs[p.done+n].size
		if n > 0 && size+s > maxBytes {
			break
		}
		n++
		size += s
	}
	if n == 0 {
		return nil
	}
	// One string for all: the lines of a chunk live and die together.
	text := string(p.buf[p.from : p.from+size])
	lines := make([]hostler.LogLine, n)
	for i := range lines {
		r := p.recs[p.done+i]
		lines[i] = hostler.LogLine{At: r.at, Stream: r.stream, Text: text[:r.size]}
		text = text[r.size:]
	}
	p.done += n
	p.from += size
	return lines
}
