package store

import (
	"slices"
	"time"

	"hostler.dev/hostler"
)

// This file holds the chain of hashes over the audit, as rows; package auditor computes
// and verifies them.
//
// Writers of the audit do not know the chain: a trigger queues their rows in
// audit_pending, and one call at a time, under the lock of [Tx.LockAudit], gives them
// positions. So writers never wait for each other, and positions follow the order of
// commits in the way that [Tx.Publish] explains.

// auditLock is the advisory lock of LockAudit.
const auditLock = 3

// LockAudit waits until no other transaction extends or archives the chain.
func (tx *Tx) LockAudit() error { return tx.c.Lock(tx.ctx, auditLock, false) }

// AuditLink is a position in the chain.
type AuditLink struct {
	Pos   int64           `db:"pos"`
	Audit hostler.AuditID `db:"audit"`
	Hash  []byte          `db:"hash"`
}

// ChainedAudit is a position in the chain with its row; Row.ID is 0 if the row is gone.
type ChainedAudit struct {
	AuditLink
	Row AuditRow
}

// AuditCheckpoint is a signed state of the chain.
type AuditCheckpoint struct {
	Seq       int64     `db:"seq"`
	At        time.Time `db:"at"`
	Pos       int64     `db:"pos"`
	Hash      []byte    `db:"hash"`
	Base      int64     `db:"base"`
	BaseHash  []byte    `db:"base_hash"`
	Broken    int64     `db:"broken"`
	Key       string    `db:"key_id"`
	Signature []byte    `db:"signature"`
}

// AuditKey is a key that signed checkpoints, as a newer one confirms.
type AuditKey struct {
	ID        string `db:"id"`
	Public    []byte `db:"public"`
	Until     int64  `db:"until"`
	SignedBy  string `db:"signed_by"`
	Signature []byte `db:"signature"`
}

// PendingAudits counts the rows that wait to be chained, up to limit.
func (tx *Tx) PendingAudits(limit int) (n int, err error) {
	_, err = tx.one(`SELECT count(*) FROM (SELECT id FROM audit_pending ORDER BY id LIMIT ?) p`, []any{limit}, &n)
	return n, err
}

// TakePendingAudits removes up to limit rows from those that wait to be chained, and
// returns them in order: an id alone for a row that is gone. It leaves out rows that are
// chained already.
func (tx *Tx) TakePendingAudits(limit int) ([]AuditRow, error) {
	type pendingRow struct {
		ID    int64 `db:"id"`
		Audit int64 `db:"audit"`
	}
	taken, err := query[pendingRow](tx, `DELETE FROM audit_pending WHERE id IN
(SELECT p.id FROM audit_pending p ORDER BY p.id LIMIT ?) RETURNING @cols`, limit)
	if err != nil || len(taken) == 0 {
		return nil, err
	}
	slices.SortFunc(taken, func(a, b pendingRow) int { return int(a.ID - b.ID) })
	ids := make([]int64, len(taken))
	for i, p := range taken {
		ids[i] = p.Audit
	}
	chained, err := column[int64](tx, `SELECT audit FROM audit_chain WHERE audit IN ?*`, ids)
	if err != nil {
		return nil, err
	}
	rows, err := tx.auditRows(ids)
	if err != nil {
		return nil, err
	}
	var out []AuditRow
	for _, id := range ids {
		if slices.Contains(chained, id) {
			continue
		}
		chained = append(chained, id)
		row := rows[hostler.AuditID(id)]
		row.ID = hostler.AuditID(id)
		out = append(out, row)
	}
	return out, nil
}

func (tx *Tx) auditRows(ids []int64) (map[hostler.AuditID]AuditRow, error) {
	rows, err := query[AuditRow](tx, `SELECT @cols FROM audit WHERE id IN ?*`, ids)
	byID := make(map[hostler.AuditID]AuditRow, len(rows))
	for _, r := range rows {
		byID[r.ID] = r
	}
	return byID, err
}

// AppendAuditChain adds positions to the chain, and the checkpoint of its new state.
func (tx *Tx) AppendAuditChain(links []AuditLink, c AuditCheckpoint) error {
	if err := insert(tx, "audit_chain", links); err != nil {
		return err
	}
	return insert(tx, "audit_checkpoint", []AuditCheckpoint{c})
}

// LastAuditLink returns the end of the chain; nil when it is empty.
func (tx *Tx) LastAuditLink() (*AuditLink, error) {
	return queryOne[AuditLink](tx, `SELECT @cols FROM audit_chain ORDER BY pos DESC LIMIT 1`)
}

// AuditLinkAt returns a position of the chain; nil when it has no such position.
func (tx *Tx) AuditLinkAt(pos int64) (*AuditLink, error) {
	return queryOne[AuditLink](tx, `SELECT @cols FROM audit_chain WHERE pos = ?`, pos)
}

// AuditChain reads up to limit positions after one, up to another.
func (tx *Tx) AuditChain(after, to int64, limit int) ([]ChainedAudit, error) {
	links, err := query[AuditLink](tx, `SELECT @cols FROM audit_chain WHERE pos > ? AND pos <= ? ORDER BY pos LIMIT ?`,
		after, to, limit)
	if err != nil || len(links) == 0 {
		return nil, err
	}
	ids := make([]int64, len(links))
	for i, l := range links {
		ids[i] = int64(l.Audit)
	}
	rows, err := tx.auditRows(ids)
	out := make([]ChainedAudit, len(links))
	for i, l := range links {
		out[i] = ChainedAudit{l, rows[l.Audit]}
	}
	return out, err
}

// maxAuditSeq is a number that no server reaches.
const maxAuditSeq = 1 << 62

// auditCheckpointsRead is how many of the newest checkpoints are read to find the last one.
const auditCheckpointsRead = 100

// LastAuditCheckpoint returns the newest checkpoint; nil when there is none. One with a
// number that no server reaches counts only if it is trusted: there is no next number after
// the largest, and a forged one would end the chain for ever. forged counts those that were
// passed over.
func (tx *Tx) LastAuditCheckpoint(
	trusted func(AuditCheckpoint) bool,
) (last *AuditCheckpoint, forged int, err error) {
	rows, err := query[AuditCheckpoint](tx, `SELECT @cols FROM audit_checkpoint ORDER BY seq DESC LIMIT ?`,
		auditCheckpointsRead)
	if err != nil {
		return nil, 0, err
	}
	for i := range rows {
		if rows[i].Seq <= maxAuditSeq || trusted(rows[i]) {
			return &rows[i], i, nil
		}
	}
	last, err = queryOne[AuditCheckpoint](tx, `SELECT @cols FROM audit_checkpoint WHERE seq <= ?
ORDER BY seq DESC LIMIT 1`, int64(maxAuditSeq))
	return last, len(rows), err
}

// LastAuditCheckpointOf returns the newest checkpoint that names a key, among the newest
// 10,000; nil when there is none.
func (tx *Tx) LastAuditCheckpointOf(key string) (*AuditCheckpoint, error) {
	return queryOne[AuditCheckpoint](tx, `SELECT @cols FROM (SELECT * FROM audit_checkpoint
ORDER BY seq DESC LIMIT 10000) c WHERE key_id = ? ORDER BY seq DESC LIMIT 1`, key)
}

// AuditCheckpoints reads the checkpoints of positions after one, up to another.
func (tx *Tx) AuditCheckpoints(after, to int64, limit int) ([]AuditCheckpoint, error) {
	return query[AuditCheckpoint](tx, `SELECT @cols FROM audit_checkpoint WHERE pos > ? AND pos <= ?
ORDER BY pos, seq LIMIT ?`, after, to, limit)
}

// AuditCheckpointBefore returns the checkpoint of the highest position after one, up to
// another, that was made before a time; nil when there is none.
func (tx *Tx) AuditCheckpointBefore(after, to int64, before time.Time) (*AuditCheckpoint, error) {
	// The bound on positions keeps the search short.
	all, err := tx.AuditCheckpoints(after, to, int(to-after))
	for _, c := range slices.Backward(all) {
		if c.At.Before(before) {
			return &c, err
		}
	}
	return nil, err
}

// AuditKeys lists the keys that newer ones confirm.
func (tx *Tx) AuditKeys() ([]AuditKey, error) {
	return query[AuditKey](tx, `SELECT @cols FROM audit_key ORDER BY until DESC, id LIMIT 100`)
}

// SetAuditKeys replaces the keys that newer ones confirm.
func (tx *Tx) SetAuditKeys(keys []AuditKey) error {
	if _, err := tx.Exec(`DELETE FROM audit_key`); err != nil {
		return err
	}
	return insert(tx, "audit_key", keys)
}

// DropArchivedAudit deletes the positions up to base of the newest checkpoint, which c
// is: the only deletes that the audit permits.
func (tx *Tx) DropArchivedAudit(c AuditCheckpoint) error {
	if err := insert(tx, "audit_checkpoint", []AuditCheckpoint{c}); err != nil {
		return err
	}
	for _, sql := range []string{
		`DELETE FROM audit WHERE id IN (SELECT c.audit FROM audit_chain c WHERE c.pos <= ?)`,
		`DELETE FROM audit_chain WHERE pos <= ?`,
	} {
		if _, err := tx.Exec(sql, c.Base); err != nil {
			return err
		}
	}
	_, err := tx.Exec(`DELETE FROM audit_checkpoint WHERE pos <= ? AND seq < ?`, c.Base, c.Seq)
	return err
}

// UnchainedAudits finds the rows that are neither chained nor waiting for it, among up to
// limit rows after an id. last is the id of the last row that was read, 0 after the end.
func (tx *Tx) UnchainedAudits(after hostler.AuditID, limit int) (
	unchained []hostler.AuditID, last hostler.AuditID, err error,
) {
	ids, err := column[int64](tx, `SELECT id FROM audit WHERE id > ? ORDER BY id LIMIT ?`, after, limit)
	if err != nil || len(ids) == 0 {
		return nil, 0, err
	}
	known, err := column[int64](tx, `SELECT audit FROM audit_chain WHERE audit IN ?*`, ids)
	if err != nil {
		return nil, 0, err
	}
	in := make(map[int64]bool, len(known))
	for _, id := range known {
		in[id] = true
	}
	var rest []int64
	for _, id := range ids {
		if !in[id] {
			rest = append(rest, id)
		}
	}
	if len(rest) > 0 {
		waiting, err := column[int64](tx, `SELECT audit FROM audit_pending WHERE audit IN ?*`, rest)
		if err != nil {
			return nil, 0, err
		}
		for _, id := range rest {
			if !slices.Contains(waiting, id) {
				unchained = append(unchained, hostler.AuditID(id))
			}
		}
	}
	if len(ids) == limit {
		last = hostler.AuditID(ids[limit-1])
	}
	return unchained, last, nil
}
