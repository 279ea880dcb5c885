package secret

import (
	"encoding/json"
	"fmt"

	"hostler.dev/hostler"
)

// Owner names the row that a sealed value belongs to: "credential cred_…". It is the
// associated data of the seal, so that a value which was copied to another row does
// not open. The texts are part of what is stored: do not change them.
type Owner string

// CredentialOwner is the row of a credential.
func CredentialOwner(id hostler.CredentialID) Owner { return Owner("credential " + id.String()) }

// JobOwner is the row of a job that brought its own login.
func JobOwner(id hostler.JobID) Owner { return Owner("job " + id.String()) }

// WebhookOwner is the row of a webhook.
func WebhookOwner(id hostler.WebhookID) Owner { return Owner("webhook " + id.String()) }

// SealJSON seals v, encoded as JSON, for its owner.
func (b *Box) SealJSON(o Owner, v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the secret of %s", o) // the cause could repeat a part of it
	}
	sealed, err := b.Seal(plain, []byte(o))
	if err != nil {
		return nil, fmt.Errorf("seal the secret of %s: %w", o, err)
	}
	return sealed, nil
}

// OpenJSON opens what [Box.SealJSON] sealed for the owner, and decodes it into v.
func (b *Box) OpenJSON(o Owner, sealed []byte, v any) error {
	plain, err := b.Open(sealed, []byte(o))
	if err != nil {
		return fmt.Errorf("open the secret of %s: %w", o, err)
	}
	if json.Unmarshal(plain, v) != nil {
		return fmt.Errorf("decode the secret of %s", o) // the cause could repeat a part of it
	}
	return nil
}

// sealedSecret is the plain form inside the seal: hostler.Secret itself refuses to be
// encoded.
type sealedSecret struct {
	PrivateKey string `json:"k,omitempty"`
	Passphrase string `json:"f,omitempty"`
	Password   string `json:"p,omitempty"`
	Token      string `json:"t,omitempty"`
	Enable     string `json:"e,omitempty"`
}

// SealSecret seals a login for its owner.
func (b *Box) SealSecret(o Owner, s hostler.Secret) ([]byte, error) {
	return b.SealJSON(o, sealedSecret(s))
}

// OpenSecret opens what [Box.SealSecret] sealed for the owner.
func (b *Box) OpenSecret(o Owner, sealed []byte) (hostler.Secret, error) {
	var s sealedSecret
	err := b.OpenJSON(o, sealed, &s)
	return hostler.Secret(s), err
}
