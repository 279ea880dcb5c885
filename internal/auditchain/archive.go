package auditchain

import (
	"bufio"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"hostler.dev/hostler"
)

// Header is the first line of an archive: what the range follows, and its last position.
type Header struct {
	Format   int   `json:"hostler_audit"` // 1
	Base     int64 `json:"base"`
	BaseHash Hash  `json:"base_hash"`
	Pos      int64 `json:"pos"`
}

// Seal is the last line of an archive: it signs both ends of the range.
type Seal struct {
	Base     int64 `json:"base"`
	BaseHash Hash  `json:"base_hash"`
	Pos      int64 `json:"pos"`
	Hash     Hash  `json:"hash"`
	// Seq is the number of the newest checkpoint when the range was signed: an older key signs
	// nothing after its last one.
	Seq       int64     `json:"seq,omitempty"`
	At        time.Time `json:"at"`
	Key       string    `json:"key"`
	Signature []byte    `json:"signature,omitempty"`
}

// entry is a line between them. Record is kept as it was written: the hash covers its
// bytes.
type entry struct {
	Record json.RawMessage `json:"record,omitempty"`
	Hash   Hash            `json:"hash"`
	Seal   *Seal           `json:"seal,omitempty"`
}

// archiveFormat is the version of the layout.
const archiveFormat = 1

// maxArchiveLine bounds a line of an archive that is read.
const maxArchiveLine = 16 << 20

// Archive writes an archive file.
type Archive struct {
	Walk

	w    *bufio.Writer
	seal Seal
	err  error
}

// WriteArchive begins an archive of the positions after base up to pos.
func WriteArchive(w io.Writer, base int64, baseHash Hash, pos int64) *Archive {
	a := &Archive{
		Walk: Walk{Pos: base, Hash: baseHash}, w: bufio.NewWriter(w),
		seal: Seal{Base: base, BaseHash: baseHash, Pos: pos},
	}
	a.line(Header{archiveFormat, base, baseHash, pos})
	return a
}

// Add writes the next position. A row that does not verify is not archived: its fault is
// returned.
func (a *Archive) Add(pos int64, id hostler.AuditID, stored Hash, record []byte) *hostler.AuditFault {
	fault := a.Link(pos, id, stored, record)
	if fault == nil {
		a.line(entry{Record: record, Hash: stored})
	}
	return fault
}

// Close signs the range; seq is the number of the newest checkpoint.
func (a *Archive) Close(k Key, seq int64, at time.Time) error {
	if a.err == nil && a.Pos != a.seal.Pos {
		return fmt.Errorf("the archive ends at position %d, not %d", a.Pos, a.seal.Pos)
	}
	s := a.seal
	s.Hash, s.Seq, s.At, s.Key = a.Hash, seq, at.UTC(), k.ID
	s.Signature = ed25519.Sign(k.private, statement(purposeArchive, s))
	a.line(entry{Hash: a.Hash, Seal: &s})
	return errors.Join(a.err, a.w.Flush())
}

func (a *Archive) line(v any) {
	b, err := json.Marshal(v)
	if err == nil && a.err == nil {
		_, err = a.w.Write(append(b, '\n'))
	}
	if a.err == nil {
		a.err = err
	}
}

// ArchiveResult is what the verification of an archive found.
type ArchiveResult struct {
	Rows           int
	Base, Pos      int64
	BaseHash, Hash Hash
	Key            string // that sealed it
	At             time.Time
	// Follows reports that the archive continues the one before.
	Follows bool
	Faults  []hostler.AuditFault
	// Watched are the hashes of the positions that were asked for, as far as the file has them.
	Watched map[int64]Hash
}

// End is the end of the archive, which the next one continues.
func (r ArchiveResult) End() Walk { return Walk{Pos: r.Pos, Hash: r.Hash} }

// maxFaults is how many faults are listed; more tell nothing new.
const maxFaults = 100

// VerifyArchive verifies an archive, and compares it with the end of the one before. The
// two may overlap: a server that stopped while it deleted rows, and several servers at
// once, archive some rows again. watch are positions whose hashes the caller compares. The
// error is of the reader, or that the file is none at all.
func (t Trust) VerifyArchive(r io.Reader, before Walk, watch ...int64) (ArchiveResult, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxArchiveLine)
	var h Header
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &h) != nil || h.Format != archiveFormat {
		return ArchiveResult{}, errors.Join(lines.Err(), hostler.Errorf(hostler.CodeInvalid,
			"this is no archive of the audit", "这不是审计归档文件"))
	}
	w := Walk{Pos: h.Base, Hash: h.BaseHash}
	res := ArchiveResult{Base: h.Base, BaseHash: h.BaseHash, Follows: w == before, Watched: map[int64]Hash{}}
	res.watch(w, watch)
	var seal *Seal
	for lines.Scan() {
		var e entry
		switch {
		case seal != nil:
			res.add(newFault(hostler.AuditUnchained, w.Pos, 0, "there are lines after the seal", "签名之后还有内容"))
			return res, lines.Err()
		case json.Unmarshal(lines.Bytes(), &e) != nil:
			res.add(newFault(hostler.AuditAltered, w.Pos+1, 0, "a line cannot be read", "有一行无法读取"))
		case e.Seal != nil:
			seal = e.Seal
		default:
			res.Rows++
			res.add(w.line(e))
			res.Follows = res.Follows || w == before
			res.watch(w, watch)
		}
	}
	res.Pos, res.Hash = w.Pos, w.Hash
	res.add(t.checkSeal(seal, h, w))
	if seal != nil {
		res.Key, res.At = seal.Key, seal.At
	}
	return res, lines.Err()
}

func (r *ArchiveResult) add(f *hostler.AuditFault) {
	if f != nil && len(r.Faults) < maxFaults {
		r.Faults = append(r.Faults, *f)
	}
}

// watch notes the hash of a position that was asked for.
func (r *ArchiveResult) watch(w Walk, positions []int64) {
	if w.Pos > 0 && slices.Contains(positions, w.Pos) {
		r.Watched[w.Pos] = w.Hash
	}
}

// line verifies the line of a record.
func (w *Walk) line(e entry) *hostler.AuditFault {
	var rec Record
	if json.Unmarshal(e.Record, &rec) != nil {
		rec.Pos = w.Pos + 1
	}
	return w.Link(rec.Pos, rec.ID, e.Hash, e.Record)
}

func (t Trust) checkSeal(s *Seal, h Header, w Walk) *hostler.AuditFault {
	if s == nil {
		return newFault(hostler.AuditTruncated, w.Pos, 0, "the end of the file is missing", "文件结尾缺失")
	}
	k, known := t[s.Key]
	unsigned := *s
	unsigned.Signature = nil
	if !known || !ed25519.Verify(k.public, statement(purposeArchive, unsigned), s.Signature) {
		return newFault(hostler.AuditSignature, s.Pos, 0,
			"the file is not signed by a key that is trusted (key %q)", "文件未由受信任的密钥签名（密钥 %q）", s.Key)
	}
	if k.until != 0 && (s.Seq == 0 || s.Seq > k.until) {
		return newFault(hostler.AuditSignature, s.Pos, 0,
			"the key %s was replaced before it signed the file", "密钥 %s 在签署该文件之前已被替换", s.Key)
	}
	if s.Base != h.Base || s.BaseHash != h.BaseHash || s.Pos != w.Pos || s.Hash != w.Hash {
		return newFault(hostler.AuditCheckpoint, s.Pos, 0,
			"the rows are not those that were signed", "记录与签名的内容不符")
	}
	return nil
}
