package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/klauspost/compress/zstd"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// A block of output is stored as
//
//	version  1 byte   blockPlain or blockZstd: how the body is packed
//	body:
//	  count  uvarint  lines
//	  per line:
//	    at      varint   microseconds since the line before (the first: since 1970)
//	    stream  1 byte   index in blockStreams
//	    text    uvarint length, bytes
//
// A block without lines has no bytes. The version byte covers the body too: a new form
// of the body gets new versions.
const (
	blockPlain = 1
	blockZstd  = 2
)

// Limits of one block; the decoder refuses larger ones. They exceed what a worker sends
// in one chunk.
const (
	maxBlockLines = 1 << posLineBits
	maxBlockBytes = 1 << 20
	// maxBlockBody limits what the decoder unpacks: the text and the most that
	// the fields of every line can add.
	maxBlockBody = maxBlockBytes + maxBlockLines*(2*binary.MaxVarintLen64+1) + binary.MaxVarintLen64
	// plainBelow is the size below which compression does not pay.
	plainBelow = 256
)

// blockStreams numbers the streams. Numbers are stored: never change one.
var blockStreams = [...]string{hostler.StreamStdout, hostler.StreamStderr, hostler.StreamSystem}

// packer and unpacker hold no state between calls; they are expensive to create.
var (
	packer = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(128<<10), zstd.WithLowerEncoderMem(true))
	})
	unpacker = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(2),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxBlockBody))
	})
)

// EncodeBlock packs lines of output for storage. Lines of an unknown stream
// count as system; times keep their microseconds.
func EncodeBlock(lines []hostler.LogLine) []byte {
	if len(lines) == 0 {
		return nil
	}
	size := 1 + binary.MaxVarintLen64
	for i := range lines {
		size += len(lines[i].Text) + 16
	}
	b := append(make([]byte, 0, size), blockPlain)
	b = binary.AppendUvarint(b, uint64(len(lines)))
	var last int64
	for i := range lines {
		l := &lines[i]
		at := sqldb.Micros(l.At)
		b = binary.AppendVarint(b, at-last)
		b = append(b, streamNumber(l.Stream))
		b = binary.AppendUvarint(b, uint64(len(l.Text)))
		b = append(b, l.Text...)
		last = at
	}
	return pack(b)
}

// pack compresses a plain block when that makes it smaller.
func pack(plain []byte) []byte {
	if len(plain) < plainBelow {
		return plain
	}
	enc, err := packer()
	if err != nil {
		return plain
	}
	packed := enc.EncodeAll(plain[1:], []byte{blockZstd})
	if len(packed) >= len(plain) {
		return plain
	}
	return packed
}

func streamNumber(stream string) byte {
	for i, s := range blockStreams {
		if s == stream {
			return byte(i)
		}
	}
	return byte(len(blockStreams) - 1)
}

var errBlock = errors.New("damaged block of output")

// DecodeBlock unpacks a block of [EncodeBlock].
func DecodeBlock(block []byte) ([]hostler.LogLine, error) {
	if len(block) == 0 {
		return nil, nil
	}
	body := block[1:]
	switch block[0] {
	case blockPlain:
	case blockZstd:
		dec, err := unpacker()
		if err != nil {
			return nil, fmt.Errorf("unpack output: %w", err)
		}
		if body, err = dec.DecodeAll(body, nil); err != nil {
			return nil, fmt.Errorf("%w: %w", errBlock, err)
		}
	default:
		return nil, fmt.Errorf("%w: version %d is not known", errBlock, block[0])
	}
	return decodeLines(body)
}

func decodeLines(body []byte) ([]hostler.LogLine, error) {
	n, body, ok := uvarint(body)
	if !ok || n == 0 || n > maxBlockLines {
		return nil, errBlock
	}
	// A line takes three bytes at least: do not trust the count further.
	lines := make([]hostler.LogLine, 0, min(n, uint64(len(body))/3))
	var at int64
	for range n {
		d, w := binary.Varint(body)
		if w <= 0 || len(body) == w {
			return nil, errBlock
		}
		stream := int(body[w])
		size, rest, ok := uvarint(body[w+1:])
		if !ok || stream >= len(blockStreams) || size > uint64(len(rest)) {
			return nil, errBlock
		}
		if d > 0 && at > math.MaxInt64-d || d < 0 && at < math.MinInt64-d {
			return nil, errBlock
		}
		at += d
		lines = append(lines, hostler.LogLine{At: sqldb.Time(at), Stream: blockStreams[stream], Text: string(rest[:size])})
		body = rest[size:]
	}
	if len(body) != 0 {
		return nil, errBlock
	}
	return lines, nil
}

func uvarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, w := binary.Uvarint(b)
	if w <= 0 {
		return 0, nil, false
	}
	return v, b[w:], true
}

// A position identifies a line of a job's output: the fence of its
// attempt, the number of its block in the attempt, and its index in the block.
// It grows from line to line and from attempt to attempt, does not change when
// blocks are added, and fits 53 bits, so that it is a safe JSON number.
const (
	posLineBits  = 12
	posSeqBits   = 24
	posFenceBits = 53 - posSeqBits - posLineBits

	// inlineSeq is the block number of the output that came with the report. Such
	// an attempt has no other block.
	inlineSeq = 1<<posSeqBits - 1
	// LastLogSeq is the last sequence number that AppendLog takes.
	LastLogSeq = inlineSeq - 1
)

func position(fence, seq int64, line int) int64 {
	return (fence<<posSeqBits|seq)<<posLineBits | int64(line)
}

func splitPosition(pos int64) (fence, seq int64, line int) {
	block := pos >> posLineBits
	return block >> posSeqBits, block & (1<<posSeqBits - 1), int(pos & (1<<posLineBits - 1))
}
