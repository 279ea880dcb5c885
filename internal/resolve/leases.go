package resolve

import (
	"cmp"
	"context"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/destination"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

// Leases completes leases: their assets with jump hosts, host keys and opened
// credentials, and the credentials that their args name. It reads the database a
// handful of times for the whole batch, and not at all when no lease refers to
// anything. A credential that cannot be opened, or that may not be used where the job would
// use it, is left out, and the lease is refused; the former is logged, too.
func (r *Resolver) Leases(ctx context.Context, leases []*hostler.Lease) error {
	b := &batch{resolver: r, ctx: ctx}
	for _, l := range leases {
		b.collect(l)
	}
	if len(b.assetIDs) == 0 && len(b.inline) == 0 && !b.named {
		return nil
	}
	if err := r.cfg.Store.View(ctx, b.read); err != nil {
		return err
	}
	for i := range b.items {
		b.complete(&b.items[i])
	}
	return nil
}

// item is a lease, and what its action does with credentials.
type item struct {
	lease  *hostler.Lease
	logsIn bool
	uses   []action.CredentialUse // that the args ask for
}

// batch is one call of Leases.
type batch struct {
	resolver *Resolver
	ctx      context.Context //nolint:containedctx // a batch lives inside one call of Leases
	items    []item

	// References of the leases.
	assetIDs []hostler.AssetID
	inline   []*hostler.Lease // of jobs with a host of their own
	named    bool             // some args name a credential

	// Rows read from the store.
	assets      map[hostler.AssetID]*store.AssetRow
	targets     map[hostler.JobID]store.SealedTarget
	hostKeys    map[location][]hostler.HostKey
	strict      map[location]bool // addresses of strict assets
	credentials []store.SealedCredential
	uses        Uses
	bindings    map[hostler.JobID]string // of approved jobs

	// Results, computed once for the batch.
	opened    map[hostler.CredentialID]*hostler.LeaseCredential
	completed map[completedKey]completed
}

type completedKey struct {
	asset  hostler.AssetID
	logsIn bool
}

// completed is an asset as its leases have it.
type completed struct {
	asset   *hostler.LeaseAsset
	refused *hostler.JobError
}

// location is an address in a project: host keys are pinned per project.
type location struct {
	project hostler.ProjectID
	address string
}

// collect notes what a lease refers to.
func (b *batch) collect(l *hostler.Lease) {
	it := item{lease: l}
	switch {
	case store.InlineLease(l):
		b.inline = append(b.inline, l)
	case l.Asset != nil:
		b.assetIDs = append(b.assetIDs, l.Asset.ID)
	}
	if act, ok := b.resolver.cfg.Actions.Lookup(l.Action); ok {
		it.logsIn = act.LogsIn
		if act.Credentials != nil {
			it.uses = act.Credentials(l.Args)
			b.named = b.named || len(it.uses) > 0
		}
	}
	b.items = append(b.items, it)
}

// read reads the rows. The store may run it again from the start.
func (b *batch) read(tx *store.Tx) error {
	for _, read := range []func(*store.Tx) error{
		b.readAssets, b.readTargets, b.readHostKeys, b.readCredentials, b.readUses, b.readBindings,
	} {
		if err := read(tx); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) readAssets(tx *store.Tx) (err error) {
	b.assets, err = Assets(tx, b.assetIDs)
	return err
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
	b.hostKeys, b.strict = map[location][]hostler.HostKey{}, map[location]bool{}
	var projects []hostler.ProjectID
	var hosts, addresses []string
	add := func(p hostler.ProjectID, address string, port int) {
		if !slices.Contains(projects, p) {
			projects = append(projects, p)
		}
		hosts = append(hosts, address)
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
	strict, err := tx.StrictAddresses(projects, hosts)
	if err != nil {
		return err
	}
	for _, s := range strict {
		b.strict[location{s.Project, hostler.SSHAddress(s.Address, s.Port)}] = true
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
	for _, it := range b.items {
		for _, use := range it.uses {
			projects = append(projects, it.lease.Project)
			names = append(names, use.Name)
		}
	}
	if len(ids) == 0 && len(names) == 0 {
		return nil
	}
	b.credentials, err = tx.SealedCredentials(ids, projects, names)
	return err
}

// readUses reads what the credentials may be used for.
func (b *batch) readUses(tx *store.Tx) (err error) {
	ids := make([]hostler.CredentialID, len(b.credentials))
	for i, c := range b.credentials {
		ids[i] = c.ID
	}
	var targets []string
	for _, row := range b.assets {
		targets = append(targets, row.Address)
	}
	for _, it := range b.items {
		way := b.way(it.lease)
		if len(way) > 0 {
			targets = append(targets, way[0].Address)
		}
		for _, use := range it.uses {
			targets = append(targets, DestinationOf(use, way).Origin)
		}
	}
	b.uses, err = ReadUses(tx, ids, targets)
	return err
}

// way returns the way to the host of a lease; none for a job without a host.
func (b *batch) way(l *hostler.Lease) []destination.Host {
	switch {
	case store.InlineLease(l):
		t, ok := b.targets[l.Job]
		if !ok {
			return nil
		}
		// The request itself named the host; nobody can have moved it.
		at := destination.Place{Address: t.Address, Port: t.Port}
		return []destination.Host{{Place: at, Was: at}}
	case l.Asset != nil:
		if row := b.assets[l.Asset.ID]; row != nil && row.ProjectID == l.Project {
			return Way(b.assets, row.ID)
		}
	}
	return nil
}

// complete fills in one lease.
func (b *batch) complete(it *item) {
	l := it.lease
	way := b.way(l)
	switch {
	case store.InlineLease(l):
		b.completeInline(l)
	case l.Asset != nil && len(way) == 0:
		l.Asset, l.AssetMissing = nil, true
	case l.Asset != nil:
		c := b.asset(l.Asset.ID, it.logsIn)
		id := l.Asset.ID
		l.Asset, l.Refused = c.asset, c.refused
		b.checkBinding(l, id)
	}
	for _, use := range it.uses {
		b.addNamed(l, use, DestinationOf(use, way))
	}
}

// addNamed adds a credential that the args name to a lease.
func (b *batch) addNamed(l *hostler.Lease, use action.CredentialUse, d destination.Destination) {
	c := b.credential(l.Project, use.Name)
	if c == nil {
		return
	}
	if !b.uses.Allow(c.ID, c.Rules, d) {
		l.Refused = refused(c, d)
		return
	}
	opened := b.open(c)
	if opened == nil {
		l.Refused = sealedError(c.Name)
		return
	}
	if l.Credentials == nil {
		l.Credentials = map[string]hostler.LeaseCredential{}
	}
	l.Credentials[use.Name] = *opened
	if c.Strict && use.Use != hostler.UseHTTP && l.Asset != nil {
		strict := *l.Asset // other leases share it
		makeStrict(&strict)
		l.Asset = &strict
	}
}

// refused is the error of a job that needs a credential which may not be used there.
func refused(c *store.SealedCredential, d destination.Destination) *hostler.JobError {
	if d.Use == hostler.UseHTTP && d.Origin == "" || d.Use != hostler.UseHTTP && len(d.Way) == 0 {
		return &hostler.JobError{Kind: hostler.ErrKindCredential, Text: hostler.Textf(
			"the credential %q was not sent: the job has no host", "未发送凭据 %q：作业没有目标主机", c.Name)}
	}
	return &hostler.JobError{
		Kind: hostler.ErrKindCredential, Text: destination.Refusal(c.Name, c.ProjectName, d),
	}
}

// Why a sealed value cannot be opened.
const (
	sealedCauseEN = "the master key is not the one that it was sealed with, " +
		"or its row in the database was altered or moved"
	sealedCauseZH = "主密钥与加密时不同，或数据库中的该行被修改或移动"
)

// sealedError is the error of a job that needs a credential which cannot be opened.
func sealedError(name string) *hostler.JobError {
	return &hostler.JobError{Kind: hostler.ErrKindCredential, Text: hostler.Textf(
		"the credential %q cannot be opened: "+sealedCauseEN+"; an admin can set it again (hostler credential set %[1]s)",
		"无法解开凭据 %q："+sealedCauseZH+"；管理员可以重新设置（hostler credential set %[1]s）", name)}
}

// credential finds a credential of the project; nil when there is none.
func (b *batch) credential(project hostler.ProjectID, name string) *store.SealedCredential {
	for i := range b.credentials {
		if c := &b.credentials[i]; c.Project == project && c.Name == name {
			return c
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
	at := location{l.Project, hostler.SSHAddress(t.Address, t.Port)}
	l.Asset = &hostler.LeaseAsset{
		Name: t.Address, Address: t.Address, Port: t.Port, Platform: t.Platform,
		HostKeys: b.hostKeys[at], HostKey: hostler.HostKeyAcceptNew,
	}
	if b.strict[at] {
		makeStrict(l.Asset)
	}
	login, err := b.resolver.cfg.Box.OpenSecret(secret.JobOwner(l.Project, l.Job), t.Sealed)
	switch {
	case err != nil:
		b.resolver.cfg.Log.ErrorContext(b.ctx,
			"cannot open the login of a job; check that the master key is the one it was sealed with",
			"job", l.Job, "err", err)
		l.Refused = &hostler.JobError{Kind: hostler.ErrKindCredential, Text: hostler.Text{
			EN: "the login that the job brought cannot be opened: " + sealedCauseEN + "; send the request again",
			ZH: "无法解开作业自带的登录信息：" + sealedCauseZH + "；请重新提交",
		}}
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

// asset makes the lease's view of an asset and of the jump hosts before it. Only an
// action that logs in gets their credentials.
func (b *batch) asset(id hostler.AssetID, logsIn bool) completed {
	key := completedKey{id, logsIn}
	if c, done := b.completed[key]; done {
		return c
	}
	var c completed
	way := Way(b.assets, id)
	row, place := b.assets[id], &c.asset
	for n := range way {
		out := b.host(row)
		if cred := b.credentialOf(row); cred != nil && logsIn {
			d := destination.Destination{Use: hostler.UseSSH, Way: way[n:]}
			switch {
			case b.uses.Allow(cred.ID, cred.Rules, d):
				if out.Credential = b.open(cred); out.Credential == nil {
					c.refused = cmp.Or(c.refused, sealedError(cred.Name))
				}
			case c.refused == nil:
				c.refused = refused(cred, d)
			}
			if cred.Strict {
				makeStrict(out)
			}
		}
		*place, place = out, &out.Jump
		row = b.assets[row.JumpID]
	}
	if b.completed == nil {
		b.completed = map[completedKey]completed{}
	}
	b.completed[key] = c
	return c
}

// host makes the lease's view of one asset, without its credential.
func (b *batch) host(row *store.AssetRow) *hostler.LeaseAsset {
	at := location{row.ProjectID, hostler.SSHAddress(row.Address, row.Port)}
	out := &hostler.LeaseAsset{
		ID: row.ID, Name: row.Name, Address: row.Address, Port: row.Port, Platform: row.Platform, Vars: row.Vars,
		HostKeys: b.hostKeys[at], HostKey: row.HostKey,
	}
	if row.HostKey == hostler.HostKeyStrict || b.strict[at] {
		makeStrict(out)
	}
	return out
}

func (b *batch) credentialOf(row *store.AssetRow) *store.SealedCredential {
	for i := range b.credentials {
		if c := &b.credentials[i]; c.ID == row.CredentialID {
			return c
		}
	}
	return nil
}

// makeStrict demands that a person accepted the host key: a key that was pinned because
// it was the first one does not count.
func makeStrict(a *hostler.LeaseAsset) {
	a.HostKey = hostler.HostKeyStrict
	a.HostKeys = slices.Clone(a.HostKeys)
	for i := range a.HostKeys {
		if pinnedUnseen(a.HostKeys[i]) {
			a.HostKeys[i].State = hostler.HostKeyOffered
		}
	}
}

// pinnedUnseen reports whether a key was pinned without a person.
func pinnedUnseen(k hostler.HostKey) bool {
	return k.State == hostler.HostKeyPinned && k.DecidedBy == hostler.HostKeyAcceptNew
}

// open opens a credential, once for the batch; nil when that fails.
func (b *batch) open(c *store.SealedCredential) *hostler.LeaseCredential {
	if opened, done := b.opened[c.ID]; done {
		return opened
	}
	var out *hostler.LeaseCredential
	content, err := b.resolver.cfg.Box.OpenSecret(secret.CredentialOwner(c.Project, c.ID), c.Sealed)
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
