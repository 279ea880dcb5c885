package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

var assetWord = hostler.Text{EN: "asset", ZH: "资产"}

// AssetRow is an asset as stored: its references are ids beside the names that
// people see.
type AssetRow struct {
	hostler.Asset
	ProjectID    hostler.ProjectID
	CredentialID hostler.CredentialID
	JumpID       hostler.AssetID
}

const assetFields = `a.id, a.project, p.name, a.name, a.address, a.port, a.kind, a.platform, a.labels, a.vars,
a.credential, COALESCE(c.name, ''), a.device_key, a.host_key, a.jump, COALESCE(j.name, ''), a.created_at, a.updated_at`

const assetJoins = ` FROM asset a JOIN project p ON p.id = a.project
LEFT JOIN credential c ON c.id = a.credential LEFT JOIN asset j ON j.id = a.jump `

func scanAsset(r sqldb.Rows) (AssetRow, error) {
	var a AssetRow
	var id, project, credential, jump, created, updated int64
	var labels, vars string
	err := r.Scan(&id, &project, &a.Project, &a.Name, &a.Address, &a.Port, &a.Kind, &a.Platform, &labels, &vars,
		&credential, &a.Credential, &a.DeviceKey, &a.HostKey, &jump, &a.Jump, &created, &updated)
	if err != nil {
		return a, err
	}
	a.ID, a.ProjectID, a.CredentialID, a.JumpID = hostler.AssetID(id), hostler.ProjectID(project), hostler.CredentialID(credential), hostler.AssetID(jump)
	a.CreatedAt, a.UpdatedAt = sqldb.Time(created), sqldb.Time(updated)
	if a.Labels, err = decodeMap(labels); err != nil {
		return a, err
	}
	a.Vars, err = decodeMap(vars)
	return a, err
}

func (tx *Tx) assets(where string, args ...any) ([]AssetRow, error) {
	var out []AssetRow
	err := tx.each(`SELECT `+assetFields+assetJoins+where, args, func(r sqldb.Rows) error {
		a, err := scanAsset(r)
		out = append(out, a)
		return err
	})
	return out, err
}

// Asset finds an asset of a project by its id, or by its name when the id is 0;
// nil when there is none.
func (tx *Tx) Asset(project hostler.ProjectID, id hostler.AssetID, name string) (*AssetRow, error) {
	if id != 0 {
		return first(tx.assets(`WHERE a.project = ? AND a.id = ?`, project, id))
	}
	return first(tx.assets(`WHERE a.project = ? AND a.name = ?`, project, name))
}

// AssetsByID finds assets of any project, by id; for leases.
func (tx *Tx) AssetsByID(ids []hostler.AssetID) (map[hostler.AssetID]*AssetRow, error) {
	all, err := tx.assets(`WHERE a.id IN ?*`, ids)
	out := make(map[hostler.AssetID]*AssetRow, len(all))
	for i := range all {
		out[all[i].ID] = &all[i]
	}
	return out, err
}

// Assets lists the assets of a project that have all the labels, by name after a
// name.
func (tx *Tx) Assets(project hostler.ProjectID, labels map[string]string, after string, limit int) ([]AssetRow, error) {
	if len(labels) == 0 {
		return tx.assets(`WHERE a.project = ? AND a.name > ? ORDER BY a.name LIMIT ?`, project, after, limit)
	}
	ids, err := tx.labelled(project, labels)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	return tx.assets(`WHERE a.project = ? AND a.id IN ?* AND a.name > ? ORDER BY a.name LIMIT ?`, project, ids, after, limit)
}

// labelled finds the assets that have all the labels, in the order of their ids.
func (tx *Tx) labelled(project hostler.ProjectID, labels map[string]string) ([]int64, error) {
	var have []int64
	for i, key := range slices.Sorted(maps.Keys(labels)) {
		ids, err := tx.ints(`SELECT asset FROM asset_label WHERE project = ? AND key = ? AND value = ? ORDER BY asset`, project, key, labels[key])
		if err != nil {
			return nil, err
		}
		if i == 0 {
			have = ids
			continue
		}
		have = slices.DeleteFunc(have, func(id int64) bool {
			_, both := slices.BinarySearch(ids, id)
			return !both
		})
	}
	return have, nil
}

// Target is what a job must know of its asset when it is made.
type Target struct {
	ID        hostler.AssetID
	Name      string
	DeviceKey string
}

// Targets finds the assets of a project with one of the ids, one of the names,
// or all the labels: their union, in the order of their ids.
func (tx *Tx) Targets(project hostler.ProjectID, ids []hostler.AssetID, names []string, labels map[string]string) ([]Target, error) {
	want := make([]int64, 0, len(ids))
	for _, id := range ids {
		want = append(want, int64(id))
	}
	if len(labels) > 0 {
		more, err := tx.labelled(project, labels)
		if err != nil {
			return nil, err
		}
		want = append(want, more...)
	}
	byID := map[hostler.AssetID]Target{}
	for _, q := range []struct {
		sql  string
		list any
		n    int
	}{
		{`SELECT id, name, device_key FROM asset WHERE project = ? AND id IN ?*`, want, len(want)},
		{`SELECT id, name, device_key FROM asset WHERE project = ? AND name IN ?*`, names, len(names)},
	} {
		if q.n == 0 {
			continue
		}
		err := tx.each(q.sql, []any{project, q.list}, func(r sqldb.Rows) error {
			var id int64
			var t Target
			err := r.Scan(&id, &t.Name, &t.DeviceKey)
			t.ID = hostler.AssetID(id)
			byID[t.ID] = t
			return err
		})
		if err != nil {
			return nil, err
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
func (tx *Tx) AssetsAt(project hostler.ProjectID, host string) (out []Target, err error) {
	err = tx.each(`SELECT id, name, device_key FROM asset WHERE project = ? AND (name = ? OR address = ?) ORDER BY id LIMIT 1000`,
		[]any{project, host, host}, func(r sqldb.Rows) error {
			var id int64
			var t Target
			err := r.Scan(&id, &t.Name, &t.DeviceKey)
			t.ID = hostler.AssetID(id)
			out = append(out, t)
			return err
		})
	return out, err
}

// AddressesOn finds the addresses of a project's assets with a name or on a device.
func (tx *Tx) AddressesOn(project hostler.ProjectID, host string) (addresses []string, err error) {
	err = tx.each(`SELECT DISTINCT address FROM asset WHERE project = ? AND (name = ? OR device_key = ?) ORDER BY address LIMIT 1000`,
		[]any{project, host, host}, func(r sqldb.Rows) error {
			var address string
			err := r.Scan(&address)
			addresses = append(addresses, address)
			return err
		})
	return addresses, err
}

// StrictPorts lists the ports of a project's assets with an address and the host
// key policy strict; 0 is the default one.
func (tx *Tx) StrictPorts(project hostler.ProjectID, address string) (ports []int, err error) {
	err = tx.each(`SELECT port FROM asset WHERE project = ? AND address = ? AND host_key = 'strict'`,
		[]any{project, address}, func(r sqldb.Rows) error {
			var port int64
			err := r.Scan(&port)
			ports = append(ports, int(port))
			return err
		})
	return ports, err
}

// InsertAsset makes an asset and returns its id. CodeConflict: the name is taken.
func (tx *Tx) InsertAsset(a AssetRow) (hostler.AssetID, error) {
	if err := tx.lockNames(a.ProjectID, true); err != nil {
		return 0, err
	}
	id, err := tx.NewID()
	if err != nil {
		return 0, err
	}
	labels, vars, err := encodeMaps(a)
	if err != nil {
		return 0, err
	}
	n, err := tx.Exec(`INSERT INTO asset (id, project, name, address, port, kind, platform, labels, vars, credential, device_key, host_key, jump, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (project, name) DO NOTHING`,
		id, a.ProjectID, a.Name, a.Address, a.Port, a.Kind, a.Platform, labels, vars, a.CredentialID, a.DeviceKey, a.HostKey, a.JumpID,
		sqldb.Micros(tx.now), sqldb.Micros(tx.now))
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, errTaken(assetWord, a.Name)
	}
	return hostler.AssetID(id), tx.insertLabels(a.ProjectID, hostler.AssetID(id), a.Labels)
}

// InsertAssets makes many assets at once. The caller has seen that their names are
// free; CodeConflict: one was taken meanwhile.
func (tx *Tx) InsertAssets(project hostler.ProjectID, assets []AssetRow) error {
	if len(assets) == 0 {
		return nil
	}
	if err := tx.lockNames(project, true); err != nil {
		return err
	}
	ids, err := tx.c.NewIDs(tx.ctx, len(assets))
	if err != nil {
		return err
	}
	now := sqldb.Micros(tx.now)
	rows, labelRows := make([][]any, len(assets)), [][]any{}
	for i, a := range assets {
		labels, vars, err := encodeMaps(a)
		if err != nil {
			return err
		}
		rows[i] = []any{
			ids[i], int64(project), a.Name, a.Address, int64(a.Port), a.Kind, a.Platform, labels, vars, int64(a.CredentialID),
			a.DeviceKey, a.HostKey, int64(a.JumpID), now,
		}
		labelRows = append(labelRows, labelRowsOf(project, hostler.AssetID(ids[i]), a.Labels)...)
	}
	n, err := tx.c.ExecRows(tx.ctx, `INSERT INTO asset (id, project, name, address, port, kind, platform, labels, vars, credential, device_key, host_key, jump, created_at, updated_at)
SELECT v.id, v.project, v.name, v.address, v.port, v.kind, v.platform, v.labels, v.vars, v.credential, v.device_key, v.host_key, v.jump, v.at, v.at FROM @rows
WHERE true ON CONFLICT (project, name) DO NOTHING`, []sqldb.Col{
		{Name: "id", Type: sqldb.Int},
		{Name: "project", Type: sqldb.Int},
		{Name: "name", Type: sqldb.Text},
		{Name: "address", Type: sqldb.Text},
		{Name: "port", Type: sqldb.Int},
		{Name: "kind", Type: sqldb.Text},
		{Name: "platform", Type: sqldb.Text},
		{Name: "labels", Type: sqldb.Text},
		{Name: "vars", Type: sqldb.Text},
		{Name: "credential", Type: sqldb.Int},
		{Name: "device_key", Type: sqldb.Text},
		{Name: "host_key", Type: sqldb.Text},
		{Name: "jump", Type: sqldb.Int},
		{Name: "at", Type: sqldb.Int},
	}, rows)
	if err != nil {
		return err
	}
	if n != int64(len(assets)) {
		return hostler.Errorf(hostler.CodeConflict, "somebody made one of these assets meanwhile; try again", "其间有人创建了其中的资产；请重试")
	}
	return tx.insertLabelRows(labelRows)
}

// UpdateAsset replaces an asset by its id. When its device key changes, its live
// jobs move to the lane of the new device. CodeConflict: another one has the name.
func (tx *Tx) UpdateAsset(a AssetRow) error {
	if err := tx.lockNames(a.ProjectID, false); err != nil {
		return err
	}
	var other int64
	taken, err := tx.one(`SELECT id FROM asset WHERE project = ? AND name = ? AND id <> ?`, []any{a.ProjectID, a.Name, a.ID}, &other)
	if err != nil {
		return err
	}
	if taken {
		return errTaken(assetWord, a.Name)
	}
	was, err := tx.lockDeviceKey(a.ID, a.DeviceKey)
	if err != nil {
		return err
	}
	labels, vars, err := encodeMaps(a)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE asset SET name = ?, address = ?, port = ?, kind = ?, platform = ?, labels = ?, vars = ?, credential = ?,
device_key = ?, host_key = ?, jump = ?, updated_at = ? WHERE id = ? AND project = ?`,
		a.Name, a.Address, a.Port, a.Kind, a.Platform, labels, vars, a.CredentialID,
		a.DeviceKey, a.HostKey, a.JumpID, sqldb.Micros(tx.now), a.ID, a.ProjectID)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM asset_label WHERE asset = ?`, a.ID); err != nil {
		return err
	}
	if err := tx.insertLabels(a.ProjectID, a.ID, a.Labels); err != nil || was == a.DeviceKey {
		return err
	}
	return tx.relane(a.ID, hostler.AssetLaneKey(was), hostler.AssetLaneKey(a.DeviceKey))
}

// lockNames keeps a rename and any other writer of an asset's name apart, so that
// a name that was looked up stays free.
func (tx *Tx) lockNames(project hostler.ProjectID, shared bool) error {
	return tx.c.Lock(tx.ctx, -int64(project), shared)
}

func (tx *Tx) insertLabels(project hostler.ProjectID, asset hostler.AssetID, labels map[string]string) error {
	return tx.insertLabelRows(labelRowsOf(project, asset, labels))
}

func labelRowsOf(project hostler.ProjectID, asset hostler.AssetID, labels map[string]string) [][]any {
	rows := make([][]any, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		rows = append(rows, []any{int64(project), k, labels[k], int64(asset)})
	}
	return rows
}

func (tx *Tx) insertLabelRows(rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := tx.c.ExecRows(tx.ctx, `INSERT INTO asset_label (project, key, value, asset) SELECT v.project, v.key, v.value, v.asset FROM @rows`,
		[]sqldb.Col{{Name: "project", Type: sqldb.Int}, {Name: "key", Type: sqldb.Text}, {Name: "value", Type: sqldb.Text}, {Name: "asset", Type: sqldb.Int}}, rows)
	return err
}

// DeleteAsset deletes an asset and its labels. CodeConflict: others connect
// through it.
func (tx *Tx) DeleteAsset(project hostler.ProjectID, id hostler.AssetID) error {
	var user string
	used, err := tx.one(`SELECT name FROM asset WHERE project = ? AND jump = ? ORDER BY name LIMIT 1`, []any{project, id}, &user)
	if err != nil {
		return err
	}
	if used {
		return hostler.Errorf(hostler.CodeConflict,
			"asset %q connects through it; change that one first", "资产 %q 以它为跳板机；请先修改该资产", user)
	}
	if _, err := tx.Exec(`DELETE FROM asset_label WHERE asset = ?`, id); err != nil {
		return err
	}
	_, err = tx.Exec(`DELETE FROM asset WHERE id = ? AND project = ?`, id, project)
	return err
}

func encodeMaps(a AssetRow) (labels, vars string, err error) {
	if labels, err = encodeMap(a.Labels); err != nil {
		return "", "", err
	}
	vars, err = encodeMap(a.Vars)
	return labels, vars, err
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
