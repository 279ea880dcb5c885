package resolve

import (
	"context"
	"maps"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

// Leases completes leases: their assets with jump hosts, host keys and opened
// credentials, and the credentials that their args name. It reads the database a
// handful of times for the whole batch, and not at all when no lease refers to
// anything. A credential that cannot be opened is left out and logged; the job then
// fails for the lack of it.
func (r *Resolver) Leases(ctx context.Context, leases []*hostler.Lease) error {
	b := &batch{resolver: r, ctx: ctx, named: map[*hostler.Lease][]string{}}
	for _, l := range leases {
		b.collect(l)
	}
	if len(b.assetIDs) == 0 && len(b.inline) == 0 && len(b.named) == 0 {
		return nil
	}
	if err := r.cfg.Store.View(ctx, b.read); err != nil {
		return err
	}
	for _, l := range leases {
		b.complete(l)
	}
	return nil
}

// batch is one call of Leases.
type batch struct {
	resolver *Resolver
	ctx      context.Context //nolint:containedctx // a batch lives inside one call of Leases

	// References of the leases.
	assetIDs []hostler.AssetID
	inline   []*hostler.Lease            // of jobs with a host of their own
	named    map[*hostler.Lease][]string // credentials that the args name

	// Rows read from the store.
	assets      map[hostler.AssetID]*store.AssetRow
	targets     map[hostler.JobID]store.SealedTarget
	hostKeys    map[location][]hostler.HostKey
	credentials []store.SealedCredential

	// Results, computed once for the batch.
	opened    map[hostler.CredentialID]*hostler.LeaseCredential
	completed map[hostler.AssetID]*hostler.LeaseAsset
}

// location is an address in a project: host keys are pinned per project.
type location struct {
	project hostler.ProjectID
	address string
}

// collect notes what a lease refers to.
func (b *batch) collect(l *hostler.Lease) {
	switch {
	case store.InlineLease(l):
		b.inline = append(b.inline, l)
	case l.Asset != nil:
		b.assetIDs = append(b.assetIDs, l.Asset.ID)
	}
	act, ok := b.resolver.cfg.Actions.Lookup(l.Action)
	if !ok || act.Credentials == nil {
		return
	}
	if names := act.Credentials(l.Args); len(names) > 0 {
		b.named[l] = names
	}
}

// read reads the rows. The store may run it again from the start.
func (b *batch) read(tx *store.Tx) error {
	for _, read := range []func(*store.Tx) error{b.readAssets, b.readTargets, b.readHostKeys, b.readCredentials} {
		if err := read(tx); err != nil {
			return err
		}
	}
	return nil
}

// readAssets reads the assets and their jump hosts, one level at a time.
func (b *batch) readAssets(tx *store.Tx) error {
	b.assets = map[hostler.AssetID]*store.AssetRow{}
	for next, n := b.assetIDs, 0; len(next) > 0 && n <= hostler.MaxJumps; n++ {
		rows, err := tx.AssetsByID(next)
		if err != nil {
			return err
		}
		maps.Copy(b.assets, rows)
		next = nil
		for _, row := range rows {
			if row.JumpID != 0 && b.assets[row.JumpID] == nil {
				next = append(next, row.JumpID)
			}
		}
	}
	return nil
}

// readTargets reads the hosts that jobs brought.
func (b *batch) readTargets(tx *store.Tx) (err error) {
	if len(b.inline) == 0 {
		return nil
	}
	ids := make([]hostler.JobID, len(b.inline))
	for i, l := range b.inline {
		ids[i] = l.Job
	}
	b.targets, err = tx.JobTargets(ids)
	return err
}

func (b *batch) readHostKeys(tx *store.Tx) error {
	b.hostKeys = map[location][]hostler.HostKey{}
	var projects []hostler.ProjectID
	var addresses []string
	add := func(p hostler.ProjectID, address string, port int) {
		if !slices.Contains(projects, p) {
			projects = append(projects, p)
		}
		addresses = append(addresses, hostler.SSHAddress(address, port))
	}
	for _, row := range b.assets {
		add(row.ProjectID, row.Address, row.Port)
	}
	for _, l := range b.inline {
		t := b.targets[l.Job]
		add(l.Project, t.Address, t.Port)
	}
	if len(addresses) == 0 {
		return nil
	}
	keys, err := tx.HostKeys(projects, addresses)
	for _, k := range keys {
		at := location{k.Project, k.Address}
		b.hostKeys[at] = append(b.hostKeys[at], k.HostKey)
	}
	return err
}

// readCredentials reads the credentials of the assets and of the args.
func (b *batch) readCredentials(tx *store.Tx) (err error) {
	var ids []hostler.CredentialID
	for _, row := range b.assets {
		if row.CredentialID != 0 {
			ids = append(ids, row.CredentialID)
		}
	}
	var projects []hostler.ProjectID
	var names []string
	for l, wanted := range b.named {
		projects = append(projects, l.Project)
		names = append(names, wanted...)
	}
	if len(ids) == 0 && len(names) == 0 {
		return nil
	}
	b.credentials, err = tx.SealedCredentials(ids, projects, names)
	return err
}

// complete fills in one lease.
func (b *batch) complete(l *hostler.Lease) {
	switch {
	case store.InlineLease(l):
		b.completeInline(l)
	case l.Asset != nil:
		row := b.assets[l.Asset.ID]
		if row == nil || row.ProjectID != l.Project {
			l.Asset, l.AssetMissing = nil, true
		} else {
			l.Asset = b.asset(row, 0)
		}
	}
	for _, name := range b.named[l] {
		if opened := b.credential(l.Project, name); opened != nil {
			if l.Credentials == nil {
				l.Credentials = map[string]hostler.LeaseCredential{}
			}
			l.Credentials[name] = *opened
		}
	}
}

// credential opens a credential of the project; nil when there is none or it cannot
// be opened.
func (b *batch) credential(project hostler.ProjectID, name string) *hostler.LeaseCredential {
	for i := range b.credentials {
		if c := &b.credentials[i]; c.Project == project && c.Name == name {
			return b.open(c)
		}
	}
	return nil
}

// completeInline fills in the lease of a job that brought its own host.
func (b *batch) completeInline(l *hostler.Lease) {
	t, ok := b.targets[l.Job]
	if !ok { // the job has ended meanwhile, so this lease is refused anyway
		l.Asset, l.AssetMissing = nil, true
		return
	}
	l.Asset = &hostler.LeaseAsset{
		Name: t.Address, Address: t.Address, Port: t.Port, Platform: t.Platform,
		HostKeys: b.hostKeys[location{l.Project, hostler.SSHAddress(t.Address, t.Port)}],
		HostKey:  hostler.HostKeyAcceptNew,
	}
	login, err := b.resolver.cfg.Box.OpenSecret(secret.JobOwner(l.Job), t.Sealed)
	switch {
	case err != nil:
		b.resolver.cfg.Log.ErrorContext(b.ctx,
			"cannot open the login of a job; check that the master key is the one it was sealed with",
			"job", l.Job, "err", err)
	case login.PrivateKey != "":
		l.Asset.Credential = &hostler.LeaseCredential{
			Kind: hostler.CredentialSSHKey, Username: t.Username, Secret: login,
		}
	case login.Password != "":
		l.Asset.Credential = &hostler.LeaseCredential{
			Kind: hostler.CredentialPassword, Username: t.Username, Secret: login,
		}
	}
}

// asset makes the lease's view of an asset and of the jump hosts before it; depth is
// how many jump hosts were followed.
func (b *batch) asset(row *store.AssetRow, depth int) *hostler.LeaseAsset {
	if depth == 0 && b.completed[row.ID] != nil {
		return b.completed[row.ID]
	}
	out := &hostler.LeaseAsset{
		ID: row.ID, Name: row.Name, Address: row.Address, Port: row.Port, Platform: row.Platform, Vars: row.Vars,
		HostKeys: b.hostKeys[location{row.ProjectID, hostler.SSHAddress(row.Address, row.Port)}], HostKey: row.HostKey,
	}
	for i := range b.credentials {
		if c := &b.credentials[i]; c.ID == row.CredentialID {
			out.Credential = b.open(c)
		}
	}
	// One more than is allowed: the action then refuses the way as too long, instead of
	// connecting to a host in the middle of it.
	if jump := b.assets[row.JumpID]; jump != nil && depth <= hostler.MaxJumps {
		out.Jump = b.asset(jump, depth+1)
	}
	if depth == 0 {
		if b.completed == nil {
			b.completed = map[hostler.AssetID]*hostler.LeaseAsset{}
		}
		b.completed[row.ID] = out
	}
	return out
}

// open opens a credential, once for the batch; nil when that fails.
func (b *batch) open(c *store.SealedCredential) *hostler.LeaseCredential {
	if opened, done := b.opened[c.ID]; done {
		return opened
	}
	var out *hostler.LeaseCredential
	content, err := b.resolver.cfg.Box.OpenSecret(secret.CredentialOwner(c.ID), c.Sealed)
	if err != nil {
		b.resolver.cfg.Log.ErrorContext(b.ctx,
			"cannot open a credential; check that the master key is the one it was sealed with",
			"credential", c.ID, "err", err)
	} else {
		lc := c.LeaseCredential
		lc.Secret = content
		out = &lc
	}
	if b.opened == nil {
		b.opened = map[hostler.CredentialID]*hostler.LeaseCredential{}
	}
	b.opened[c.ID] = out
	return out
}
