package app

import "hostler.dev/hostler"

// Me is who the caller is and what it may do.
type Me struct {
	User     string                  `json:"user"`
	Key      hostler.KeyID           `json:"key"`
	Project  string                  `json:"project"`
	Role     hostler.Role            `json:"role"`
	Projects map[string]hostler.Role `json:"projects"`
}

// ProjectInput is a project to make.
type ProjectInput struct {
	Name string `json:"name" minLength:"1" maxLength:"64"`
}

// UserInput is a user to make, with roles by project name.
type UserInput struct {
	Name  string                  `json:"name" minLength:"1" maxLength:"64"`
	Roles map[string]hostler.Role `json:"roles,omitempty" doc:"role by project name"`
}

// UserChange is what to change of a user; nil leaves a part as it is. Roles
// replaces the role in each project that it names; "" takes it away.
type UserChange struct {
	Disabled *bool                   `json:"disabled,omitempty"`
	Roles    map[string]hostler.Role `json:"roles,omitempty" doc:"role by project name; an empty role takes it away"`
}

// KeyInput is a key to make; empty parts take the caller's own.
type KeyInput struct {
	Name      string           `json:"name" minLength:"1" maxLength:"64"`
	User      string           `json:"user,omitempty" maxLength:"64" doc:"default: the caller"`
	Project   string           `json:"project,omitempty" maxLength:"64" doc:"default: the acting project"`
	Role      hostler.Role     `json:"role,omitempty" enum:"viewer,operator,approver,admin" doc:"default: the most that the caller may give"`
	ExpiresIn hostler.Duration `json:"expires_in,omitempty" doc:"such as 90d; default: never"`
}

// KeyCreated is a fresh key with its secret, which is shown this once.
type KeyCreated struct {
	Key    hostler.Key `json:"key"`
	Secret string      `json:"secret"`
}

// AssetInput is an asset as a caller writes it; see hostler.Asset.
type AssetInput struct {
	Name       string            `json:"name" minLength:"1" maxLength:"128"`
	Address    string            `json:"address" minLength:"1" maxLength:"253" doc:"host name or IP address"`
	Port       int               `json:"port,omitempty" minimum:"0" maximum:"65535"`
	Kind       string            `json:"kind,omitempty" enum:"host,device,endpoint" doc:"default: host"`
	Platform   string            `json:"platform,omitempty" maxLength:"64"`
	Labels     map[string]string `json:"labels,omitempty"`
	Vars       map[string]string `json:"vars,omitempty"`
	Credential string            `json:"credential,omitempty" maxLength:"128" doc:"name of a credential"`
	DeviceKey  string            `json:"device_key,omitempty" maxLength:"253" doc:"default: the address"`
	HostKey    string            `json:"host_key,omitempty" enum:"accept-new,strict" doc:"default: accept-new"`
	Jump       string            `json:"jump,omitempty" maxLength:"128" doc:"name or id of the asset to connect through"`
}

// CredentialInput is a credential as a caller writes it. The secret parts go in
// and never come out.
type CredentialInput struct {
	Name       string `json:"name" minLength:"1" maxLength:"128"`
	Kind       string `json:"kind" enum:"ssh_key,password,token"`
	Username   string `json:"username,omitempty" maxLength:"128"`
	PrivateKey string `json:"private_key,omitempty" maxLength:"65536" writeOnly:"true"`
	Passphrase string `json:"passphrase,omitempty" maxLength:"4096" writeOnly:"true"`
	Password   string `json:"password,omitempty" maxLength:"4096" writeOnly:"true"`
	Token      string `json:"token,omitempty" maxLength:"65536" writeOnly:"true"`
}

// String hides the secret parts.
func (in CredentialInput) String() string { return in.Kind + " " + in.Name + " (secret)" }

// GoString hides the secret parts from %#v.
func (in CredentialInput) GoString() string { return in.String() }

// ResolveInput decides an unknown job.
type ResolveInput struct {
	State hostler.State `json:"state" enum:"succeeded,failed"`
	Note  string        `json:"note,omitempty" maxLength:"2000"`
}

// QueueLimits is what PutQueue sets; nil leaves a limit as it is, 0 takes it
// away.
type QueueLimits struct {
	Limit    *int `json:"limit,omitempty" minimum:"0" maximum:"1000000"`
	MaxDepth *int `json:"max_depth,omitempty" minimum:"0" maximum:"100000000"`
}
