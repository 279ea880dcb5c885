package app

import (
	"maps"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/destination"
	"hostler.dev/hostler/internal/resolve"
	"hostler.dev/hostler/internal/store"
)

// This file decides, for every path that creates jobs, which credentials they may use.
// Package resolve decides again when the secret is opened.

const (
	useStep      = 500 // assets that are checked at once
	refusedShown = 20  // refused uses that an error names
)

// jobUses are the credentials that jobs of one action with the same args use.
type jobUses struct {
	*scope
	logsIn bool
	named  []action.CredentialUse
	found  map[string]hostler.Credential // by name
	admin  bool
	fields []hostler.FieldError
	allow  []store.UseRow // that the admin's own request makes
}

// checkUses refuses jobs that would use a credential where it may not be used. An admin
// who names a credential in the args of a job allows that use of it, except on hosts that
// no admin has confirmed: the admin need not know where an operator has moved them.
func (s *scope) checkUses(act *action.Action, args []byte, targets []store.Target, inline *hostler.InlineTarget) error {
	u := &jobUses{scope: s, logsIn: act.LogsIn, admin: s.may(auth.WriteCredential) && !s.unattended}
	if act.Credentials != nil {
		u.named = act.Credentials(args)
	}
	if !u.logsIn && len(u.named) == 0 {
		return nil
	}
	if err := u.findNamed(); err != nil {
		return err
	}
	var err error
	if inline != nil {
		at := destination.Place{Address: inline.Address, Port: inline.Port}
		err = u.checkHost([]destination.Host{{Place: at, Was: at}})
	} else {
		err = u.checkTargets(targets)
	}
	if err != nil {
		return err
	}
	if len(u.fields) > 0 {
		return errUse(u.fields)
	}
	if s.planning {
		return nil
	}
	return s.AllowUses(u.allow)
}

// errUse is the error for uses of credentials that are not allowed.
func errUse(fields []hostler.FieldError) error {
	e := hostler.Errorf(hostler.CodeForbidden, "a credential may not be used there", "凭据不得在此处使用")
	e.Fields = fields
	return e
}

// mayUse refuses callers without the right to use credentials.
func (s *scope) mayUse() error {
	if s.may(auth.UseCredential) {
		return nil
	}
	return refusal(s.caller, auth.UseCredential)
}

// findNamed looks up the credentials that the args name.
func (u *jobUses) findNamed() error {
	if len(u.named) == 0 {
		return nil
	}
	if err := u.mayUse(); err != nil {
		return err
	}
	names := make([]string, len(u.named))
	for i, use := range u.named {
		names[i] = use.Name
	}
	found, err := u.CredentialsNamed(u.project, names)
	if err != nil {
		return err
	}
	u.found = found
	var missing []hostler.FieldError
	for _, name := range names {
		if _, ok := found[name]; !ok {
			missing = append(missing, hostler.FieldError{Path: "args", Text: hostler.Textf(
				"names the credential %q, which does not exist in this project",
				"引用的凭据 %q 在本项目中不存在", name)})
		}
	}
	if len(missing) > 0 {
		return hostler.InvalidFields(missing...)
	}
	return nil
}

// checkHost checks the named uses on one way.
func (u *jobUses) checkHost(way []destination.Host) error {
	var ids []hostler.CredentialID
	var targets []string
	for _, use := range u.named {
		d := resolve.DestinationOf(use, way)
		ids = append(ids, u.found[use.Name].ID)
		targets = append(targets, d.Origin)
		if len(way) > 0 {
			targets = append(targets, way[0].Address)
		}
	}
	uses, err := resolve.ReadUses(u.Tx, ids, targets)
	if err != nil {
		return err
	}
	u.checkNamed(uses, way)
	return nil
}

// checkNamed checks the named uses on a way with the allowed uses that were read.
func (u *jobUses) checkNamed(uses resolve.Uses, way []destination.Host) {
	for _, use := range u.named {
		c, d := u.found[use.Name], resolve.DestinationOf(use, way)
		switch {
		case use.Use != hostler.UseHTTP && len(way) == 0, use.Use == hostler.UseHTTP && d.Origin == "":
			// A host is missing, which is another fault.
		case uses.Allow(c.ID, c.Rules, d):
		case u.admin && d.Confirmed() && !u.movedOrigin(use, way):
			u.allow = append(u.allow, u.useRow(c.ID, d))
		default:
			u.refuse("args", c.Name, d)
		}
	}
}

// movedOrigin reports whether the origin is that of an asset which no admin confirmed.
func (u *jobUses) movedOrigin(use action.CredentialUse, way []destination.Host) bool {
	return use.Use == hostler.UseHTTP && use.Origin == "" && !way[0].Confirmed()
}

func (s *scope) useRow(credential hostler.CredentialID, d destination.Destination) store.UseRow {
	p := d.Pair()
	return store.UseRow{
		Project: s.project, Credential: credential, Kind: p.Use, Target: p.Target, Port: p.Port, Jump: p.Jump,
		CreatedBy: s.caller.User,
	}
}

func (u *jobUses) refuse(path, credential string, d destination.Destination) {
	if len(u.fields) < refusedShown {
		u.fields = append(u.fields, hostler.FieldError{
			Path: path, Text: destination.Refusal(credential, u.caller.ProjectName, d),
		})
	}
}

// checkTargets checks the uses on the assets of a request, a part of them at a time. Most
// assets need no closer look, which one statement finds out.
func (u *jobUses) checkTargets(targets []store.Target) error {
	var ids []hostler.AssetID
	for _, t := range targets {
		if t.ID != 0 {
			ids = append(ids, t.ID)
		}
	}
	if len(ids) == 0 {
		return u.checkHost(nil)
	}
	for chunk := range slices.Chunk(ids, useStep) {
		look, err := u.needLook(chunk)
		if err != nil {
			return err
		}
		if len(look) == 0 {
			continue
		}
		if err := u.checkAssets(look); err != nil || len(u.fields) >= refusedShown {
			return err
		}
	}
	return nil
}

// needLook lists the assets for which the allowed uses alone do not decide.
func (u *jobUses) needLook(ids []hostler.AssetID) ([]hostler.AssetID, error) {
	look := map[hostler.AssetID]bool{}
	add := func(kind string, credential hostler.CredentialID) error {
		found, err := u.AssetsToCheck(ids, kind, credential)
		for _, id := range found {
			look[id] = true
		}
		return err
	}
	if u.logsIn {
		if err := add(hostler.UseSSH, 0); err != nil {
			return nil, err
		}
		if !u.may(auth.UseCredential) {
			return ids, nil
		}
	}
	for _, use := range u.named {
		if use.Use == hostler.UseHTTP {
			return ids, nil // its targets are origins
		}
		if err := add(use.Use, u.found[use.Name].ID); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(look)), nil
}

// checkAssets checks the uses on some assets: the logins on the way, and the named ones.
func (u *jobUses) checkAssets(ids []hostler.AssetID) error {
	assets, err := resolve.Assets(u.Tx, ids)
	if err != nil {
		return err
	}
	credentials, uses, err := u.readUses(ids, assets)
	if err != nil {
		return err
	}
	for _, id := range ids {
		way := resolve.Way(assets, id)
		if len(way) == 0 {
			continue
		}
		if u.logsIn {
			if err := u.checkLogin(assets, id, way, credentials, uses); err != nil {
				return err
			}
		}
		u.checkNamed(uses, way)
		if len(u.fields) >= refusedShown {
			return nil
		}
	}
	return nil
}

// readUses reads the credentials of assets, and the allowed uses of them and of the named
// ones.
func (u *jobUses) readUses(ids []hostler.AssetID, assets map[hostler.AssetID]*store.AssetRow) (
	credentials map[hostler.CredentialID]hostler.Credential, uses resolve.Uses, err error,
) {
	var wanted []hostler.CredentialID
	var targets []string
	for _, row := range assets {
		targets = append(targets, row.Address)
		if row.CredentialID != 0 && u.logsIn {
			wanted = append(wanted, row.CredentialID)
		}
	}
	if len(wanted) > 0 {
		if credentials, err = u.CredentialsByID(u.project, wanted); err != nil {
			return nil, nil, err
		}
	}
	for _, use := range u.named {
		wanted = append(wanted, u.found[use.Name].ID)
		for _, id := range ids {
			if o := resolve.DestinationOf(use, resolve.Way(assets, id)).Origin; o != "" {
				targets = append(targets, o)
			}
		}
	}
	slices.Sort(targets)
	uses, err = resolve.ReadUses(u.Tx, wanted, slices.Compact(targets))
	return credentials, uses, err
}

// checkLogin checks the logins on the way to an asset.
func (u *jobUses) checkLogin(
	assets map[hostler.AssetID]*store.AssetRow, id hostler.AssetID, way []destination.Host,
	credentials map[hostler.CredentialID]hostler.Credential, uses resolve.Uses,
) error {
	row := assets[id]
	for n := range way {
		if row.CredentialID != 0 {
			if err := u.mayUse(); err != nil {
				return err
			}
			c, d := credentials[row.CredentialID], destination.Destination{Use: hostler.UseSSH, Way: way[n:]}
			if !uses.Allow(row.CredentialID, c.Rules, d) {
				u.refuse("assets", c.Name, d)
			}
		}
		row = assets[row.JumpID]
	}
	return nil
}
