package hostler

import "time"

// Credential is a login or a token for assets. Its secret is write-only: no answer of
// Hostler contains it.
type Credential struct {
	ID        CredentialID `json:"id"`
	Project   string       `json:"project"`
	Name      string       `json:"name"`
	Kind      string       `json:"kind" doc:"ssh_key, password or token"`
	Username  string       `json:"username,omitempty"`
	Version   int          `json:"version" doc:"grows with each change of the secret"`
	CreatedAt time.Time    `json:"created_at"`
	UpdatedAt time.Time    `json:"updated_at"`
}

// Kinds of credential.
const (
	CredentialSSHKey   = "ssh_key"
	CredentialPassword = "password"
	CredentialToken    = "token"
)

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
