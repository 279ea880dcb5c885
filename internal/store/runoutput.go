package store

import (
	"encoding/json"
	"fmt"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file holds what the jobs of runs leave for later steps, and the hosts of steps that
// work on those of another one.

// Output is what the job of a host left for later steps.
type Output struct {
	Step  hostler.RunStepID `db:"step"`
	Seq   int64             `db:"seq"`
	Round int64             `db:"round"`
	Asset hostler.AssetID   `db:"asset"`
	Host  string            `db:"host"`
	JSON  string            `db:"outputs"`
}

// JobHost is a host of a step with its job.
type JobHost struct {
	Seq   int64         `db:"seq"`
	Round int64         `db:"round"`
	Job   hostler.JobID `db:"job"`
}

const fromUncollected = ` FROM run_host h WHERE h.step = ? AND h.state = 'succeeded' AND NOT EXISTS
(SELECT 1 FROM run_output o WHERE o.step = h.step AND o.seq = h.seq AND o.round = h.round)`

// UncollectedHosts lists hosts of a step that succeeded and whose outputs are not stored.
func (tx *Tx) UncollectedHosts(step hostler.RunStepID, limit int) ([]JobHost, error) {
	return query[JobHost](tx, `SELECT @cols`+fromUncollected+` ORDER BY h.seq LIMIT ?`, step, limit)
}

// PutOutputs stores outputs of hosts of a locked run.
func (tx *Tx) PutOutputs(rows []Output) error {
	cols := sqldb.Columns[Output]()
	_, err := execRows(tx, `INSERT INTO run_output (`+columnList("", cols)+`) SELECT `+columnList("v.", cols)+` FROM @rows
WHERE true ON CONFLICT (step, seq) DO UPDATE SET round = excluded.round, asset = excluded.asset, host = excluded.host,
outputs = excluded.outputs`, rows)
	return err
}

// FailHosts counts hosts of a step as failed that had succeeded, and notes why.
func (tx *Tx) FailHosts(step hostler.RunStepID, notes map[int64]hostler.Text) error {
	failed := 0
	seqs := make([]int64, 0, len(notes))
	for seq := range notes {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	for _, seq := range seqs {
		note, err := json.Marshal(notes[seq])
		if err != nil {
			return fmt.Errorf("encode a note: %w", err)
		}
		n, err := tx.Exec(`UPDATE run_host SET state = 'failed', note = ? WHERE step = ? AND seq = ? AND state = 'succeeded'`,
			string(note), step, seq)
		if err != nil {
			return err
		}
		failed += int(n)
	}
	if failed == 0 {
		return nil
	}
	_, err := tx.Exec(`UPDATE run_step SET succeeded = succeeded - ?, failed = failed + ? WHERE id = ?`, failed, failed, step)
	return err
}

// OutputsOf reads the outputs that a step has for some assets.
func (tx *Tx) OutputsOf(step hostler.RunStepID, assets []hostler.AssetID) ([]Output, error) {
	return query[Output](tx, `SELECT @cols FROM run_output WHERE step = ? AND asset IN ?* ORDER BY seq`, step, assets)
}

// AllOutputs reads the outputs of up to limit hosts of a step.
func (tx *Tx) AllOutputs(step hostler.RunStepID, limit int) ([]Output, error) {
	return query[Output](tx, `SELECT @cols FROM run_output WHERE step = ? ORDER BY seq LIMIT ?`, step, limit)
}

// HostsThatRan counts the hosts on which a job of a step has begun.
func (tx *Tx) HostsThatRan(step hostler.RunStepID) (n int, err error) {
	_, err = tx.one(`SELECT count(*) FROM run_host WHERE step = ? AND ran = 1`, []any{step}, &n)
	return n, err
}

// UnprobedHosts lists hosts of a step with an unknown outcome whose jobs a probe has not
// looked at.
func (tx *Tx) UnprobedHosts(step, probe hostler.RunStepID, limit int) ([]JobHost, error) {
	return query[JobHost](tx, `SELECT h.@cols FROM run_host h WHERE h.step = ? AND h.state = 'unknown' AND NOT EXISTS
(SELECT 1 FROM run_host p WHERE p.step = ? AND p.seq = h.seq AND p.about = h.job) ORDER BY h.seq LIMIT ?`,
		step, probe, limit)
}

// Probed is a job with an unknown outcome that a probe has looked at.
type Probed struct {
	Seq   int64         `db:"h.seq"`
	Job   hostler.JobID `db:"h.job"`
	Probe hostler.JobID `db:"p.job"`
	State string        `db:"p.state"`
}

// ProbedHosts lists jobs of a step whose probe has ended, and that nobody has decided.
func (tx *Tx) ProbedHosts(step, probe hostler.RunStepID, limit int) ([]Probed, error) {
	return query[Probed](tx, `SELECT @cols FROM run_host h JOIN run_host p ON p.step = ? AND p.seq = h.seq AND p.about = h.job
WHERE h.step = ? AND h.state = 'unknown' AND p.state NOT IN ('queued', 'unknown') AND p.note = '' ORDER BY h.seq LIMIT ?`,
		probe, step, limit)
}

// SetNote notes what a probe has found, or why a host failed.
func (tx *Tx) SetNote(step hostler.RunStepID, seq int64, note hostler.Text) error {
	b, err := json.Marshal(note)
	if err != nil {
		return fmt.Errorf("encode a note: %w", err)
	}
	_, err = tx.Exec(`UPDATE run_host SET note = ? WHERE step = ? AND seq = ?`, string(b), step, seq)
	return err
}

// OutputsIn reads the outputs of a step by the places of its hosts, from one place to
// another, which is not included.
func (tx *Tx) OutputsIn(step hostler.RunStepID, from, to int64) (map[int64]string, error) {
	rows, err := query[Output](tx, `SELECT @cols FROM run_output WHERE step = ? AND seq >= ? AND seq < ?`, step, from, to)
	out := make(map[int64]string, len(rows))
	for _, r := range rows {
		out[r.Seq] = r.JSON
	}
	return out, err
}

// EachOutput calls fn for the outputs of all hosts of a step, in the order of their places.
// The row is only valid during the call.
func (tx *Tx) EachOutput(step hostler.RunStepID, fn func(o *Output) error) error {
	return queryEach(tx, `SELECT @cols FROM run_output WHERE step = ? ORDER BY seq`, []any{step}, fn)
}
