package auditor_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auditchain"
	"hostler.dev/hostler/internal/auditor"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// env is a store with an auditor, as one server has it.
type env struct {
	*storetest.Harness
	*auditor.Auditor
	dir     string
	keys    auditchain.Keys
	project hostler.ProjectID
	n       int // rows that write wrote
}

func newEnv(t *testing.T, h *storetest.Harness) *env {
	t.Helper()
	e := &env{Harness: h, keys: auditchain.Keys{Current: key(t, 1)}}
	e.inTx(t, func(tx *store.Tx) error {
		p, err := tx.InsertProject(hostler.DefaultProject)
		e.project = p.ID
		return err
	})
	e.server(t)
	return e
}

func key(t *testing.T, fill byte) auditchain.Key {
	t.Helper()
	k, err := auditchain.NewKey(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// server makes the auditor of another server, with a data folder of its own.
func (e *env) server(t *testing.T) {
	t.Helper()
	e.dir = t.TempDir()
	e.Auditor = auditor.New(auditor.Config{
		Store: e.Store, Keys: func() (auditchain.Keys, error) { return e.keys, nil },
		HeadFile: filepath.Join(e.dir, "audit-head.json"), ArchiveDir: filepath.Join(e.dir, "audit"),
		Retention: 24 * time.Hour, Log: slog.New(slog.DiscardHandler),
	})
}

func (e *env) inTx(t *testing.T, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := e.Store.InTx(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// sql runs a statement as someone does who has the database's password.
func (e *env) sql(t *testing.T, sql string, args ...any) {
	t.Helper()
	e.inTx(t, func(tx *store.Tx) error {
		_, err := tx.Exec(sql, args...)
		return err
	})
}

// dropTriggers removes what keeps the tables append-only.
func (e *env) dropTriggers(t *testing.T) {
	t.Helper()
	drop := []string{
		`DROP TRIGGER audit_no_update`, `DROP TRIGGER audit_no_delete`, `DROP TRIGGER audit_queue`,
		`DROP TRIGGER audit_chain_no_update`, `DROP TRIGGER audit_chain_no_delete`,
		`DROP TRIGGER audit_checkpoint_no_update`, `DROP TRIGGER audit_checkpoint_no_delete`,
	}
	if e.Kind == "postgres" {
		drop = []string{
			`ALTER TABLE audit DISABLE TRIGGER USER`, `ALTER TABLE audit_chain DISABLE TRIGGER USER`,
			`ALTER TABLE audit_checkpoint DISABLE TRIGGER USER`,
		}
	}
	for _, sql := range drop {
		e.sql(t, sql)
	}
}

// write writes n rows, and chains them with one checkpoint.
func (e *env) write(t *testing.T, n int) {
	t.Helper()
	e.inTx(t, func(tx *store.Tx) error { return e.add(tx, n) })
	e.chain(t)
}

func (e *env) add(tx *store.Tx, n int) error {
	for range n {
		e.n++
		err := tx.AppendAudit(e.project, hostler.Audit{
			User: "li", Verb: "job.run", Object: fmt.Sprint("job ", e.n), Detail: []byte(`{"a":"<b>"}`),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *env) chain(t *testing.T) {
	t.Helper()
	if err := e.ChainOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// verify runs every step of a verification.
func (e *env) verify(t *testing.T) (v hostler.AuditVerification, codes []hostler.AuditFaultCode) {
	t.Helper()
	for cursor, more := "", true; more; cursor, more = v.Next, v.Next != "" {
		rows := v.Rows
		var err error
		if v, err = e.Verify(t.Context(), e.Store, cursor, ""); err != nil {
			t.Fatal(err)
		}
		v.Rows += rows
		for _, f := range v.Faults {
			codes = append(codes, f.Code)
		}
	}
	slices.Sort(codes)
	codes = slices.Compact(codes)
	return v, codes
}

// wantFaults verifies, and fails unless the faults include one of this kind.
func (e *env) wantFault(t *testing.T, want hostler.AuditFaultCode) {
	t.Helper()
	if _, codes := e.verify(t); !slices.Contains(codes, want) {
		t.Errorf("the faults are %v, want %s", codes, want)
	}
}

func (e *env) wantIntact(t *testing.T, rows int) {
	t.Helper()
	if v, codes := e.verify(t); len(codes) > 0 || v.Rows != rows || v.Pending > 0 {
		t.Errorf("%d rows, %d pending, faults %v; want %d rows without faults", v.Rows, v.Pending, codes, rows)
	}
}

// each runs a test on both databases, with 10 rows in 5 checkpoints.
func each(t *testing.T, fn func(t *testing.T, e *env)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		e := newEnv(t, h)
		for range 5 {
			e.write(t, 2)
		}
		e.wantIntact(t, 10)
		fn(t, e)
	})
}

// TestTampering changes the tables by SQL, as someone who has the database but not the
// key; each change is found, and is still found after more rows were written.
func TestTampering(t *testing.T) {
	for _, tt := range []struct {
		name string
		sql  []string
		want hostler.AuditFaultCode
	}{
		{"edit", []string{`UPDATE audit SET user_name = 'wang' WHERE object = 'job 3'`}, hostler.AuditAltered},
		{"edit of a detail", []string{`UPDATE audit SET detail = '{}' WHERE object = 'job 3'`}, hostler.AuditAltered},
		{"other time", []string{`UPDATE audit SET at = at - 1 WHERE object = 'job 3'`}, hostler.AuditAltered},
		{"time that cannot be", []string{`UPDATE audit SET at = 9000000000000000000 WHERE object = 'job 3'`}, hostler.AuditAltered},
		{"delete", []string{`DELETE FROM audit WHERE object = 'job 3'`}, hostler.AuditMissing},
		{"delete of the last row", []string{`DELETE FROM audit WHERE object = 'job 10'`}, hostler.AuditMissing},
		{"delete with its position", []string{
			`DELETE FROM audit_chain WHERE audit = (SELECT id FROM audit WHERE object = 'job 3')`,
			`DELETE FROM audit WHERE object = 'job 3'`,
		}, hostler.AuditMissing},
		{"delete of the first rows", []string{
			`DELETE FROM audit WHERE id IN (SELECT audit FROM audit_chain WHERE pos <= 4)`,
			`DELETE FROM audit_chain WHERE pos <= 4`, `DELETE FROM audit_checkpoint WHERE pos <= 4`,
		}, hostler.AuditMissing},
		{"delete that claims to be an archive", []string{
			`UPDATE audit_checkpoint SET base = 4, base_hash = (SELECT hash FROM audit_chain WHERE pos = 4)`,
			`DELETE FROM audit WHERE id IN (SELECT audit FROM audit_chain WHERE pos <= 4)`,
			`DELETE FROM audit_chain WHERE pos <= 4`, `DELETE FROM audit_checkpoint WHERE pos <= 4`,
		}, hostler.AuditSignature},
		{"reorder", []string{
			`UPDATE audit_chain SET pos = -3 WHERE pos = 3`, `UPDATE audit_chain SET pos = 3 WHERE pos = 4`,
			`UPDATE audit_chain SET pos = 4 WHERE pos = -3`,
		}, hostler.AuditAltered},
		{"insert", []string{
			`INSERT INTO audit (id, at, user_name, verb, object) VALUES (77, 1, 'li', 'job.run', 'x')`,
		}, hostler.AuditUnchained},
		{"later checkpoint time", []string{`UPDATE audit_checkpoint SET at = at + 1`}, hostler.AuditSignature},
		{"truncate to a checkpoint", []string{
			`DELETE FROM audit WHERE id IN (SELECT audit FROM audit_chain WHERE pos > 6)`,
			`DELETE FROM audit_chain WHERE pos > 6`, `DELETE FROM audit_checkpoint WHERE pos > 6`,
		}, hostler.AuditTruncated},
		{"truncate between checkpoints", []string{
			`DELETE FROM audit WHERE id IN (SELECT audit FROM audit_chain WHERE pos > 7)`,
			`DELETE FROM audit_chain WHERE pos > 7`, `DELETE FROM audit_checkpoint WHERE pos > 7`,
		}, hostler.AuditCheckpoint},
		{"remove everything", []string{
			`DELETE FROM audit`, `DELETE FROM audit_chain`, `DELETE FROM audit_checkpoint`, `DELETE FROM audit_pending`,
		}, hostler.AuditTruncated},
		{"remove the checkpoints", []string{`DELETE FROM audit_checkpoint`}, hostler.AuditCheckpoint},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(t *testing.T, e *env) {
				e.dropTriggers(t)
				for _, sql := range tt.sql {
					e.sql(t, sql)
				}
				e.wantFault(t, tt.want)
				e.write(t, 3) // a server that goes on must not sign the fault away
				if _, codes := e.verify(t); len(codes) == 0 {
					t.Error("the fault is no longer found after three more rows")
				}
				e.chain(t)
				e.chain(t) // nor record it again and again
				var broken int
				err := e.Store.View(t.Context(), func(tx *store.Tx) error {
					rows, err := tx.Audits(store.AuditQuery{Project: e.project, Verb: "audit.broken"}, 0, 10)
					broken = len(rows)
					return err
				})
				if err != nil || broken > 1 {
					t.Errorf("%d rows of audit.broken (%v), want at most one", broken, err)
				}
			})
		})
	}
}

// TestRecomputedChain edits a row and computes every hash after it again, as someone can
// who knows how, and signs with a key of his own.
func TestRecomputedChain(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.dropTriggers(t)
		e.sql(t, `UPDATE audit SET user_name = 'wang' WHERE object = 'job 3'`)
		forger := newForger(t, e)
		e.sql(t, `DELETE FROM audit_chain`)
		e.sql(t, `DELETE FROM audit_checkpoint`)
		e.sql(t, `INSERT INTO audit_pending (audit) SELECT id FROM audit ORDER BY id`)
		if err := forger.ChainOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.wantFault(t, hostler.AuditSignature)
		e.write(t, 1)
		e.wantFault(t, hostler.AuditBroken)
	})
}

// newForger is an auditor over the same database with another key.
func newForger(t *testing.T, e *env) *auditor.Auditor {
	t.Helper()
	return auditor.New(auditor.Config{
		Store: e.Store, Log: slog.New(slog.DiscardHandler),
		Keys: func() (auditchain.Keys, error) { return auditchain.Keys{Current: key(t, 66)}, nil },
	})
}

// TestOlderState restores the tables as they were, which is signed, and continues from
// there: only what the server remembers shows it.
func TestOlderState(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.dropTriggers(t)
		for _, sql := range []string{
			`DELETE FROM audit WHERE id IN (SELECT audit FROM audit_chain WHERE pos > 6)`,
			`DELETE FROM audit_chain WHERE pos > 6`, `DELETE FROM audit_checkpoint WHERE pos > 6`,
		} {
			e.sql(t, sql)
		}
		remembers := e.Auditor
		e.server(t) // one that never saw the end
		e.wantIntact(t, 6)
		e.inTx(t, func(tx *store.Tx) error { // as long as before, by a trigger of the thief
			if err := e.add(tx, 8); err != nil {
				return err
			}
			_, err := tx.Exec(`INSERT INTO audit_pending (audit) SELECT id FROM audit WHERE id NOT IN
(SELECT audit FROM audit_chain) AND id NOT IN (SELECT audit FROM audit_pending) ORDER BY id`)
			return err
		})
		e.chain(t)
		e.wantIntact(t, 14)
		e.Auditor = remembers
		e.wantFault(t, hostler.AuditTruncated)
	})
}

// TestTriggers: without a right to change the schema, the tables refuse every change.
func TestTriggers(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		for _, sql := range []string{
			`UPDATE audit SET user_name = 'wang'`, `DELETE FROM audit`, `UPDATE audit_chain SET pos = pos + 100`,
			`DELETE FROM audit_chain`, `UPDATE audit_checkpoint SET base = 4`, `DELETE FROM audit_checkpoint`,
			`DELETE FROM audit_checkpoint WHERE pos < 10`,
		} {
			err := e.Store.InTx(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(sql)
				return err
			})
			if err == nil {
				t.Errorf("%s was permitted", sql)
			}
		}
		e.wantIntact(t, 10)
	})
}

// TestRotation replaces the master key: older checkpoints still verify, also after a
// second rotation, and an old key that leaked signs nothing new.
func TestRotation(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		first := e.keys.Current
		for fill := byte(2); fill <= 3; fill++ {
			e.keys = auditchain.Keys{Current: key(t, fill), Older: []auditchain.Key{e.keys.Current}}
			e.chain(t) // without new rows
			e.keys.Older = nil
			e.wantIntact(t, e.n)
			e.write(t, 2)
			e.wantIntact(t, e.n)
		}
		v, _ := e.verify(t)
		if len(v.Keys) != 3 || v.Head.Key != e.keys.Current.ID {
			t.Errorf("keys %v, head signed by %s", v.Keys, v.Head.Key)
		}
		e.keys = auditchain.Keys{Current: first}
		e.inTx(t, func(tx *store.Tx) error { return e.add(tx, 1) })
		thief := newForgerWith(e, first)
		if err := thief.ChainOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.keys = auditchain.Keys{Current: key(t, 3)}
		e.wantFault(t, hostler.AuditSignature)
	})
}

// trustOf trusts a key up to the number of a checkpoint.
func trustOf(k auditchain.Key, until int64) auditchain.Trust {
	t := auditchain.Trust{}
	t.Add(k.Public(), until)
	return t
}

// TestAForgedNumberDoesNotEndTheChain: after a checkpoint with the largest number there is no
// next one. It is recorded once, reported for ever, and the chain goes on, also to a new key.
func TestAForgedNumberDoesNotEndTheChain(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.sql(t, `INSERT INTO audit_checkpoint (seq, at, pos, hash, base, base_hash, broken, key_id, signature)
SELECT 9223372036854775807, at, pos, hash, base, base_hash, broken, key_id, signature
FROM audit_checkpoint WHERE seq = 5`)
		e.wantFault(t, hostler.AuditSignature)
		for range 3 {
			e.write(t, 2)
		}
		v, codes := e.verify(t)
		if v.Pending > 0 || v.Head.Position != 17 || !slices.Contains(codes, hostler.AuditBroken) ||
			!slices.Contains(codes, hostler.AuditSignature) {
			t.Errorf("%d wait, the end is %d, faults %v; want 16 rows and one record", v.Pending, v.Head.Position, codes)
		}
		e.keys = auditchain.Keys{Current: key(t, 2), Older: []auditchain.Key{e.keys.Current}}
		e.chain(t)
		if v, _ := e.verify(t); v.Head.Key != e.keys.Current.ID {
			t.Errorf("the head is signed by %s", v.Head.Key)
		}
		e.inTx(t, func(tx *store.Tx) error {
			if done, err := auditor.SignedBy(tx, e.keys); err != nil || !done {
				t.Errorf("the rotation ends: %v, %v", done, err)
			}
			return nil
		})
	})
}

// TestAFaultDuringARotation: the round that finds a fault is also the first with a new key.
// What the old key signed stays trusted.
func TestAFaultDuringARotation(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.dropTriggers(t)
		e.sql(t, `DELETE FROM audit_chain WHERE pos = 10`)
		e.keys = auditchain.Keys{Current: key(t, 2), Older: []auditchain.Key{e.keys.Current}}
		e.chain(t)
		e.keys.Older = nil
		v, codes := e.verify(t)
		if len(v.Keys) != 2 || slices.Contains(codes, hostler.AuditSignature) {
			t.Errorf("keys %v, faults %v", v.Keys, codes)
		}
		if !slices.Contains(codes, hostler.AuditBroken) {
			t.Errorf("faults %v: the fault was not recorded", codes)
		}
	})
}

func newForgerWith(e *env, k auditchain.Key) *auditor.Auditor {
	return auditor.New(auditor.Config{
		Store: e.Store, Log: slog.New(slog.DiscardHandler),
		Keys: func() (auditchain.Keys, error) { return auditchain.Keys{Current: k}, nil },
	})
}

// TestConcurrentWritersAndServers writes from many goroutines while two servers chain:
// every row gets one position, and the chain verifies.
func TestConcurrentWritersAndServers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		e := newEnv(t, h)
		ctx, stop := context.WithCancel(t.Context())
		first := e.Auditor
		e.server(t)
		var loops, writers sync.WaitGroup
		for _, a := range []*auditor.Auditor{first, e.Auditor} {
			loops.Go(func() {
				for ctx.Err() == nil {
					if err := a.ChainOnce(ctx); err != nil && ctx.Err() == nil {
						t.Errorf("ChainOnce: %v", err)
					}
				}
			})
		}
		for w := range 8 {
			writers.Go(func() {
				for i := range 25 {
					err := h.Store.InTx(t.Context(), func(tx *store.Tx) error {
						return tx.AppendAudit(e.project, hostler.Audit{User: "li", Verb: "job.run", Object: fmt.Sprint(w, "/", i)})
					})
					if err != nil {
						t.Errorf("write: %v", err)
					}
				}
			})
		}
		writers.Wait()
		stop()
		loops.Wait()
		e.chain(t)
		e.wantIntact(t, 200)
		e.Auditor = first
		e.wantIntact(t, 200)
	})
}

// TestWritersDoNotWait: a transaction that wrote the audit and does not end delays
// neither other writers nor the chain of their rows.
func TestWritersDoNotWait(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		if h.Kind != "postgres" {
			t.Skip("SQLite has one writer")
		}
		e := newEnv(t, h)
		err := h.Store.InTx(t.Context(), func(tx *store.Tx) error {
			if err := e.add(tx, 1); err != nil {
				return err
			}
			e.write(t, 3)
			e.wantIntact(t, 3)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		e.chain(t)
		e.wantIntact(t, 4)
	})
}

// TestOldRows: the rows of an older version are taken into the chain, in batches.
func TestOldRows(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		e := newEnv(t, h)
		e.inTx(t, func(tx *store.Tx) error { return e.add(tx, 1000) })
		if v, codes := e.verify(t); v.Pending != 1000 || len(codes) > 0 {
			t.Errorf("before: %d pending, %v", v.Pending, codes)
		}
		e.chain(t)
		e.wantIntact(t, 1000)
		var checkpoints int
		err := e.Store.View(t.Context(), func(tx *store.Tx) error {
			all, err := tx.AuditCheckpoints(0, 1000, 1000)
			checkpoints = len(all)
			return err
		})
		if err != nil || checkpoints != 4 {
			t.Errorf("%d batches (%v), want 4", checkpoints, err)
		}
	})
}

// TestArchive moves old rows to files, which verify with the public key alone, and finds
// changes of a file.
func TestArchive(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		e := newEnv(t, h)
		e.write(t, 700)
		h.Advance(25 * time.Hour)
		e.write(t, 5)
		e.archive(t)
		e.wantIntact(t, 5)
		v, _ := e.verify(t)
		if v.Archived.Position != 700 {
			t.Errorf("archived up to %d, want 700", v.Archived.Position)
		}
		h.Advance(25 * time.Hour)
		e.write(t, 1)
		e.archive(t)
		e.wantIntact(t, 1)

		files, err := filepath.Glob(filepath.Join(e.dir, "audit", "*"))
		if err != nil || len(files) != 2 {
			t.Fatalf("archives: %v, %v", files, err)
		}
		trust := trustOf(e.keys.Current, 0)
		var results []auditchain.ArchiveResult
		var before auditchain.Walk
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, checkArchive(t, trust, text, before, nil))
			before = results[len(results)-1].End()
			tamperArchive(t, trust, text)
			other := trustOf(key(t, 9), 0)
			checkArchive(t, other, text, before, []hostler.AuditFaultCode{hostler.AuditSignature})
			replaced := trustOf(e.keys.Current, 1) // before it sealed the file
			checkArchive(t, replaced, text, before, []hostler.AuditFaultCode{hostler.AuditSignature})
			checkArchive(t, trustOf(e.keys.Current, 1000), text, before, nil)
		}
		if results[0].Rows != 700 || results[1].Rows != 5 || !results[1].Follows {
			t.Errorf("results %+v", results)
		}
	})
}

// TestServersArchiveTogether lets a second server archive the same rows while the first is
// held up before one of its transactions: no row is in neither the database nor a file.
func TestServersArchiveTogether(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		e := newEnv(t, h)
		for _, shared := range []bool{false, true} {
			for step := 3; step <= 4; step++ { // before each of the two deletions
				t.Run(fmt.Sprintf("shared=%v/step=%d", shared, step), func(t *testing.T) {
					e.archiveTogether(t, shared, step)
				})
			}
		}
	})
}

func (e *env) archiveTogether(t *testing.T, shared bool, step int) {
	t.Helper()
	e.server(t)
	e.write(t, 700)
	v, _ := e.verify(t)
	from, to := v.Archived, v.Head.Position
	e.Advance(25 * time.Hour)
	e.write(t, 5)

	second, folders := e.Auditor, []string{filepath.Join(e.dir, "audit"), filepath.Join(t.TempDir(), "audit")}
	if shared {
		folders[1] = folders[0]
	}
	calls := 0
	first := auditor.New(auditor.Config{
		Store: e.Store, ArchiveDir: folders[1], Retention: 24 * time.Hour, Log: slog.New(slog.DiscardHandler),
		Keys: func() (auditchain.Keys, error) { // each step asks for the keys
			if calls++; calls == step {
				if err := second.ArchiveOnce(t.Context()); err != nil {
					t.Errorf("the second server: %v", err)
				}
			}
			return e.keys, nil
		},
	})
	if err := first.ArchiveOnce(t.Context()); err != nil {
		t.Errorf("the first server: %v", err)
	}
	e.wantIntact(t, 5)

	v, _ = e.verify(t)
	trust := trustOf(e.keys.Current, 0)
	var files []string
	for _, folder := range slices.Compact(folders) {
		names, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, names...)
	}
	slices.SortFunc(files, func(x, y string) int { return strings.Compare(filepath.Base(x), filepath.Base(y)) })
	before := auditchain.Walk{Pos: from.Position}
	if err := before.Hash.UnmarshalText([]byte(from.Hash)); err != nil && from.Position > 0 {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		res := checkArchive(t, trust, text, before, nil)
		if !res.Follows {
			t.Errorf("%s has the positions %d to %d, and does not continue %d", name, res.Base+1, res.Pos, before.Pos)
		}
		before = res.End()
	}
	if before.Pos != to || v.Archived.Hash != before.Hash.String() {
		t.Errorf("the files end at %d, want %d; the database says %d", before.Pos, to, v.Archived.Position)
	}
	if v.Archived.Position != to {
		t.Errorf("archived up to %d, want %d", v.Archived.Position, to)
	}
}

// TestExpectationOfArchivedPositions: the server does not read files, so it refuses what it
// cannot check, instead of agreeing with any hash.
func TestExpectationOfArchivedPositions(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		v, _ := e.verify(t)
		end := fmt.Sprintf("%d:%s", v.Head.Position, v.Head.Hash)
		e.Advance(48 * time.Hour)
		e.write(t, 4)
		e.archive(t)
		e.Advance(48 * time.Hour)
		if _, err := e.Verify(t.Context(), e.Store, "", end); err != nil { // the base: known
			t.Errorf("the last position that was archived: %v", err)
		}
		for _, expect := range []string{"4:" + v.Head.Hash, "9:" + strings.Repeat("0", 64)} {
			if _, err := e.Verify(t.Context(), e.Store, "", expect); hostler.CodeOf(err) != hostler.CodeInvalid {
				t.Errorf("%s: %v", expect, err)
			}
		}
	})
}

func (e *env) archive(t *testing.T) {
	t.Helper()
	if err := e.ArchiveOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func checkArchive(
	t *testing.T, trust auditchain.Trust, text []byte, before auditchain.Walk, want []hostler.AuditFaultCode,
) auditchain.ArchiveResult {
	t.Helper()
	res, err := trust.VerifyArchive(bytes.NewReader(text), before)
	if err != nil {
		t.Fatal(err)
	}
	var got []hostler.AuditFaultCode
	for _, f := range res.Faults {
		got = append(got, f.Code)
	}
	if !slices.Equal(got, want) {
		t.Errorf("faults of the archive: %v, want %v", got, want)
	}
	return res
}

func tamperArchive(t *testing.T, trust auditchain.Trust, text []byte) {
	t.Helper()
	lines := bytes.SplitAfter(text, []byte("\n"))
	join := func(parts ...[][]byte) []byte { return bytes.Join(slices.Concat(parts...), nil) }
	swapped := slices.Clone(lines)
	swapped[2], swapped[3] = swapped[3], swapped[2]
	for name, bad := range map[string][]byte{
		"edit":    bytes.Replace(text, []byte(`"user":"li"`), []byte(`"user":"le"`), 1),
		"delete":  join(lines[:2], lines[3:]),
		"reorder": join(swapped),
		"cut":     join(lines[:len(lines)-2]),
		"append":  append(slices.Clone(text), lines[1]...),
		"base":    bytes.Replace(text, []byte(`"base":`), []byte(`"base":1`), 1),
	} {
		res, err := trust.VerifyArchive(bytes.NewReader(bad), auditchain.Walk{})
		if err == nil && len(res.Faults) == 0 {
			t.Errorf("%s: no fault", name)
		}
	}
}

// TestArchiveStopsAtFaults: rows that do not verify stay in the database as evidence.
func TestArchiveStopsAtFaults(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.dropTriggers(t)
		e.sql(t, `UPDATE audit SET user_name = 'wang' WHERE object = 'job 3'`)
		e.Advance(25 * time.Hour)
		e.write(t, 1)
		if err := e.ArchiveOnce(t.Context()); err == nil {
			t.Error("altered rows were archived")
		}
		e.wantFault(t, hostler.AuditAltered)
		if files, _ := os.ReadDir(filepath.Join(e.dir, "audit")); len(files) > 0 {
			t.Errorf("files were left: %v", files)
		}
	})
}
