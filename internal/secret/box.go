// Package secret seals secrets for storage and removes them from output.
//
// # Sealing
//
// A [Box] uses envelope encryption (tink-go): each sealed value has a fresh AES-256-GCM data
// key, which is itself sealed with the master key. The associated data identifies the row, so
// that a sealed value that was moved to another row does not open.
//
//	byte 0      version of this layout
//	bytes 1–4   id of the master key
//	the rest    tink's envelope: the sealed data key, then the sealed value
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
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"hostler.dev/hostler"
)

const (
	keyBytes = 32 // AES-256
	// version is the first byte of a sealed value. The id of the master key follows, so
	// that values under an old key can be found.
	version    = 1
	keyIDBytes = 4
)

// Box seals and opens values with one master key.
type Box struct {
	id     []byte
	env    tink.AEAD
	digest []byte // the key of Digest
}

// NewBox returns a Box with a master key of 32 bytes.
func NewBox(key []byte) (*Box, error) {
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
	return &Box{id: id[:keyIDBytes], env: env, digest: digest}, nil
}

// Digest returns a keyed digest (HMAC-SHA-256) of data for one purpose. Without the master
// key it cannot be used to test guesses of the data.
func (b *Box) Digest(purpose string, data []byte) []byte {
	h := hmac.New(sha256.New, b.digest)
	_, _ = io.WriteString(h, purpose+"\x00")
	_, _ = h.Write(data)
	return h.Sum(nil)
}

// KeyID identifies the master key without revealing it.
func (b *Box) KeyID() string { return hex.EncodeToString(b.id) }

// Seal encrypts plain and binds it to the associated data.
func (b *Box) Seal(plain, associated []byte) ([]byte, error) {
	sealed, err := b.env.Encrypt(plain, associated)
	if err != nil {
		return nil, errors.New("secret: sealing failed")
	}
	return append(append([]byte{version}, b.id...), sealed...), nil
}

// Open decrypts a value that Seal returned for the same associated data. The error only
// distinguishes a damaged value from one that another master key sealed.
func (b *Box) Open(sealed, associated []byte) ([]byte, error) {
	if len(sealed) < 1+keyIDBytes || sealed[0] != version {
		return nil, errDamaged()
	}
	if !bytes.Equal(sealed[1:1+keyIDBytes], b.id) {
		return nil, hostler.Errorf(hostler.CodeInternal,
			"a stored secret was sealed with another master key; restore that key file",
			"存储的密文由另一把主密钥加密；请恢复对应的密钥文件")
	}
	plain, err := b.env.Decrypt(sealed[1+keyIDBytes:], associated)
	if err != nil {
		return nil, errDamaged()
	}
	return plain, nil
}

func errDamaged() error {
	return hostler.Errorf(hostler.CodeInternal,
		"a stored secret is damaged or was moved; enter it again",
		"存储的密文已损坏或被移动；请重新录入")
}

// KeyFromText decodes a master key from the configuration: base64 of 32 bytes.
func KeyFromText(s string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil || len(key) != keyBytes {
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"the master key must be the base64 of %d bytes; create one with: openssl rand -base64 %[1]d",
			"主密钥必须是 %d 字节的 base64；可用 openssl rand -base64 %[1]d 生成", keyBytes)
	}
	return key, nil
}

// KeyFile reads the master key file. If the file does not exist and mayCreate is true, it
// creates one. mayCreate must be false once a value was sealed, as a fresh key could not open
// it.
func KeyFile(path string, mayCreate bool) ([]byte, error) {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && mayCreate:
		return createKeyFile(path)
	case errors.Is(err, fs.ErrNotExist):
		return nil, hostler.Errorf(hostler.CodeUnavailable,
			"the key file %s is missing, and credentials were sealed with it: restore it from the backup",
			"缺少密钥文件 %s，而凭据由它加密：请从备份中恢复该文件", path)
	case err != nil:
		return nil, fmt.Errorf("key file: %w", err)
	case fi.Mode().Perm()&0o077 != 0:
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"other users can read the key file %s; run: chmod 600 %[1]s",
			"其他用户可读密钥文件 %s：请执行 chmod 600 %[1]s", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	return KeyFromText(string(text))
}

func createKeyFile(path string) ([]byte, error) {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("create the master key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create the key file: %w", err)
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close(), syncFolder(filepath.Dir(path))); err != nil {
		return nil, errors.Join(fmt.Errorf("create the key file: %w", err), os.Remove(path))
	}
	return key, nil
}

// syncFolder makes the name of a new file durable: with the file, everything sealed with its
// key would be lost.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
