package store

import (
	"context"
	"fmt"
	"math"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

const (
	// readAhead is how many blocks one statement reads at most.
	readAhead = 16
	// linesPerBlock is how many lines a block has at least, as a guess: a reader of few
	// lines reads few blocks.
	linesPerBlock = 64
)

// Limits of one transaction that stores output.
const (
	logBatchBlocks = 100
	logBatchBytes  = 4 << 20
)

// newBlock is a row of table log_block as it is inserted.
type newBlock struct {
	Job  hostler.JobID `db:"job"`
	At   time.Time     `db:"at"`
	Size int           `db:"size"`
	logBlock
}

// AppendLogs stores blocks of jobs' output, each a chunk; nil means that they are
// durable. A block that exists is left as it is. The caller checks that the leases still
// hold. CodeTooLarge: a block, or a job's log, exceeds a limit of the format.
func (s *Store) AppendLogs(ctx context.Context, chunks []hostler.LogChunk) error {
	var rows []newBlock
	size := 0
	for i := range chunks {
		c := &chunks[i]
		if len(c.Lines) == 0 {
			continue
		}
		if err := checkBlock(c.Fence, c.Seq, c.Lines); err != nil {
			return err
		}
		// Encoded before the transaction, which others may wait for.
		block := logBlock{Fence: c.Fence, Seq: int64(c.Seq), Attempt: c.Attempt, Data: EncodeBlock(c.Lines)}
		rows = append(rows, newBlock{Job: c.Job, Size: textSize(c.Lines), logBlock: block})
		if size += len(block.Data); len(rows) == logBatchBlocks || size >= logBatchBytes {
			if err := s.insertBlocks(ctx, rows); err != nil {
				return err
			}
			rows, size = rows[:0], 0
		}
	}
	return s.insertBlocks(ctx, rows)
}

func (s *Store) insertBlocks(ctx context.Context, rows []newBlock) error {
	if len(rows) == 0 {
		return nil
	}
	return s.inTx(ctx, s.log, func(tx *Tx) error {
		for i := range rows {
			// Stamped by the database's clock: retention must not trust a worker's.
			rows[i].At = tx.now
		}
		_, err := insertNew(tx, "log_block", "job, fence, seq", rows)
		return err
	})
}

func checkBlock(fence int64, seq int, lines []hostler.LogLine) error {
	if seq < 1 || fence < 0 {
		return hostler.Invalid("seq", "chunks of output are counted from 1", "输出分块从 1 开始编号")
	}
	if seq >= inlineSeq || fence >= 1<<posFenceBits || len(lines) > maxBlockLines || textSize(lines) > maxBlockBytes {
		return hostler.Errorf(hostler.CodeTooLarge,
			"a chunk of output holds at most %d lines and %d bytes",
			"每个输出分块最多 %d 行、%d 字节", maxBlockLines, maxBlockBytes)
	}
	return nil
}

func textSize(lines []hostler.LogLine) int {
	n := 0
	for i := range lines {
		n += len(lines[i].Text)
	}
	return n
}

// LogBytes is the size of the lines beyond which [Store.ReadLog] for some number of lines
// reads no further: a follower holds what it has read until its client has taken it.
func LogBytes(lines int) int { return min(max(lines<<10, 256<<10), 2<<20) }

// ReadLog reads a job's output in order, over all its attempts: at most limit
// lines after the position after (0 for the start), and not much more than LogBytes. It
// returns the position to go on from; fewer lines, of fewer bytes, mean that there are no
// more by now.
func (s *Store) ReadLog(ctx context.Context, job hostler.JobID, after int64, limit int) (
	entries []hostler.LogEntry, next int64, err error,
) {
	// Before the blocks: a reader that sees the end then sees all that comes before.
	last, err := s.inlineBlock(ctx, job)
	if err != nil {
		return nil, after, err
	}
	fence, seq, _ := splitPosition(max(after, 0))
	ahead := min(max(limit/linesPerBlock, 1), readAhead)
	for size := 0; len(entries) < limit && size < LogBytes(limit); {
		blocks, err := s.logBlocks(ctx, `SELECT @cols FROM log_block
WHERE job = ? AND (fence, seq) >= (?, ?) ORDER BY fence, seq LIMIT ?`, job, fence, seq, ahead)
		if err != nil {
			return nil, after, err
		}
		full := len(blocks) == ahead
		if !full && last != nil {
			blocks = append(blocks, *last)
		}
		have := len(entries)
		for i := range blocks {
			if entries, err = blocks[i].appendAfter(entries, after); err != nil {
				return nil, after, fmt.Errorf("output of job %v: %w", job, err)
			}
		}
		if !full {
			break
		}
		fence, seq = blocks[len(blocks)-1].Fence, blocks[len(blocks)-1].Seq+1
		for _, e := range entries[have:] {
			size += len(e.Text)
		}
	}
	if len(entries) > limit {
		entries = entries[:limit]
	}
	if len(entries) == 0 {
		return nil, after, nil
	}
	return entries, entries[len(entries)-1].Pos, nil
}

// TailStart returns the position after which the last n lines of a job's output begin.
func (s *Store) TailStart(ctx context.Context, job hostler.JobID, n int) (after int64, err error) {
	last, err := s.inlineBlock(ctx, job)
	if err != nil {
		return 0, err
	}
	// skip counts the lines of a block; it is done when the tail begins in it.
	skip := func(b *logBlock) (done bool, err error) {
		lines, err := b.appendAfter(nil, 0)
		if err != nil {
			return false, fmt.Errorf("output of job %v: %w", job, err)
		}
		if len(lines) < n {
			n -= len(lines)
			return false, nil
		}
		after = lines[len(lines)-n].Pos - 1
		return true, nil
	}
	if last != nil {
		if done, err := skip(last); done || err != nil {
			return after, err
		}
	}
	fence, seq := int64(math.MaxInt64), int64(0)
	for {
		blocks, err := s.logBlocks(ctx, `SELECT @cols FROM log_block
WHERE job = ? AND (fence, seq) < (?, ?) ORDER BY fence DESC, seq DESC LIMIT ?`, job, fence, seq, readAhead)
		if err != nil {
			return 0, err
		}
		for i := range blocks {
			if done, err := skip(&blocks[i]); done || err != nil {
				return after, err
			}
			fence, seq = blocks[i].Fence, blocks[i].Seq
		}
		if len(blocks) < readAhead {
			return 0, nil
		}
	}
}

// TailLog reads the last n lines of a job's output, in order: those at their beginning
// when they have more than LogBytes, see ReadLog.
func (s *Store) TailLog(ctx context.Context, job hostler.JobID, n int) ([]hostler.LogEntry, error) {
	if n < 1 {
		return nil, nil
	}
	after, err := s.TailStart(ctx, job, n)
	if err != nil {
		return nil, err
	}
	entries, _, err := s.ReadLog(ctx, job, after, n)
	return entries, err
}

// logBlock is one stored block of output.
type logBlock struct {
	Fence   int64  `db:"fence"`
	Seq     int64  `db:"seq"`
	Attempt int    `db:"attempt"`
	Data    []byte `db:"data"`
}

// appendAfter decodes the block and adds the lines after a position.
func (b *logBlock) appendAfter(entries []hostler.LogEntry, after int64) ([]hostler.LogEntry, error) {
	if position(b.Fence, b.Seq, maxBlockLines-1) <= after {
		return entries, nil
	}
	lines, err := DecodeBlock(b.Data)
	if err != nil {
		return nil, err
	}
	for i := range lines {
		if pos := position(b.Fence, b.Seq, i); pos > after {
			entries = append(entries, hostler.LogEntry{Pos: pos, Attempt: b.Attempt, LogLine: lines[i]})
		}
	}
	return entries, nil
}

func (s *Store) logBlocks(ctx context.Context, sql string, args ...any) ([]logBlock, error) {
	var blocks []logBlock
	err := s.log.View(ctx, func(c sqldb.Conn) (err error) {
		blocks, err = query[logBlock](&Tx{ctx: ctx, c: c}, sql, args...)
		return err
	})
	return blocks, err
}

// inlineBlock reads the output that came with the report of an ended job; nil
// when there is none.
func (s *Store) inlineBlock(ctx context.Context, job hostler.JobID) (*logBlock, error) {
	type ended struct {
		Fence   int64  `db:"fence"`
		Attempt int    `db:"attempt"`
		Output  []byte `db:"output"`
	}
	var e *ended
	err := s.View(ctx, func(tx *Tx) (err error) {
		e, err = endedJob[ended](tx, job, ``)
		return err
	})
	if err != nil || e == nil || len(e.Output) == 0 {
		return nil, err
	}
	return &logBlock{Fence: e.Fence, Seq: inlineSeq, Attempt: e.Attempt, Data: e.Output}, nil
}
