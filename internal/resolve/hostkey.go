package resolve

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// PinHostKey decides about a host key that a job was offered; nil means that it is
// trusted. The first key at an address is pinned if the policy there is accept-new;
// any other key is recorded as offered and refused, until a person accepts it. Only
// addresses on the way to the job's asset are allowed.
func (r *Resolver) PinHostKey(ctx context.Context, job store.LeasedJob, offer hostler.HostKeyOffer) error {
	key, err := parseOffer(offer)
	if err != nil {
		return err
	}
	// The decision is an error, but must not roll back the record of the offered key.
	var refused error
	err = r.cfg.Store.InTx(ctx, func(tx *store.Tx) error {
		policy, err := r.policyAt(tx, job, key.Address)
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

// parseOffer returns an offered key in the form in which keys are stored.
func parseOffer(o hostler.HostKeyOffer) (hostler.HostKey, error) {
	key, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(o.PublicKey))
	if err != nil || len(strings.TrimSpace(string(rest))) > 0 || !check.Storable(o.Address) {
		return hostler.HostKey{}, hostler.Invalid("public_key",
			"is not one public key in authorized_keys form", "不是 authorized_keys 格式的公钥")
	}
	return hostler.HostKey{
		Address: o.Address, Type: key.Type(), Fingerprint: ssh.FingerprintSHA256(key),
		PublicKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))),
	}, nil
}

// policyAt returns the policy for a job at an address: the address of its asset, of
// one of the jump hosts before it, or of the host that it brought.
func (r *Resolver) policyAt(tx *store.Tx, job store.LeasedJob, address string) (string, error) {
	if t := job.Target; t != nil && hostler.SSHAddress(t.Address, t.Port) == address {
		if strict, err := r.namesStrict(tx, job); err != nil || strict {
			return hostler.HostKeyStrict, err
		}
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
		if hostler.SSHAddress(row.Address, row.Port) != address {
			id = row.JumpID
			continue
		}
		if strict, err := r.demandsStrict(tx, job, row); err != nil || strict {
			return hostler.HostKeyStrict, err
		}
		return strictest(tx, job.Project, row.Address, address)
	}
	return "", hostler.Errorf(hostler.CodeForbidden,
		"the job's asset is not reached at this address", "该作业的资产不经过此地址")
}

// demandsStrict reports whether a credential that the job sends to an asset is only for
// hosts whose key a person accepted.
func (r *Resolver) demandsStrict(tx *store.Tx, job store.LeasedJob, row *store.AssetRow) (bool, error) {
	act, ok := r.cfg.Actions.Lookup(job.Action)
	if ok && act.LogsIn && row.CredentialID != 0 {
		found, err := tx.CredentialsByID(job.Project, []hostler.CredentialID{row.CredentialID})
		if err != nil || found[row.CredentialID].HostKey == hostler.HostKeyStrict {
			return err == nil, err
		}
	}
	if row.ID != job.Asset {
		return false, nil
	}
	return r.namesStrict(tx, job)
}

// namesStrict reports whether the args name such a credential.
func (r *Resolver) namesStrict(tx *store.Tx, job store.LeasedJob) (bool, error) {
	act, ok := r.cfg.Actions.Lookup(job.Action)
	if !ok || act.Credentials == nil {
		return false, nil
	}
	var names []string
	for _, use := range act.Credentials(job.Args) {
		names = append(names, use.Name)
	}
	if len(names) == 0 {
		return false, nil
	}
	found, err := tx.CredentialsNamed(job.Project, names)
	for _, c := range found {
		if c.HostKey == hostler.HostKeyStrict {
			return true, err
		}
	}
	return false, err
}

// strictest returns strict when any asset of the project at the address is strict.
// Keys belong to addresses, not to assets, so one strict asset makes all jobs strict
// there.
func strictest(tx *store.Tx, project hostler.ProjectID, host, address string) (string, error) {
	ports, err := tx.StrictPorts(project, host)
	if slices.ContainsFunc(ports, func(port int) bool { return hostler.SSHAddress(host, port) == address }) {
		return hostler.HostKeyStrict, err
	}
	return hostler.HostKeyAcceptNew, err
}

// pin pins a key or records it as offered. The first result is why it is not trusted.
// The lock of the address keeps two jobs from pinning two first keys.
func pin(tx *store.Tx, project hostler.ProjectID, policy string, key hostler.HostKey) (refused, err error) {
	if err := tx.LockAddress(project, key.Address); err != nil {
		return nil, err
	}
	rows, err := tx.HostKeys([]hostler.ProjectID{project}, []string{key.Address})
	if err != nil {
		return nil, err
	}
	first := policy == hostler.HostKeyAcceptNew
	var known *hostler.HostKey
	for i := range rows {
		if rows[i].Fingerprint == key.Fingerprint {
			known = &rows[i].HostKey
		}
		first = first && rows[i].State == hostler.HostKeyOffered
	}
	key.State, key.DecidedBy = hostler.HostKeyOffered, ""
	if first {
		key.State, key.DecidedBy = hostler.HostKeyPinned, hostler.HostKeyAcceptNew
	}
	switch {
	case known == nil:
		if _, err := tx.InsertHostKey(project, key); err != nil {
			return nil, err
		}
		if !first {
			tx.Emit(project, hostler.EventHostKeyOffered, hostler.ObjectEvent{Object: key.Address})
		}
	case known.State != hostler.HostKeyOffered:
		key.State, key.DecidedBy = known.State, known.DecidedBy
	case first:
		if err := tx.DecideHostKey(known.ID, key.State, key.DecidedBy); err != nil {
			return nil, err
		}
	}
	if key.State == hostler.HostKeyPinned && first {
		tx.Emit(project, hostler.EventHostKeyPinned, hostler.ObjectEvent{Object: key.Address})
		return nil, tx.AppendAudit(project, hostler.Audit{
			User: hostler.HostKeyAcceptNew, Verb: "hostkey.pin", Object: key.Address + " " + key.Fingerprint,
		})
	}
	return refusal(key, policy), nil
}

// refusal is why a key is not trusted; nil when it is.
func refusal(key hostler.HostKey, policy string) error {
	switch {
	case policy == hostler.HostKeyStrict && pinnedUnseen(key):
		return hostler.Errorf(hostler.CodeConflict,
			"the host key %s of %s was pinned without a person, and strict checking is required; a person must accept it",
			"%[2]s 的主机密钥 %[1]s 未经人工确认即被固定，而此处要求严格校验；需人工接受", key.Fingerprint, key.Address)
	case key.State == hostler.HostKeyPinned:
		return nil
	case key.State == hostler.HostKeyRevoked:
		return hostler.Errorf(hostler.CodeConflict, "the host key %s of %s was revoked",
			"%[2]s 的主机密钥 %[1]s 已被吊销", key.Fingerprint, key.Address)
	case policy == hostler.HostKeyStrict:
		return hostler.Errorf(hostler.CodeConflict,
			"the host key %s of %s is not pinned and the asset is strict; a person must accept it",
			"%[2]s 的主机密钥 %[1]s 未固定，且该资产要求严格校验；需人工接受", key.Fingerprint, key.Address)
	default:
		return hostler.Errorf(hostler.CodeConflict,
			"%[2]s offered the host key %[1]s, but another key is recorded for it; a person must accept the new one",
			"%[2]s 提供了主机密钥 %[1]s，但已记录其他密钥；需人工接受新密钥", key.Fingerprint, key.Address)
	}
}
