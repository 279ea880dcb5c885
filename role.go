package hostler

import (
	"slices"
	"strings"
	"time"
)

// CustomRole is a role that a project defines: a built-in role, limited to actions and
// to assets by their labels. It is given to users and keys of that project by its name.
type CustomRole struct {
	Name        string              `json:"name"`
	Project     string              `json:"project"`
	Base        Role                `json:"base" doc:"the built-in role that it limits"`
	Actions     []string            `json:"actions" doc:"names of actions that it may run and change jobs of, ssh_* for all that begin so; empty: every action"`
	Labels      map[string][]string `json:"labels" doc:"for each key, the values of which an asset must have one; empty: every asset"`
	Description string              `json:"description,omitempty"`
	CreatedAt   time.Time           `json:"created_at"`
	UpdatedAt   time.Time           `json:"updated_at"`
}

// Limit is what the role permits of what its base does.
func (r CustomRole) Limit() RoleLimit { return RoleLimit{Actions: r.Actions, Labels: r.Labels} }

// CustomRoleInput is a custom role to create or to replace.
type CustomRoleInput struct {
	Name        string              `json:"name,omitempty" maxLength:"64" doc:"required to create; a role is not renamed"`
	Base        Role                `json:"base" enum:"viewer,operator,approver"`
	Actions     []string            `json:"actions,omitempty" maxItems:"100"`
	Labels      map[string][]string `json:"labels,omitempty" maxProperties:"20"`
	Description string              `json:"description,omitempty" maxLength:"200"`
}

// RoleLimit narrows a role. The zero value narrows nothing.
type RoleLimit struct {
	Actions []string            // patterns, see [MatchAction]; empty: every action
	Labels  map[string][]string // values by key; empty: every asset
}

// AllowsAction reports whether the limit includes an action.
func (l RoleLimit) AllowsAction(name string) bool {
	return len(l.Actions) == 0 ||
		slices.ContainsFunc(l.Actions, func(pattern string) bool { return MatchAction(pattern, name) })
}

// AllowsAsset reports whether the limit includes an asset with these labels.
func (l RoleLimit) AllowsAsset(labels map[string]string) bool {
	for key, values := range l.Labels {
		value, ok := labels[key]
		if !ok || !slices.Contains(values, value) {
			return false
		}
	}
	return true
}

// MatchAction reports whether a pattern includes an action: its name, or a prefix with
// a star after it, such as ssh_*.
func MatchAction(pattern, name string) bool {
	prefix, open := strings.CutSuffix(pattern, "*")
	return pattern == name || open && strings.HasPrefix(name, prefix)
}

// Includes reports whether a role includes another. Roles other than the built-in ones
// include none.
func (r Role) Includes(need Role) bool {
	have, least := slices.Index(Roles(), r), slices.Index(Roles(), need)
	return have >= least && have >= 0
}
