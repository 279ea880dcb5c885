package app

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// HostKeys lists the SSH host keys that were seen at an asset's address.
func (a *App) HostKeys(ctx context.Context, c auth.Caller, asset string) ([]hostler.HostKey, error) {
	g, err := a.allow(c, auth.ReadHostKey)
	if err != nil {
		return nil, err
	}
	return list(ctx, g, func(s *scope) ([]hostler.HostKey, error) {
		row, err := s.asset(asset)
		if err != nil {
			return nil, err
		}
		return hostKeysAt(s.Tx, s.project, hostler.SSHAddress(row.Address, row.Port))
	})
}

func hostKeysAt(tx *store.Tx, project hostler.ProjectID, address string) ([]hostler.HostKey, error) {
	rows, err := tx.HostKeys([]hostler.ProjectID{project}, []string{address})
	keys := make([]hostler.HostKey, len(rows))
	for i := range rows {
		keys[i] = rows[i].HostKey
	}
	return keys, err
}

// AcceptHostKey pins a host key. Pinned keys of the same type at that address are
// revoked, because a server has one key of each type.
func (a *App) AcceptHostKey(
	ctx context.Context, c auth.Caller, asset string, id hostler.HostKeyID,
) (hostler.HostKey, error) {
	return a.decideHostKey(ctx, c, asset, id, hostler.HostKeyPinned)
}

// RevokeHostKey revokes a host key. At an address with a revoked key no key is pinned
// automatically any more: a person must accept it.
func (a *App) RevokeHostKey(
	ctx context.Context, c auth.Caller, asset string, id hostler.HostKeyID,
) (hostler.HostKey, error) {
	return a.decideHostKey(ctx, c, asset, id, hostler.HostKeyRevoked)
}

// decideHostKey sets the state of a host key at the address of an asset.
func (a *App) decideHostKey(
	ctx context.Context, c auth.Caller, asset string, id hostler.HostKeyID, to string,
) (hostler.HostKey, error) {
	g, err := a.allow(c, auth.DecideHostKey)
	if err != nil {
		return hostler.HostKey{}, err
	}
	verb := "hostkey.accept"
	if to == hostler.HostKeyRevoked {
		verb = "hostkey.revoke"
	}
	return change(ctx, g, func(s *scope) (hostler.HostKey, error) {
		row, err := s.asset(asset)
		if err != nil {
			return hostler.HostKey{}, err
		}
		k, err := s.decideAt(hostler.SSHAddress(row.Address, row.Port), id, to)
		if err != nil {
			return k, err
		}
		detail := map[string]any{"address": k.Address, "type": k.Type, "fingerprint": k.Fingerprint}
		return k, s.audit(verb, row.Name, detail)
	})
}

// decideAt sets the state of a host key at an address. The lock of the address keeps
// a job from pinning another key meanwhile.
func (s *scope) decideAt(address string, id hostler.HostKeyID, to string) (hostler.HostKey, error) {
	if err := s.LockAddress(s.project, address); err != nil {
		return hostler.HostKey{}, err
	}
	keys, err := hostKeysAt(s.Tx, s.project, address)
	if err != nil {
		return hostler.HostKey{}, err
	}
	var chosen *hostler.HostKey
	for i := range keys {
		if keys[i].ID == id {
			chosen = &keys[i]
		}
	}
	if chosen == nil {
		return hostler.HostKey{}, hostler.NotFound(hostKeyKind, id.String())
	}
	for _, k := range keys {
		if to == hostler.HostKeyPinned && k.ID != id && k.Type == chosen.Type && k.State == hostler.HostKeyPinned {
			if err := s.Tx.DecideHostKey(k.ID, hostler.HostKeyRevoked, s.caller.User); err != nil {
				return hostler.HostKey{}, err
			}
		}
	}
	chosen.State, chosen.DecidedBy = to, s.caller.User
	return *chosen, s.Tx.DecideHostKey(id, to, s.caller.User)
}
