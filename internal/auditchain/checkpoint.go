package auditchain

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The purposes of signatures: the first line of what is signed.
const (
	purposeCheckpoint = "hostler audit checkpoint v1\n"
	purposeKey        = "hostler audit key v1\n"
	purposeArchive    = "hostler audit archive v1\n"
)

// Checkpoint is a signed state of the chain.
type Checkpoint struct {
	Seq      int64     `json:"seq"`
	At       time.Time `json:"at"` // in UTC
	Pos      int64     `json:"pos"`
	Hash     Hash      `json:"hash"`
	Base     int64     `json:"base"`
	BaseHash Hash      `json:"base_hash"`
	// Broken is the position of the newest record that the chain was found altered, 0 for
	// none.
	Broken    int64  `json:"broken,omitempty"`
	Key       string `json:"key"`
	Signature []byte `json:"signature,omitempty"`
}

// Endorsement is the confirmation of an older key by a newer one.
type Endorsement struct {
	ID        string            `json:"id"`
	Public    ed25519.PublicKey `json:"public"`
	Until     int64             `json:"until"` // the number of its last checkpoint
	By        string            `json:"by"`
	Signature []byte            `json:"signature,omitempty"`
}

// Key signs checkpoints.
type Key struct {
	ID      string
	private ed25519.PrivateKey
}

// NewKey makes the key of a secret seed of 32 bytes.
func NewKey(seed []byte) (Key, error) {
	if len(seed) != ed25519.SeedSize {
		return Key{}, errors.New("the seed of a signing key has 32 bytes")
	}
	private := ed25519.NewKeyFromSeed(seed)
	return Key{ID: KeyID(private.Public().(ed25519.PublicKey)), private: private}, nil
}

// KeyID identifies a public key.
func KeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:8])
}

// Public is the public part.
func (k Key) Public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

// Sign signs a checkpoint.
func (k Key) Sign(c Checkpoint) Checkpoint {
	c.Key, c.Signature = k.ID, nil
	c.Signature = ed25519.Sign(k.private, statement(purposeCheckpoint, c))
	return c
}

// Endorse confirms another key up to the number of a checkpoint.
func (k Key) Endorse(public ed25519.PublicKey, until int64) Endorsement {
	e := Endorsement{ID: KeyID(public), Public: public, Until: until, By: k.ID}
	e.Signature = ed25519.Sign(k.private, statement(purposeKey, e))
	return e
}

// statement is what a signature covers; v has no signature.
func statement(purpose string, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // of a time that cannot have been signed
	}
	return append([]byte(purpose), b...)
}

// Keys are the current key and, while the master key is being rotated, older ones.
type Keys struct {
	Current Key
	Older   []Key
}

// Trust holds the keys whose signatures count.
type Trust map[string]trusted

type trusted struct {
	public ed25519.PublicKey
	until  int64 // the last checkpoint that it signs; 0 for no limit
}

// Trust returns the keys themselves, and those that one of them endorses.
func (k Keys) Trust(endorsed []Endorsement) Trust {
	t := Trust{}
	for _, own := range append([]Key{k.Current}, k.Older...) {
		t[own.ID] = trusted{public: own.Public()}
	}
	for _, e := range endorsed {
		by, known := t[e.By]
		if _, own := t[e.ID]; own || !known || by.until != 0 || !e.valid(by.public) {
			continue
		}
		t[e.ID] = trusted{public: e.Public, until: e.Until}
	}
	return t
}

// Add trusts a public key up to the number of a checkpoint; 0 for no limit.
func (t Trust) Add(public ed25519.PublicKey, until int64) {
	t[KeyID(public)] = trusted{public: public, until: until}
}

// Until returns the number of the last checkpoint of a key that is trusted; 0 for no limit.
func (t Trust) Until(id string) int64 { return t[id].until }

// Public returns the public keys by id.
func (t Trust) Public() map[string]ed25519.PublicKey {
	out := make(map[string]ed25519.PublicKey, len(t))
	for id, k := range t {
		out[id] = k.public
	}
	return out
}

func (e Endorsement) valid(by ed25519.PublicKey) bool {
	signature := e.Signature
	e.Signature = nil
	return len(e.Public) == ed25519.PublicKeySize && KeyID(e.Public) == e.ID && e.Until > 0 &&
		ed25519.Verify(by, statement(purposeKey, e), signature)
}

// Verify returns an error unless a key that is trusted signed the checkpoint.
func (t Trust) Verify(c Checkpoint) error {
	k, known := t[c.Key]
	if !known {
		return fmt.Errorf("the key %q is not known", c.Key)
	}
	if k.until != 0 && c.Seq > k.until {
		return fmt.Errorf("the key %s was replaced before", c.Key)
	}
	signature := c.Signature
	c.Signature = nil
	if !ed25519.Verify(k.public, statement(purposeCheckpoint, c), signature) {
		return fmt.Errorf("it was not signed by the key %s", c.Key)
	}
	return nil
}
