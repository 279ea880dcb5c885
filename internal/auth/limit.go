package auth

import (
	"maps"
	"slices"
	"time"

	"hostler.dev/hostler"
)

// Limit narrows what a caller may do in a project: the limits of its user's role, of its
// key's role and of its key, all of which hold. The zero Limit narrows nothing.
type Limit struct {
	parts []hostler.RoleLimit
}

// LimitOf returns the limit that consists of all the parts.
func LimitOf(parts ...hostler.RoleLimit) Limit {
	var l Limit
	for _, p := range parts {
		if len(p.Actions) > 0 || len(p.Labels) > 0 {
			l.parts = append(l.parts, p)
		}
	}
	return l
}

// And returns the limit of both.
func (l Limit) And(o Limit) Limit { return Limit{parts: slices.Concat(l.parts, o.parts)} }

// LimitsActions reports whether there are actions that the limit excludes.
func (l Limit) LimitsActions() bool {
	return slices.ContainsFunc(l.parts, func(p hostler.RoleLimit) bool { return len(p.Actions) > 0 })
}

// LimitsAssets reports whether there are assets that the limit excludes.
func (l Limit) LimitsAssets() bool {
	return slices.ContainsFunc(l.parts, func(p hostler.RoleLimit) bool { return len(p.Labels) > 0 })
}

// AllowsAction reports whether the limit includes an action.
func (l Limit) AllowsAction(name string) bool {
	return !slices.ContainsFunc(l.parts, func(p hostler.RoleLimit) bool { return !p.AllowsAction(name) })
}

// AllowsAsset reports whether the limit includes an asset with these labels.
func (l Limit) AllowsAsset(labels map[string]string) bool {
	return !slices.ContainsFunc(l.parts, func(p hostler.RoleLimit) bool { return !p.AllowsAsset(labels) })
}

// Actions returns the patterns of the actions that the limit includes; none: all.
func (l Limit) Actions() []string {
	var out []string
	for _, p := range l.parts {
		switch {
		case len(p.Actions) == 0:
		case out == nil:
			out = slices.Clone(p.Actions)
		default:
			out = common(out, p.Actions)
		}
	}
	return out
}

// common returns the patterns of what both lists of patterns include.
func common(a, b []string) []string {
	out := []string{}
	for _, x := range a {
		for _, y := range b {
			switch {
			case hostler.MatchAction(x, y):
				out = append(out, y)
			case hostler.MatchAction(y, x):
				out = append(out, x)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Labels returns the values that each label of an asset may have; a label that has no
// value left excludes every asset.
func (l Limit) Labels() map[string][]string {
	out := map[string][]string{}
	for _, p := range l.parts {
		for key, values := range p.Labels {
			if have, ok := out[key]; ok {
				values = slices.DeleteFunc(slices.Clone(have), func(v string) bool { return !slices.Contains(values, v) })
			}
			out[key] = values
		}
	}
	return out
}

// KeyScope is what a key permits of what its user may do.
type KeyScope struct {
	Role     hostler.Role         // built-in, or the base of the custom one
	Custom   hostler.CustomRoleID // 0: a built-in role
	Projects []hostler.ProjectID  // the only ones that it may act in; none: all
	Actions  []string             // the only ones that it may run; none: all
	Expires  *time.Time
}

// Covers reports whether a key permits everything that another permits, apart from the
// time: whoever has it may create, rotate and revoke the other. A key with a custom role
// covers only keys with the same one.
func (s KeyScope) Covers(o KeyScope) bool {
	return AtLeast(s.Role, o.Role) && (s.Custom == 0 || s.Custom == o.Custom) &&
		within(s.Projects, o.Projects, func(a, b hostler.ProjectID) bool { return a == b }) &&
		within(s.Actions, o.Actions, hostler.MatchAction)
}

// within reports whether each of the items of inner is included in one of outer. No
// items stand for all there are.
func within[T any](outer, inner []T, includes func(outer, inner T) bool) bool {
	if len(outer) == 0 {
		return true
	}
	excluded := func(i T) bool {
		return !slices.ContainsFunc(outer, func(o T) bool { return includes(o, i) })
	}
	return len(inner) > 0 && !slices.ContainsFunc(inner, excluded)
}

// Until returns the earlier one of two times of expiry; nil is never.
func Until(a, b *time.Time) *time.Time {
	if a == nil || b != nil && b.Before(*a) {
		return b
	}
	return a
}

// LimitIn is what narrows the caller's role in a project.
func (c Caller) LimitIn(p hostler.ProjectID) Limit { return c.KeyLimit.And(c.UserLimits[p]) }

// RoleNameIn names the caller's role in a project: its custom role, or the built-in one.
func (c Caller) RoleNameIn(p hostler.ProjectID) hostler.Role {
	role := c.RoleIn(p)
	if name := c.Custom[p]; name != "" && role == c.Roles[p] {
		return hostler.Role(name)
	}
	if c.KeyCustom != "" && role == c.KeyRole {
		return hostler.Role(c.KeyCustom)
	}
	return role
}

// Clone returns a copy that shares no map with the caller.
func (c Caller) Clone() Caller {
	c.Roles, c.Projects = maps.Clone(c.Roles), maps.Clone(c.Projects)
	return c
}
