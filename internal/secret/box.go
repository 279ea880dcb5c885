// Package secret keeps secrets sealed at rest and out of everything that leaves
// the process.
//
// Model: a Box seals with envelope encryption: each sealed value has a fresh
// AES-256-GCM data key, itself sealed by the master key (tink-go). The associated
// data names the row, so that a sealed value moved to another row does not open.
// A Redactor removes known secrets from output, in the forms in which they tend
// to appear, wherever the chunks are cut.
//
// Invariants: no error text holds plaintext or key; a Redactor never lets a
// complete form of a secret pass; what is not a secret passes unchanged.
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
	// version begins each sealed value; the id of the master key follows, so that
	// a change of keys can tell what it has still to seal anew.
	version    = 1
	keyIDBytes = 4
)

// Box seals and opens with one master key.
type Box struct {
	id     []byte
	env    tink.AEAD
	digest []byte // the key of Digest
}

// NewBox makes a Box over a master key of 32 bytes.
func NewBox(key []byte) (*Box, error) {
	if len(key) != keyBytes {
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"the master key must have %d bytes; make one with: openssl rand -base64 %[1]d",
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
	return &Box{id: id[:keyIDBytes], env: aead.NewKMSEnvelopeAEAD2(aead.AES256GCMKeyTemplate(), master), digest: digest}, nil
}

// Digest is a keyed digest (HMAC-SHA-256) of data for one purpose: whoever has it
// without the master key cannot try guesses of the data.
func (b *Box) Digest(purpose string, data []byte) []byte {
	h := hmac.New(sha256.New, b.digest)
	_, _ = io.WriteString(h, purpose+"\x00")
	_, _ = h.Write(data)
	return h.Sum(nil)
}

// KeyID names the master key without telling it.
func (b *Box) KeyID() string { return hex.EncodeToString(b.id) }

// Seal encrypts plain and binds it to the associated data.
func (b *Box) Seal(plain, associated []byte) ([]byte, error) {
	sealed, err := b.env.Encrypt(plain, associated)
	if err != nil {
		return nil, errors.New("secret: sealing failed")
	}
	return append(append([]byte{version}, b.id...), sealed...), nil
}

// Open decrypts what Seal made with the same associated data. The error does not
// say more than that it could not, and whether another master key made it.
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
		"a stored secret is damaged or was moved; enter it again", "存储的密文已损坏或被移动；请重新录入")
}

// KeyFromText reads a master key as configuration carries it: base64 of 32
// bytes.
func KeyFromText(s string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil || len(key) != keyBytes {
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"the master key must be the base64 of %d bytes; make one with: openssl rand -base64 %[1]d",
			"主密钥必须是 %d 字节的 base64；可用 openssl rand -base64 %[1]d 生成", keyBytes)
	}
	return key, nil
}

// KeyFile reads the master key file, and makes it when it does not exist and
// mayMake allows it. It must not be allowed once anything was sealed: a fresh
// key would open none of it.
func KeyFile(path string, mayMake bool) ([]byte, error) {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && mayMake:
		return makeKeyFile(path)
	case errors.Is(err, fs.ErrNotExist):
		return nil, hostler.Errorf(hostler.CodeUnavailable,
			"the key file %s is missing, and credentials were sealed with it: put it back from the backup",
			"缺少密钥文件 %s，而凭据由它加密：请从备份中恢复该文件", path)
	case err != nil:
		return nil, fmt.Errorf("key file: %w", err)
	case fi.Mode().Perm()&0o077 != 0:
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"others can read the key file %s: chmod 600 %[1]s", "其他用户可读密钥文件 %s：请执行 chmod 600 %[1]s", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	return KeyFromText(string(text))
}

func makeKeyFile(path string) ([]byte, error) {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make the master key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the key file: %w", err)
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close(), syncFolder(filepath.Dir(path))); err != nil {
		return nil, errors.Join(fmt.Errorf("make the key file: %w", err), os.Remove(path))
	}
	return key, nil
}

// syncFolder makes a new file's name as durable as its content: what is sealed
// next would be lost with it.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
