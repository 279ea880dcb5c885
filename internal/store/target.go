package store

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// inlineAsset stands in the asset column of a job that brought its own host. It
// is how claims and endings know such a job without another statement: only then
// do they touch job_target. It stays in the history, where the target is gone.
const inlineAsset = -1

// assetID reads an asset column.
func assetID(column int64) hostler.AssetID { return hostler.AssetID(max(0, column)) }

// assetColumn is what the asset column of a job says.
func assetColumn(s *hostler.JobSpec) int64 {
	if s.Target != nil {
		return inlineAsset
	}
	return int64(s.Asset)
}

// InlineLease reports whether a fresh lease is of a job that brought its own
// host, which JobTargets has.
func InlineLease(l *hostler.Lease) bool { return l.Asset != nil && l.Asset.ID == 0 }

// SealedTarget is the host that a job brought along, with its sealed login.
type SealedTarget struct {
	Address  string
	Port     int
	Platform string
	Username string
	Sealed   []byte
}

// insertTargets keeps the hosts that jobs brought along, each sealed for its job.
func (g *gate) insertTargets(ids []int64, specs []hostler.JobSpec) error {
	var rows [][]any
	for i := range specs {
		t := specs[i].Target
		if t == nil {
			continue
		}
		sealed, err := t.Seal(hostler.JobID(ids[i]))
		if err != nil {
			return err
		}
		rows = append(rows, []any{ids[i], t.Address, int64(t.Port), t.Platform, t.Username, sealed})
	}
	return g.insert(`INSERT INTO job_target (job, address, port, platform, username, sealed)
SELECT v.job, v.address, v.port, v.platform, v.username, v.sealed FROM @rows`,
		[]sqldb.Col{
			{Name: "job", Type: sqldb.Int},
			{Name: "address", Type: sqldb.Text},
			{Name: "port", Type: sqldb.Int},
			{Name: "platform", Type: sqldb.Text},
			{Name: "username", Type: sqldb.Text},
			{Name: "sealed", Type: sqldb.Bytes},
		}, rows)
}

// JobTargets reads the hosts that live jobs brought along.
func (tx *Tx) JobTargets(ids []hostler.JobID) (map[hostler.JobID]SealedTarget, error) {
	out := make(map[hostler.JobID]SealedTarget, len(ids))
	err := tx.each(`SELECT job, address, port, platform, username, sealed FROM job_target WHERE job IN ?*`, []any{ids}, func(r sqldb.Rows) error {
		var id int64
		var t SealedTarget
		err := r.Scan(&id, &t.Address, &t.Port, &t.Platform, &t.Username, &t.Sealed)
		out[hostler.JobID(id)] = t
		return err
	})
	return out, err
}

// LeasedJob is where a leased job works, for questions that its worker asks.
type LeasedJob struct {
	Project hostler.ProjectID
	Asset   hostler.AssetID // 0 for none
	// Target is the host that the job brought along, without its login; nil for
	// none.
	Target *SealedTarget
}

// LeasedJob finds a leased job. CodeStale: the lease is lost.
func (tx *Tx) LeasedJob(w hostler.WorkerID, l hostler.LeaseRef) (LeasedJob, error) {
	var j LeasedJob
	var t SealedTarget
	var project, asset int64
	found, err := tx.one(`SELECT j.project, j.asset, COALESCE(t.address, ''), COALESCE(t.port, 0)
FROM running r JOIN job j ON j.id = r.id LEFT JOIN job_target t ON t.job = j.id WHERE r.id = ? AND r.worker = ? AND r.fence = ?`,
		[]any{int64(l.Job), int64(w), l.Fence}, &project, &asset, &t.Address, &t.Port)
	if err == nil && !found {
		err = errFenceLost()
	}
	j.Project, j.Asset = hostler.ProjectID(project), assetID(asset)
	if asset == inlineAsset {
		j.Target = &t
	}
	return j, err
}
