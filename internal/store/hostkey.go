package store

import (
	"hash/fnv"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// LockAddress makes the transaction the only one that decides about host keys of
// the address, until it ends.
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

// HostKeys lists the host keys that the projects have seen at the addresses,
// oldest first.
func (tx *Tx) HostKeys(projects []hostler.ProjectID, addresses []string) ([]HostKeyRow, error) {
	var out []HostKeyRow
	err := tx.each(`SELECT id, project, address, type, fingerprint, public_key, state, first_seen, decided_by FROM host_key
WHERE project IN ?* AND address IN ?* ORDER BY id`, []any{projects, addresses}, func(r sqldb.Rows) error {
		var k HostKeyRow
		var id, project, seen int64
		err := r.Scan(&id, &project, &k.Address, &k.Type, &k.Fingerprint, &k.PublicKey, &k.State, &seen, &k.DecidedBy)
		k.ID, k.Project, k.FirstSeen = hostler.HostKeyID(id), hostler.ProjectID(project), sqldb.Time(seen)
		out = append(out, k)
		return err
	})
	return out, err
}

// InsertHostKey records a host key; lock its address first.
func (tx *Tx) InsertHostKey(project hostler.ProjectID, k hostler.HostKey) (hostler.HostKey, error) {
	id, err := tx.NewID()
	if err != nil {
		return k, err
	}
	k.ID, k.FirstSeen = hostler.HostKeyID(id), tx.now
	_, err = tx.Exec(`INSERT INTO host_key (id, project, address, type, fingerprint, public_key, state, first_seen, decided_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, id, project, k.Address, k.Type, k.Fingerprint, k.PublicKey, k.State, sqldb.Micros(tx.now), k.DecidedBy)
	return k, err
}

// DecideHostKey notes a decision about a host key; lock its address first.
func (tx *Tx) DecideHostKey(id hostler.HostKeyID, state, by string) error {
	_, err := tx.Exec(`UPDATE host_key SET state = ?, decided_by = ? WHERE id = ?`, state, by, id)
	return err
}
