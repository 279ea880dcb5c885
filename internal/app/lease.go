package app

import (
	"context"
	"maps"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// ResolveLeases fills in what leases need to run: their assets with the ways to
// them, host keys and opened credentials, and the credentials that the args name.
// It asks the database a handful of times for the whole batch, and not at all when
// no lease needs anything. A credential that cannot be opened is left out, and the
// log says why.
func (a *App) ResolveLeases(ctx context.Context, leases []*hostler.Lease) error {
	r := &resolver{app: a, ctx: ctx, named: map[*hostler.Lease][]string{}}
	for _, l := range leases {
		r.wanted(l)
	}
	if len(r.assets) == 0 && len(r.inline) == 0 && len(r.named) == 0 {
		return nil
	}
	if err := a.store.View(ctx, r.read); err != nil {
		return err
	}
	for _, l := range leases {
		r.fill(l)
	}
	return nil
}

// resolver is one batch: what is wanted, and what was found.
type resolver struct {
	app    *App
	ctx    context.Context //nolint:containedctx // a resolver lives inside one call of ResolveLeases
	assets []hostler.AssetID
	inline []*hostler.Lease            // of jobs that brought their host
	named  map[*hostler.Lease][]string // credentials that the args name

	rows        map[hostler.AssetID]*store.AssetRow
	brought     map[hostler.JobID]store.SealedTarget
	keys        map[place][]hostler.HostKey
	credentials []store.SealedCredential
	opened      map[hostler.CredentialID]*hostler.LeaseCredential
	built       map[hostler.AssetID]*hostler.LeaseAsset
}

// place is an address as a project knows it.
type place struct {
	project hostler.ProjectID
	address string
}

func (r *resolver) wanted(l *hostler.Lease) {
	switch {
	case store.InlineLease(l):
		r.inline = append(r.inline, l)
	case l.Asset != nil:
		r.assets = append(r.assets, l.Asset.ID)
	}
	act, ok := r.app.cfg.Actions.Lookup(l.Action)
	if !ok || act.Credentials == nil {
		return
	}
	if names := act.Credentials(l.Args); len(names) > 0 {
		r.named[l] = names
	}
}

// read fetches rows. It may run more than once.
func (r *resolver) read(tx *store.Tx) error {
	r.rows = map[hostler.AssetID]*store.AssetRow{}
	for next, n := r.assets, 0; len(next) > 0 && n <= hostler.MaxJumps; n++ {
		rows, err := tx.AssetsByID(next)
		if err != nil {
			return err
		}
		maps.Copy(r.rows, rows)
		next = r.jumpsOf(rows)
	}
	if err := r.readTargets(tx); err != nil {
		return err
	}
	if err := r.readKeys(tx); err != nil {
		return err
	}
	var ids []hostler.CredentialID
	for _, row := range r.rows {
		if row.CredentialID != 0 {
			ids = append(ids, row.CredentialID)
		}
	}
	var projects []hostler.ProjectID
	var names []string
	for l, want := range r.named {
		projects = append(projects, l.Project)
		names = append(names, want...)
	}
	if len(ids) == 0 && len(names) == 0 {
		return nil
	}
	var err error
	r.credentials, err = tx.SealedCredentials(ids, projects, names)
	return err
}

// jumpsOf lists the jump hosts of assets that were not read yet.
func (r *resolver) jumpsOf(rows map[hostler.AssetID]*store.AssetRow) []hostler.AssetID {
	var next []hostler.AssetID
	for _, row := range rows {
		if row.JumpID != 0 && r.rows[row.JumpID] == nil {
			next = append(next, row.JumpID)
		}
	}
	return next
}

// readTargets reads the hosts that jobs of the batch brought along.
func (r *resolver) readTargets(tx *store.Tx) (err error) {
	if len(r.inline) == 0 {
		return nil
	}
	ids := make([]hostler.JobID, len(r.inline))
	for i, l := range r.inline {
		ids[i] = l.Job
	}
	r.brought, err = tx.JobTargets(ids)
	return err
}

func (r *resolver) readKeys(tx *store.Tx) error {
	r.keys = map[place][]hostler.HostKey{}
	var projects []hostler.ProjectID
	var addresses []string
	want := func(p hostler.ProjectID, address string, port int) {
		if !slices.Contains(projects, p) {
			projects = append(projects, p)
		}
		addresses = append(addresses, hostler.SSHAddress(address, port))
	}
	for _, row := range r.rows {
		want(row.ProjectID, row.Address, row.Port)
	}
	for _, l := range r.inline {
		t := r.brought[l.Job]
		want(l.Project, t.Address, t.Port)
	}
	if len(addresses) == 0 {
		return nil
	}
	keys, err := tx.HostKeys(projects, addresses)
	for _, k := range keys {
		at := place{k.Project, k.Address}
		r.keys[at] = append(r.keys[at], k.HostKey)
	}
	return err
}

func (r *resolver) fill(l *hostler.Lease) {
	switch {
	case store.InlineLease(l):
		r.fillInline(l)
	case l.Asset != nil:
		row := r.rows[l.Asset.ID]
		if row == nil || row.ProjectID != l.Project {
			l.Asset, l.AssetMissing = nil, true
		} else {
			l.Asset = r.asset(row, 0)
		}
	}
	for _, name := range r.named[l] {
		for i := range r.credentials {
			c := &r.credentials[i]
			if c.Project != l.Project || c.Name != name {
				continue
			}
			if opened := r.open(c); opened != nil {
				if l.Credentials == nil {
					l.Credentials = map[string]hostler.LeaseCredential{}
				}
				l.Credentials[name] = *opened
			}
		}
	}
}

func (r *resolver) fillInline(l *hostler.Lease) {
	t, ok := r.brought[l.Job]
	if !ok { // the job ended meanwhile: nobody will hear of this lease
		l.Asset, l.AssetMissing = nil, true
		return
	}
	asset, err := r.app.openTarget(l.Job, t, r.keys[place{l.Project, hostler.SSHAddress(t.Address, t.Port)}])
	if err != nil {
		r.app.cfg.Log.ErrorContext(r.ctx, "the login of a job cannot be opened; is this the key file that it was sealed with?",
			"job", l.Job, "err", err)
	}
	l.Asset = asset
}

// asset makes the lease's view of an asset, with the way to it.
func (r *resolver) asset(row *store.AssetRow, depth int) *hostler.LeaseAsset {
	if depth == 0 && r.built[row.ID] != nil {
		return r.built[row.ID]
	}
	out := &hostler.LeaseAsset{
		ID: row.ID, Name: row.Name, Address: row.Address, Port: row.Port, Platform: row.Platform, Vars: row.Vars,
		HostKeys: r.keys[place{row.ProjectID, hostler.SSHAddress(row.Address, row.Port)}], HostKey: row.HostKey,
	}
	for i := range r.credentials {
		if c := &r.credentials[i]; c.ID == row.CredentialID {
			out.Credential = r.open(c)
		}
	}
	// One more than may be: the way is then refused as too long, not cut short.
	if jump := r.rows[row.JumpID]; jump != nil && depth <= hostler.MaxJumps {
		out.Jump = r.asset(jump, depth+1)
	}
	if depth == 0 {
		if r.built == nil {
			r.built = map[hostler.AssetID]*hostler.LeaseAsset{}
		}
		r.built[row.ID] = out
	}
	return out
}

// open opens a credential, once for the batch; nil when that fails.
func (r *resolver) open(c *store.SealedCredential) *hostler.LeaseCredential {
	if opened, done := r.opened[c.ID]; done {
		return opened
	}
	var out *hostler.LeaseCredential
	secret, err := r.app.open(c.ID, c.Sealed)
	if err != nil {
		r.app.cfg.Log.ErrorContext(r.ctx, "a credential cannot be opened; is this the key file that it was sealed with?",
			"credential", c.ID, "err", err)
	} else {
		lc := c.LeaseCredential
		lc.Secret = secret
		out = &lc
	}
	if r.opened == nil {
		r.opened = map[hostler.CredentialID]*hostler.LeaseCredential{}
	}
	r.opened[c.ID] = out
	return out
}
