package runlog

import (
	"time"

	"hostler.dev/hostler"
)

const (
	// joinWithin is how far apart in time two writes to one stream may be to become one
	// piece.
	joinWithin = 10 * time.Millisecond
	pieceBytes = 16 << 10
	// pieceCost is the memory that the record of a piece counts for, in addition to its
	// text.
	pieceCost = 48
)

// pieces is a queue of pieces of output: their text in one buffer, with a record for each.
//
//	buf    ░░░░░░░░│text│text…│text│
//	       ^       ^ from
//	recs   ░░░░│rec│rec│rec│        taken records: recs[:done]
//
// Free space at the front is reused, so that any amount of output passes through without
// allocating.
type pieces struct {
	buf  []byte
	from int // start of the first piece
	recs []piece
	done int // records that were taken from the front
}

type piece struct {
	at     time.Time
	stream string
	size   int
}

func (p *pieces) empty() bool { return p.done == len(p.recs) }

// size returns the bytes of text in the queue.
func (p *pieces) size() int { return len(p.buf) - p.from }

// cost returns the memory of the queue: the text and its records.
func (p *pieces) cost() int { return p.size() + p.len()*pieceCost }

func (p *pieces) len() int { return len(p.recs) - p.done }

// fillsChunk reports whether the queue fills a chunk.
func (p *pieces) fillsChunk() bool {
	return p.size() >= chunkBytes || p.len() >= chunkLines
}

// add appends text. It joins the last piece if that is of the same stream and less than
// joinWithin old.
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
		if r := &p.recs[len(p.recs)-1]; r.stream == stream &&
			r.size+len(text) <= pieceBytes && at.Sub(r.at) < joinWithin {
			r.size += len(text)
			return
		}
	}
	p.recs = append(p.recs, piece{at, stream, len(text)})
}

func (p *pieces) addLine(stream, text string) { p.addPiece(time.Now(), stream, []byte(text)) }

// compact moves the queue to the front when that frees a fifth of the buffer.
func (p *pieces) compact() {
	if p.from > 0 && p.from >= p.size()/4 {
		p.buf = p.buf[:copy(p.buf, p.buf[p.from:])]
		p.from = 0
	}
	if p.done > 0 && p.done >= p.len() {
		p.recs = p.recs[:copy(p.recs, p.recs[p.done:])]
		p.done = 0
	}
}

// dropOver drops pieces from the front until the rest, with its records, fits into limit
// bytes. It returns the bytes of text that it dropped.
func (p *pieces) dropOver(limit int) (dropped int64) {
	for !p.empty() && p.cost() > limit {
		n := p.recs[p.done].size
		p.done++
		p.from += n
		dropped += int64(n)
	}
	return dropped
}

// take removes up to maxLines pieces of up to maxBytes in total from the front; at least one
// if there is any.
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
	// One string for all: the lines of a chunk are released together.
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
