// Package secret seals secrets for storage and removes them from output.
//
// # Sealing
//
// A [Box] uses envelope encryption (tink-go): each sealed value has a fresh AES-256-GCM data
// key, which is itself sealed with the master key. The associated data is the [Owner]: the
// project, the purpose and the row, so that a sealed value that was moved does not open.
//
//	byte 0      version of this layout
//	bytes 1–4   id of the master key
//	the rest    tink's envelope: the sealed data key, then the sealed value
//
// Version 1 had the purpose and the row only. It still opens, until every value of the
// database is sealed again ([Box.RefuseOld]).
//
// # Rotation
//
// A Box has several master keys while one replaces another: it seals with the current one and
// opens with any. Which one is current, the servers of a database agree upon; see
// internal/server.
//
// # Redaction
//
// A [Redactor] replaces known secrets in output by [Mask], in the forms in which they tend to
// appear: as they are, escaped for URLs and JSON, in hex and base64, and line by line. A
// stream may split a secret anywhere; the writer holds back what may be the beginning of one.
//
// # Invariants
//
//   - NoSecretInErrors: no error text contains plaintext or a key.
//   - NoFormPasses: a Redactor never passes a complete form of a secret.
//   - RestUnchanged: bytes that are not part of a secret pass unchanged.
package secret

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"hostler.dev/hostler"
)

const (
	keyBytes = 32 // AES-256
	// The first byte of a sealed value. The id of the master key follows, so that values
	// under an old key can be found.
	versionOld = 1
	version    = 2
	keyIDBytes = 4
)

// PrefixBytes is the length of the part of a sealed value that [Box.Prefix] compares.
const PrefixBytes = 1 + keyIDBytes

// Box seals and opens values. It is safe for concurrent use.
type Box struct {
	mu        sync.RWMutex
	keys      []*masterKey
	current   *masterKey // seals
	refuseOld bool
}

// masterKey is one of the keys of a Box.
type masterKey struct {
	id     []byte
	env    tink.AEAD
	digest []byte // the key of Digest
}

// NewBox returns a Box with master keys of 32 bytes; the first one seals.
func NewBox(keys ...[]byte) (*Box, error) {
	b := &Box{}
	if err := b.SetKeys(keys...); err != nil {
		return nil, err
	}
	b.current = b.keys[0]
	return b, nil
}

// SetKeys replaces the master keys. The current one must be among them.
func (b *Box) SetKeys(keys ...[]byte) error {
	ring := make([]*masterKey, len(keys))
	for i, key := range keys {
		k, err := newMasterKey(key)
		if err != nil {
			return err
		}
		ring[i] = k
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(ring) == 0 || b.current != nil && find(ring, b.current.id) == nil {
		return hostler.Errorf(hostler.CodeInvalid,
			"the master key that is in use is missing among the new ones; leave it until the rotation has finished",
			"新的主密钥中缺少正在使用的那一把；轮换结束前请保留它")
	}
	b.keys = ring
	return nil
}

func newMasterKey(key []byte) (*masterKey, error) {
	if len(key) != keyBytes {
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"the master key must have %d bytes; create one with: openssl rand -base64 %[1]d",
			"主密钥必须为 %d 字节；可用 openssl rand -base64 %[1]d 生成", keyBytes)
	}
	master, err := subtle.NewAESGCM(key)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	id := sha256.Sum256(append([]byte("hostler master key id\x00"), key...))
	digest, err := hkdf.Key(sha256.New, key, nil, "hostler digest", keyBytes)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	env := aead.NewKMSEnvelopeAEAD2(aead.AES256GCMKeyTemplate(), master)
	return &masterKey{id: id[:keyIDBytes], env: env, digest: digest}, nil
}

// find returns the key with an id; nil when there is none.
func find(keys []*masterKey, id []byte) *masterKey {
	for _, k := range keys {
		if bytes.Equal(k.id, id) {
			return k
		}
	}
	return nil
}

// Use makes the master key with this id the current one, and reports whether the Box has
// it.
func (b *Box) Use(keyID string) bool {
	id, err := hex.DecodeString(keyID)
	b.mu.Lock()
	defer b.mu.Unlock()
	k := find(b.keys, id)
	if err != nil || k == nil {
		return false
	}
	b.current = k
	return true
}

// RefuseOld refuses values of the old layout from now on: every value of the database has
// been sealed again, so that one of the old layout was put there by hand.
func (b *Box) RefuseOld() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuseOld = true
}

// Digests returns keyed digests (HMAC-SHA-256) of data for one purpose, one for each master
// key, that of the current one first. Without a master key they cannot be used to test
// guesses of the data.
func (b *Box) Digests(purpose string, data []byte) [][]byte {
	b.mu.RLock()
	defer b.mu.RUnlock()
	out := [][]byte{b.current.digestOf(purpose, data)}
	for _, k := range b.keys {
		if k.keyID() != b.current.keyID() {
			out = append(out, k.digestOf(purpose, data))
		}
	}
	return out
}

func (k *masterKey) digestOf(purpose string, data []byte) []byte {
	h := hmac.New(sha256.New, k.digest)
	_, _ = io.WriteString(h, purpose+"\x00")
	_, _ = h.Write(data)
	return h.Sum(nil)
}

func (k *masterKey) keyID() string { return hex.EncodeToString(k.id) }

// KeyID identifies the current master key without revealing it.
func (b *Box) KeyID() string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.current.keyID()
}

// KeyIDs identifies the master keys, in their order.
func (b *Box) KeyIDs() []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	ids := make([]string, len(b.keys))
	for i, k := range b.keys {
		ids[i] = k.keyID()
	}
	return ids
}

// Prefix is how values begin that the Box seals now.
func (b *Box) Prefix() []byte {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return append([]byte{version}, b.current.id...)
}

// Seal encrypts plain and binds it to its owner.
func (b *Box) Seal(plain []byte, o Owner) ([]byte, error) {
	b.mu.RLock()
	k := b.current
	b.mu.RUnlock()
	sealed, err := k.env.Encrypt(plain, []byte(o.String()))
	if err != nil {
		return nil, errors.New("secret: sealing failed")
	}
	return append(append([]byte{version}, k.id...), sealed...), nil
}

// Open decrypts a value that Seal returned for the same owner. The error only
// distinguishes a damaged value from one that another master key sealed.
func (b *Box) Open(sealed []byte, o Owner) ([]byte, error) {
	if len(sealed) < PrefixBytes {
		return nil, errDamaged()
	}
	b.mu.RLock()
	k, refuseOld := find(b.keys, sealed[1:PrefixBytes]), b.refuseOld
	b.mu.RUnlock()
	associated := o.String()
	switch {
	case sealed[0] == versionOld && !refuseOld:
		associated = o.row
	case sealed[0] != version:
		return nil, errDamaged()
	}
	if k == nil {
		return nil, hostler.Errorf(hostler.CodeInternal,
			"a stored secret was sealed with another master key; restore that key file",
			"存储的密文由另一把主密钥加密；请恢复对应的密钥文件")
	}
	plain, err := k.env.Decrypt(sealed[PrefixBytes:], []byte(associated))
	if err != nil {
		return nil, errDamaged()
	}
	return plain, nil
}

// Reseal opens a value and seals it as Seal does now. ok is false when it is sealed that
// way already.
func (b *Box) Reseal(sealed []byte, o Owner) (out []byte, ok bool, err error) {
	if bytes.HasPrefix(sealed, b.Prefix()) {
		return sealed, false, nil
	}
	plain, err := b.Open(sealed, o)
	if err != nil {
		return nil, false, err
	}
	out, err = b.Seal(plain, o)
	return out, err == nil, err
}

func errDamaged() error {
	return hostler.Errorf(hostler.CodeInternal,
		"a stored secret is damaged or was moved; enter it again",
		"存储的密文已损坏或被移动；请重新录入")
}

// KeysFromText decodes master keys from the configuration: base64 of 32 bytes each, with
// commas or spaces between them. The first one is to become the current one.
func KeysFromText(s string) ([][]byte, error) {
	var keys [][]byte
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		key, err := base64.StdEncoding.DecodeString(word)
		if err != nil || len(key) != keyBytes {
			keys = nil
			break
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"the master key must be the base64 of %d bytes; create one with: openssl rand -base64 %[1]d",
			"主密钥必须是 %d 字节的 base64；可用 openssl rand -base64 %[1]d 生成", keyBytes)
	}
	return keys, nil
}
