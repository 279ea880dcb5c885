package store

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file holds what a change of the master key needs: which key is current, which
// servers have which keys, and the values that are still sealed in another way.

// holderTTL is how long after its last report a server counts as one that runs.
const holderTTL = time.Minute

// resealedMeta has the id of the master key under which every value was sealed, in the
// newest layout.
const resealedMeta = "resealed"

// Resealed is the id of the master key under which all values are sealed; "" for none.
func (tx *Tx) Resealed() (id string, err error) {
	_, err = tx.one(`SELECT value FROM meta WHERE key = ?`, []any{resealedMeta}, &id)
	return id, err
}

// SetResealed records that all values are sealed under the master key with this id, if it
// is still the current one.
func (tx *Tx) SetResealed(id string) error {
	_, err := tx.Exec(`INSERT INTO meta (key, value) SELECT ?, value FROM meta WHERE key = ? AND value = ?
ON CONFLICT (key) DO UPDATE SET value = excluded.value`, resealedMeta, masterKeyMeta, id)
	return err
}

// HoldKeys records which master keys a server has, and forgets servers that have stopped.
func (tx *Tx) HoldKeys(server string, ids []string) error {
	_, err := tx.Exec(`DELETE FROM key_holder WHERE seen_at < ?`, sqldb.Micros(tx.now.Add(-holderTTL)))
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO key_holder (server, key_ids, seen_at) VALUES (?, ?, ?)
ON CONFLICT (server) DO UPDATE SET key_ids = excluded.key_ids, seen_at = excluded.seen_at`,
		server, strings.Join(ids, " "), sqldb.Micros(tx.now))
	return err
}

// ReplaceMasterKey makes next the current master key instead of old, if every server that
// runs has it. It returns the current one.
func (tx *Tx) ReplaceMasterKey(old, next string) (string, error) {
	holders, err := column[string](tx, `SELECT key_ids FROM key_holder WHERE seen_at >= ?`,
		sqldb.Micros(tx.now.Add(-holderTTL)))
	if err != nil {
		return "", err
	}
	lacks := func(ids string) bool { return !slices.Contains(strings.Fields(ids), next) }
	if !slices.ContainsFunc(holders, lacks) {
		_, err = tx.Exec(`UPDATE meta SET value = ? WHERE key = ? AND value = ?`, next, masterKeyMeta, old)
		if err != nil {
			return "", err
		}
	}
	return tx.MasterKeyID()
}

// SealedRow is a sealed value and the row that it belongs to.
type SealedRow struct {
	ID      int64             `db:"x.id"`
	Project hostler.ProjectID `db:"x.project"`
	Sealed  []byte            `db:"x.sealed"`
}

// sealedTables are the tables with sealed values, as they are read: with id and project.
var sealedTables = map[string]string{
	"credential": `credential`,
	"webhook":    `webhook`,
	"inbound":    `inbound`,
	"job_target": `(SELECT t.job AS id, j.project AS project, t.sealed AS sealed
FROM job_target t JOIN job j ON j.id = t.job)`,
}

// SealedTables lists the tables with sealed values.
func SealedTables() []string { return []string{"credential", "webhook", "inbound", "job_target"} }

// SealedOtherwise lists values of a table after an id that do not begin with a prefix.
func (tx *Tx) SealedOtherwise(table string, after int64, prefix []byte, limit int) ([]SealedRow, error) {
	return query[SealedRow](tx, `SELECT @cols FROM `+sealedTables[table]+` x
WHERE x.id > ? AND length(x.sealed) > 0 AND substr(x.sealed, 1, `+strconv.Itoa(len(prefix))+`) <> ? ORDER BY x.id LIMIT ?`,
		after, prefix, limit)
}

// Reseal replaces a sealed value, unless it was changed meanwhile.
func (tx *Tx) Reseal(table string, row SealedRow, sealed []byte) error {
	id := "id"
	if table == "job_target" {
		id = "job"
	}
	_, err := tx.Exec(`UPDATE `+table+` SET sealed = ? WHERE `+id+` = ? AND sealed = ?`, sealed, row.ID, row.Sealed)
	return err
}
