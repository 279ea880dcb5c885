package app

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// Every user manages its own keys. An admin of a project lists and revokes the keys
// that act in it. Only an admin of the default project creates or rotates keys of
// other users, because a key of a user acts as that user in all its projects.

// A key never permits more than the one that created it: not a higher role, another
// project or action, nor a later expiry. Revoking a key revokes those that it created.

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
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Key], error) {
		project := hostler.ProjectID(0)
		if g.may(auth.ManageKeys) {
			project = c.Project
		}
		q := store.KeyQuery{
			User: c.UserID, Project: project, Every: g.may(auth.ManageAllKeys), Within: c.Scope.Projects,
		}
		rows, err := s.Keys(q, before, limit+1)
		items := make([]hostler.Key, len(rows))
		for i := range rows {
			items[i] = rows[i].Key
		}
		return cut(items, limit, func(k hostler.Key) string { return k.ID.String() }), err
	})
}

// CreateKey creates a key of the caller, or of another user, that permits no more than
// the key that creates it. The secret is in the answer and is not stored.
func (a *App) CreateKey(ctx context.Context, c auth.Caller, in hostler.KeyInput) (hostler.KeyCreated, error) {
	verb := auth.OwnKeys
	if in.User != "" && in.User != c.User {
		verb = auth.ManageAllKeys
	}
	g, err := a.allow(c, verb)
	if err != nil {
		return hostler.KeyCreated{}, err
	}
	if err := checkKey(in); err != nil {
		return hostler.KeyCreated{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.KeyCreated, error) {
		parent, err := s.parentKey()
		if err != nil {
			return hostler.KeyCreated{}, err
		}
		row := store.KeyRow{UserID: c.UserID, ProjectID: c.Project}
		row.Name, row.User, row.Project, row.Parent = in.Name, c.User, c.ProjectName, parent.ID
		if parent.Local {
			// The access to the machine is the permission, and lasts longer than the key.
			row.Parent, parent.ExpiresAt = 0, nil
		}
		if err := s.setOwner(in, &row); err != nil {
			return hostler.KeyCreated{}, err
		}
		if err := s.setScope(in, &row, scopeOf(parent)); err != nil {
			return hostler.KeyCreated{}, err
		}
		made, err := s.insertKey(row, a.cfg.Limits.Keys)
		if err != nil {
			return hostler.KeyCreated{}, err
		}
		return made, s.audit("key.create", made.Key.ID.String(), made.Key)
	})
}

// parentKey reads the caller's key and locks it. Its scope is read here, and not taken
// from the caller, whose cached key may have been revoked or rotated since.
func (s *scope) parentKey() (*store.KeyRow, error) {
	k, err := s.LockKey(s.caller.Key)
	if err != nil {
		return nil, err
	}
	return k, refuseKey(k, false, s.Now())
}

func checkKey(in hostler.KeyInput) error {
	var fields check.Fields
	fields.Line("name", in.Name, 64)
	fields.Given("name", in.Name)
	fields.Line("role", string(in.Role), 64)
	fields.Count("projects", len(in.Projects), 100)
	checkActionPatterns(&fields, "actions", in.Actions)
	fields.Duration("expires_in", in.ExpiresIn, maxKeyLife)
	return fields.Err()
}

// setOwner sets the user and the project that the input names. The user must have a
// role in the project.
func (s *scope) setOwner(in hostler.KeyInput, row *store.KeyRow) error {
	name := cmp.Or(in.Project, s.caller.ProjectName)
	if s.verb != auth.ManageAllKeys {
		for id, n := range s.caller.Projects {
			if n == name && s.caller.RoleIn(id) != hostler.RoleNone {
				row.ProjectID, row.Project = id, n
				return nil
			}
		}
		return hostler.NotFound(projectKind, name)
	}
	u, err := s.user(in.User)
	if err != nil {
		return err
	}
	row.UserID, row.User = u.ID, u.Name
	roles, err := s.RolesOf(u.ID)
	if err != nil {
		return err
	}
	for _, r := range roles {
		if r.ProjectName == name {
			row.ProjectID, row.Project = r.Project, name
			return nil
		}
	}
	return hostler.NotFound(projectKind, name)
}

// setScope sets what a new key permits: what the input asks for, or else the same as its
// parent, which may not be exceeded.
func (s *scope) setScope(in hostler.KeyInput, row *store.KeyRow, parent auth.KeyScope) error {
	var fields check.Fields
	if err := s.setKeyRole(&fields, in, row, parent); err != nil {
		return err
	}
	if err := s.setKeyProjects(&fields, in, row, parent); err != nil {
		return err
	}
	row.Actions = in.Actions
	if len(in.Actions) == 0 {
		row.Actions = parent.Actions
	}
	row.ExpiresAt = parent.Expires
	if in.ExpiresIn > 0 {
		t := s.Now().Add(in.ExpiresIn.D())
		row.ExpiresAt = &t
		fields.Require(parent.Expires == nil || !t.After(*parent.Expires), "expires_in",
			"must not be later than your own key expires: %s", "不得晚于当前密钥的过期时间：%s", timeText(parent.Expires))
	}
	mine := auth.KeyScope{Role: parent.Role, Custom: parent.Custom, Actions: parent.Actions}
	fields.Require(mine.Covers(auth.KeyScope{Role: hostler.RoleViewer, Custom: parent.Custom, Actions: row.Actions}),
		"actions", "must be among those of your own key: %s", "须在当前密钥允许的动作之内：%s",
		strings.Join(parent.Actions, ", "))
	return fields.Err()
}

func timeText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// setKeyRole sets the role of a new key. A key with a custom role gives that role to the
// keys that it creates, and no other.
func (s *scope) setKeyRole(
	fields *check.Fields, in hostler.KeyInput, row *store.KeyRow, parent auth.KeyScope,
) error {
	row.Role, row.Base, row.Custom = in.Role, in.Role, 0
	switch {
	case in.Role == hostler.RoleNone:
		row.Role, row.Base, row.Custom = parent.Role, parent.Role, parent.Custom
		if parent.Custom != 0 {
			row.Role = hostler.Role(s.caller.KeyCustom)
		}
	case !slices.Contains(hostler.Roles(), in.Role):
		custom, err := s.CustomRole(row.ProjectID, string(in.Role))
		if err != nil {
			return err
		}
		if custom == nil {
			fields.Add("role", "must be viewer, operator, approver, admin or a role of the project; see: hostler role list",
				"须为 viewer、operator、approver、admin 或项目自定义的角色；参见：hostler role list")
			return nil
		}
		row.Base, row.Custom = custom.Base, custom.ID
	}
	own := auth.KeyScope{Role: parent.Role, Custom: parent.Custom}
	fields.Require(own.Covers(auth.KeyScope{Role: row.Base, Custom: row.Custom}), "role",
		"must not be higher than that of your own key: %s", "不得高于当前密钥的角色：%s",
		cmp.Or(hostler.Role(s.caller.KeyCustom), parent.Role))
	return nil
}

// setKeyProjects sets the projects that a new key is restricted to: those of its user
// that the parent may use too.
func (s *scope) setKeyProjects(
	fields *check.Fields, in hostler.KeyInput, row *store.KeyRow, parent auth.KeyScope,
) error {
	row.ProjectIDs, row.Projects = parent.Projects, nil
	if len(in.Projects) > 0 {
		roles, err := s.RolesOf(row.UserID)
		if err != nil {
			return err
		}
		row.ProjectIDs = nil
		for i, name := range in.Projects {
			at := slices.IndexFunc(roles, func(r store.UserRole) bool { return r.ProjectName == name })
			if at < 0 || len(parent.Projects) > 0 && !slices.Contains(parent.Projects, roles[at].Project) {
				fields.Add(check.Item("projects", i), "is not a project that the key could act in",
					"不是该密钥可使用的项目")
				continue
			}
			row.ProjectIDs = append(row.ProjectIDs, roles[at].Project)
			row.Projects = append(row.Projects, name)
		}
	}
	fields.Require(len(row.ProjectIDs) == 0 || slices.Contains(row.ProjectIDs, row.ProjectID), "project",
		"must be one of the projects that the key is restricted to", "须为该密钥限定的项目之一")
	return nil
}

// insertKey creates a key with a new secret, unless its user has as many valid keys as
// one may have.
func (s *scope) insertKey(row store.KeyRow, most int) (hostler.KeyCreated, error) {
	if err := s.LockUser(row.UserID); err != nil {
		return hostler.KeyCreated{}, err
	}
	n, err := s.CountKeys(row.UserID, most)
	if err != nil {
		return hostler.KeyCreated{}, err
	}
	if n >= most {
		return hostler.KeyCreated{}, hostler.Errorf(hostler.CodeConflict,
			"the user %s has %d valid keys, as many as one user may have; revoke some of them (see hostler key list)",
			"用户 %s 已有 %d 个有效密钥，达到上限；请先吊销部分密钥（参见 hostler key list）", row.User, n)
	}
	secret := auth.NewKey()
	row.Hash, row.Prefix = auth.HashKey(secret), auth.KeyPrefix(secret)
	key, err := s.InsertKey(row)
	if err != nil {
		return hostler.KeyCreated{}, err
	}
	// Only what was written has the effective role and the names of inherited projects.
	stored, err := s.Key(key.ID)
	if err != nil || stored == nil {
		return hostler.KeyCreated{}, err
	}
	return hostler.KeyCreated{Key: stored.Key, Secret: secret}, nil
}

// RotateKey creates the successor of a key; the old key stays valid for an hour. The
// successor of a key that expires has the same lifetime, within that of the key that
// rotates it and of the one that created it: a key cannot prolong itself, and cannot
// shorten the life of one that lasts longer.
func (a *App) RotateKey(ctx context.Context, c auth.Caller, id hostler.KeyID) (hostler.KeyCreated, error) {
	g, err := a.allow(c, auth.OwnKeys)
	if err != nil {
		return hostler.KeyCreated{}, err
	}
	defer a.callers.clear()
	return change(ctx, g, func(s *scope) (hostler.KeyCreated, error) {
		rotating, err := s.parentKey()
		if err != nil {
			return hostler.KeyCreated{}, err
		}
		old, err := s.key(id, auth.ManageAllKeys)
		if err != nil {
			return hostler.KeyCreated{}, err
		}
		if err := refuseKey(old, false, s.Now()); err != nil {
			return hostler.KeyCreated{}, hostler.Errorf(hostler.CodeConflict,
				"a revoked or expired key cannot be rotated; create a new one",
				"已吊销或过期的密钥无法轮换；请新建密钥")
		}
		if !scopeOf(rotating).Covers(scopeOf(old)) {
			return hostler.KeyCreated{}, errKeyExceeds()
		}
		if e := rotating.ExpiresAt; e != nil && !rotating.Local && (old.ExpiresAt == nil || e.Before(*old.ExpiresAt)) {
			return hostler.KeyCreated{}, errKeyLasts(rotating.ExpiresAt)
		}
		next, err := s.successor(old, rotating)
		if err != nil {
			return hostler.KeyCreated{}, err
		}
		made, err := s.insertKey(next, a.cfg.Limits.Keys+1)
		if err != nil {
			return hostler.KeyCreated{}, err
		}
		if err := s.AdoptKeys(id, made.Key.ID); err != nil {
			return hostler.KeyCreated{}, err
		}
		if err := s.ExpireKey(id, s.Now().Add(rotateOverlap)); err != nil {
			return hostler.KeyCreated{}, err
		}
		return made, s.audit("key.rotate", id.String(), made.Key)
	})
}

func errKeyExceeds() error {
	return hostler.Errorf(hostler.CodeForbidden,
		"that key permits more than yours: its role, its projects or its actions",
		"该密钥的角色、项目或动作超出当前密钥的权限")
}

// errKeyLasts refuses to rotate a key with one that expires before it: the successor, and
// the keys that it adopts, would expire with that one.
func errKeyLasts(expires *time.Time) error {
	return hostler.Errorf(hostler.CodeForbidden,
		"that key is valid for longer than yours, which expires at %s; rotate it with itself or with one that lasts",
		"该密钥的有效期长于当前密钥（%s 过期）；请用该密钥自身或有效期更长的密钥轮换", timeText(expires))
}

// successor is the key that replaces an old one. Its parent is that of the old key, or
// the key that rotates it, if that is another one. The key of the command line of a
// server's machine limits no other key, as in [App.CreateKey].
func (s *scope) successor(old, rotating *store.KeyRow) (store.KeyRow, error) {
	next := *old
	next.RevokedAt, next.LastUsed = nil, nil
	if old.ExpiresAt != nil {
		t := s.Now().Add(old.ExpiresAt.Sub(old.CreatedAt))
		next.ExpiresAt = &t
	}
	byLocal := rotating.Local && rotating.ID != old.ID
	if !byLocal {
		next.ExpiresAt = auth.Until(next.ExpiresAt, rotating.ExpiresAt)
	}
	if old.Parent != 0 {
		parent, err := s.Key(old.Parent)
		if err != nil {
			return next, err
		}
		if parent != nil {
			next.ExpiresAt = auth.Until(next.ExpiresAt, parent.ExpiresAt)
		}
	}
	if rotating.ID != old.ID && rotating.Parent != old.ID && !byLocal {
		next.Parent = rotating.ID
	}
	return next, nil
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

// RevokeKey revokes a key and all keys that it created. Other servers refuse them within
// callerTTL. A key revokes itself and its own, and any other that permits no more.
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
		k, err := s.key(id, others)
		if err != nil {
			return hostler.Key{}, err
		}
		if k.ID != c.Key && k.Parent != c.Key && k.UserID == c.UserID && !c.Scope.Covers(scopeOf(k)) {
			return hostler.Key{}, errKeyExceeds()
		}
		n, err := s.RevokeKey(id)
		if err != nil {
			return hostler.Key{}, err
		}
		if err := s.audit("key.revoke", id.String(), map[string]any{"keys": n}); err != nil {
			return hostler.Key{}, err
		}
		k, err = s.Key(id)
		if err != nil || k == nil {
			return hostler.Key{}, err
		}
		return k.Key, nil
	})
}
