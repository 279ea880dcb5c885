package app

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/selector"
	"hostler.dev/hostler/internal/store"
)

// Limits of an asset.
const (
	maxLabels = 64
	maxVars   = 64
)

// Assets lists the assets of the acting project whose labels a selector matches.
func (a *App) Assets(
	ctx context.Context, c auth.Caller, labels string, p hostler.Page,
) (hostler.List[hostler.Asset], error) {
	g, err := a.allow(c, auth.ReadAsset)
	if err != nil {
		return hostler.List[hostler.Asset]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Asset]{}, err
	}
	var fields check.Fields
	sel := checkSelector(&fields, "selector", labels)
	if err := fields.Err(); err != nil {
		return hostler.List[hostler.Asset]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Asset], error) {
		read := func(after string, n int) ([]hostler.Asset, error) {
			rows, err := s.Assets(s.project, sel, after, n)
			items := make([]hostler.Asset, len(rows))
			for i := range rows {
				items[i] = rows[i].Asset
			}
			return items, err
		}
		return readPage(after, limit, read, func(a hostler.Asset) string { return a.Name }, assetSize)
	})
}

// assetSize is the size of what an asset may have much of.
func assetSize(a hostler.Asset) int {
	n := 0
	for _, m := range []map[string]string{a.Labels, a.Vars} {
		for k, v := range m {
			n += len(k) + len(v)
		}
	}
	return n
}

// Asset reads one asset by name or id.
func (a *App) Asset(ctx context.Context, c auth.Caller, ref string) (hostler.Asset, error) {
	g, err := a.allow(c, auth.ReadAsset)
	if err != nil {
		return hostler.Asset{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Asset, error) {
		row, err := s.asset(ref)
		if err != nil {
			return hostler.Asset{}, err
		}
		return row.Asset, nil
	})
}

// asset finds an asset of the acting project by name or id.
func (s *scope) asset(ref string) (*store.AssetRow, error) {
	if !check.Storable(ref) || ref == "" {
		return nil, hostler.NotFound(assetKind, ref)
	}
	id, name := assetRef(ref)
	row, err := s.Tx.Asset(s.project, id, name)
	if err == nil && row == nil {
		err = hostler.NotFound(assetKind, ref)
	}
	return row, err
}

// assetRef parses a reference: an id, or else a name. No name of an asset has the form
// of an id.
func assetRef(ref string) (hostler.AssetID, string) {
	if id, err := parseAssetID(ref); err == nil {
		return id, ""
	}
	return 0, ref
}

// CreateAsset creates an asset.
func (a *App) CreateAsset(ctx context.Context, c auth.Caller, in hostler.AssetInput) (hostler.Asset, error) {
	g, err := a.allow(c, auth.WriteAsset)
	if err != nil {
		return hostler.Asset{}, err
	}
	row, err := assetRow(in)
	if err != nil {
		return hostler.Asset{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Asset, error) {
		row := row
		if err := s.bind(&row, in); err != nil {
			return hostler.Asset{}, err
		}
		use, err := s.checkPlace(&row, nil, true)
		if err != nil {
			return hostler.Asset{}, err
		}
		id, err := s.InsertAsset(row)
		if err != nil {
			return hostler.Asset{}, err
		}
		if err := s.allowUse(use); err != nil {
			return hostler.Asset{}, err
		}
		return s.recordAsset("asset.create", id)
	})
}

// PutAsset replaces an asset as a whole, including its credential. Where the credential
// may be used is decided by [scope.checkPlace]: otherwise the right to edit an asset would
// be the right to send its password to any host.
func (a *App) PutAsset(ctx context.Context, c auth.Caller, ref string, in hostler.AssetInput) (hostler.Asset, error) {
	g, err := a.allow(c, auth.WriteAsset)
	if err != nil {
		return hostler.Asset{}, err
	}
	row, err := assetRow(in)
	if err != nil {
		return hostler.Asset{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Asset, error) {
		old, err := s.asset(ref)
		if err != nil {
			return hostler.Asset{}, err
		}
		row := row
		row.ID = old.ID
		followAddress(&row, old)
		if err := s.bind(&row, in); err != nil {
			return hostler.Asset{}, err
		}
		use, err := s.checkPlace(&row, old, !in.CredentialKept)
		if err != nil {
			return hostler.Asset{}, err
		}
		if err := s.updateAsset(row, old, use); err != nil {
			return hostler.Asset{}, err
		}
		return s.recordAsset("asset.change", row.ID)
	})
}

// updateAsset writes an asset over old, with the use of its credential that the change
// allows.
func (s *scope) updateAsset(row store.AssetRow, old *store.AssetRow, use *store.UseRow) error {
	if err := s.UpdateAsset(row); err != nil {
		return err
	}
	if !samePlace(&row, old) {
		if err := s.left(old); err != nil {
			return err
		}
	}
	return s.allowUse(use)
}

// allowUse allows one use of a credential; nil is none.
func (s *scope) allowUse(use *store.UseRow) error {
	if use == nil {
		return nil
	}
	return s.AllowUses([]store.UseRow{*use})
}

// ConfirmAsset confirms the place and the labels of an asset as they are, and the use of
// its credential there: an admin has looked at what an operator changed.
func (a *App) ConfirmAsset(ctx context.Context, c auth.Caller, ref string) (hostler.Asset, error) {
	g, err := a.allow(c, auth.WriteCredential)
	if err != nil {
		return hostler.Asset{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Asset, error) {
		row, err := s.asset(ref)
		if err != nil {
			return hostler.Asset{}, err
		}
		use, err := s.confirmByAdmin(row, nil, true)
		if err != nil {
			return hostler.Asset{}, err
		}
		if err := s.Tx.ConfirmAsset(*row); err != nil {
			return hostler.Asset{}, err
		}
		if err := s.allowUse(use); err != nil {
			return hostler.Asset{}, err
		}
		return s.recordAsset("asset.confirm", row.ID)
	})
}

// followAddress makes a device key that was the old address, because it was never set,
// the new address.
func followAddress(row, old *store.AssetRow) {
	if old.DeviceKey == old.Address && row.DeviceKey == old.Address {
		row.DeviceKey = row.Address
	}
}

// recordAsset reads what was written and records it in the audit. Of the variables,
// which may hold anything, only the names are recorded.
func (s *scope) recordAsset(verb string, id hostler.AssetID) (hostler.Asset, error) {
	row, err := s.asset(id.String())
	if err != nil {
		return hostler.Asset{}, err
	}
	detail := map[string]any{
		"id": row.ID, "address": row.Address, "port": row.Port, "labels": row.Labels,
		"credential": row.Credential, "device_key": row.DeviceKey, "host_key": row.HostKey,
		"jump": row.Jump, "vars": slices.Sorted(maps.Keys(row.Vars)),
	}
	return row.Asset, s.audit(verb, row.Name, detail)
}

// DeleteAsset deletes an asset. Its jobs stay in the history; those that are waiting
// fail when they are leased.
func (a *App) DeleteAsset(ctx context.Context, c auth.Caller, ref string) (hostler.Asset, error) {
	g, err := a.allow(c, auth.WriteAsset)
	if err != nil {
		return hostler.Asset{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Asset, error) {
		row, err := s.asset(ref)
		if err != nil {
			return hostler.Asset{}, err
		}
		if err := s.checkStrict(row, nil); err != nil {
			return hostler.Asset{}, err
		}
		if err := s.DeleteAsset(s.project, row.ID); err != nil {
			return hostler.Asset{}, err
		}
		if err := s.left(row); err != nil {
			return hostler.Asset{}, err
		}
		return row.Asset, s.audit("asset.delete", row.Name, map[string]any{"id": row.ID})
	})
}

// assetRow checks every field and returns the row, without what it refers to; see
// [scope.bind].
func assetRow(in hostler.AssetInput) (store.AssetRow, error) {
	var fields check.Fields
	fields.Name("name", in.Name, 128)
	if id, _ := assetRef(in.Name); id != 0 {
		fields.Add("name", "must not have the form of an id", "不能与 ID 的格式相同")
	}
	address := fields.Address("address", in.Address)
	check.Between(&fields, "port", in.Port, 0, 65535)
	kind, policy := cmp.Or(in.Kind, "host"), cmp.Or(in.HostKey, hostler.HostKeyAcceptNew)
	check.OneOf(&fields, "kind", kind, "host", "device", "endpoint")
	check.OneOf(&fields, "host_key", policy, hostler.HostKeyAcceptNew, hostler.HostKeyStrict)
	fields.Line("platform", in.Platform, 64)
	fields.Line("device_key", in.DeviceKey, 253)
	fields.Require(strings.TrimSpace(in.DeviceKey) == in.DeviceKey, "device_key",
		"must not begin or end with a space", "首尾不得有空格")
	checkLabels(&fields, in.Labels)
	checkVars(&fields, in.Vars)
	row := store.AssetRow{Asset: hostler.Asset{
		Name: in.Name, Address: address, Port: in.Port, Kind: kind, Platform: in.Platform,
		Labels: in.Labels, Vars: in.Vars, DeviceKey: cmp.Or(in.DeviceKey, address), HostKey: policy,
	}}
	return row, fields.Err()
}

// checkLabels checks labels. A slash is allowed in a key, as in example.com/role.
func checkLabels(fields *check.Fields, labels map[string]string) {
	fields.Count("labels", len(labels), maxLabels)
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		path := "labels." + check.Key(key)
		fields.Name(path, strings.ReplaceAll(key, "/", "."), 63)
		fields.Line(path, labels[key], 128)
	}
}

// checkSelector parses a selector of labels.
func checkSelector(fields *check.Fields, path, text string) selector.Selector {
	sel, err := selector.Parse(text)
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		fields.AddText(path, e.Text)
	}
	return sel
}

// checkVars checks variables. A key may begin with an underscore.
func checkVars(fields *check.Fields, vars map[string]string) {
	fields.Count("vars", len(vars), maxVars)
	for _, key := range slices.Sorted(maps.Keys(vars)) {
		path := "vars." + check.Key(key)
		fields.Name(path, strings.TrimLeft(key, "_"), 63)
		fields.Text(path, vars[key], 4096)
	}
}

// bind sets the project, and the ids of what the input refers to by name.
func (s *scope) bind(row *store.AssetRow, in hostler.AssetInput) error {
	row.ProjectID = s.project
	var fields check.Fields
	if in.Credential != "" {
		find := s.LockCredential
		if s.planning {
			find = s.Credential
		}
		c, err := found(find, s, credentialKind, in.Credential)
		if hostler.CodeOf(err) == hostler.CodeNotFound {
			fields.Add("credential", "does not exist in this project", "本项目中不存在该凭据")
		} else if err != nil {
			return err
		}
		row.CredentialID = c.ID
	}
	if in.Jump != "" {
		jump, err := s.asset(in.Jump)
		switch {
		case hostler.CodeOf(err) == hostler.CodeNotFound:
			fields.Add("jump", "does not exist in this project", "本项目中不存在该资产")
		case err != nil:
			return err
		default:
			row.JumpID = jump.ID
			if err := s.checkJumps(&fields, row.ID, jump); err != nil {
				return err
			}
		}
	}
	return fields.Err()
}

// checkJumps refuses jump hosts in a cycle, and more of them than allowed.
func (s *scope) checkJumps(fields *check.Fields, asset hostler.AssetID, jump *store.AssetRow) error {
	for n := 1; ; n++ {
		switch {
		case jump.ID == asset:
			fields.Add("jump", "makes a cycle: the jump hosts lead back to this asset", "跳板机形成循环")
			return nil
		case n > hostler.MaxJumps:
			fields.Add("jump", "makes a chain of more than %d jump hosts",
				"跳板机不得超过 %d 级", hostler.MaxJumps)
			return nil
		case jump.JumpID == 0:
			return nil
		}
		next, err := s.Tx.Asset(s.project, jump.JumpID, "")
		if err != nil || next == nil {
			return err
		}
		jump = next
	}
}

// parseAssetID parses an id, in any of the forms that ids have.
func parseAssetID(s string) (id hostler.AssetID, err error) {
	if s == "" {
		return 0, errCursor()
	}
	err = id.UnmarshalText([]byte(s))
	return id, err
}
