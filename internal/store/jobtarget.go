package store

import (
	"encoding/json"

	"hostler.dev/hostler"
)

// This file holds the hosts that jobs bring along instead of naming an asset: address
// and sealed login are in table job_target for as long as the job lives.

// inlineAsset is the asset column of a job that brought its own host. With it claims
// and completions recognise such a job without another statement: only then do they
// touch job_target. It stays in the history, where the target is deleted.
const inlineAsset = -1

// assetID reads an asset column.
func assetID(column int64) hostler.AssetID { return hostler.AssetID(max(0, column)) }

// assetColumn is the asset column of a job.
func assetColumn(s *hostler.JobSpec) int64 {
	if s.Target != nil {
		return inlineAsset
	}
	return int64(s.Asset)
}

// InlineLease reports whether a new lease is for a job that brought its own host:
// [Tx.JobTargets] reads it.
func InlineLease(l *hostler.Lease) bool { return l.Asset != nil && l.Asset.ID == 0 }

// SealedTarget is the host that a job brought along, with its sealed login.
type SealedTarget struct {
	Address  string `db:"address"`
	Port     int    `db:"port"`
	Platform string `db:"platform"`
	Username string `db:"username"`
	Sealed   []byte `db:"sealed"`
}

type targetRow struct {
	Job      hostler.JobID `db:"job"`
	OnDevice bool          `db:"on_device"` // see adhoclane.go
	SealedTarget
}

// insertTargets stores the hosts that jobs brought along, each sealed for its job.
func (tx *Tx) insertTargets(ids []hostler.JobID, specs []hostler.JobSpec) error {
	var rows []targetRow
	for i := range specs {
		t := specs[i].Target
		if t == nil {
			continue
		}
		sealed, err := t.Seal(specs[i].Project, ids[i])
		if err != nil {
			return err
		}
		rows = append(rows, targetRow{ids[i], onDevice(&specs[i]), SealedTarget{t.Address, t.Port, t.Platform, t.Username, sealed}})
	}
	return insert(tx, "job_target", rows)
}

// JobTargets reads the hosts that live jobs brought along.
func (tx *Tx) JobTargets(ids []hostler.JobID) (map[hostler.JobID]SealedTarget, error) {
	rows, err := query[targetRow](tx, `SELECT @cols FROM job_target WHERE job IN ?*`, ids)
	out := make(map[hostler.JobID]SealedTarget, len(rows))
	for _, r := range rows {
		out[r.Job] = r.SealedTarget
	}
	return out, err
}

// LeasedJob is the project and the host of a leased job.
type LeasedJob struct {
	Project hostler.ProjectID
	Asset   hostler.AssetID // 0 for none
	// Target is the host that the job brought along, without its login; nil for
	// none.
	Target *SealedTarget
	Action string
	Args   json.RawMessage
}

// LeasedJob finds a leased job. CodeStale: the lease is lost.
func (tx *Tx) LeasedJob(w hostler.WorkerID, l hostler.LeaseRef) (LeasedJob, error) {
	type leasedRow struct {
		Project hostler.ProjectID `db:"j.project"`
		Asset   int64             `db:"j.asset"`
		Address string            `db:"COALESCE(t.address, '')"`
		Port    int               `db:"COALESCE(t.port, 0)"`
		Action  string            `db:"j.action"`
		Args    string            `db:"j.args"`
		Shared  int64             `db:"j.shared_args"`
	}
	r, err := queryOne[leasedRow](tx, `SELECT @cols FROM running r JOIN job j ON j.id = r.id
LEFT JOIN job_target t ON t.job = j.id WHERE r.id = ? AND r.worker = ? AND r.fence = ?`, l.Job, w, l.Fence)
	if err != nil {
		return LeasedJob{}, err
	}
	if r == nil {
		return LeasedJob{}, errFenceLost()
	}
	j := LeasedJob{
		Project: r.Project, Asset: assetID(r.Asset), Action: r.Action, Args: json.RawMessage(r.Args),
	}
	if r.Shared != 0 {
		var shared sharedArgs
		shared.add(l.Job, r.Shared)
		args, err := shared.read(tx)
		if err != nil {
			return j, err
		}
		j.Args = args[l.Job]
	}
	if r.Asset == inlineAsset {
		j.Target = &SealedTarget{Address: r.Address, Port: r.Port}
	}
	return j, nil
}
