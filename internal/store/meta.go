package store

// MarkOnce reports whether it is called with this name for the first time in the
// life of the database.
func (tx *Tx) MarkOnce(name string) (bool, error) {
	n, err := tx.Exec(`INSERT INTO meta (key, value) VALUES (?, '1') ON CONFLICT (key) DO NOTHING`, "once:"+name)
	return n == 1, err
}
