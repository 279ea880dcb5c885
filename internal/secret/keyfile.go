package secret

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"hostler.dev/hostler"
)

// KeyFile reads the master keys of a file, one on a line. If the file does not exist and
// mayCreate is true, it creates one. mayCreate must be false once a value was sealed, as a
// fresh key could not open it.
func KeyFile(path string, mayCreate bool) ([][]byte, error) {
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
	if len(text) == 0 && mayCreate {
		// An earlier version was killed between the creation of the file and its write.
		// Nothing was sealed with this key.
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("key file: %w", err)
		}
		return createKeyFile(path)
	}
	return KeysFromText(string(text))
}

func createKeyFile(path string) ([][]byte, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	if err := writeNew(path, KeyText(key)+"\n"); err != nil {
		return nil, fmt.Errorf("create the key file: %w", err)
	}
	return [][]byte{key}, nil
}

// writeNew creates a file under its name only when it is complete: a server that is
// killed in between must be able to start again. It does not replace an existing file.
func writeNew(path, text string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// A link, not a rename: it fails if another server created the file meanwhile.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// NewKey returns a random master key.
func NewKey() ([]byte, error) {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("create the master key: %w", err)
	}
	return key, nil
}

// KeyText is a master key as files and the environment have it.
func KeyText(key []byte) string { return base64.StdEncoding.EncodeToString(key) }

// WriteKeys replaces the keys of a file: a reader, and a machine that crashes, finds either
// the old ones or the new ones.
func WriteKeys(path string, keys [][]byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the key file: %w", err)
		}
	}()
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // renamed already, unless something failed
	for _, key := range keys {
		_, werr := tmp.WriteString(KeyText(key) + "\n")
		err = errors.Join(err, werr)
	}
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// SameKeys reports whether two lists have the same keys in the same order.
func SameKeys(a, b [][]byte) bool {
	return slices.EqualFunc(a, b, func(x, y []byte) bool { return string(x) == string(y) })
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
