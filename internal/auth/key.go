package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"strings"

	"hostler.dev/hostler"
)

// An API key is "hst_", 48 random digits and 7 digits of their CRC-32, all of
// Crockford's base 32 in lower case. The checksum finds typing errors, and lets
// scanners of leaked secrets know a real key, before anything is looked up.
const (
	keyMark     = "hst_"
	keyAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	keyDigits   = 48 // 240 bits, of which the prefix shows 40
	sumDigits   = 7
	keyShown    = len(keyMark) + 8
)

// NewKey makes an API key.
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
// CodeUnauthenticated and never says more than that the key is not one.
func ParseKey(s string) error {
	digits, ok := strings.CutPrefix(s, keyMark)
	if !ok || len(digits) != keyDigits+sumDigits || checksum(digits[:keyDigits]) != digits[keyDigits:] {
		return hostler.Errorf(hostler.CodeUnauthenticated, "the API key is not valid", "API 密钥无效")
	}
	return nil
}

// HashKey is what is stored of a key: its SHA-256 in hexadecimal. A key has so
// much randomness that a slow hash would add nothing.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// KeyPrefix is the part of a key that may be shown, to recognise it by. The rest
// keeps 200 random bits.
func KeyPrefix(key string) string { return key[:min(keyShown, len(key))] }
