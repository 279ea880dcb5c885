package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file stores artefacts: a row of table artefact describes each, and rows of table
// artefact_block, beside the job output, have the content in blocks of equal size.
//
//	writing ─ all blocks are stored ─▶ stored ─ expired, replaced, deleted ─▶ deleting ─▶ (gone)
//	writing ─ its lease is lost, or a limit is exceeded ───────────────────▶ deleting
//
// Only stored ones are visible, and count for the limit of their project. The blocks are
// deleted in steps before the row is, so that none is left behind.

// artefactBlock is the size of the blocks in bytes. A stream has one of them in memory.
const artefactBlock = 256 << 10

// artefactDeletes is how many blocks one transaction deletes.
const artefactDeletes = 64

// ArtefactLimits are the limits of artefacts in bytes.
type ArtefactLimits struct {
	File, Job, Project int64
}

// artefactRow is a row of table artefact.
type artefactRow struct {
	ID        hostler.ArtefactID `db:"id"`
	Project   hostler.ProjectID  `db:"project"`
	Job       hostler.JobID      `db:"job"`
	Fence     int64              `db:"fence"`
	Run       hostler.RunID      `db:"run"`
	Asset     int64              `db:"asset"`
	Name      string             `db:"name"`
	MediaType string             `db:"media_type"`
	Size      int64              `db:"size"`
	SHA256    string             `db:"sha256"`
	State     string             `db:"state"`
	CreatedAt time.Time          `db:"created_at"`
	CreatedBy string             `db:"created_by"`
}

func (r *artefactRow) artefact() hostler.Artefact {
	return hostler.Artefact{
		ID: r.ID, Job: r.Job, Run: r.Run, Name: r.Name, MediaType: r.MediaType, Size: r.Size,
		SHA256: r.SHA256, CreatedAt: r.CreatedAt, CreatedBy: r.CreatedBy,
	}
}

// leaseOrigin is what an artefact takes over from its job, and who created that.
type leaseOrigin struct {
	Project     hostler.ProjectID `db:"j.project"`
	Run         hostler.RunID     `db:"j.run"`
	Asset       int64             `db:"j.asset"`
	CreatedBy   string            `db:"j.created_by"`
	CreatedByID hostler.UserID    `db:"j.created_by_id"`
}

func (tx *Tx) leaseOrigin(w hostler.WorkerID, l hostler.LeaseRef) (*leaseOrigin, error) {
	o, err := queryOne[leaseOrigin](tx, `SELECT @cols FROM running r JOIN job j ON j.id = r.id
WHERE r.id = ? AND r.worker = ? AND r.fence = ?`, l.Job, w, l.Fence)
	if err == nil && o == nil {
		err = errFenceLost()
	}
	return o, err
}

// StoreArtefact stores what r returns as an artefact of a leased job; see
// [hostler.ArtefactDispatcher].
func (s *Store) StoreArtefact(
	ctx context.Context, w hostler.WorkerID, l hostler.LeaseRef, in hostler.ArtefactInput, limits ArtefactLimits, r io.Reader,
) (hostler.Artefact, error) {
	var row artefactRow
	var room int64
	err := s.InGrowingTx(ctx, func(tx *Tx) (err error) {
		row, room, err = tx.beginArtefact(w, l, in, limits)
		return err
	})
	if err != nil {
		return hostler.Artefact{}, err
	}
	if row.Size, row.SHA256, err = s.writeBlocks(ctx, row.ID, r, room); err == nil {
		err = s.InTx(ctx, func(tx *Tx) error { return tx.finishArtefact(w, l, &row, limits) })
	}
	if err != nil {
		// What this fails to delete, upkeep deletes once the lease has ended.
		return hostler.Artefact{}, errors.Join(err, s.dropArtefact(context.WithoutCancel(ctx), row.ID))
	}
	return row.artefact(), nil
}

// beginArtefact inserts the row of an artefact whose content is written next, and returns
// how large it may become.
func (tx *Tx) beginArtefact(
	w hostler.WorkerID, l hostler.LeaseRef, in hostler.ArtefactInput, limits ArtefactLimits,
) (row artefactRow, room int64, err error) {
	o, err := tx.leaseOrigin(w, l)
	if err != nil {
		return row, 0, err
	}
	if room, err = tx.artefactRoom(l.Job, o.Project, in.Name, limits); err != nil {
		return row, 0, err
	}
	id, err := tx.NewID()
	row = artefactRow{
		ID: hostler.ArtefactID(id), Project: o.Project, Job: l.Job, Fence: l.Fence, Run: o.Run, Asset: o.Asset,
		Name: in.Name, MediaType: in.MediaType, State: "writing", CreatedAt: tx.now, CreatedBy: o.CreatedBy,
	}
	if err == nil {
		err = insert(tx, "artefact", []artefactRow{row})
	}
	return row, room, err
}

// artefactRoom returns how many bytes a further artefact of a job may have, one that replaces
// those with its name.
func (tx *Tx) artefactRoom(
	job hostler.JobID, project hostler.ProjectID, name string, limits ArtefactLimits,
) (int64, error) {
	rows, err := query[artefactRow](tx, `SELECT @cols FROM artefact WHERE job = ? AND state = 'stored' AND name <> ? LIMIT ?`,
		job, name, hostler.MaxJobArtefacts)
	if err != nil {
		return 0, err
	}
	if len(rows) == hostler.MaxJobArtefacts {
		return 0, hostler.Errorf(hostler.CodeTooLarge, "a job may have at most %d artefacts", "一个作业最多有 %d 个产物",
			hostler.MaxJobArtefacts)
	}
	room := limits.Job
	for i := range rows {
		room -= rows[i].Size
	}
	var total int64
	if _, err := tx.one(`SELECT bytes FROM artefact_total WHERE project = ?`, []any{project}, &total); err != nil {
		return 0, err
	}
	return min(room, limits.File, limits.Project-total), nil
}

// errArtefactTooLarge says which limits an artefact may exceed.
func errArtefactTooLarge() error {
	return hostler.Errorf(hostler.CodeTooLarge,
		"the artefact is larger than the limit of a file (artefact_limit), of a job (artefact_job_limit) or of the project "+
			"(artefact_project_limit): delete artefacts that are not needed, or raise the limit",
		"产物超过单个文件（artefact_limit）、单个作业（artefact_job_limit）或项目（artefact_project_limit）的上限："+
			"请删除不需要的产物，或调高上限")
}

// writeBlocks stores the content of an artefact, at most room bytes.
func (s *Store) writeBlocks(
	ctx context.Context, id hostler.ArtefactID, r io.Reader, room int64,
) (size int64, sum string, err error) {
	type blockRow struct {
		Artefact hostler.ArtefactID `db:"artefact"`
		Seq      int64              `db:"seq"`
		Data     []byte             `db:"data"`
	}
	hash := sha256.New()
	buf := make([]byte, artefactBlock)
	for seq := int64(0); ; seq++ {
		n, err := io.ReadFull(r, buf)
		if size += int64(n); size > room {
			return 0, "", errArtefactTooLarge()
		}
		if n > 0 {
			hash.Write(buf[:n])
			stored := s.inTx(sqldb.Growing(ctx), s.log, func(tx *Tx) error {
				_, err := insertNew(tx, "artefact_block", "artefact, seq", []blockRow{{id, seq, buf[:n]}})
				return err
			})
			if stored != nil {
				return 0, "", stored
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return size, hex.EncodeToString(hash.Sum(nil)), nil
		case err != nil:
			return 0, "", err
		}
	}
}

// finishArtefact makes an artefact visible whose content is stored, in place of those of the
// job with the same name.
func (tx *Tx) finishArtefact(w hostler.WorkerID, l hostler.LeaseRef, row *artefactRow, limits ArtefactLimits) error {
	if _, err := tx.leaseOrigin(w, l); err != nil {
		return err
	}
	replaced, err := column[hostler.ArtefactID](tx, `SELECT id FROM artefact WHERE job = ? AND name = ? AND state = 'stored'`,
		row.Job, row.Name)
	if err != nil {
		return err
	}
	for _, id := range replaced {
		if _, err := tx.hideArtefact(id); err != nil {
			return err
		}
	}
	n, err := tx.Exec(`UPDATE artefact SET state = 'stored', size = ?, sha256 = ? WHERE id = ? AND state = 'writing'`,
		row.Size, row.SHA256, row.ID)
	if err != nil || n == 0 {
		return errors.Join(err, errFenceLost())
	}
	if _, err := tx.Exec(`INSERT INTO artefact_total (project, bytes) VALUES (?, ?)
ON CONFLICT (project) DO UPDATE SET bytes = artefact_total.bytes + excluded.bytes`, row.Project, row.Size); err != nil {
		return err
	}
	// With the row of the total locked: artefacts that were written at the same time count.
	var total, job int64
	_, err = tx.one(`SELECT t.bytes, (SELECT CAST(sum(size) AS BIGINT) FROM artefact WHERE job = ? AND state = 'stored')
FROM artefact_total t WHERE t.project = ?`, []any{row.Job, row.Project}, &total, &job)
	if err == nil && (total > limits.Project || job > limits.Job) {
		err = errArtefactTooLarge()
	}
	return err
}

// hideArtefact marks an artefact for deletion, and reports whether there was one.
func (tx *Tx) hideArtefact(id hostler.ArtefactID) (bool, error) {
	row, err := queryOne[artefactRow](tx, `SELECT @cols FROM artefact WHERE id = ?`, id)
	if err != nil || row == nil || row.State == "deleting" {
		return false, err
	}
	n, err := tx.Exec(`UPDATE artefact SET state = 'deleting' WHERE id = ? AND state = ?`, id, row.State)
	if err == nil && n > 0 && row.State == "stored" {
		_, err = tx.Exec(`UPDATE artefact_total SET bytes = bytes - ? WHERE project = ?`, row.Size, row.Project)
	}
	return n > 0, err
}

// dropArtefact deletes an artefact with its blocks, in steps.
func (s *Store) dropArtefact(ctx context.Context, id hostler.ArtefactID) error {
	err := s.InTx(ctx, func(tx *Tx) error {
		_, err := tx.hideArtefact(id)
		return err
	})
	if err != nil {
		return err
	}
	for more := true; more; {
		err := s.inTx(ctx, s.log, func(tx *Tx) error {
			n, err := tx.Exec(`DELETE FROM artefact_block WHERE artefact = ? AND seq IN
(SELECT b.seq FROM artefact_block b WHERE b.artefact = ? ORDER BY b.seq LIMIT ?)`, id, id, artefactDeletes)
			more = n == artefactDeletes
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.InTx(ctx, func(tx *Tx) error {
		_, err := tx.Exec(`DELETE FROM artefact WHERE id = ? AND state = 'deleting'`, id)
		return err
	})
}

// DeleteArtefact marks an artefact of a project for deletion, and reports whether there was
// one that the transaction may read. Upkeep deletes its content.
func (tx *Tx) DeleteArtefact(project hostler.ProjectID, id hostler.ArtefactID) (bool, error) {
	a, err := tx.Artefact(project, id)
	if err != nil || a == nil {
		return false, err
	}
	return tx.hideArtefact(id)
}

// PruneArtefacts deletes artefacts that were created before a time, that were marked for
// deletion, or whose lease was lost while they were written. Each step handles a bounded
// number of rows and of blocks.
func (s *Store) PruneArtefacts(ctx context.Context, before time.Time, limit int) error {
	for {
		var ids []hostler.ArtefactID
		err := s.View(ctx, func(tx *Tx) (err error) {
			ids, err = column[hostler.ArtefactID](tx, `SELECT a.id FROM artefact a WHERE a.state <> 'stored' AND (a.state = 'deleting'
OR NOT EXISTS (SELECT 1 FROM running r WHERE r.id = a.job AND r.fence = a.fence)) ORDER BY a.id LIMIT ?`, limit)
			if err != nil || len(ids) >= limit {
				return err
			}
			old, err := column[hostler.ArtefactID](tx, `SELECT a.id FROM artefact a WHERE a.id < ? AND a.state = 'stored' ORDER BY a.id LIMIT ?`,
				hostler.MakeID(before.Unix(), 0), limit-len(ids))
			ids = append(ids, old...)
			return err
		})
		for i := 0; err == nil && i < len(ids); i++ {
			err = s.dropArtefact(ctx, ids[i])
		}
		if err != nil || len(ids) < limit {
			return err
		}
	}
}

// Artefact reads a stored artefact of a project; nil if there is none that the transaction
// may read.
func (tx *Tx) Artefact(project hostler.ProjectID, id hostler.ArtefactID) (*hostler.Artefact, error) {
	return first(tx.artefacts(1, `project = ? AND id = ?`, project, id))
}

// Artefacts lists up to limit artefacts of a project with ids below before (0 for the
// newest), newest first. For callers who see some assets only, it looks at scanBudget of
// them.
func (tx *Tx) Artefacts(
	project hostler.ProjectID, f hostler.ArtefactFilter, before hostler.ArtefactID, limit int,
) ([]hostler.Artefact, error) {
	where, args := `project = ? AND id < ?`, []any{project, before}
	if before == 0 {
		args[1] = int64(math.MaxInt64)
	}
	if f.Job != 0 {
		where, args = where+` AND job = ?`, append(args, f.Job)
	}
	if f.Run != 0 {
		where, args = where+` AND run <> 0 AND run = ?`, append(args, f.Run)
	}
	return tx.artefacts(limit, where, args...)
}

// artefacts lists the stored artefacts that match, newest first.
func (tx *Tx) artefacts(limit int, where string, args ...any) ([]hostler.Artefact, error) {
	seen, seenArgs := tx.seen(`a.asset`)
	scan := limit
	if seen != `` {
		scan = scanBudget
	}
	rows, err := query[artefactRow](tx, `SELECT @cols FROM (SELECT * FROM artefact WHERE `+where+
		` AND state = 'stored' ORDER BY id DESC LIMIT ?) a WHERE 1 = 1`+seen+` ORDER BY a.id DESC LIMIT ?`,
		slices.Concat(args, []any{scan}, seenArgs, []any{limit})...)
	out := make([]hostler.Artefact, len(rows))
	for i := range rows {
		out[i] = rows[i].artefact()
	}
	return out, err
}

// ArtefactForJob reads an artefact for a leased job. The job may use those of its own run,
// and those that the user who created it may read. CodeNotFound: no other.
func (tx *Tx) ArtefactForJob(w hostler.WorkerID, l hostler.LeaseRef, id hostler.ArtefactID) (hostler.Artefact, error) {
	o, err := tx.leaseOrigin(w, l)
	if err != nil {
		return hostler.Artefact{}, err
	}
	a, err := tx.Artefact(o.Project, id)
	if err == nil && a != nil && a.Job != l.Job && (a.Run == 0 || a.Run != o.Run) {
		a, err = tx.artefactOfCreator(o, id)
	}
	if err == nil && a == nil {
		err = hostler.NotFound(hostler.Text{EN: "artefact", ZH: "产物"}, id.String())
	}
	if err != nil {
		return hostler.Artefact{}, err
	}
	return *a, nil
}

// artefactOfCreator reads an artefact with the rights of the user who created a job.
func (tx *Tx) artefactOfCreator(o *leaseOrigin, id hostler.ArtefactID) (*hostler.Artefact, error) {
	c, ok := (&jobOrigin{Project: o.Project, CreatedBy: o.CreatedBy, CreatedByID: o.CreatedByID}).creator()
	if ok {
		rights, err := tx.readRights([]creator{c})
		if err != nil {
			return nil, err
		}
		r := rights[c]
		if !r.missing && (r.disabled || !r.role.Includes(hostler.RoleViewer)) {
			return nil, nil
		}
		tx.SeeOnly(r.limit.Labels)
	}
	return tx.Artefact(o.Project, id)
}

// ArtefactReader reads the content of an artefact. It holds one block in memory and no
// transaction between reads. It belongs to one goroutine.
type ArtefactReader struct {
	ctx   context.Context //nolint:containedctx // an io.Reader takes none
	store *Store
	id    hostler.ArtefactID
	size  int64

	pos   int64
	block []byte // the one at seq
	seq   int64
}

// ReadArtefact returns a reader of the content of an artefact.
func (s *Store) ReadArtefact(ctx context.Context, a hostler.Artefact) *ArtefactReader {
	return &ArtefactReader{ctx: ctx, store: s, id: a.ID, size: a.Size, seq: -1}
}

// Read implements io.Reader. CodeNotFound: the artefact was deleted meanwhile.
func (r *ArtefactReader) Read(p []byte) (int, error) {
	if r.pos >= r.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if seq := r.pos / artefactBlock; seq != r.seq {
		if err := r.fetch(seq); err != nil {
			return 0, err
		}
	}
	from := r.pos % artefactBlock
	if from >= int64(len(r.block)) {
		return 0, fmt.Errorf("the block %d of artefact %v is too short", r.seq, r.id)
	}
	n := copy(p, r.block[from:])
	r.pos += int64(n)
	return n, nil
}

func (r *ArtefactReader) fetch(seq int64) error {
	type blockRow struct {
		Data []byte `db:"data"`
	}
	var b *blockRow
	err := r.store.log.View(r.ctx, func(c sqldb.Conn) (err error) {
		b, err = queryOne[blockRow](&Tx{ctx: r.ctx, c: c}, `SELECT @cols FROM artefact_block WHERE artefact = ? AND seq = ?`, r.id, seq)
		return err
	})
	if err == nil && b == nil {
		err = hostler.NotFound(hostler.Text{EN: "artefact", ZH: "产物"}, r.id.String())
	}
	if err == nil {
		r.block, r.seq = b.Data, seq
	}
	return err
}

// Seek implements io.Seeker.
func (r *ArtefactReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start of an artefact")
	}
	r.pos = offset
	return offset, nil
}

// Close implements io.Closer.
func (r *ArtefactReader) Close() error { return nil }
