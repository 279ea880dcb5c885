package hostler

import "time"

// Credential is a login or a token for assets. Its secret is write-only: no answer of
// Hostler contains it.
type Credential struct {
	ID       CredentialID `json:"id"`
	Project  string       `json:"project"`
	Name     string       `json:"name"`
	Kind     string       `json:"kind" doc:"ssh_key, password or token"`
	Username string       `json:"username,omitempty"`
	Version  int          `json:"version" doc:"grows with each change of the secret"`
	// HostKey is strict when the secret must only be sent to hosts whose key a person has
	// accepted.
	HostKey string `json:"host_key,omitempty" doc:"strict: sent only to hosts whose key a person accepted"`
	// Rules allow uses beyond those that an admin made one by one.
	Rules     []CredentialRule `json:"rules,omitempty" doc:"what the credential may open, besides its uses"`
	CreatedAt time.Time        `json:"created_at"`
	UpdatedAt time.Time        `json:"updated_at"`
}

// Kinds of credential.
const (
	CredentialSSHKey   = "ssh_key"
	CredentialPassword = "password"
	CredentialToken    = "token"
)

// Kinds of use of a credential.
const (
	UseSSH    = "ssh"    // the login of an asset, or of a jump host before it
	UseSudo   = "sudo"   // the password that sudo asks for
	UseEnable = "enable" // the enable password of a network device
	UseHTTP   = "http"   // a service by the origin of its URL: an HTTP request, or smtp://, postgres://, …
	UseScript = "script" // a value for a command or a script on a host
)

// CredentialUses lists the kinds of use.
func CredentialUses() []string { return []string{UseSSH, UseSudo, UseEnable, UseHTTP, UseScript} }

// CredentialRule allows kinds of use of a credential wherever all of its other parts
// apply.
type CredentialRule struct {
	ID int `json:"id" doc:"number of the rule in its credential"`
	CredentialRuleInput
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
}

// CredentialRuleInput is a rule to add to a credential. The use http requires origins;
// the others require addresses or labels.
type CredentialRuleInput struct {
	Uses      []string          `json:"uses" minItems:"1" maxItems:"5" enum:"ssh,sudo,enable,http,script" doc:"kinds of use"`
	Addresses []string          `json:"addresses,omitempty" maxItems:"100" doc:"10.0.0.0/8, 192.0.2.7, web1.corp.example, *.corp.example, or *"`
	Ports     []int             `json:"ports,omitempty" maxItems:"100" doc:"default: any port"`
	Labels    map[string]string `json:"labels,omitempty" doc:"assets with all of these labels, if an admin confirmed them"`
	Origins   []string          `json:"origins,omitempty" maxItems:"100" doc:"https://api.corp.example, https://*.corp.example:8443"`
}

// CredentialUse is one allowed use of a credential: an admin's own action made it, such
// as giving an asset its credential.
type CredentialUse struct {
	ID        CredentialUseID `json:"id"`
	Use       string          `json:"use" doc:"ssh, sudo, enable, http or script"`
	Target    string          `json:"target" doc:"the host, or the origin of a URL"`
	Port      int             `json:"port,omitempty" doc:"of the host"`
	Jump      string          `json:"jump,omitempty" doc:"name of the asset to connect through"`
	CreatedBy string          `json:"created_by" doc:"the admin; empty: from before uses were recorded"`
	CreatedAt time.Time       `json:"created_at"`
}

// CredentialInput is a credential to create, or to put in place of an existing one.
// Its kind decides which of the secret parts are required.
type CredentialInput struct {
	Name       string `json:"name" minLength:"1" maxLength:"128"`
	Kind       string `json:"kind" enum:"ssh_key,password,token"`
	Username   string `json:"username,omitempty" maxLength:"128"`
	PrivateKey string `json:"private_key,omitempty" maxLength:"65536" writeOnly:"true"`
	Passphrase string `json:"passphrase,omitempty" maxLength:"4096" writeOnly:"true"`
	Password   string `json:"password,omitempty" maxLength:"4096" writeOnly:"true"`
	Token      string `json:"token,omitempty" maxLength:"65536" writeOnly:"true"`
	// HostKey nil leaves the policy as it is.
	HostKey *string `json:"host_key,omitempty" enum:",strict" doc:"strict: send it only to hosts whose key a person accepted"`
}

// String hides the secret parts.
func (in CredentialInput) String() string { return in.Kind + " " + in.Name + " (secret)" }

// GoString hides the secret parts from %#v.
func (in CredentialInput) GoString() string { return in.String() }

// Secret is the decrypted content of a credential. It exists in memory only, on the
// way to the action that uses it, and hides itself from fmt, slog and JSON.
type Secret struct {
	PrivateKey string // PEM, for ssh_key
	Passphrase string // of the private key, if it is encrypted
	Password   string // for password
	Token      string // for token
	Enable     string // enable password of a network device, in addition to Password
}

// String hides the content.
func (Secret) String() string { return "(secret)" }

// GoString hides the content from %#v.
func (Secret) GoString() string { return "(secret)" }

// MarshalJSON hides the content.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"(secret)"`), nil }

// Values lists the parts that are not empty, for redaction.
func (s Secret) Values() []string {
	var vs []string
	for _, v := range []string{s.PrivateKey, s.Passphrase, s.Password, s.Token, s.Enable} {
		if v != "" {
			vs = append(vs, v)
		}
	}
	return vs
}
