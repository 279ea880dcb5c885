package auditor

import (
	"context"
	"encoding/json"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auditchain"
	"hostler.dev/hostler/internal/store"
)

// brokenVerb is the verb of the audit row that records a fault which the server found.
const brokenVerb = "audit.broken"

// serverUser is the user of rows that no person caused.
const serverUser = "local"

// state is what the database states about the chain, before anything is read of it.
type state struct {
	last   *auditchain.Checkpoint // nil before the first
	end    auditchain.Walk        // the end of the chain
	keys   auditchain.Keys
	trust  auditchain.Trust
	known  []auditchain.Endorsement
	head   *auditchain.Checkpoint // that this server remembers; nil for none
	forged int                    // checkpoints that no server wrote, and that do not count
	// fault is why the chain does not continue what was signed; nil if it does.
	fault *hostler.AuditFault
}

// local returns the part of the state that is not in the database.
func (a *Auditor) local() (s state, err error) {
	if s.keys, err = a.cfg.Keys(); err != nil {
		return s, err
	}
	s.head, err = a.head.load()
	return s, err
}

// load completes a state that local returned.
func load(tx *store.Tx, s state) (state, error) {
	keys, err := tx.AuditKeys()
	if err != nil {
		return s, err
	}
	s.known = make([]auditchain.Endorsement, len(keys))
	for i, k := range keys {
		s.known[i] = auditchain.Endorsement{ID: k.ID, Public: k.Public, Until: k.Until, By: k.SignedBy, Signature: k.Signature}
	}
	s.trust = s.keys.Trust(s.known)
	row, forged, err := tx.LastAuditCheckpoint(s.trusts)
	if err != nil {
		return s, err
	}
	s.forged = forged
	if row != nil {
		c := checkpointOf(*row)
		s.last = &c
		s.end = auditchain.Walk{Pos: c.Base, Hash: c.BaseHash}
	}
	link, err := tx.LastAuditLink()
	if err != nil {
		return s, err
	}
	if link != nil && link.Pos > s.end.Pos {
		s.end = auditchain.Walk{Pos: link.Pos, Hash: auditchain.HashOf(link.Hash)}
	}
	s.fault, err = s.check(tx)
	// The forged ones stay in the table: they are recorded once.
	if s.fault == nil && forged > 0 && (s.last == nil || s.last.Broken == 0) {
		s.fault = s.forgedFault()
	}
	return s, err
}

// SignedBy reports whether the current key signed the newest checkpoint, if there is any.
func SignedBy(tx *store.Tx, keys auditchain.Keys) (bool, error) {
	s := state{keys: keys, trust: keys.Trust(nil)}
	last, _, err := tx.LastAuditCheckpoint(s.trusts)
	return err == nil && (last == nil || last.Key == keys.Current.ID), err
}

// trusts reports whether a key that is trusted signed a checkpoint.
func (s *state) trusts(row store.AuditCheckpoint) bool {
	return s.trust.Verify(checkpointOf(row)) == nil
}

func (s *state) forgedFault() *hostler.AuditFault {
	return fault(hostler.AuditSignature, s.end.Pos,
		"there are checkpoints that no server wrote, with numbers that none reaches",
		"存在不是由服务写入的检查点，其编号是任何服务都达不到的")
}

// check compares the newest checkpoint with the end of the chain, and both with what the
// server remembers.
func (s *state) check(tx *store.Tx) (*hostler.AuditFault, error) {
	switch {
	case s.last == nil && s.end.Pos > 0:
		return fault(hostler.AuditCheckpoint, s.end.Pos, "the chain has no checkpoint", "链没有检查点"), nil
	case s.last != nil:
		if err := s.trust.Verify(*s.last); err != nil {
			return fault(hostler.AuditSignature, s.last.Pos, "the newest checkpoint cannot be trusted: %v",
				"最新的检查点不可信：%v", err), nil
		}
		if s.last.Pos != s.end.Pos || s.last.Hash != s.end.Hash {
			return fault(hostler.AuditCheckpoint, s.end.Pos,
				"the chain ends at position %d, and the newest checkpoint at %d with hash %s",
				"链止于位置 %d，而最新检查点位于 %d，哈希 %s", s.end.Pos, s.last.Pos, s.last.Hash), nil
		}
	}
	return s.compareHead(tx)
}

// compareHead checks that the database is not behind the checkpoint that the server
// remembers, and continues it.
func (s *state) compareHead(tx *store.Tx) (*hostler.AuditFault, error) {
	h := s.head
	if h == nil {
		return nil, nil
	}
	if s.last == nil || h.Seq > s.last.Seq || h.Pos > s.last.Pos {
		pos := int64(0)
		if s.last != nil {
			pos = s.last.Pos
		}
		return fault(hostler.AuditTruncated, pos+1,
			"the chain reached position %d, and now ends at %d: rows were removed, or an older state was restored",
			"链曾到达位置 %d，现在止于 %d：记录被删除，或恢复了较早的状态", h.Pos, pos), nil
	}
	if h.Pos < s.last.Base {
		return nil, nil // archived, as the newest checkpoint states
	}
	at, err := s.hashAt(tx, h.Pos)
	if err != nil {
		return nil, err
	}
	if at != h.Hash {
		return fault(hostler.AuditTruncated, h.Pos,
			"the chain had another row at position %d: its end was replaced", "位置 %d 处曾是另一条记录：链的末尾被替换",
			h.Pos), nil
	}
	return nil, nil
}

// hashAt returns the hash of a position that was not archived; of one that the chain does
// not have, a hash that nothing has.
func (s *state) hashAt(tx *store.Tx, pos int64) (auditchain.Hash, error) {
	if s.last != nil && pos == s.last.Base {
		return s.last.BaseHash, nil
	}
	link, err := tx.AuditLinkAt(pos)
	if err != nil || link == nil {
		return auditchain.HashOf(nil), err
	}
	return auditchain.HashOf(link.Hash), nil
}

func fault(code hostler.AuditFaultCode, pos int64, en, zh string, args ...any) *hostler.AuditFault {
	return &hostler.AuditFault{Code: code, Position: pos, Text: hostler.Textf(en, zh, args...)}
}

// chainOnce takes every row that waits into the chain, in transactions of chainRows. It
// reads before it locks, because another server may have done the work.
func (a *Auditor) chainOnce(ctx context.Context) error {
	for {
		local, err := a.local()
		if err != nil {
			return err
		}
		var s state
		var pending int
		err = a.store.View(ctx, func(tx *store.Tx) (err error) {
			if s, err = load(tx, local); err != nil {
				return err
			}
			pending, err = tx.PendingAudits(1)
			return err
		})
		if err != nil {
			return err
		}
		if pending == 0 && s.fault == nil && !s.rotated() {
			return a.remember(s)
		}
		if s.fault != nil {
			a.log.ErrorContext(ctx, "the audit was altered: run 'hostler audit verify'", "fault", s.fault.Text.EN)
		}
		var signed *auditchain.Checkpoint
		err = a.store.InTx(ctx, func(tx *store.Tx) (err error) {
			signed, err = extend(tx, local)
			return err
		})
		if err == nil && signed != nil {
			err = a.head.save(*signed)
		}
		if err != nil {
			return err
		}
	}
}

// rotated reports whether another key than the current one signed the newest checkpoint.
func (s *state) rotated() bool { return s.last != nil && s.last.Key != s.keys.Current.ID }

// remember saves the newest checkpoint, which was verified.
func (a *Auditor) remember(s state) error {
	if s.last == nil || s.head != nil && s.head.Seq >= s.last.Seq {
		return nil
	}
	return a.head.save(*s.last)
}

// extend is one transaction of chainOnce. A fault is recorded in the chain itself. The
// result is the new checkpoint, nil when another server was faster.
func extend(tx *store.Tx, local state) (*auditchain.Checkpoint, error) {
	if err := tx.LockAudit(); err != nil {
		return nil, err
	}
	s, err := load(tx, local)
	if err != nil {
		return nil, err
	}
	rows, err := s.rows(tx)
	if err != nil || len(rows) == 0 && !s.rotated() {
		return nil, err
	}
	next := s.next(tx)
	links := s.link(rows)
	next.Pos, next.Hash = s.end.Pos, s.end.Hash
	if s.rotated() {
		if err := s.endorse(tx); err != nil {
			return nil, err
		}
	}
	if s.fault != nil {
		next.Broken = links[0].Pos
	}
	next = s.keys.Current.Sign(next)
	return &next, tx.AppendAuditChain(links, checkpointRow(next))
}

// rows returns the rows of the next positions: the record of a fault, and rows that wait.
func (s *state) rows(tx *store.Tx) ([]store.AuditRow, error) {
	var rows []store.AuditRow
	if s.fault != nil {
		row, err := recordFault(tx, *s.fault)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	taken, err := tx.TakePendingAudits(chainRows)
	for _, row := range taken {
		if len(rows) == 0 || row.ID != rows[0].ID {
			rows = append(rows, row)
		}
	}
	return rows, err
}

// next is the next checkpoint, without the end of the chain.
func (s *state) next(tx *store.Tx) auditchain.Checkpoint {
	next := auditchain.Checkpoint{Seq: 1, At: tx.Now().UTC().Truncate(time.Microsecond)}
	if s.last != nil {
		next.Seq, next.Base, next.BaseHash, next.Broken = s.last.Seq+1, s.last.Base, s.last.BaseHash, s.last.Broken
	}
	if s.head != nil {
		next.Seq = max(next.Seq, s.head.Seq+1)
	}
	if next.Broken <= next.Base {
		next.Broken = 0
	}
	return next
}

// link gives the rows the positions after the end of the chain, and moves the end.
func (s *state) link(rows []store.AuditRow) []store.AuditLink {
	links := make([]store.AuditLink, len(rows))
	for i, row := range rows {
		pos := s.end.Pos + 1
		hash := auditchain.Next(s.end.Hash, recordOf(pos, row).Encode())
		s.end = auditchain.Walk{Pos: pos, Hash: hash}
		links[i] = store.AuditLink{Pos: pos, Audit: row.ID, Hash: hash[:]}
	}
	return links
}

// endorse confirms the older keys of this server and those that they confirmed, by the
// current key. It does so beside a fault, too: once the current key has signed, nobody can
// confirm the older ones any more.
func (s *state) endorse(tx *store.Tx) error {
	public := s.trust.Public()
	until := map[string]int64{}
	for _, old := range s.keys.Older {
		row, err := tx.LastAuditCheckpointOf(old.ID)
		if err != nil {
			return err
		}
		if row != nil && s.trusts(*row) {
			until[old.ID] = row.Seq
		}
		if s.head != nil && s.head.Key == old.ID {
			until[old.ID] = max(until[old.ID], s.head.Seq)
		}
	}
	if _, trusted := public[s.last.Key]; trusted && until[s.last.Key] == 0 && s.trust.Verify(*s.last) == nil {
		until[s.last.Key] = s.last.Seq
	}
	for _, e := range s.known {
		if _, trusted := public[e.ID]; trusted && until[e.ID] == 0 {
			until[e.ID] = e.Until
		}
	}
	delete(until, s.keys.Current.ID)
	var out []store.AuditKey
	for id, seq := range until {
		if seq == 0 {
			continue // it has signed nothing
		}
		e := s.keys.Current.Endorse(public[id], seq)
		out = append(out, store.AuditKey{ID: e.ID, Public: e.Public, Until: e.Until, SignedBy: e.By, Signature: e.Signature})
	}
	return tx.SetAuditKeys(out)
}

// recordFault writes the row that records a fault, in the audit of the default project.
func recordFault(tx *store.Tx, f hostler.AuditFault) (store.AuditRow, error) {
	p, err := tx.ProjectByName(hostler.DefaultProject)
	if err != nil {
		return store.AuditRow{}, err
	}
	var project hostler.ProjectID
	if p != nil {
		project = p.ID
	}
	detail, err := json.Marshal(f)
	if err != nil {
		return store.AuditRow{}, err
	}
	return tx.AppendAuditRow(project, hostler.Audit{
		User: serverUser, Verb: brokenVerb, Object: string(f.Code), Detail: detail,
	})
}

// recordOf is the record of a row at a position.
func recordOf(pos int64, r store.AuditRow) auditchain.Record {
	if r.At.IsZero() {
		return auditchain.Record{Pos: pos, ID: r.ID, Gone: true}
	}
	return auditchain.Record{
		Pos: pos, ID: r.ID, At: r.At.UTC().Truncate(time.Microsecond), Project: r.Project, User: r.User, UserID: r.UserID, Key: r.Key, Remote: r.Remote,
		Verb: r.Verb, Object: r.Object, Detail: string(r.Detail),
	}
}

func checkpointOf(r store.AuditCheckpoint) auditchain.Checkpoint {
	return auditchain.Checkpoint{
		Seq: r.Seq, At: r.At.UTC(), Pos: r.Pos, Hash: auditchain.HashOf(r.Hash), Base: r.Base,
		BaseHash: auditchain.HashOf(r.BaseHash), Broken: r.Broken, Key: r.Key, Signature: r.Signature,
	}
}

func checkpointRow(c auditchain.Checkpoint) store.AuditCheckpoint {
	return store.AuditCheckpoint{
		Seq: c.Seq, At: c.At, Pos: c.Pos, Hash: c.Hash[:], Base: c.Base, BaseHash: c.BaseHash[:],
		Broken: c.Broken, Key: c.Key, Signature: c.Signature,
	}
}
