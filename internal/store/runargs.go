package store

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file stores args that several jobs of a run have in common once, in table
// run_args: one call may create jobs on thousands of assets, all with the same large
// args. Small args, and those of one job only, are in the row of the job, so that an
// ordinary job costs no further statement.

// shareFrom is the size in bytes from which common args are stored once.
const shareFrom = 1024

// commonArgs are large args of jobs that this transaction creates.
type commonArgs struct {
	run  hostler.RunID
	args json.RawMessage
	jobs int   // of the current Enqueue
	id   int64 // in run_args; 0 while they are not there
}

// argsKey identifies args within a transaction.
type argsKey struct {
	run  hostler.RunID
	hash uint64
}

var argsSeed = maphash.MakeSeed()

// shareArgs stores args that several of the jobs have in common, unless an earlier
// Enqueue of the transaction did. It returns for each job the id of its args in run_args;
// 0 for those that belong in the row of the job.
func (tx *Tx) shareArgs(specs []hostler.JobSpec) ([]int64, error) {
	groups := make([]*commonArgs, len(specs))
	var repeated []*commonArgs
	var last *commonArgs
	for i := range specs {
		last = tx.findCommon(&specs[i], last)
		if groups[i] = last; last == nil {
			continue
		}
		if last.jobs++; last.jobs == 2 && last.id == 0 {
			repeated = append(repeated, last)
		}
	}
	if err := tx.insertRunArgs(repeated); err != nil {
		return nil, err
	}
	ids := make([]int64, len(specs))
	for i, g := range groups {
		if g != nil {
			ids[i], g.jobs = g.id, 0
		}
	}
	return ids, nil
}

// findCommon returns the args of the transaction that equal those of a job, last being
// those of the job before; nil for args that are not shared.
func (tx *Tx) findCommon(s *hostler.JobSpec, last *commonArgs) *commonArgs {
	if len(s.Args) < shareFrom || s.Run == 0 {
		return nil
	}
	// The jobs of one request have one slice, which is not hashed again for each of them.
	if last != nil && last.run == s.Run && len(last.args) == len(s.Args) && &last.args[0] == &s.Args[0] {
		return last
	}
	key := argsKey{s.Run, maphash.Bytes(argsSeed, s.Args)}
	g := tx.args[key]
	switch {
	case g == nil:
		if tx.args == nil {
			tx.args = map[argsKey]*commonArgs{}
		}
		g = &commonArgs{run: s.Run, args: s.Args}
		tx.args[key] = g
	case !bytes.Equal(g.args, s.Args):
		return nil
	}
	return g
}

func (tx *Tx) insertRunArgs(groups []*commonArgs) error {
	if len(groups) == 0 {
		return nil
	}
	type runArgsRow struct {
		ID        int64           `db:"id"`
		Run       hostler.RunID   `db:"run"`
		CheckedAt time.Time       `db:"checked_at"`
		Args      json.RawMessage `db:"args,text"`
	}
	ids, err := tx.c.NewIDs(tx.ctx, len(groups))
	if err != nil {
		return err
	}
	rows := make([]runArgsRow, len(groups))
	for i, g := range groups {
		g.id = ids[i]
		rows[i] = runArgsRow{g.id, g.run, tx.now, g.args}
	}
	return insert(tx, "run_args", rows)
}

// sharedArgs are the ids in run_args of the args that jobs were read without.
type sharedArgs map[hostler.JobID]int64

// add notes where the args of a job are; 0 when the job has them itself.
func (s *sharedArgs) add(job hostler.JobID, id int64) {
	if id == 0 {
		return
	}
	if *s == nil {
		*s = sharedArgs{}
	}
	(*s)[job] = id
}

// read returns the args of the jobs that were added. Jobs with the same args share the
// memory.
func (s sharedArgs) read(tx *Tx) (map[hostler.JobID]json.RawMessage, error) {
	if len(s) == 0 {
		return nil, nil
	}
	type argsRow struct {
		ID   int64           `db:"id"`
		Args json.RawMessage `db:"args,text"`
	}
	jobs := make(map[int64][]hostler.JobID, len(s))
	for job, id := range s {
		jobs[id] = append(jobs[id], job)
	}
	ids := make([]int64, 0, len(jobs))
	for id := range jobs {
		ids = append(ids, id)
	}
	out := make(map[hostler.JobID]json.RawMessage, len(s))
	err := queryEach(tx, `SELECT @cols FROM run_args WHERE id IN ?*`, []any{ids}, func(r *argsRow) error {
		for _, job := range jobs[r.ID] {
			out[job] = r.Args
		}
		return nil
	})
	return out, err
}

// runArgsRecheck is how long the args of a run that is older than the retention, and
// still has jobs, are kept before its jobs are looked for again.
const runArgsRecheck = 24 * time.Hour

// DeleteRunArgs looks at up to limit args of runs that had jobs at a time, and deletes
// those of runs that have none any more. It returns how many it looked at.
func (tx *Tx) DeleteRunArgs(before time.Time, limit int) (int64, error) {
	ids, err := column[int64](tx, `SELECT id FROM run_args WHERE checked_at < ? ORDER BY checked_at LIMIT ?`,
		sqldb.Micros(before), limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	// Subqueries with a LIMIT probe the index of each run; as a join, PostgreSQL could
	// read the whole history.
	_, err = tx.Exec(`DELETE FROM run_args WHERE id IN ?*
AND (SELECT j.id FROM job j WHERE j.run = run_args.run AND j.run <> 0 LIMIT 1) IS NULL
AND (SELECT d.id FROM done d WHERE d.run = run_args.run AND d.run <> 0 LIMIT 1) IS NULL`, ids)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(`UPDATE run_args SET checked_at = ? WHERE id IN ?*`,
		sqldb.Micros(before.Add(runArgsRecheck)), ids)
	return int64(len(ids)), err
}
