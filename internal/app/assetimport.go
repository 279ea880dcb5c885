package app

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// Answers to an asset that exists.
const (
	conflictUpdate = "update"
	conflictSkip   = "skip"
	conflictFail   = "fail"
)

// errUndone rolls an import back that was only tried.
var errUndone = errors.New("import undone")

// ImportAssets makes and changes assets as a file of CSV says: all of it, or, when
// a row fails, nothing. A dry run does the same and undoes it. A column that the
// file does not have leaves its field as it is; an empty cell clears it.
func (a *App) ImportAssets(ctx context.Context, c auth.Caller, file string, o hostler.ImportOptions) (hostler.AssetImport, error) {
	g, err := a.allow(c, auth.WriteAsset)
	if err != nil {
		return hostler.AssetImport{}, err
	}
	if o.OnConflict == "" {
		o.OnConflict = conflictUpdate
	}
	var fields check.Fields
	check.OneOf(&fields, "on_conflict", o.OnConflict, conflictUpdate, conflictSkip, conflictFail)
	if err := fields.Err(); err != nil {
		return hostler.AssetImport{}, err
	}
	records, err := readAssets(file, o)
	if err != nil {
		return hostler.AssetImport{}, err
	}
	var out hostler.AssetImport
	_, err = change(ctx, g, func(s *scope) (struct{}, error) {
		im := &importing{scope: s, o: o, records: records}
		err := im.run()
		out = im.result()
		if err == nil && !out.Applied {
			err = errUndone
		}
		return struct{}{}, err
	})
	if errors.Is(err, errUndone) {
		err = nil
	}
	return out, err
}

// importing is one import, inside its transaction.
type importing struct {
	*scope
	o       hostler.ImportOptions
	records []assetRecord
	have    map[string]*store.AssetRow // as they were before, by name
	at      map[string]int             // the record of a name
	rows    []hostler.ImportedRow      // by record; without a fate as long as it is not dealt with
	fresh   []store.AssetRow           // to make; written together
}

func (im *importing) run() error {
	im.rows = make([]hostler.ImportedRow, len(im.records))
	im.at = make(map[string]int, len(im.records))
	names := make([]string, 0, len(im.records))
	for i, rec := range im.records {
		name := rec.cells["name"]
		im.rows[i] = hostler.ImportedRow{Line: rec.line, Name: name}
		if first, twice := im.at[name]; twice {
			im.fail(i, "name", "stands in line %d already", "已在第 %d 行出现", im.records[first].line)
			continue
		}
		im.at[name] = i
		if check.Storable(name) {
			names = append(names, name)
		}
	}
	if err := im.readExisting(names); err != nil {
		return err
	}
	for i := range im.records {
		if err := im.settle(i, 0); err != nil {
			return err
		}
	}
	if err := im.flush(); err != nil {
		return err
	}
	n := im.count()
	if n[hostler.ImportCreate]+n[hostler.ImportUpdate] == 0 {
		im.unchanged()
		return nil
	}
	return im.audit("asset.import", strconv.Itoa(n[hostler.ImportCreate]+n[hostler.ImportUpdate]),
		map[string]any{"created": n[hostler.ImportCreate], "updated": n[hostler.ImportUpdate], "rows": len(im.rows)})
}

func (im *importing) readExisting(names []string) error {
	im.have = map[string]*store.AssetRow{}
	if len(names) == 0 {
		return nil
	}
	targets, err := im.Targets(im.project, nil, names, nil)
	if err != nil {
		return err
	}
	ids := make([]hostler.AssetID, len(targets))
	for i, t := range targets {
		ids[i] = t.ID
	}
	rows, err := im.AssetsByID(ids)
	for _, row := range rows {
		im.have[row.Name] = row
	}
	return err
}

func (im *importing) count() map[string]int {
	n := map[string]int{}
	for _, r := range im.rows {
		n[r.Result]++
	}
	return n
}

func (im *importing) result() hostler.AssetImport {
	n := im.count()
	return hostler.AssetImport{
		DryRun: im.o.DryRun, Applied: !im.o.DryRun && n[hostler.ImportFail] == 0,
		Created: n[hostler.ImportCreate], Updated: n[hostler.ImportUpdate], Unchanged: n[hostler.ImportUnchanged],
		Skipped: n[hostler.ImportSkip], Failed: n[hostler.ImportFail], Rows: im.rows,
	}
}

func (im *importing) fail(i int, path, en, zh string, args ...any) {
	r := &im.rows[i]
	r.Result = hostler.ImportFail
	r.Errors = append(r.Errors, hostler.FieldError{Path: path, Text: hostler.Textf(en, zh, args...)})
}

// settle deals with a record, after the one that it names as its jump host: that
// may be new, too. The depth ends ways that lead round; bind then names them.
func (im *importing) settle(i, depth int) error {
	if im.rows[i].Result != "" {
		return nil
	}
	rec := im.records[i]
	if jump, ok := im.at[rec.cells["jump"]]; ok && jump != i && depth <= maxJumps {
		if err := im.settle(jump, depth+1); err != nil || im.rows[i].Result != "" {
			return err
		}
		if err := im.flush(); err != nil { // so that it is found
			return err
		}
	}
	old := im.have[rec.cells["name"]]
	switch {
	case rec.spread[0] != rec.spread[1]:
		im.fail(i, "row", "has %d cells, and the header has %d", "有 %d 个单元格，而表头有 %d 个", rec.spread[0], rec.spread[1])
		return nil
	case old != nil && im.o.OnConflict == conflictSkip:
		im.rows[i].Result = hostler.ImportSkip
		return nil
	case old != nil && im.o.OnConflict == conflictFail:
		im.fail(i, "name", "exists already", "已存在")
		return nil
	}
	in, err := rec.input(old)
	if err == nil {
		err = im.write(i, old, in)
	}
	if e, ok := errors.AsType[*hostler.Error](err); ok && len(e.Fields) > 0 {
		im.rows[i].Result = hostler.ImportFail
		im.rows[i].Errors = append(im.rows[i].Errors, e.Fields...)
		return nil
	}
	return err
}

// flush writes the new assets that wait for it.
func (im *importing) flush() error {
	err := im.InsertAssets(im.project, im.fresh)
	im.fresh = nil
	return err
}

// write makes or changes one asset, by the same rules as a single one.
func (im *importing) write(i int, old *store.AssetRow, in hostler.AssetInput) error {
	row, err := assetRow(in)
	if err != nil {
		return err
	}
	if old == nil {
		if err := im.bind(&row, in); err != nil {
			return err
		}
		im.rows[i].Result = hostler.ImportCreate
		im.fresh = append(im.fresh, row)
		return nil
	}
	row.ID = old.ID
	keepDeviceKey(&row, old)
	changes, err := changesOf(old.Asset, row.Asset, in)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		im.rows[i].Result = hostler.ImportUnchanged
		return nil
	}
	if err := im.keepsCredential(i, old, row); err != nil {
		return err
	}
	if err := im.bind(&row, in); err != nil {
		return err
	}
	im.rows[i].Result, im.rows[i].Changes = hostler.ImportUpdate, changes
	return im.UpdateAsset(row)
}

// keepsCredential refuses to lead a credential to another address unless the file
// names it: see PutAsset.
func (im *importing) keepsCredential(i int, old *store.AssetRow, row store.AssetRow) error {
	_, named := im.records[i].cells["credential"]
	if named || old.Credential == "" || old.Address == row.Address && old.Port == row.Port {
		return nil
	}
	return hostler.Invalid("credential", "must be named when the address or the port changes: add a column credential",
		"更改地址或端口时须重新指定凭据：请添加 credential（凭据）列")
}

// changesOf lists the fields that an update changes.
func changesOf(old, now hostler.Asset, in hostler.AssetInput) (map[string][2]string, error) {
	now.Credential, now.Jump = in.Credential, in.Jump
	before, err := assetTexts(old)
	if err != nil {
		return nil, err
	}
	after, err := assetTexts(now)
	changes := map[string][2]string{}
	for i, field := range assetColumns {
		if before[i] != after[i] {
			changes[field] = [2]string{before[i], after[i]}
		}
	}
	return changes, err
}

// input is the asset as the record has it, over what there is.
func (r assetRecord) input(old *store.AssetRow) (hostler.AssetInput, error) {
	in := hostler.AssetInput{}
	if old != nil {
		in = hostler.AssetInput{
			Address: old.Address, Port: old.Port, Kind: old.Kind, Platform: old.Platform,
			Labels: maps.Clone(old.Labels), Vars: maps.Clone(old.Vars),
			Credential: old.Credential, HostKey: old.HostKey, Jump: old.Jump, DeviceKey: old.DeviceKey,
		}
	}
	var fields check.Fields
	for field, to := range map[string]*string{
		"name": &in.Name, "address": &in.Address, "kind": &in.Kind, "platform": &in.Platform, "credential": &in.Credential,
		"device_key": &in.DeviceKey, "host_key": &in.HostKey, "jump": &in.Jump,
	} {
		if cell, ok := r.cells[field]; ok {
			*to = cell
		}
	}
	if cell, ok := r.cells["port"]; ok {
		in.Port = 0
		if cell != "" {
			n, err := strconv.Atoi(cell)
			fields.Require(err == nil, "port", "must be a whole number", "必须是整数")
			in.Port = n
		}
	}
	in.Labels = r.pairs(&fields, "labels", "label.", in.Labels)
	in.Vars = r.pairs(&fields, "vars", "var.", in.Vars)
	return in, fields.Err()
}

// pairs reads a column of pairs, and the columns of single keys over it.
func (r assetRecord) pairs(fields *check.Fields, column, single string, have map[string]string) map[string]string {
	if cell, ok := r.cells[column]; ok {
		pairs, good := parsePairs(cell)
		fields.Require(good, column, "must be written as key=value,key=value, each key once; for a value with = add a column %sKEY", "请写成 key=value,key=value，每个键一次；值中含 = 时请改用 %sKEY 列", single)
		have = pairs
	}
	for field, cell := range r.cells {
		key, ok := strings.CutPrefix(field, single)
		if !ok {
			continue
		}
		if cell == "" {
			delete(have, key)
			continue
		}
		if have == nil {
			have = map[string]string{}
		}
		have[key] = cell
	}
	return have
}
