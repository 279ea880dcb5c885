package app

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// HostKeys lists the SSH host keys that were seen at an asset's address.
func (a *App) HostKeys(ctx context.Context, c auth.Caller, asset string) ([]hostler.HostKey, error) {
	g, err := a.allow(c, auth.ReadHostKey)
	if err != nil {
		return nil, err
	}
	return view(ctx, g, func(s *scope) ([]hostler.HostKey, error) {
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
// revoked: a server shows one key of each type.
func (a *App) AcceptHostKey(ctx context.Context, c auth.Caller, asset string, id hostler.HostKeyID) (hostler.HostKey, error) {
	return a.decideHostKey(ctx, c, asset, id, hostler.HostKeyPinned)
}

// RevokeHostKey takes the trust in a host key away. No key is pinned by itself at
// an address with a revoked one: a person must accept it.
func (a *App) RevokeHostKey(ctx context.Context, c auth.Caller, asset string, id hostler.HostKeyID) (hostler.HostKey, error) {
	return a.decideHostKey(ctx, c, asset, id, hostler.HostKeyRevoked)
}

func (a *App) decideHostKey(ctx context.Context, c auth.Caller, asset string, id hostler.HostKeyID, to string) (hostler.HostKey, error) {
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
		return k, s.audit(verb, row.Name, map[string]any{"address": k.Address, "type": k.Type, "fingerprint": k.Fingerprint})
	})
}

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
		return hostler.HostKey{}, hostler.NotFound(hostKeyWord, id.String())
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

// PinHostKey decides about a host key that a job on an asset was offered: nil
// when it is pinned. The first key at an address is pinned when the policy there is
// accept-new; any other is recorded as offered and
// refused. Only addresses on the way to the job's asset count.
func (a *App) PinHostKey(ctx context.Context, job store.LeasedJob, offer hostler.HostKeyOffer) error {
	key, err := readOffer(offer)
	if err != nil {
		return err
	}
	var refused error
	err = a.store.InTx(ctx, func(tx *store.Tx) error {
		policy, err := policyAt(tx, job, key.Address)
		if err != nil {
			return err
		}
		refused, err = pin(tx, job.Project, policy, key)
		return err
	})
	if err != nil {
		return err
	}
	return refused
}

// readOffer puts an offer into the one form that is stored.
func readOffer(o hostler.HostKeyOffer) (hostler.HostKey, error) {
	key, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(o.PublicKey))
	if err != nil || len(strings.TrimSpace(string(rest))) > 0 || !check.Storable(o.Address) {
		return hostler.HostKey{}, hostler.Invalid("public_key", "is not one public key in authorized_keys form", "不是 authorized_keys 格式的公钥")
	}
	return hostler.HostKey{
		Address: o.Address, Type: key.Type(), Fingerprint: ssh.FingerprintSHA256(key),
		PublicKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))),
	}, nil
}

// policyAt finds the policy of the asset that is dialled at the address: the job's
// own, or one of the jump hosts before it. A host that the job brought along takes
// the first key that it shows. As keys belong to addresses, one strict asset at the
// address makes all jobs strict there.
func policyAt(tx *store.Tx, job store.LeasedJob, address string) (string, error) {
	if t := job.Target; t != nil && hostler.SSHAddress(t.Address, t.Port) == address {
		return strictest(tx, job.Project, t.Address, address)
	}
	id := job.Asset
	for n := 0; id != 0 && n <= hostler.MaxJumps; n++ {
		row, err := tx.Asset(job.Project, id, "")
		if err != nil {
			return "", err
		}
		if row == nil {
			break
		}
		if hostler.SSHAddress(row.Address, row.Port) == address {
			return strictest(tx, job.Project, row.Address, address)
		}
		id = row.JumpID
	}
	return "", hostler.Errorf(hostler.CodeForbidden,
		"the job's asset is not reached at this address", "该作业的资产不经过此地址")
}

// strictest is strict when an asset of the project with this address is.
func strictest(tx *store.Tx, project hostler.ProjectID, host, address string) (string, error) {
	ports, err := tx.StrictPorts(project, host)
	if slices.ContainsFunc(ports, func(port int) bool { return hostler.SSHAddress(host, port) == address }) {
		return hostler.HostKeyStrict, err
	}
	return hostler.HostKeyAcceptNew, err
}

// pin pins or records a key. The first result says why it is not trusted.
func pin(tx *store.Tx, project hostler.ProjectID, policy string, key hostler.HostKey) (refused, err error) {
	if err := tx.LockAddress(project, key.Address); err != nil {
		return nil, err
	}
	known, err := hostKeysAt(tx, project, key.Address)
	if err != nil {
		return nil, err
	}
	first := policy == hostler.HostKeyAcceptNew
	var same *hostler.HostKey
	for i := range known {
		if known[i].Fingerprint == key.Fingerprint {
			same = &known[i]
		}
		first = first && known[i].State == hostler.HostKeyOffered
	}
	key.State, key.DecidedBy = hostler.HostKeyOffered, ""
	if first {
		key.State, key.DecidedBy = hostler.HostKeyPinned, hostler.HostKeyAcceptNew
	}
	switch {
	case same == nil:
		if _, err := tx.InsertHostKey(project, key); err != nil {
			return nil, err
		}
		if !first {
			tx.Emit(project, hostler.EventHostKeyOffered, hostler.ObjectEvent{Object: key.Address})
		}
	case same.State != hostler.HostKeyOffered:
		key.State = same.State
	case first:
		if err := tx.DecideHostKey(same.ID, key.State, key.DecidedBy); err != nil {
			return nil, err
		}
	}
	if key.State == hostler.HostKeyPinned && first {
		tx.Emit(project, hostler.EventHostKeyPinned, hostler.ObjectEvent{Object: key.Address})
		return nil, tx.AppendAudit(project, hostler.Audit{
			User: hostler.HostKeyAcceptNew, Verb: "hostkey.pin", Object: key.Address + " " + key.Fingerprint,
		})
	}
	return refusedKey(key, policy), nil
}

func refusedKey(key hostler.HostKey, policy string) error {
	switch {
	case key.State == hostler.HostKeyPinned:
		return nil
	case key.State == hostler.HostKeyRevoked:
		return hostler.Errorf(hostler.CodeConflict, "the host key %s of %s was revoked",
			"%[2]s 的主机密钥 %[1]s 已被吊销", key.Fingerprint, key.Address)
	case policy == hostler.HostKeyStrict:
		return hostler.Errorf(hostler.CodeConflict, "the host key %s of %s is not pinned and the asset is strict; a person must accept it",
			"%[2]s 的主机密钥 %[1]s 未固定，且该资产要求严格校验；需人工接受", key.Fingerprint, key.Address)
	default:
		return hostler.Errorf(hostler.CodeConflict, "%[2]s is known by another host key than %[1]s; a person must accept the new one",
			"%[2]s 已固定其他主机密钥，而非 %[1]s；需人工接受新密钥", key.Fingerprint, key.Address)
	}
}
