package store

import "maps"

// This file hides assets, and the jobs on them, from callers whose role is limited to
// assets with certain labels.

// SeeOnly limits what the transaction reads for people to the assets that have one of the
// values of each label, and to the jobs on these. Without labels it changes nothing. The
// statements of workers and loops are not limited.
func (tx *Tx) SeeOnly(labels map[string][]string) { tx.sight = maps.Clone(labels) }

// seen returns the condition that the asset in a column is one that the transaction may
// read, with its arguments: an addition to a WHERE clause, empty without a limit. An
// asset has one value of a label, so it has as many of the wanted pairs as there are
// labels, or is not seen.
func (tx *Tx) seen(column string) (sql string, args []any) {
	if len(tx.sight) == 0 {
		return "", nil
	}
	var pairs []string
	for key, values := range tx.sight {
		for _, v := range values {
			pairs = append(pairs, key+"="+v)
		}
	}
	return ` AND (SELECT count(*) FROM asset_label sl WHERE sl.asset = ` + column +
		` AND sl.key || '=' || sl.value IN ?*) = ?`, []any{pairs, len(tx.sight)}
}
