package hostler

import "time"

// Key is an API key, without the secret part, which is shown once at creation.
type Key struct {
	ID        KeyID      `json:"id"`
	Name      string     `json:"name"`
	User      string     `json:"user"`
	Project   string     `json:"project" doc:"the project it acts in unless X-Project names another"`
	Role      Role       `json:"role" doc:"the most that the key may do, however much its user may"`
	Prefix    string     `json:"prefix" doc:"first characters, to recognise it by"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	LastUsed  *time.Time `json:"last_used,omitempty"`
}

// KeyInput is a key to make; empty parts take the caller's own.
type KeyInput struct {
	Name      string   `json:"name" minLength:"1" maxLength:"64"`
	User      string   `json:"user,omitempty" maxLength:"64" doc:"default: the caller"`
	Project   string   `json:"project,omitempty" maxLength:"64" doc:"default: the acting project"`
	Role      Role     `json:"role,omitempty" enum:"viewer,operator,approver,admin" doc:"default: the most that the caller may give"`
	ExpiresIn Duration `json:"expires_in,omitempty" doc:"such as 90d; default: never"`
}

// KeyCreated is a fresh key with its secret, which is shown this once.
type KeyCreated struct {
	Key    Key    `json:"key"`
	Secret string `json:"secret"`
}
