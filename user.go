package hostler

import "time"

// Role is what a user may do in a project. Each role includes the ones before it.
type Role string

// The roles, weakest first. RoleNone permits nothing.
const (
	RoleNone     Role = ""
	RoleViewer   Role = "viewer"
	RoleOperator Role = "operator"
	RoleApprover Role = "approver"
	RoleAdmin    Role = "admin"
)

// Roles lists the roles, weakest first, without RoleNone.
func Roles() []Role { return []Role{RoleViewer, RoleOperator, RoleApprover, RoleAdmin} }

// User is a person or a service that calls Hostler.
type User struct {
	ID        UserID          `json:"id"`
	Name      string          `json:"name"`
	Disabled  bool            `json:"disabled"`
	Roles     map[string]Role `json:"roles" doc:"role by project name"`
	CreatedAt time.Time       `json:"created_at"`
}

// UserInput is a user to create.
type UserInput struct {
	Name  string          `json:"name" minLength:"1" maxLength:"64"`
	Roles map[string]Role `json:"roles,omitempty" doc:"role by project name"`
}

// UserChange is a change of a user; a field that is nil leaves the user as it is.
// Roles replaces the role in each project that it names; RoleNone removes it.
type UserChange struct {
	Disabled *bool           `json:"disabled,omitempty"`
	Roles    map[string]Role `json:"roles,omitempty" doc:"role by project name; an empty role removes it"`
}

// Me answers GET /api/v1/me: the caller and its permissions.
type Me struct {
	User     string          `json:"user"`
	UserID   UserID          `json:"user_id"`
	Key      KeyID           `json:"key"`
	Project  string          `json:"project"`
	Role     Role            `json:"role" doc:"in the acting project: a built-in role or one of the project"`
	Projects map[string]Role `json:"projects"`
	// Actions and Labels are the limits of the role and of the key in the acting project.
	Actions   []string            `json:"actions,omitempty" doc:"the only actions that the caller may run; none: all"`
	Labels    map[string][]string `json:"labels,omitempty" doc:"the labels of the only assets that the caller may see"`
	ExpiresAt *time.Time          `json:"expires_at,omitempty" doc:"when the key expires"`
}
