package secret

import (
	"encoding/json"
	"fmt"
	"strconv"

	"hostler.dev/hostler"
)

// Owner names the row that a sealed value belongs to: "project prj_… credential crd_…".
// It is the associated data of the seal, so that a value which was copied to another row
// does not open. The texts are part of what is stored: do not change them.
type Owner struct {
	project hostler.ProjectID
	row     string // purpose and id: all that the old layout had
}

// String is the associated data of a seal.
func (o Owner) String() string { return "project " + o.project.String() + " " + o.row }

// CredentialOwner is the row of a credential.
func CredentialOwner(project hostler.ProjectID, id hostler.CredentialID) Owner {
	return Owner{project, "credential " + id.String()}
}

// JobOwner is the row of a job that brought its own login.
func JobOwner(project hostler.ProjectID, id hostler.JobID) Owner {
	return Owner{project, "job " + id.String()}
}

// WebhookOwner is the row of a webhook.
func WebhookOwner(project hostler.ProjectID, id hostler.WebhookID) Owner {
	return Owner{project, "webhook " + id.String()}
}

// InboundOwner is the row of an inbound trigger.
func InboundOwner(project hostler.ProjectID, id int64) Owner {
	return Owner{project, "inbound " + strconv.FormatInt(id, 10)}
}

// SealJSON seals v, encoded as JSON, for its owner.
func (b *Box) SealJSON(o Owner, v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the secret of %s", o) // the cause could repeat a part of it
	}
	sealed, err := b.Seal(plain, o)
	if err != nil {
		return nil, fmt.Errorf("seal the secret of %s: %w", o, err)
	}
	return sealed, nil
}

// OpenJSON opens what [Box.SealJSON] sealed for the owner, and decodes it into v.
func (b *Box) OpenJSON(o Owner, sealed []byte, v any) error {
	plain, err := b.Open(sealed, o)
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
