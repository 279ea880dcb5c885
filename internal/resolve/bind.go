package resolve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// Bindings returns for assets of a project a hash of where a job on them goes: address,
// port and platform of the asset and of its jump hosts, and the credentials with which it
// logs in, with their versions. An approval is bound to it, and a lease of an approved job
// is compared with it.
func (r *Resolver) Bindings(
	ctx context.Context, p hostler.ProjectID, ids []hostler.AssetID,
) (map[hostler.AssetID]string, error) {
	out := make(map[hostler.AssetID]string, len(ids))
	err := r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		assets, err := Assets(tx, ids)
		if err != nil {
			return err
		}
		var wanted []hostler.CredentialID
		for _, row := range assets {
			if row.CredentialID != 0 {
				wanted = append(wanted, row.CredentialID)
			}
		}
		versions := map[hostler.CredentialID]int{}
		if len(wanted) > 0 {
			found, err := tx.CredentialsByID(p, wanted)
			if err != nil {
				return err
			}
			for id, c := range found {
				versions[id] = c.Version
			}
		}
		for _, id := range ids {
			if row := assets[id]; row != nil && row.ProjectID == p {
				out[id] = bindingOf(assets, id, versions)
			}
		}
		return nil
	})
	return out, err
}

// maxWay bounds the hosts on a way.
const maxWay = 16

func bindingOf(
	assets map[hostler.AssetID]*store.AssetRow, id hostler.AssetID, versions map[hostler.CredentialID]int,
) string {
	hash := sha256.New()
	for range maxWay {
		row := assets[id]
		if row == nil {
			break
		}
		fmt.Fprintf(hash, "%d %q %d %q %d %d\n", row.ID, row.Address, row.Port, row.Platform,
			row.CredentialID, versions[row.CredentialID])
		id = row.JumpID
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}

// readBindings reads to what the approved jobs among the leases are bound.
func (b *batch) readBindings(tx *store.Tx) (err error) {
	var jobs []hostler.JobID
	for _, it := range b.items {
		if store.HasRow(it.lease.Run) && it.lease.Asset != nil {
			jobs = append(jobs, it.lease.Job)
		}
	}
	if len(jobs) > 0 {
		b.bindings, err = tx.BindingsOf(jobs)
	}
	return err
}

// checkBinding refuses the lease of an approved job that would go elsewhere by now.
func (b *batch) checkBinding(l *hostler.Lease, id hostler.AssetID) {
	want, bound := b.bindings[l.Job]
	if !bound {
		return
	}
	versions := make(map[hostler.CredentialID]int, len(b.credentials))
	for _, c := range b.credentials {
		versions[c.ID] = c.Version
	}
	if bindingOf(b.assets, id, versions) != want {
		l.Refused = &hostler.JobError{Kind: hostler.ErrKindChanged, Text: hostler.Text{
			EN: "the asset, a jump host or a credential was changed after the approval: resume the run, to ask again",
			ZH: "审批之后资产、跳板机或凭据已被修改：请恢复执行以重新审批",
		}}
	}
}
