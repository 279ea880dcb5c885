package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"strings"

	"hostler.dev/hostler"
)

// An API key is "hst_", 48 random digits and 7 digits of their CRC-32, in Crockford's
// base 32 in lower case. The checksum detects typing errors, and lets scanners for
// leaked secrets recognise a key, without a look into the database.
const (
	keyMark     = "hst_"
	keyAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	keyDigits   = 48 // 240 bits, of which the prefix shows 40
	sumDigits   = 7
	keyShown    = len(keyMark) + 8
)

// NewKey generates an API key.
func NewKey() string {
	raw := make([]byte, keyDigits)
	// Since Go 1.24 crypto/rand.Read never fails.
	_, _ = rand.Read(raw)
	for i, b := range raw {
		raw[i] = keyAlphabet[b&31]
	}
	return keyMark + string(raw) + checksum(string(raw))
}

func checksum(digits string) string {
	v := crc32.ChecksumIEEE([]byte(digits))
	var b [sumDigits]byte
	for i := range b {
		b[i] = keyAlphabet[v&31]
		v >>= 5
	}
	return string(b[:])
}

// ParseKey checks the form and the checksum of an API key. The error is
// CodeUnauthenticated and does not describe what is wrong with the key.
func ParseKey(s string) error {
	digits, ok := strings.CutPrefix(s, keyMark)
	if !ok || len(digits) != keyDigits+sumDigits || checksum(digits[:keyDigits]) != digits[keyDigits:] {
		return hostler.Errorf(hostler.CodeUnauthenticated, "the API key is not valid", "API 密钥无效")
	}
	return nil
}

// HashKey returns what is stored of a key: its SHA-256 in hexadecimal. A slow hash is
// for passwords, which can be guessed; a key has 240 random bits.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// KeyPrefix returns the part of a key by which people recognise it. The rest has 200
// random bits.
func KeyPrefix(key string) string { return key[:min(keyShown, len(key))] }
