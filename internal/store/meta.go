package store

// MarkOnce reports whether it is called with this name for the first time in the
// life of the database.
func (tx *Tx) MarkOnce(name string) (bool, error) {
	n, err := tx.Exec(`INSERT INTO meta (key, value) VALUES (?, '1') ON CONFLICT (key) DO NOTHING`, "once:"+name)
	return n == 1, err
}

const masterKeyMeta = "master_key"

// MasterKeyID is the id of the master key that this database's secrets are
// sealed with; "" before the first server has said.
func (tx *Tx) MasterKeyID() (id string, err error) {
	_, err = tx.one(`SELECT value FROM meta WHERE key = ?`, []any{masterKeyMeta}, &id)
	return id, err
}

// ClaimMasterKey makes id the master key of the database, unless it has one, and
// returns the one that it has.
func (tx *Tx) ClaimMasterKey(id string) (string, error) {
	if _, err := tx.Exec(`INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING`, masterKeyMeta, id); err != nil {
		return "", err
	}
	return tx.MasterKeyID()
}
