package auditor

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auditchain"
	"hostler.dev/hostler/internal/store"
)

const (
	// verifyRows bounds the rows of one step.
	verifyRows = 1000
	// verifyCheckpoints bounds the checkpoints of one step: more are not compared, since
	// the newest one alone decides.
	verifyCheckpoints = 2000
	// pendingCounted is how far the rows that wait are counted.
	pendingCounted = 10_000
)

// progress is where a verification goes on. It first walks the chain, and then looks for
// rows beside it.
type progress struct {
	walk   auditchain.Walk
	beside bool
	after  hostler.AuditID // of rows beside the chain
}

// String is the cursor of the next step.
func (p progress) String() string {
	if p.beside {
		return "rows:" + p.after.String()
	}
	return fmt.Sprintf("chain:%d:%s", p.walk.Pos, p.walk.Hash)
}

func parseProgress(s string) (p progress, err error) {
	if id, ok := strings.CutPrefix(s, "rows:"); ok {
		p.beside = true
		return p, p.after.UnmarshalText([]byte(id))
	}
	var hash string
	if _, err = fmt.Sscanf(s, "chain:%d:%s", &p.walk.Pos, &hash); err != nil {
		return p, err
	}
	return p, p.walk.Hash.UnmarshalText([]byte(hash))
}

// Verify checks a part of the audit: the first, or the one that Next of the part before
// names. expect is "", or a position and hash that the chain must have. The error is
// CodeInvalid for any other cursor or expectation.
func (a *Auditor) Verify(
	ctx context.Context, st *store.Store, cursor, expect string,
) (hostler.AuditVerification, error) {
	var p progress
	want, err := parseExpect(expect)
	if err != nil {
		return hostler.AuditVerification{}, err
	}
	if cursor != "" {
		if p, err = parseProgress(cursor); err != nil {
			return hostler.AuditVerification{},
				hostler.Invalid("cursor", "is not the cursor of an earlier step", "不是之前步骤返回的游标")
		}
	}
	local, err := a.local()
	if err != nil {
		return hostler.AuditVerification{}, err
	}
	var v hostler.AuditVerification
	err = st.View(ctx, func(tx *store.Tx) error {
		v = hostler.AuditVerification{Faults: []hostler.AuditFault{}}
		s, err := load(tx, local)
		if err != nil {
			return err
		}
		if v.Pending, err = tx.PendingAudits(pendingCounted); err != nil {
			return err
		}
		s.describe(&v)
		if err := s.verifyExpected(tx, want, &v); err != nil {
			return err
		}
		if cursor == "" {
			s.begin(&p, &v)
		}
		if p.beside {
			return verifyBeside(tx, p, &v)
		}
		return s.verifyChain(tx, p, &v)
	})
	return v, err
}

// parseExpect reads POSITION:HASH; "" is position 0.
func parseExpect(s string) (w auditchain.Walk, err error) {
	if s == "" {
		return w, nil
	}
	var hash string
	if _, err = fmt.Sscanf(s, "%d:%s", &w.Pos, &hash); err == nil {
		err = w.Hash.UnmarshalText([]byte(hash))
	}
	if err != nil || w.Pos < 1 {
		return w, hostler.Invalid("expect", "must be POSITION:HASH, with the 64 digits of a hash",
			"必须是 位置:哈希，哈希为 64 位十六进制")
	}
	return w, nil
}

// verifyExpected checks that the chain has a position with a hash. One that was archived is
// in a file, which the server does not read: it must not count as checked.
func (s *state) verifyExpected(tx *store.Tx, want auditchain.Walk, v *hostler.AuditVerification) error {
	if want.Pos == 0 {
		return nil
	}
	if s.last != nil && want.Pos < s.last.Base {
		return hostler.Invalid("expect",
			"names a position that was archived: check it in the files, with audit verify --file … --expect",
			"所指位置已归档：请用 audit verify --file … --expect 在归档文件中核对")
	}
	hash, err := s.hashAt(tx, want.Pos)
	if err == nil && hash != want.Hash {
		v.Faults = append(v.Faults, *fault(hostler.AuditTruncated, want.Pos,
			"the chain does not have the expected hash at position %d", "链在位置 %d 处的哈希与预期不符", want.Pos))
	}
	return err
}

// describe sets what each step reports.
func (s *state) describe(v *hostler.AuditVerification) {
	if s.last != nil {
		v.Head = hostler.AuditHead{Position: s.last.Pos, Hash: s.last.Hash.String(), At: s.last.At, Key: s.last.Key}
	}
	if s.last != nil && s.last.Base > 0 {
		v.Archived = hostler.AuditHead{Position: s.last.Base, Hash: s.last.BaseHash.String()}
	}
	v.Keys = []hostler.AuditKey{}
	for id, public := range s.trust.Public() {
		v.Keys = append(v.Keys, hostler.AuditKey{
			ID: id, Public: base64.StdEncoding.EncodeToString(public), Current: id == s.keys.Current.ID,
			Until: s.trust.Until(id),
		})
	}
	slices.SortFunc(v.Keys, func(x, y hostler.AuditKey) int { return strings.Compare(x.ID, y.ID) })
}

// begin sets where the first step starts, and reports the faults of the chain as a whole.
func (s *state) begin(p *progress, v *hostler.AuditVerification) {
	*p = progress{}
	if s.last != nil {
		p.walk = auditchain.Walk{Pos: s.last.Base, Hash: s.last.BaseHash}
	}
	if s.fault != nil {
		v.Faults = append(v.Faults, *s.fault)
	}
	if s.forged > 0 && s.fault == nil {
		v.Faults = append(v.Faults, *s.forgedFault())
	}
	if s.last != nil && s.last.Broken > s.last.Base {
		v.Faults = append(v.Faults, *fault(hostler.AuditBroken, s.last.Broken,
			"the server found the audit altered, and recorded it as row %d: %s says how",
			"服务发现审计被改动，并记录在位置 %d：详见 %s", s.last.Broken, brokenVerb))
	}
}

// verifyChain checks the next positions, and the checkpoints of them.
func (s *state) verifyChain(tx *store.Tx, p progress, v *hostler.AuditVerification) error {
	if s.last != nil && p.walk.Pos < s.last.Base { // rows were archived between the steps
		p.walk = auditchain.Walk{Pos: s.last.Base, Hash: s.last.BaseHash}
	}
	after := p.walk.Pos
	page, err := tx.AuditChain(after, s.end.Pos, verifyRows)
	if err != nil {
		return err
	}
	hashes := map[int64]auditchain.Hash{after: p.walk.Hash}
	for _, c := range page {
		hash := auditchain.HashOf(c.Hash)
		if f := p.walk.Link(c.Pos, c.Audit, hash, encoded(c)); f != nil {
			v.Faults = append(v.Faults, *f)
		}
		hashes[c.Pos] = hash
	}
	v.Rows = len(page)
	if err := s.verifyCheckpoints(tx, after, p.walk.Pos, hashes, v); err != nil {
		return err
	}
	if len(page) < verifyRows {
		p = progress{beside: true}
	}
	v.Next = p.String()
	return nil
}

// verifyCheckpoints compares the checkpoints of some positions with the chain.
func (s *state) verifyCheckpoints(
	tx *store.Tx, after, to int64, hashes map[int64]auditchain.Hash, v *hostler.AuditVerification,
) error {
	rows, err := tx.AuditCheckpoints(after, to, verifyCheckpoints)
	if err != nil {
		return err
	}
	for _, row := range rows {
		c := checkpointOf(row)
		if s.last != nil && c.Seq == s.last.Seq {
			continue // begin reports it
		}
		if err := s.trust.Verify(c); err != nil {
			v.Faults = append(v.Faults, *fault(hostler.AuditSignature, c.Pos,
				"checkpoint %d cannot be trusted: %v", "检查点 %d 不可信：%v", c.Seq, err))
			continue
		}
		if hashes[c.Pos] != c.Hash {
			v.Faults = append(v.Faults, *fault(hostler.AuditCheckpoint, c.Pos,
				"the chain is not what checkpoint %d signed", "链与检查点 %d 所签名的不符", c.Seq))
		}
	}
	return nil
}

// verifyBeside looks for rows that are not in the chain.
func verifyBeside(tx *store.Tx, p progress, v *hostler.AuditVerification) error {
	unchained, last, err := tx.UnchainedAudits(p.after, verifyRows)
	for _, id := range unchained {
		f := fault(hostler.AuditUnchained, 0, "row %s was inserted beside the chain", "记录 %s 不在链中，是额外插入的", id)
		f.ID = id
		v.Faults = append(v.Faults, *f)
	}
	if last != 0 {
		v.Next = progress{beside: true, after: last}.String()
	}
	return err
}

// faultError is a fault as an error.
func faultError(f hostler.AuditFault) error { return errors.New(f.Text.EN) }
