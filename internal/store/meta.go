package store

// MarkOnce reports whether this is the first call with this name on this database.
func (tx *Tx) MarkOnce(name string) (bool, error) {
	n, err := tx.Exec(`INSERT INTO meta (key, value) VALUES (?, '1') ON CONFLICT (key) DO NOTHING`, "once:"+name)
	return n == 1, err
}

const masterKeyMeta = "master_key"

// MasterKeyID is the id of the master key that this database's secrets are
// sealed with; "" before the first server has set it.
func (tx *Tx) MasterKeyID() (id string, err error) {
	_, err = tx.one(`SELECT value FROM meta WHERE key = ?`, []any{masterKeyMeta}, &id)
	return id, err
}

// ClaimMasterKey makes id the master key of the database, unless it has one already,
// and returns the one it has.
func (tx *Tx) ClaimMasterKey(id string) (string, error) {
	_, err := tx.Exec(`INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING`, masterKeyMeta, id)
	if err != nil {
		return "", err
	}
	return tx.MasterKeyID()
}
