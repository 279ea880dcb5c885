package hostler

import "time"

// Key is an API key without its secret, which is shown once, when the key is created.
type Key struct {
	ID      KeyID  `json:"id"`
	Name    string `json:"name"`
	User    string `json:"user"`
	Project string `json:"project" doc:"the project that it acts in unless X-Project names another"`
	Role    Role   `json:"role" doc:"upper limit of what the key permits; its user's roles limit it further"`
	// EffectiveRole is what the key permits in its project: the lower one of its role and
	// its user's; "" for a key that is no longer valid, or whose user has no role there.
	EffectiveRole Role       `json:"effective_role" doc:"what the key permits in its project now; empty: nothing"`
	Projects      []string   `json:"projects,omitempty" doc:"the only projects that it may act in; none: all those of its user"`
	Actions       []string   `json:"actions,omitempty" doc:"the only actions that it may run; none: all"`
	Parent        KeyID      `json:"parent,omitzero" doc:"the key that created it, and that it never exceeds"`
	Prefix        string     `json:"prefix" doc:"first characters, to recognise it"`
	CreatedAt     time.Time  `json:"created_at"`
	ExpiresAt     *time.Time `json:"expires_at,omitempty"`
	RevokedAt     *time.Time `json:"revoked_at,omitempty"`
	LastUsed      *time.Time `json:"last_used,omitempty"`
}

// KeyInput is a key to create. An empty field takes the caller's own value.
type KeyInput struct {
	Name      string   `json:"name" minLength:"1" maxLength:"64"`
	User      string   `json:"user,omitempty" maxLength:"64" doc:"default: the caller"`
	Project   string   `json:"project,omitempty" maxLength:"64" doc:"default: the acting project"`
	Role      Role     `json:"role,omitempty" doc:"viewer, operator, approver, admin or a role of the project; default: that of the caller's key"`
	Projects  []string `json:"projects,omitempty" maxItems:"100" doc:"the only projects that the key may act in; default: those of the caller's key"`
	Actions   []string `json:"actions,omitempty" maxItems:"100" doc:"the only actions that the key may run, ssh_* for all that begin so; default: those of the caller's key"`
	ExpiresIn Duration `json:"expires_in,omitempty" doc:"such as 90d; default: with the caller's key, or never"`
}

// KeyCreated is a new key with its secret. No other answer contains the secret.
type KeyCreated struct {
	Key    Key    `json:"key"`
	Secret string `json:"secret"`
}

// String hides the secret.
func (k KeyCreated) String() string { return k.Key.Name + " (secret)" }

// GoString hides the secret from %#v.
func (k KeyCreated) GoString() string { return k.String() }
