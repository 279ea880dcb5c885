package resolve

import (
	"maps"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/destination"
	"hostler.dev/hostler/internal/store"
)

// Assets reads assets and their jump hosts, one level at a time.
func Assets(tx *store.Tx, ids []hostler.AssetID) (map[hostler.AssetID]*store.AssetRow, error) {
	all := map[hostler.AssetID]*store.AssetRow{}
	// One level more than is allowed: a way that is too long is refused, not cut short.
	for next, n := ids, 0; len(next) > 0 && n <= hostler.MaxJumps+1; n++ {
		rows, err := tx.AssetsByID(next)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, rows)
		next = nil
		for _, row := range rows {
			if row.JumpID != 0 && all[row.JumpID] == nil {
				next = append(next, row.JumpID)
			}
		}
	}
	return all, nil
}

// Way returns the way to an asset: the asset, and the jump hosts before it, of the assets
// that were read.
func Way(assets map[hostler.AssetID]*store.AssetRow, id hostler.AssetID) []destination.Host {
	var way []destination.Host
	for row := assets[id]; row != nil && len(way) <= hostler.MaxJumps+1; row = assets[row.JumpID] {
		way = append(way, HostOf(row))
	}
	return way
}

// HostOf returns an asset as a host on a way.
func HostOf(row *store.AssetRow) destination.Host {
	return destination.Host{
		Place:     destination.Place{Address: row.Address, Port: row.Port, Jump: row.JumpID},
		Labels:    row.Labels,
		Was:       destination.Place{Address: row.Was.Address, Port: row.Was.Port, Jump: row.Was.JumpID},
		WasLabels: row.Was.Labels,
	}
}

// DestinationOf returns what a use in the args opens, on the way to the job's host.
func DestinationOf(use action.CredentialUse, way []destination.Host) destination.Destination {
	d := destination.Destination{Use: use.Use, Origin: use.Origin, Way: way}
	if use.Use == hostler.UseHTTP && d.Origin == "" && len(way) > 0 {
		d.Origin = destination.OriginOf(way[0])
	}
	return d
}

// Uses are allowed uses of credentials, as they were read.
type Uses map[useKey]bool

type useKey struct {
	credential hostler.CredentialID
	pair       destination.Pair
}

// ReadUses reads the allowed uses of credentials at targets: hosts and origins.
func ReadUses(tx *store.Tx, credentials []hostler.CredentialID, targets []string) (Uses, error) {
	if len(credentials) == 0 || len(targets) == 0 {
		return nil, nil
	}
	rows, err := tx.UsesOf(credentials, targets)
	uses := make(Uses, len(rows))
	for _, r := range rows {
		uses[useKey{r.Credential, destination.Pair{Use: r.Kind, Target: r.Target, Port: r.Port, Jump: r.Jump}}] = true
	}
	return uses, err
}

// Allow reports whether a credential may be used for a destination.
func (u Uses) Allow(
	credential hostler.CredentialID, rules []hostler.CredentialRule, d destination.Destination,
) bool {
	if d.Use != hostler.UseHTTP && len(d.Way) == 0 || d.Use == hostler.UseHTTP && d.Origin == "" {
		return false
	}
	return d.Allowed(u[useKey{credential, d.Pair()}], rules)
}
