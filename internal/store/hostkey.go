package store

import (
	"hash/fnv"
	"time"

	"hostler.dev/hostler"
)

// LockAddress locks the host keys of the address: only this transaction decides about
// them until it ends.
func (tx *Tx) LockAddress(project hostler.ProjectID, address string) error {
	h := fnv.New64a()
	_, _ = h.Write([]byte(project.String() + " " + address))
	// The high bit keeps clear of the queue's locks, and of those on names.
	return tx.c.Lock(tx.ctx, int64(h.Sum64()>>2|1<<61), false)
}

// HostKeyRow is a host key with its project.
type HostKeyRow struct {
	hostler.HostKey
	Project hostler.ProjectID
}

// hostKeyColumns are the columns of table host_key.
type hostKeyColumns struct {
	ID          hostler.HostKeyID `db:"id"`
	Project     hostler.ProjectID `db:"project"`
	Address     string            `db:"address"`
	Type        string            `db:"type"`
	Fingerprint string            `db:"fingerprint"`
	PublicKey   string            `db:"public_key"`
	State       string            `db:"state"`
	FirstSeen   time.Time         `db:"first_seen"`
	DecidedBy   string            `db:"decided_by"`
}

// HostKeys lists the host keys that the projects have seen at the addresses,
// oldest first.
func (tx *Tx) HostKeys(projects []hostler.ProjectID, addresses []string) ([]HostKeyRow, error) {
	rows, err := query[hostKeyColumns](tx, `SELECT @cols FROM host_key WHERE project IN ?* AND address IN ?* ORDER BY id`,
		projects, addresses)
	var out []HostKeyRow
	for _, r := range rows {
		out = append(out, HostKeyRow{Project: r.Project, HostKey: hostler.HostKey{
			ID: r.ID, Address: r.Address, Type: r.Type, Fingerprint: r.Fingerprint, PublicKey: r.PublicKey,
			State: r.State, FirstSeen: r.FirstSeen, DecidedBy: r.DecidedBy,
		}})
	}
	return out, err
}

// InsertHostKey records a host key; lock its address first.
func (tx *Tx) InsertHostKey(project hostler.ProjectID, k hostler.HostKey) (hostler.HostKey, error) {
	id, err := tx.NewID()
	if err != nil {
		return k, err
	}
	k.ID, k.FirstSeen = hostler.HostKeyID(id), tx.now
	return k, insert(tx, "host_key", []hostKeyColumns{{
		k.ID, project, k.Address, k.Type, k.Fingerprint, k.PublicKey, k.State, k.FirstSeen, k.DecidedBy,
	}})
}

// DecideHostKey records a decision about a host key; lock its address first.
func (tx *Tx) DecideHostKey(id hostler.HostKeyID, state, by string) error {
	_, err := tx.Exec(`UPDATE host_key SET state = ?, decided_by = ? WHERE id = ?`, state, by, id)
	return err
}
