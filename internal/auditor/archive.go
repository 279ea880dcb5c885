package auditor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hostler.dev/hostler/internal/auditchain"
	"hostler.dev/hostler/internal/store"
)

const (
	// archiveRows bounds the rows of a file, unless one checkpoint has more.
	archiveRows = 10_000
	// pageRows is how many rows are read, and how many are deleted, in one transaction.
	pageRows = 500
)

// errMoved is that another server archived the same rows.
var errMoved = errors.New("another server archived these rows")

// archiveOnce moves the rows that are older than the retention to files, a file of at
// most archiveRows at a time. No file is ever removed: when another server archives the
// same rows, some of them may be in this file only, or the file may be that of the other.
// Files then overlap.
func (a *Auditor) archiveOnce(ctx context.Context) error {
	for {
		from, to, err := a.oldRows(ctx)
		if err != nil || to == nil {
			return err
		}
		path, err := a.writeArchive(ctx, from, *to)
		if err == nil {
			err = a.dropArchived(ctx, from, *to)
		}
		if errors.Is(err, errMoved) {
			return nil
		}
		if err != nil {
			return err
		}
		a.log.InfoContext(ctx, "archived old rows of the audit", "file", path, "rows", to.Pos-from.Pos)
	}
}

// oldRows finds the next range to archive: from the base up to the last checkpoint that is
// old enough. to is nil when there is none.
func (a *Auditor) oldRows(ctx context.Context) (from auditchain.Walk, to *auditchain.Checkpoint, err error) {
	local, err := a.local()
	if err != nil {
		return from, nil, err
	}
	err = a.store.View(ctx, func(tx *store.Tx) error {
		to = nil
		s, err := load(tx, local)
		if err != nil || s.last == nil {
			return err
		}
		if s.fault != nil {
			return fmt.Errorf("the audit was altered, and is not archived: %w", faultError(*s.fault))
		}
		from = auditchain.Walk{Pos: s.last.Base, Hash: s.last.BaseHash}
		row, err := tx.AuditCheckpointBefore(from.Pos, from.Pos+archiveRows, tx.Now().Add(-a.cfg.Retention))
		if err != nil || row == nil {
			return err
		}
		c := checkpointOf(*row)
		// The end of an archive must be signed: its rows are not compared with the rest.
		if err := s.trust.Verify(c); err != nil {
			return fmt.Errorf("the audit is not archived beyond position %d, whose checkpoint cannot be trusted: %w",
				from.Pos, err)
		}
		to = &c
		return nil
	})
	return from, to, err
}

// writeArchive writes the range to a file, on disk when it returns.
func (a *Auditor) writeArchive(ctx context.Context, from auditchain.Walk, to auditchain.Checkpoint) (string, error) {
	if err := os.MkdirAll(a.cfg.ArchiveDir, 0o700); err != nil {
		return "", fmt.Errorf("folder of the audit's archives: %w", err)
	}
	path := filepath.Join(a.cfg.ArchiveDir, fmt.Sprintf("audit-%012d-%012d.jsonl", from.Pos+1, to.Pos))
	f, err := os.CreateTemp(a.cfg.ArchiveDir, ".audit-*")
	if err != nil {
		return "", fmt.Errorf("archive of the audit: %w", err)
	}
	err = a.fillArchive(ctx, f, from, to)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("archive of the audit: %w", err), os.Remove(f.Name()))
	}
	return path, syncFolder(a.cfg.ArchiveDir)
}

func (a *Auditor) fillArchive(
	ctx context.Context, f *os.File, from auditchain.Walk, to auditchain.Checkpoint,
) error {
	local, err := a.local()
	if err != nil {
		return err
	}
	newest := int64(0)
	file := auditchain.WriteArchive(f, from.Pos, from.Hash, to.Pos)
	for file.Pos < to.Pos {
		var page []store.ChainedAudit
		err := a.store.View(ctx, func(tx *store.Tx) error {
			s, err := load(tx, local)
			if err == nil && (s.last == nil || s.last.Base != from.Pos) {
				err = errMoved // rows that are missing were not removed by an attacker
			}
			if err == nil {
				newest = s.last.Seq
				page, err = tx.AuditChain(file.Pos, to.Pos, pageRows)
			}
			return err
		})
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return fmt.Errorf("the end of the audit, up to position %d, is missing", to.Pos)
		}
		for _, c := range page {
			if fault := file.Add(c.Pos, c.Audit, auditchain.HashOf(c.Hash), encoded(c)); fault != nil {
				return fmt.Errorf("the audit was altered, and is not archived: %w", faultError(*fault))
			}
		}
	}
	if file.Hash != to.Hash {
		return fmt.Errorf("the chain at position %d is not what its checkpoint signed", to.Pos)
	}
	return file.Close(local.keys.Current, newest, time.Now())
}

// encoded is the record of a position; nil when its row is gone.
func encoded(c store.ChainedAudit) []byte {
	if c.Row.ID == 0 {
		return nil
	}
	return recordOf(c.Pos, c.Row).Encode()
}

// syncFolder makes the name of a new file durable: its rows are deleted next.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// dropArchived deletes the rows of an archive, in steps. Each step signs a checkpoint
// whose base is the last position that it deletes.
func (a *Auditor) dropArchived(ctx context.Context, from auditchain.Walk, to auditchain.Checkpoint) error {
	for from.Pos < to.Pos {
		local, err := a.local()
		if err != nil {
			return err
		}
		var done auditchain.Checkpoint
		err = a.store.InTx(ctx, func(tx *store.Tx) (err error) {
			done, err = dropPage(tx, local, from, min(from.Pos+pageRows, to.Pos))
			return err
		})
		if err == nil {
			err = a.head.save(done)
		}
		if err != nil {
			return err
		}
		from = auditchain.Walk{Pos: done.Base, Hash: done.BaseHash}
	}
	return nil
}

func dropPage(tx *store.Tx, local state, from auditchain.Walk, upTo int64) (next auditchain.Checkpoint, err error) {
	if err := tx.LockAudit(); err != nil {
		return next, err
	}
	s, err := load(tx, local)
	if err != nil {
		return next, err
	}
	if s.fault != nil {
		return next, faultError(*s.fault)
	}
	if s.last == nil || s.last.Base != from.Pos || s.last.BaseHash != from.Hash {
		return next, errMoved
	}
	if s.rotated() {
		return next, errors.New("the chain is not signed by the new master key yet")
	}
	link, err := tx.AuditLinkAt(upTo)
	if err != nil {
		return next, err
	}
	if link == nil {
		return next, fmt.Errorf("position %d of the audit is missing", upTo)
	}
	next = s.next(tx)
	next.Pos, next.Hash = s.end.Pos, s.end.Hash
	next.Base, next.BaseHash = upTo, auditchain.HashOf(link.Hash)
	if next.Broken <= next.Base {
		next.Broken = 0
	}
	next = s.keys.Current.Sign(next)
	return next, tx.DropArchivedAudit(checkpointRow(next))
}
