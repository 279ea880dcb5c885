package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/selector"
	"hostler.dev/hostler/internal/sqldb"
)

var assetWord = hostler.Text{EN: "asset", ZH: "资产"}

// AssetRow is an asset with the ids of what it refers to, beside the names that people
// see.
type AssetRow struct {
	hostler.Asset
	ProjectID    hostler.ProjectID
	CredentialID hostler.CredentialID
	JumpID       hostler.AssetID
	// Was is the place of the asset as an admin set or confirmed it; its address is ""
	// when none did.
	Was ConfirmedPlace
}

// ConfirmedPlace is the place and the labels of an asset that an admin set or confirmed.
type ConfirmedPlace struct {
	Address string
	Port    int
	JumpID  hostler.AssetID
	Labels  map[string]string
}

// Confirm makes the place of the asset the confirmed one.
func (a *AssetRow) Confirm() {
	a.Was = ConfirmedPlace{a.Address, a.Port, a.JumpID, a.Labels}
}

// isConfirmed reports whether the asset is where it was confirmed to be.
func (a *AssetRow) isConfirmed() bool {
	return a.Was.Address == a.Address && a.Was.JumpID == a.JumpID &&
		cmp.Or(a.Was.Port, sshPort) == cmp.Or(a.Port, sshPort)
}

// assetColumns are the columns of table asset.
type assetColumns struct {
	ID         hostler.AssetID      `db:"id"`
	Project    hostler.ProjectID    `db:"project"`
	Name       string               `db:"name"`
	Address    string               `db:"address"`
	Port       int                  `db:"port"`
	Kind       string               `db:"kind"`
	Platform   string               `db:"platform"`
	Labels     string               `db:"labels"` // JSON
	Vars       string               `db:"vars"`   // JSON
	Credential hostler.CredentialID `db:"credential"`
	DeviceKey  string               `db:"device_key"`
	HostKey    string               `db:"host_key"`
	Jump       hostler.AssetID      `db:"jump"`
	CreatedAt  time.Time            `db:"created_at"`
	UpdatedAt  time.Time            `db:"updated_at"`

	ConfirmedAddress string          `db:"confirmed_address"`
	ConfirmedPort    int             `db:"confirmed_port"`
	ConfirmedJump    hostler.AssetID `db:"confirmed_jump"`
	ConfirmedLabels  string          `db:"confirmed_labels"` // JSON
}

// columns returns the asset as it is stored.
func (a *AssetRow) columns() (assetColumns, error) {
	labels, err := encodeMap(a.Labels)
	if err != nil {
		return assetColumns{}, err
	}
	confirmed, err := encodeMap(a.Was.Labels)
	if err != nil {
		return assetColumns{}, err
	}
	vars, err := encodeMap(a.Vars)
	return assetColumns{
		ID: a.ID, Project: a.ProjectID, Name: a.Name, Address: a.Address, Port: a.Port,
		Kind: a.Kind, Platform: a.Platform, Labels: labels, Vars: vars,
		Credential: a.CredentialID, DeviceKey: a.DeviceKey, HostKey: a.HostKey, Jump: a.JumpID,
		CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt,
		ConfirmedAddress: a.Was.Address, ConfirmedPort: a.Was.Port, ConfirmedJump: a.Was.JumpID,
		ConfirmedLabels: confirmed,
	}, err
}

// assetNames are the names behind the references of an asset.
type assetNames struct {
	project, credential, jump string
}

// row returns a stored asset as the store's callers see it.
func (a *assetColumns) row(names assetNames) (AssetRow, error) {
	out := AssetRow{
		Asset: hostler.Asset{
			ID: a.ID, Project: names.project, Name: a.Name, Address: a.Address, Port: a.Port,
			Kind: a.Kind, Platform: a.Platform, Credential: names.credential, DeviceKey: a.DeviceKey,
			HostKey: a.HostKey, Jump: names.jump, CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt,
		},
		ProjectID: a.Project, CredentialID: a.Credential, JumpID: a.Jump,
		Was: ConfirmedPlace{Address: a.ConfirmedAddress, Port: a.ConfirmedPort, JumpID: a.ConfirmedJump},
	}
	out.Unconfirmed = !out.isConfirmed()
	var err error
	if out.Was.Labels, err = decodeMap(a.ConfirmedLabels); err != nil {
		return out, err
	}
	if out.Labels, err = decodeMap(a.Labels); err != nil {
		return out, err
	}
	out.Vars, err = decodeMap(a.Vars)
	return out, err
}

// selectAssets reads assets a with the names behind their references.
const selectAssets = `SELECT a.@cols, p.name, COALESCE(c.name, ''), COALESCE(j.name, '')
FROM asset a JOIN project p ON p.id = a.project
LEFT JOIN credential c ON c.id = a.credential LEFT JOIN asset j ON j.id = a.jump `

func (tx *Tx) assets(where string, args ...any) ([]AssetRow, error) {
	var out []AssetRow
	err := scanRows(tx, withColumns[assetColumns](selectAssets+where), args,
		func(r sqldb.Rows, s *sqldb.Scanner[assetColumns]) error {
			var cols assetColumns
			var names assetNames
			if err := s.Scan(r, &cols, &names.project, &names.credential, &names.jump); err != nil {
				return err
			}
			a, err := cols.row(names)
			out = append(out, a)
			return err
		})
	return out, err
}

// Asset finds an asset of a project by its id, or by its name when the id is 0;
// nil when there is none.
func (tx *Tx) Asset(project hostler.ProjectID, id hostler.AssetID, name string) (*AssetRow, error) {
	seen, args := tx.seen(`a.id`)
	if a := cmp.Or(tx.planned[id], tx.plannedNames[name]); a != nil && a.ProjectID == project {
		return a, nil
	}
	if id != 0 {
		return first(tx.assets(`WHERE a.project = ? AND a.id = ?`+seen, append([]any{project, id}, args...)...))
	}
	return first(tx.assets(`WHERE a.project = ? AND a.name = ?`+seen, append([]any{project, name}, args...)...))
}

// AssetsByID finds assets of any project, by id; for leases.
func (tx *Tx) AssetsByID(ids []hostler.AssetID) (map[hostler.AssetID]*AssetRow, error) {
	all, err := tx.assets(`WHERE a.id IN ?*`, ids)
	out := make(map[hostler.AssetID]*AssetRow, len(all))
	for i := range all {
		out[all[i].ID] = &all[i]
	}
	for _, id := range ids {
		if a := tx.planned[id]; a != nil {
			out[id] = a
		}
	}
	return out, err
}

// Assets lists the assets of a project that a selector matches, by name after a name.
func (tx *Tx) Assets(project hostler.ProjectID, sel selector.Selector, after string, limit int) ([]AssetRow, error) {
	seen, args := tx.seen(`a.id`)
	match, more := labelled(`a.id`, project, sel)
	return tx.assets(`WHERE a.project = ? AND a.name > ?`+seen+match+` ORDER BY a.name LIMIT ?`,
		slices.Concat([]any{project, after}, args, more, []any{limit})...)
}

// labelled returns the condition that the labels of the asset in a column match a selector,
// with its arguments: an addition to a WHERE clause. It selects like [selector.Selector.Match].
func labelled(column string, project hostler.ProjectID, sel selector.Selector) (sql string, args []any) {
	for _, t := range sel {
		// A NOT IN of many assets is not hashed by PostgreSQL, and quadratic.
		match := ` AND ` + column + ` IN (SELECT l.asset FROM asset_label l WHERE`
		if t.Op == selector.NotIn || t.Op == selector.Absent {
			match = ` AND NOT EXISTS (SELECT l.asset FROM asset_label l WHERE l.asset = ` + column + ` AND`
		}
		sql += match + ` l.project = ? AND l.key = ?`
		args = append(args, project, t.Key)
		if len(t.Values) > 0 {
			sql += ` AND l.value IN ?*`
			args = append(args, t.Values)
		}
		sql += `)`
	}
	return sql, args
}

// Target is what a new job needs to know of its asset.
type Target struct {
	ID        hostler.AssetID `db:"id"`
	Name      string          `db:"name"`
	DeviceKey string          `db:"device_key"`
}

// Selection selects assets of a project: the union of what its fields select.
type Selection struct {
	IDs      []hostler.AssetID
	Names    []string
	Patterns []string          // of names; see [path.Match]
	Labels   selector.Selector // matches all of its terms; without terms it selects nothing
}

// Empty reports whether nothing is selected.
func (s Selection) Empty() bool {
	return len(s.IDs)+len(s.Names)+len(s.Patterns)+len(s.Labels) == 0
}

// Targets finds the assets that are selected, in the order of their ids.
func (tx *Tx) Targets(project hostler.ProjectID, sel Selection) ([]Target, error) {
	byID := map[hostler.AssetID]Target{}
	seen, seenArgs := tx.seen(`asset.id`)
	find := func(where string, args ...any) error {
		targets, err := query[Target](tx, `SELECT @cols FROM asset WHERE project = ?`+where+seen,
			slices.Concat([]any{project}, args, seenArgs)...)
		for _, t := range targets {
			byID[t.ID] = t
		}
		return err
	}
	if len(sel.IDs) > 0 {
		ids := make([]int64, len(sel.IDs))
		for i, id := range sel.IDs {
			ids[i] = int64(id)
		}
		if err := find(` AND id IN ?*`, ids); err != nil {
			return nil, err
		}
	}
	if len(sel.Names) > 0 {
		if err := find(` AND name IN ?*`, sel.Names); err != nil {
			return nil, err
		}
	}
	if len(sel.Labels) > 0 {
		match, args := labelled(`asset.id`, project, sel.Labels)
		if err := find(match, args...); err != nil {
			return nil, err
		}
	}
	if len(sel.Patterns) > 0 {
		all, err := query[Target](tx, `SELECT @cols FROM asset WHERE project = ?`+seen,
			append([]any{project}, seenArgs...)...)
		if err != nil {
			return nil, err
		}
		for _, t := range all {
			if slices.ContainsFunc(sel.Patterns, func(p string) bool { ok, _ := path.Match(p, t.Name); return ok }) {
				byID[t.ID] = t
			}
		}
	}
	out := make([]Target, 0, len(byID))
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		out = append(out, byID[id])
	}
	return out, nil
}

// AssetsAt finds the assets of a project with a name or an address, with the keys
// of their devices.
func (tx *Tx) AssetsAt(project hostler.ProjectID, host string) ([]Target, error) {
	seen, args := tx.seen(`asset.id`)
	return query[Target](tx, `SELECT @cols FROM asset WHERE project = ? AND (name = ? OR address = ?)`+seen+`
ORDER BY id LIMIT 1000`, append([]any{project, host, host}, args...)...)
}

// AddressesOn finds the addresses of a project's assets with a name or on a device.
func (tx *Tx) AddressesOn(project hostler.ProjectID, host string) ([]string, error) {
	seen, args := tx.seen(`asset.id`)
	return column[string](tx, `SELECT DISTINCT address FROM asset WHERE project = ? AND (name = ? OR device_key = ?)`+
		seen+` ORDER BY address LIMIT 1000`, append([]any{project, host, host}, args...)...)
}

// ConfirmAsset stores the confirmed place of an asset.
func (tx *Tx) ConfirmAsset(a AssetRow) error {
	labels, err := encodeMap(a.Was.Labels)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE asset SET confirmed_address = ?, confirmed_port = ?, confirmed_jump = ?,
confirmed_labels = ?, updated_at = ? WHERE id = ? AND project = ?`,
		a.Was.Address, a.Was.Port, a.Was.JumpID, labels, sqldb.Micros(tx.now), a.ID, a.ProjectID)
	return err
}

// StrictAddress is the place of a strict asset.
type StrictAddress struct {
	Project hostler.ProjectID `db:"project"`
	Address string            `db:"address"`
	Port    int               `db:"port"` // 0 is the default one
}

// StrictAddresses lists which of the addresses have strict assets in the projects.
func (tx *Tx) StrictAddresses(projects []hostler.ProjectID, addresses []string) ([]StrictAddress, error) {
	return query[StrictAddress](tx, `SELECT DISTINCT @cols FROM asset
WHERE project IN ?* AND address IN ?* AND host_key = 'strict'`, projects, addresses)
}

// StrictPorts lists the ports of a project's assets with an address and the host
// key policy strict; 0 is the default one.
func (tx *Tx) StrictPorts(project hostler.ProjectID, address string) ([]int, error) {
	return column[int](tx, `SELECT port FROM asset WHERE project = ? AND address = ? AND host_key = 'strict'`,
		project, address)
}

// InsertAsset creates an asset and returns its id. CodeConflict: the name is taken.
func (tx *Tx) InsertAsset(a AssetRow) (hostler.AssetID, error) {
	if err := tx.lockNames(a.ProjectID, true); err != nil {
		return 0, err
	}
	ids, n, err := tx.insertAssets(a.ProjectID, []AssetRow{a})
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, errTaken(assetWord, a.Name)
	}
	return ids[0], tx.insertLabels(a.ProjectID, ids[:1], []AssetRow{a})
}

// InsertAssets creates many assets at once. The caller has checked that their names
// are free; CodeConflict: one was taken meanwhile.
func (tx *Tx) InsertAssets(project hostler.ProjectID, assets []AssetRow) error {
	if len(assets) == 0 {
		return nil
	}
	if err := tx.lockNames(project, true); err != nil {
		return err
	}
	ids, n, err := tx.insertAssets(project, assets)
	if err != nil {
		return err
	}
	if n != int64(len(assets)) {
		return hostler.Errorf(hostler.CodeConflict,
			"another user created one of these assets meanwhile; try again",
			"其间有人创建了其中的资产；请重试")
	}
	return tx.insertLabels(project, ids, assets)
}

// insertAssets inserts the assets whose names are free. It returns the ids of all, and
// how many it inserted.
func (tx *Tx) insertAssets(project hostler.ProjectID, assets []AssetRow) ([]hostler.AssetID, int64, error) {
	raw, err := tx.c.NewIDs(tx.ctx, len(assets))
	if err != nil {
		return nil, 0, err
	}
	ids, rows := make([]hostler.AssetID, len(assets)), make([]assetColumns, len(assets))
	for i, a := range assets {
		ids[i] = hostler.AssetID(raw[i])
		a.ID, a.ProjectID, a.CreatedAt, a.UpdatedAt = ids[i], project, tx.now, tx.now
		if rows[i], err = a.columns(); err != nil {
			return nil, 0, err
		}
	}
	n, err := insertNew(tx, "asset", "project, name", rows)
	for i := range rows {
		tx.placeChanged(nil, rows[i].place())
	}
	return ids, n, err
}

// UpdateAsset replaces an asset by its id. When its device key changes, its live
// jobs move to the lane of the new device, at the end of the transaction: that takes the
// queue lock exclusively, which an import of many assets must not hold for long. CodeConflict: another one has the name.
func (tx *Tx) UpdateAsset(a AssetRow) error {
	if err := tx.lockNames(a.ProjectID, false); err != nil {
		return err
	}
	taken, err := tx.exists(`SELECT id FROM asset WHERE project = ? AND name = ? AND id <> ?`, a.ProjectID, a.Name, a.ID)
	if err != nil {
		return err
	}
	if taken {
		return errTaken(assetWord, a.Name)
	}
	return tx.updateAssets(a.ProjectID, []AssetRow{a})
}

// UpdateAssets is UpdateAsset for many assets at once, whose names stay.
func (tx *Tx) UpdateAssets(project hostler.ProjectID, assets []AssetRow) error {
	if len(assets) == 0 {
		return nil
	}
	if err := tx.lockNames(project, false); err != nil {
		return err
	}
	return tx.updateAssets(project, assets)
}

func (tx *Tx) updateAssets(project hostler.ProjectID, assets []AssetRow) error {
	ids, rows := make([]hostler.AssetID, len(assets)), make([]assetColumns, len(assets))
	for i := range assets {
		var err error
		if rows[i], err = assets[i].columns(); err != nil {
			return err
		}
		rows[i].UpdatedAt = tx.now
		ids[i] = assets[i].ID
	}
	// The names are locked: no other transaction changes the keys.
	type oldAsset struct {
		assetPlace
		Labels string `db:"labels"`
	}
	olds, err := query[oldAsset](tx, `SELECT @cols FROM asset WHERE id IN ?*`, ids)
	if err != nil {
		return err
	}
	_, err = execRows(tx, `UPDATE asset SET name = v.name, address = v.address, port = v.port, kind = v.kind,
platform = v.platform, labels = v.labels, vars = v.vars, credential = v.credential, device_key = v.device_key,
host_key = v.host_key, jump = v.jump, updated_at = v.updated_at, confirmed_address = v.confirmed_address,
confirmed_port = v.confirmed_port, confirmed_jump = v.confirmed_jump, confirmed_labels = v.confirmed_labels
FROM @rows WHERE asset.id = v.id AND asset.project = v.project`, rows)
	if err != nil {
		return err
	}
	was := make(map[hostler.AssetID]*oldAsset, len(olds))
	for i := range olds {
		was[olds[i].ID] = &olds[i]
	}
	// Most changes leave the labels, of which there are many rows, as they are.
	var relabelled []AssetRow
	var relabelledIDs []hostler.AssetID
	for i := range rows {
		if old := was[ids[i]]; old != nil && old.Labels != rows[i].Labels {
			relabelled, relabelledIDs = append(relabelled, assets[i]), append(relabelledIDs, ids[i])
		}
	}
	if len(relabelled) > 0 {
		if _, err := tx.Exec(`DELETE FROM asset_label WHERE asset IN ?*`, relabelledIDs); err != nil {
			return err
		}
		if err := tx.insertLabels(project, relabelledIDs, relabelled); err != nil {
			return err
		}
	}
	for i := range rows {
		now := rows[i].place()
		old := was[now.ID]
		if old == nil {
			continue
		}
		tx.placeChanged(&old.assetPlace, now)
		if old.DeviceKey != now.DeviceKey {
			tx.keyChanges = append(tx.keyChanges, keyChange{
				now.ID, hostler.AssetLaneKey(old.DeviceKey), hostler.AssetLaneKey(now.DeviceKey),
			})
		}
	}
	return nil
}

// assetPlace is what says which device is at an address.
type assetPlace struct {
	ID        hostler.AssetID `db:"id"`
	Address   string          `db:"address"`
	Port      int             `db:"port"`
	DeviceKey string          `db:"device_key"`
}

func (a *assetColumns) place() *assetPlace { return &assetPlace{a.ID, a.Address, a.Port, a.DeviceKey} }

// PlanAsset makes the rest of the transaction find an asset that is not written: as one
// that is to be changed or, without an id, to be created. It returns its id, which is
// negative for a new one.
func (tx *Tx) PlanAsset(a AssetRow) hostler.AssetID {
	if tx.planned == nil {
		tx.planned = map[hostler.AssetID]*AssetRow{}
	}
	if a.ID == 0 {
		a.ID = -hostler.AssetID(len(tx.planned) + 1)
	}
	tx.planned[a.ID] = &a
	if tx.plannedNames == nil {
		tx.plannedNames = map[string]*AssetRow{}
	}
	tx.plannedNames[a.Name] = &a
	return a.ID
}

// deviceLock is the advisory lock of transactions that give a device to a project: what
// they read of the devices of other projects still holds when they commit. It is one of all
// projects, and is taken after all other statements of a use case, before hostLock.
const deviceLock = 5

// LockDevices makes sure that no other transaction that calls it gives a device to a
// project until this one ends.
func (tx *Tx) LockDevices() error { return tx.c.Lock(tx.ctx, deviceLock, false) }

// DevicesElsewhere returns those of the device keys with which another project has an
// asset.
func (tx *Tx) DevicesElsewhere(p hostler.ProjectID, keys []string) ([]string, error) {
	return column[string](tx, `SELECT DISTINCT device_key FROM asset WHERE device_key IN ?* AND project <> ?`, keys, p)
}

// DeviceAt returns the key of the device that an ad-hoc host of a project is; see
// adhoclane.go.
func (tx *Tx) DeviceAt(p hostler.ProjectID, address string, port int) (string, error) {
	host := adhocHost{p, address, port}
	keys, err := tx.deviceLanes(map[adhocHost]bool{host: true})
	if key, ok := keys[host]; ok {
		return DisplayLane(key), err
	}
	return address, err
}

// Host is where an ad-hoc host is.
type Host struct {
	Address string
	Port    int
}

// ForeignHosts returns those of the ad-hoc hosts of a project that are devices of other
// projects only; see adhoclane.go. It takes three statements, however many hosts there are.
func (tx *Tx) ForeignHosts(p hostler.ProjectID, hosts []Host) (map[Host]bool, error) {
	at := make(map[adhocHost]bool, len(hosts))
	for _, h := range hosts {
		at[adhocHost{p, h.Address, h.Port}] = true
	}
	lanes, err := tx.deviceLanes(at)
	if err != nil {
		return nil, err
	}
	device := make(map[Host]string, len(hosts))
	for _, h := range hosts {
		device[h] = h.Address
		if lane, ok := lanes[adhocHost{p, h.Address, h.Port}]; ok {
			device[h] = DisplayLane(lane)
		}
	}
	elsewhere, err := tx.DevicesElsewhere(p, slices.Sorted(maps.Values(device)))
	if err != nil || len(elsewhere) == 0 {
		return nil, err
	}
	own, err := column[string](tx, `SELECT DISTINCT device_key FROM asset WHERE device_key IN ?* AND project = ?`,
		elsewhere, p)
	foreign := map[Host]bool{}
	for h, key := range device {
		foreign[h] = slices.Contains(elsewhere, key) && !slices.Contains(own, key)
	}
	return foreign, err
}

// SeesDevice reports whether a project has an asset with a device key that the
// transaction may read.
func (tx *Tx) SeesDevice(p hostler.ProjectID, key string) (bool, error) {
	seen, args := tx.seen(`asset.id`)
	return tx.exists(`SELECT id FROM asset WHERE device_key = ? AND project = ?`+seen+` LIMIT 1`,
		append([]any{key, p}, args...)...)
}

// LockAssetNames locks the names of a project's assets for a transaction that creates
// and changes many: to lock them again for the first change could deadlock.
func (tx *Tx) LockAssetNames(project hostler.ProjectID) error { return tx.lockNames(project, false) }

// lockNames takes the lock on the names of a project's assets: exclusively for a
// rename, shared by other writers, so that a name that a rename found free stays free.
func (tx *Tx) lockNames(project hostler.ProjectID, shared bool) error {
	return tx.c.Lock(tx.ctx, -int64(project), shared)
}

// insertLabels inserts the labels of assets, which have these ids.
func (tx *Tx) insertLabels(project hostler.ProjectID, ids []hostler.AssetID, assets []AssetRow) error {
	type labelRow struct {
		Project hostler.ProjectID `db:"project"`
		Key     string            `db:"key"`
		Value   string            `db:"value"`
		Asset   hostler.AssetID   `db:"asset"`
	}
	var rows []labelRow
	for i, a := range assets {
		for _, k := range slices.Sorted(maps.Keys(a.Labels)) {
			rows = append(rows, labelRow{project, k, a.Labels[k], ids[i]})
		}
	}
	return insert(tx, "asset_label", rows)
}

// DeleteAsset deletes an asset and its labels. CodeConflict: others connect
// through it.
func (tx *Tx) DeleteAsset(project hostler.ProjectID, id hostler.AssetID) error {
	var user string
	used, err := tx.one(`SELECT name FROM asset WHERE project = ? AND jump = ? ORDER BY name LIMIT 1`,
		[]any{project, id}, &user)
	if err != nil {
		return err
	}
	if used {
		return hostler.Errorf(hostler.CodeConflict,
			"asset %q connects through it; change that one first",
			"资产 %q 以它为跳板机；请先修改该资产", user)
	}
	if _, err := tx.Exec(`DELETE FROM asset_label WHERE asset = ?`, id); err != nil {
		return err
	}
	gone, err := queryOne[assetPlace](tx, `DELETE FROM asset WHERE id = ? AND project = ? RETURNING @cols`, id, project)
	if gone != nil {
		tx.placeChanged(gone, nil)
	}
	tx.deleted = append(tx.deleted, id)
	return err
}

func encodeMap(m map[string]string) (string, error) {
	if len(m) == 0 {
		return "{}", nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode labels: %w", err)
	}
	return string(b), nil
}

func decodeMap(s string) (map[string]string, error) {
	if s == "" || s == "{}" {
		return nil, nil
	}
	var m map[string]string
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		return nil, fmt.Errorf("decode labels: %w", err)
	}
	return m, nil
}
