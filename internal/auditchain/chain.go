// Package auditchain makes changes of the audit evident: it defines the chain of hashes
// over its rows, the checkpoints that sign it, and the archive files that hold old parts
// of it. It is pure: no database, no clock.
//
// # Model
//
// Each row has a position. Its hash covers the row and the hash of the position before:
//
//	hash[n] = SHA-256("hostler audit record v1\n" hash[n-1] record[n])
//
// A [Record] is encoded as JSON, whose empty fields are left out: a field that a later
// version adds does not change the hash of older rows. hash[0] is zero.
//
// A [Checkpoint] signs the whole state of the chain: its end, and the position up to
// which the rows were archived (its base), each with the hash. So the newest checkpoint
// alone decides what the database must hold. Its number, Seq, grows with each one: a
// server that remembers the newest number notices that the database went back.
//
// The [Keys] are Ed25519 keys derived from the master key, which is not in the database.
// After a rotation of the master key the new key signs the old ones as [Endorsement]s, up
// to their last checkpoint. So older checkpoints still verify, and an old key that leaked
// signs nothing new.
//
// # Archive files
//
// An archive is a file of JSON lines (see [WriteArchive]): a header, the records of a
// range with their hashes, and a [Seal] that signs both ends of the range. Files continue
// each other: the base of one is the end of the one before.
//
// # Invariants
//
//   - A signature is for one purpose: a seal is no checkpoint, and no endorsement.
//   - Nothing is signed here that was not verified before; package auditor sees to it.
package auditchain

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"hostler.dev/hostler"
)

// Hash is the hash of a position; the zero Hash precedes the first.
type Hash [sha256.Size]byte

// String is the hash in hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(b []byte) error {
	raw, err := hex.DecodeString(string(b))
	if err != nil || len(raw) != len(h) {
		return fmt.Errorf("a hash has %d hex digits", 2*len(h))
	}
	copy(h[:], raw)
	return nil
}

// HashOf makes a Hash of stored bytes; of bytes of another length, a Hash that nothing
// has.
func HashOf(b []byte) Hash {
	var h Hash
	if len(b) != len(h) {
		return sha256.Sum256(append([]byte("not a hash\n"), b...))
	}
	copy(h[:], b)
	return h
}

// Record is what the hash of a position covers.
type Record struct {
	Pos     int64             `json:"pos"`
	ID      hostler.AuditID   `json:"id"`
	At      time.Time         `json:"at,omitzero"` // in UTC
	Project hostler.ProjectID `json:"project,omitzero"`
	User    string            `json:"user,omitempty"`
	UserID  hostler.UserID    `json:"user_id,omitzero"`
	Key     hostler.KeyID     `json:"key,omitzero"`
	Remote  string            `json:"remote,omitempty"`
	Verb    string            `json:"verb,omitempty"`
	Object  string            `json:"object,omitempty"`
	Detail  string            `json:"detail,omitempty"` // JSON
	// Gone states that the row was removed before it was chained.
	Gone bool `json:"gone,omitempty"`
}

// Encode returns the form that the hash covers. A row with a time that JSON cannot have,
// which no server writes, counts as gone.
func (r Record) Encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		b, _ = json.Marshal(Record{Pos: r.Pos, ID: r.ID, Gone: true}) // texts and integers only
	}
	return b
}

// Next returns the hash of an encoded record that follows a position with the hash prev.
func Next(prev Hash, record []byte) Hash {
	h := sha256.New()
	h.Write([]byte("hostler audit record v1\n"))
	h.Write(prev[:])
	h.Write(record)
	return Hash(h.Sum(nil))
}

// Walk verifies positions one after the other.
type Walk struct {
	Pos  int64 // the last position that was verified
	Hash Hash  // its hash, as stored
}

// Link verifies the next position: that it follows, and that stored is the hash of the
// encoded record. A nil record is one that is missing. The result is nil if all is well.
// The walk goes on from the stored hash, so that one altered row is one fault.
func (w *Walk) Link(pos int64, id hostler.AuditID, stored Hash, record []byte) *hostler.AuditFault {
	var fault *hostler.AuditFault
	switch {
	case pos != w.Pos+1:
		fault = newFault(hostler.AuditMissing, w.Pos+1, 0,
			"the positions %d to %d are missing", "缺少位置 %d 至 %d", w.Pos+1, pos-1)
	case record == nil:
		fault = newFault(hostler.AuditMissing, pos, id, "row %s was deleted", "记录 %s 已被删除", id)
	case Next(w.Hash, record) != stored:
		fault = newFault(hostler.AuditAltered, pos, id,
			"row %s or its hash was changed, or moved to another position",
			"记录 %s 或其哈希被修改，或被移到其他位置", id)
	}
	w.Pos, w.Hash = pos, stored
	return fault
}

func newFault(code hostler.AuditFaultCode, pos int64, id hostler.AuditID, en, zh string, args ...any) *hostler.AuditFault {
	return &hostler.AuditFault{Code: code, Position: pos, ID: id, Text: hostler.Textf(en, zh, args...)}
}
