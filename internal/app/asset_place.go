package app

import (
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/destination"
	"hostler.dev/hostler/internal/resolve"
	"hostler.dev/hostler/internal/store"
)

// This file is the one rule for every path that writes an asset: what its address, port,
// jump host, host key policy and credential may become.

// checkPlace decides whether an asset may be written as row over old, which is nil for a
// new one, and sets what of it counts as confirmed. It returns the use of its credential
// to allow, nil for none. named tells that the request names the credential.
func (s *scope) checkPlace(row, old *store.AssetRow, named bool) (*store.UseRow, error) {
	if old != nil {
		row.Was = old.Was
		if err := s.checkStrict(old, row); err != nil {
			return nil, err
		}
		if err := checkMove(row, old, named); err != nil {
			return nil, err
		}
	}
	if err := s.checkDevice(row, old); err != nil {
		return nil, err
	}
	changed := old == nil || !samePlace(row, old) || row.CredentialID != old.CredentialID
	if s.may(auth.WriteCredential) {
		return s.confirmByAdmin(row, old, changed)
	}
	if row.CredentialID == 0 || !changed {
		return nil, nil //nolint:nilnil // nothing to allow
	}
	if err := s.mayUse(); err != nil {
		return nil, err
	}
	allowed, d, c, err := s.allowedAt(row)
	if err != nil || allowed {
		return nil, err
	}
	return nil, errUse([]hostler.FieldError{{
		Path: "credential", Text: destination.Refusal(c.Name, s.caller.ProjectName, d),
	}})
}

// confirmByAdmin confirms what an admin writes. What an operator changed before, and the
// admin's request merely repeats, stays unconfirmed.
func (s *scope) confirmByAdmin(row, old *store.AssetRow, changed bool) (*store.UseRow, error) {
	if changed || !old.Unconfirmed {
		labels := row.Was.Labels
		if old == nil || !destination.SameLabels(row.Labels, old.Labels) || destination.SameLabels(old.Labels, labels) {
			labels = row.Labels
		}
		row.Confirm()
		row.Was.Labels = labels
	}
	if row.CredentialID == 0 || !changed {
		return nil, nil //nolint:nilnil // nothing to allow
	}
	use := s.useRow(row.CredentialID, destination.Destination{
		Use: hostler.UseSSH, Way: []destination.Host{resolve.HostOf(row)},
	})
	return &use, nil
}

func samePlace(a, b *store.AssetRow) bool {
	return resolve.HostOf(a).Same(resolve.HostOf(b).Place)
}

// checkMove refuses to take a credential along to another place, or to a weaker check of
// the host's key, unless the request names it.
func checkMove(row, old *store.AssetRow, named bool) error {
	weaker := old.HostKey == hostler.HostKeyStrict && row.HostKey != hostler.HostKeyStrict
	if named || old.CredentialID == 0 || row.CredentialID == 0 || samePlace(row, old) && !weaker {
		return nil
	}
	return hostler.Invalid("credential",
		"must be named again when the address, the port, the jump host or the host key policy of an asset changes",
		"更改资产的地址、端口、跳板机或主机密钥策略时，须重新指定凭据")
}

// checkStrict refuses to give up the strict check of a host's key: to change the policy,
// or to move or delete the asset (row is nil) that demands it.
func (s *scope) checkStrict(old, row *store.AssetRow) error {
	kept := row != nil && row.HostKey == hostler.HostKeyStrict &&
		hostler.SSHAddress(row.Address, row.Port) == hostler.SSHAddress(old.Address, old.Port)
	if old.HostKey != hostler.HostKeyStrict || kept || s.may(auth.DecideHostKey) {
		return nil
	}
	e := hostler.Errorf(hostler.CodeForbidden,
		"asset %q demands a strict check of its host key; only an admin of the project %q may change or remove that",
		"资产 %[1]q 要求严格校验主机密钥；只有项目 %[2]q 的管理员可以更改或取消", old.Name, s.caller.ProjectName)
	e.Fields = []hostler.FieldError{{Path: "host_key", Text: hostler.Text{
		EN: "requires the right to decide host keys", ZH: "需要主机密钥的决定权限",
	}}}
	return e
}

// checkDevice refuses a device key that another project has: the jobs of both would wait
// for each other. An admin of the installation may share a device.
func (s *scope) checkDevice(row, old *store.AssetRow) error {
	if old != nil && old.DeviceKey == row.DeviceKey || s.may(auth.ShareDevice) {
		return nil
	}
	if _, known := s.devices[row.DeviceKey]; !known {
		if err := s.readDevices([]string{row.DeviceKey}); err != nil {
			return err
		}
	}
	if s.devices[row.DeviceKey] {
		return errDeviceShared("device_key")
	}
	return nil
}

// keepDevices makes sure, at the end of a transaction, that no other project has got one of
// the devices meanwhile. The lock is one of all projects: so it is held for a moment only,
// however many assets an import writes.
func (s *scope) keepDevices() error {
	var given []string
	for key, elsewhere := range s.devices {
		if !elsewhere {
			given = append(given, key)
		}
	}
	if len(given) == 0 {
		return nil
	}
	if err := s.LockDevices(); err != nil {
		return err
	}
	elsewhere, err := s.DevicesElsewhere(s.project, given)
	if err == nil && len(elsewhere) > 0 {
		err = errDeviceShared("device_key")
	}
	return err
}

// readDevices reads which of the device keys another project has.
func (s *scope) readDevices(keys []string) error {
	elsewhere, err := s.DevicesElsewhere(s.project, keys)
	if s.devices == nil {
		s.devices = make(map[string]bool, len(keys))
	}
	for _, key := range keys {
		s.devices[key] = slices.Contains(elsewhere, key)
	}
	return err
}

// findForeign finds the ad-hoc hosts of plans that are devices of other projects, for
// checkAdHoc: with few statements, however many plans there are.
func (s *scope) findForeign(plans ...*plan) (err error) {
	var hosts []store.Host
	for _, p := range plans {
		if p != nil && p.inline != nil && p.lane == hostler.LaneAsset && !s.may(auth.ShareDevice) {
			hosts = append(hosts, store.Host{Address: p.inline.Address, Port: p.inline.Port})
		}
	}
	if s.foreign = nil; len(hosts) > 0 {
		s.foreign, err = s.ForeignHosts(s.project, hosts)
	}
	return err
}

// checkAdHoc refuses an ad-hoc host that is a device of another project, for jobs that use
// its lane, unless the acting project has the device too.
func (s *scope) checkAdHoc(p *plan) error {
	if p.inline == nil || p.lane != hostler.LaneAsset ||
		!s.foreign[store.Host{Address: p.inline.Address, Port: p.inline.Port}] {
		return nil
	}
	return errDeviceShared("target.address")
}

func errDeviceShared(path string) error {
	e := hostler.Errorf(hostler.CodeForbidden,
		"another project has this device, and jobs of both would wait for each other; an admin of the project %q can "+
			"share it by creating an asset with this device key here", "其他项目已有此设备，两个项目的作业将互相等待；"+
			"项目 %q 的管理员可在本项目中以此设备标识创建资产，从而共享该设备", hostler.DefaultProject)
	e.Fields = []hostler.FieldError{{Path: path, Text: hostler.Text{
		EN: "is the device of another project", ZH: "是其他项目的设备",
	}}}
	return e
}

// allowedAt reports whether the credential of an asset may be used for its login.
func (s *scope) allowedAt(row *store.AssetRow) (
	allowed bool, d destination.Destination, c hostler.Credential, err error,
) {
	found, err := s.CredentialsByID(s.project, []hostler.CredentialID{row.CredentialID})
	if err != nil {
		return false, d, c, err
	}
	c = found[row.CredentialID]
	d = destination.Destination{Use: hostler.UseSSH, Way: []destination.Host{resolve.HostOf(row)}}
	if row.JumpID != 0 {
		jumps, err := resolve.Assets(s.Tx, []hostler.AssetID{row.JumpID})
		if err != nil {
			return false, d, c, err
		}
		d.Way = append(d.Way, resolve.Way(jumps, row.JumpID)...)
	}
	uses, err := resolve.ReadUses(s.Tx, []hostler.CredentialID{c.ID}, []string{row.Address})
	return uses.Allow(c.ID, c.Rules, d), d, c, err
}

// left deletes the uses of credentials at the place that an asset has left.
func (s *scope) left(old *store.AssetRow) error {
	return s.DeleteUnusedUses(s.project, old.Address, old.Port, old.JumpID)
}
