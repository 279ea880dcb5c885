package app

import (
	"cmp"
	"context"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// Every user manages its own keys. An admin of a project lists and revokes the keys
// that act in it. Only an admin of the default project creates or rotates keys of
// other users, because a key of a user acts as that user in all its projects.

// rotateOverlap is how long a rotated key stays valid.
const rotateOverlap = time.Hour

// maxKeyLife is the longest lifetime of a key: 10 years.
const maxKeyLife = 3660 * 24 * time.Hour

// Keys lists the caller's own keys, and the keys of the acting project if it may
// manage them, newest first.
func (a *App) Keys(ctx context.Context, c auth.Caller, p hostler.Page) (hostler.List[hostler.Key], error) {
	g, err := a.allow(c, auth.OwnKeys)
	if err != nil {
		return hostler.List[hostler.Key]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Key]{}, err
	}
	var before hostler.KeyID
	if before.UnmarshalText([]byte(after)) != nil {
		return hostler.List[hostler.Key]{}, errCursor()
	}
	return view(ctx, g, func(s *scope) (hostler.List[hostler.Key], error) {
		project := hostler.ProjectID(0)
		if g.may(auth.ManageKeys) {
			project = c.Project
		}
		rows, err := s.Keys(c.UserID, project, g.may(auth.ManageAllKeys), before, limit+1)
		items := make([]hostler.Key, len(rows))
		for i := range rows {
			items[i] = rows[i].Key
		}
		return cut(items, limit, func(k hostler.Key) string { return k.ID.String() }), err
	})
}

// CreateKey creates a key of the caller, or of another user. Its role is at most that
// of the key that creates it. The secret is in the answer and is not stored.
func (a *App) CreateKey(ctx context.Context, c auth.Caller, in hostler.KeyInput) (hostler.KeyCreated, error) {
	verb := auth.OwnKeys
	if in.User != "" && in.User != c.User {
		verb = auth.ManageAllKeys
	}
	g, err := a.allow(c, verb)
	if err != nil {
		return hostler.KeyCreated{}, err
	}
	if err := checkKey(in, c); err != nil {
		return hostler.KeyCreated{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.KeyCreated, error) {
		row := store.KeyRow{UserID: c.UserID, ProjectID: c.Project}
		row.Name, row.User, row.Project, row.Role = in.Name, c.User, c.ProjectName, in.Role
		if err := s.setOwner(in, &row); err != nil {
			return hostler.KeyCreated{}, err
		}
		row.Role = cmp.Or(row.Role, c.KeyRole)
		if in.ExpiresIn > 0 {
			t := s.Now().Add(in.ExpiresIn.D())
			row.ExpiresAt = &t
		}
		made, err := insertKey(s.Tx, row)
		if err != nil {
			return hostler.KeyCreated{}, err
		}
		return made, s.audit("key.create", made.Key.ID.String(), made.Key)
	})
}

func checkKey(in hostler.KeyInput, c auth.Caller) error {
	var fields check.Fields
	fields.Line("name", in.Name, 64)
	fields.Given("name", in.Name)
	check.OneOf(&fields, "role", in.Role, append(hostler.Roles(), hostler.RoleNone)...)
	fields.Require(in.Role == hostler.RoleNone || auth.AtLeast(c.KeyRole, in.Role), "role",
		"must not be higher than that of your own key: %s", "不得高于当前密钥的角色：%s", c.KeyRole)
	fields.Duration("expires_in", in.ExpiresIn, maxKeyLife)
	return fields.Err()
}

// setOwner sets the user and the project that the input names. The user must have a
// role in the project.
func (s *scope) setOwner(in hostler.KeyInput, row *store.KeyRow) error {
	projects := s.caller.Projects
	if s.verb == auth.ManageAllKeys {
		u, err := s.user(in.User)
		if err != nil {
			return err
		}
		row.UserID, row.User = u.ID, u.Name
		if _, projects, err = s.RolesOf(u.ID); err != nil {
			return err
		}
	}
	name := cmp.Or(in.Project, s.caller.ProjectName)
	for id, n := range projects {
		if n == name {
			row.ProjectID, row.Project = id, n
			return nil
		}
	}
	return hostler.NotFound(projectKind, name)
}

func insertKey(tx *store.Tx, row store.KeyRow) (hostler.KeyCreated, error) {
	secret := auth.NewKey()
	row.Hash, row.Prefix = auth.HashKey(secret), auth.KeyPrefix(secret)
	key, err := tx.InsertKey(row)
	return hostler.KeyCreated{Key: key, Secret: secret}, err
}

// RotateKey creates the successor of a key; the old key stays valid for an hour. The
// successor of a key that expires has the same lifetime.
func (a *App) RotateKey(ctx context.Context, c auth.Caller, id hostler.KeyID) (hostler.KeyCreated, error) {
	g, err := a.allow(c, auth.OwnKeys)
	if err != nil {
		return hostler.KeyCreated{}, err
	}
	defer a.callers.clear()
	return change(ctx, g, func(s *scope) (hostler.KeyCreated, error) {
		old, err := s.key(id, auth.ManageAllKeys)
		if err != nil {
			return hostler.KeyCreated{}, err
		}
		if err := refuseKey(old, false, s.Now()); err != nil {
			return hostler.KeyCreated{}, hostler.Errorf(hostler.CodeConflict,
				"a revoked or expired key cannot be rotated; create a new one",
				"已吊销或过期的密钥无法轮换；请新建密钥")
		}
		if !auth.AtLeast(c.KeyRole, old.Role) {
			return hostler.KeyCreated{}, hostler.Errorf(hostler.CodeForbidden,
				"the role of that key is higher than that of yours", "该密钥的角色高于当前密钥")
		}
		next := *old
		next.RevokedAt, next.LastUsed = nil, nil
		if old.ExpiresAt != nil {
			t := s.Now().Add(old.ExpiresAt.Sub(old.CreatedAt))
			next.ExpiresAt = &t
		}
		made, err := insertKey(s.Tx, next)
		if err != nil {
			return hostler.KeyCreated{}, err
		}
		if err := s.ExpireKey(id, s.Now().Add(rotateOverlap)); err != nil {
			return hostler.KeyCreated{}, err
		}
		return made, s.audit("key.rotate", id.String(), made.Key)
	})
}

// key finds a key of the caller, or one of another user if the verb allows it in the
// key's project.
func (s *scope) key(id hostler.KeyID, others auth.Verb) (*store.KeyRow, error) {
	k, err := s.Key(id)
	if err != nil {
		return nil, err
	}
	if k == nil || (k.UserID != s.caller.UserID && !auth.Allow(s.caller, others, k.ProjectID)) {
		return nil, hostler.NotFound(keyKind, id.String())
	}
	return k, nil
}

// RevokeKey revokes a key. Other servers refuse it within callerTTL.
func (a *App) RevokeKey(ctx context.Context, c auth.Caller, id hostler.KeyID) (hostler.Key, error) {
	g, err := a.allow(c, auth.OwnKeys)
	if err != nil {
		return hostler.Key{}, err
	}
	defer a.callers.clear()
	return change(ctx, g, func(s *scope) (hostler.Key, error) {
		others := auth.ManageKeys
		if s.may(auth.ManageAllKeys) {
			others = auth.ManageAllKeys
		}
		if _, err := s.key(id, others); err != nil {
			return hostler.Key{}, err
		}
		if err := s.RevokeKey(id); err != nil {
			return hostler.Key{}, err
		}
		if err := s.audit("key.revoke", id.String(), nil); err != nil {
			return hostler.Key{}, err
		}
		k, err := s.Key(id)
		if err != nil || k == nil {
			return hostler.Key{}, err
		}
		return k.Key, nil
	})
}
