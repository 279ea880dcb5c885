package app

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// callerTTL is how long an authenticated key is cached: a key that another server
// revoked is refused after it. Open streams check their key as often, so that a
// revoked key is refused everywhere within a second.
const callerTTL = 500 * time.Millisecond

// touchEvery is how often the last use of a key is recorded.
const touchEvery = time.Minute

// maxCallers bounds the cache; a full one is emptied.
const maxCallers = 4096

// callerCache caches the caller of a key, by the hash of the key. Refusals are not
// cached.
type callerCache struct {
	mu  sync.Mutex
	all map[string]cachedCaller
}

type cachedCaller struct {
	caller auth.Caller
	until  time.Time
}

func (cc *callerCache) get(hash string, now time.Time) (auth.Caller, bool) {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	e, ok := cc.all[hash]
	return e.caller, ok && now.Before(e.until)
}

func (cc *callerCache) put(hash string, c auth.Caller, until time.Time) {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if cc.all == nil || len(cc.all) >= maxCallers {
		cc.all = map[string]cachedCaller{}
	}
	cc.all[hash] = cachedCaller{c, until}
}

// clear empties the cache, after a change of users or keys.
func (cc *callerCache) clear() {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	cc.all = nil
}

// Authenticate returns the caller of a key, acting in the named project, or in the
// key's own one when the name is empty. CodeUnauthenticated: the key is not valid.
// CodeNotFound: the project does not exist, or the caller has no role in it.
func (a *App) Authenticate(ctx context.Context, rawKey, project, remote string) (auth.Caller, error) {
	if err := auth.ParseKey(rawKey); err != nil {
		return auth.Caller{}, err
	}
	hash, now := auth.HashKey(rawKey), a.cfg.Now()
	c, ok := a.callers.get(hash, now)
	if !ok {
		var err error
		if c, err = a.lookUpCaller(ctx, hash); err != nil {
			return auth.Caller{}, err
		}
		a.callers.put(hash, c, now.Add(callerTTL))
	}
	c = c.Clone()
	c.Remote = remote
	return inProject(c, project)
}

// knownStep is how many keys one statement of KnownKeys looks for.
const knownStep = 500

// KnownKeys returns which of the keys are valid.
func (a *App) KnownKeys(ctx context.Context, keys []string) (map[string]bool, error) {
	known := map[string]bool{}
	for step := range slices.Chunk(keys, knownStep) {
		byHash := make(map[string]string, len(step))
		for _, key := range step {
			byHash[auth.HashKey(key)] = key
		}
		var found []string
		err := a.work.View(ctx, func(tx *store.Tx) (err error) {
			found, err = tx.ValidKeys(slices.Sorted(maps.Keys(byHash)))
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, hash := range found {
			known[byHash[hash]] = true
		}
	}
	return known, nil
}

// inProject returns the caller acting in another project in which it has a role.
func inProject(c auth.Caller, name string) (auth.Caller, error) {
	if name == "" || name == c.ProjectName {
		return c, nil
	}
	for id, n := range c.Projects {
		if n == name && c.RoleIn(id) != hostler.RoleNone {
			c.Project, c.ProjectName = id, n
			return c, nil
		}
	}
	return auth.Caller{}, hostler.NotFound(projectKind, name)
}

func (a *App) lookUpCaller(ctx context.Context, hash string) (auth.Caller, error) {
	var c auth.Caller
	stale := false
	err := a.work.View(ctx, func(tx *store.Tx) error {
		k, disabled, err := tx.KeyByHash(hash)
		if err != nil {
			return err
		}
		if err := refuseKey(k, disabled, tx.Now()); err != nil {
			return err
		}
		roles, err := tx.RolesOf(k.UserID)
		if err != nil {
			return err
		}
		c = callerOf(k, roles)
		stale = k.LastUsed == nil || tx.Now().Sub(*k.LastUsed) > touchEvery
		ids, err := tx.ProjectIDs([]string{hostler.DefaultProject})
		if err != nil {
			return err
		}
		c.Default = ids[hostler.DefaultProject]
		return nil
	})
	if err == nil && stale {
		a.touch(ctx, c.Key)
	}
	return outcome(c, err)
}

// callerOf returns the caller of a valid key, whose user has the roles.
func callerOf(k *store.KeyRow, roles []store.UserRole) auth.Caller {
	c := auth.Caller{
		User: k.User, UserID: k.UserID, Key: k.ID, KeyRole: k.Base,
		Project: k.ProjectID, ProjectName: k.Project, Scope: scopeOf(k),
		KeyLimit: auth.LimitOf(k.Limit, hostler.RoleLimit{Actions: k.Actions}),
		Roles:    map[hostler.ProjectID]hostler.Role{}, Projects: map[hostler.ProjectID]string{},
		UserLimits: map[hostler.ProjectID]auth.Limit{}, Custom: map[hostler.ProjectID]string{},
	}
	if k.Custom != 0 {
		c.KeyCustom = string(k.Role)
	}
	for _, r := range roles {
		c.Roles[r.Project], c.Projects[r.Project] = r.Role, r.ProjectName
		c.UserLimits[r.Project], c.Custom[r.Project] = auth.LimitOf(r.Limit), r.Custom
	}
	return c
}

// scopeOf is what a key permits. A custom role belongs to the key's project, so the key
// acts in no other.
func scopeOf(k *store.KeyRow) auth.KeyScope {
	s := auth.KeyScope{
		Role: k.Base, Custom: k.Custom, Projects: k.ProjectIDs, Actions: k.Actions, Expires: k.ExpiresAt,
	}
	if k.Custom != 0 {
		s.Projects = []hostler.ProjectID{k.ProjectID}
	}
	return s
}

// touch records that a key is in use. A failure does not refuse the request: with a
// full disk, reads still work.
func (a *App) touch(ctx context.Context, key hostler.KeyID) {
	err := a.work.InTx(ctx, func(tx *store.Tx) error { return tx.TouchKey(key, tx.Now().Add(-touchEvery)) })
	if err != nil {
		a.cfg.Log.WarnContext(ctx, "cannot record the use of a key", "key", key, "err", err)
	}
}

// refuseKey returns why a key is refused; nil if it is valid. Only a caller that has
// the whole key gets the reason; any other gets the error of an unknown key.
func refuseKey(k *store.KeyRow, disabled bool, now time.Time) error {
	switch {
	case k == nil:
		return hostler.Errorf(hostler.CodeUnauthenticated, "the API key is not valid", "API 密钥无效")
	case k.RevokedAt != nil:
		return hostler.Errorf(hostler.CodeUnauthenticated, "the API key was revoked", "API 密钥已被吊销")
	case k.ExpiresAt != nil && !now.Before(*k.ExpiresAt):
		return hostler.Errorf(hostler.CodeUnauthenticated, "the API key has expired", "API 密钥已过期")
	case disabled:
		return hostler.Errorf(hostler.CodeUnauthenticated, "the user is disabled", "用户已停用")
	}
	return nil
}

// Me describes the caller and its roles.
func (a *App) Me(_ context.Context, c auth.Caller) (hostler.Me, error) {
	g, err := a.allow(c, auth.OwnKeys)
	if err != nil {
		return hostler.Me{}, err
	}
	me := hostler.Me{
		User: g.caller.User, Key: c.Key, Project: c.ProjectName, Role: c.RoleNameIn(c.Project),
		UserID: c.UserID, Projects: map[string]hostler.Role{}, Actions: c.LimitIn(c.Project).Actions(),
		Labels: c.LimitIn(c.Project).Labels(), ExpiresAt: c.Scope.Expires,
	}
	for id, name := range c.Projects {
		if role := c.RoleNameIn(id); role != hostler.RoleNone {
			me.Projects[name] = role
		}
	}
	return me, nil
}
