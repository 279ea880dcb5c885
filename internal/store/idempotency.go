package store

import (
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// IdemKeep is how long the answer to an idempotent request is kept.
const IdemKeep = 24 * time.Hour

// IdemKey names a request that must take effect once.
type IdemKey struct {
	Project hostler.ProjectID
	Route   string
	Key     string
	// Hashes are those of the request's content under each master key, the current one
	// first: the first request may have come before a rotation.
	Hashes []string
}

// ClaimIdem reports whether the request is new: then do the work and call SaveIdem in
// this transaction. Otherwise it returns the stored answer. A second request that
// arrives while the first is in its transaction waits for the end of that.
// CodeConflict: the key was used for another request.
func (tx *Tx) ClaimIdem(k IdemKey) (fresh bool, response string, err error) {
	_, err = tx.Exec(`DELETE FROM idem WHERE project = ? AND route = ? AND key = ? AND created_at < ?`,
		k.Project, k.Route, k.Key, sqldb.Micros(tx.now.Add(-IdemKeep)))
	if err != nil {
		return false, "", err
	}
	n, err := tx.Exec(`INSERT INTO idem (project, route, key, request_hash, response, created_at)
VALUES (?, ?, ?, ?, '', ?) ON CONFLICT (project, route, key) DO NOTHING`,
		k.Project, k.Route, k.Key, k.Hashes[0], sqldb.Micros(tx.now))
	if err != nil || n == 1 {
		return err == nil, "", err
	}
	var hash string
	_, err = tx.one(`SELECT request_hash, response FROM idem WHERE project = ? AND route = ? AND key = ?`,
		[]any{k.Project, k.Route, k.Key}, &hash, &response)
	if err == nil && !slices.Contains(k.Hashes, hash) {
		err = errIdemReused()
	}
	return false, response, err
}

// StoredIdem returns the stored answer of a request, if it was made before. CodeConflict:
// the key was used for another request.
func (tx *Tx) StoredIdem(k IdemKey) (response string, found bool, err error) {
	var hash string
	found, err = tx.one(`SELECT request_hash, response FROM idem
WHERE project = ? AND route = ? AND key = ? AND created_at >= ?`,
		[]any{k.Project, k.Route, k.Key, sqldb.Micros(tx.now.Add(-IdemKeep))}, &hash, &response)
	if err == nil && found && !slices.Contains(k.Hashes, hash) {
		err = errIdemReused()
	}
	return response, found, err
}

// SaveIdem stores the answer of a request that ClaimIdem reported as new.
func (tx *Tx) SaveIdem(k IdemKey, response string) error {
	_, err := tx.Exec(`UPDATE idem SET response = ? WHERE project = ? AND route = ? AND key = ?`,
		response, k.Project, k.Route, k.Key)
	return err
}

// DeleteIdem deletes up to limit answers that are older than IdemKeep, and returns how
// many.
func (tx *Tx) DeleteIdem(limit int) (int64, error) {
	return tx.Exec(`DELETE FROM idem WHERE (project, route, key) IN
(SELECT i.project, i.route, i.key FROM idem i WHERE i.created_at < ? ORDER BY i.created_at LIMIT ?)`,
		sqldb.Micros(tx.now.Add(-IdemKeep)), limit)
}

func errIdemReused() error {
	return hostler.Errorf(hostler.CodeConflict,
		"this Idempotency-Key was used for another request; use a new one for each request",
		"该 Idempotency-Key 已用于另一个请求；请为每个请求使用新的值")
}
