package server

import (
	"context"
	"errors"
	"log/slog"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

// MasterKeyStatus is how far a replacement of the master key has come.
type MasterKeyStatus struct {
	Keys     []string `json:"keys"`     // ids of the keys that this machine has, the newest first
	Current  string   `json:"current"`  // id of the key that seals
	Resealed bool     `json:"resealed"` // every stored secret is sealed under it
	// NewKey is the new value of HOSTLER_MASTER_KEY, when the key is in the environment.
	NewKey string `json:"-"`
}

// Waiting reports whether a new key is not the current one yet.
func (s MasterKeyStatus) Waiting() bool { return len(s.Keys) > 0 && s.Keys[0] != s.Current }

// MasterKey reports the state of the master keys. Access to the data folder and to the
// database is the permission.
func MasterKey(ctx context.Context, cfg config.Config) (MasterKeyStatus, error) {
	status, _, err := readMasterKeys(ctx, cfg)
	return status, err
}

// RotateMasterKey adds a new master key to the key file, before the others. The servers
// read the file within seconds; once all of them have the key, it is the current one.
func RotateMasterKey(ctx context.Context, cfg config.Config) (MasterKeyStatus, error) {
	status, keys, err := readMasterKeys(ctx, cfg)
	if err != nil {
		return status, err
	}
	if status.Waiting() || len(keys) > 1 {
		return status, hostler.Errorf(hostler.CodeConflict,
			"an earlier key is still in place; finish that rotation first: hostler key rotate-master --retire",
			"先前的密钥仍在使用；请先完成上一次轮换：hostler key rotate-master --retire")
	}
	key, err := secret.NewKey()
	if err != nil {
		return status, err
	}
	return writeMasterKeys(ctx, cfg, append([][]byte{key}, keys...))
}

// RetireMasterKeys removes the keys under which nothing is sealed any more from the key
// file.
func RetireMasterKeys(ctx context.Context, cfg config.Config) (MasterKeyStatus, error) {
	status, keys, err := readMasterKeys(ctx, cfg)
	if err != nil {
		return status, err
	}
	if status.Waiting() || !status.Resealed {
		return status, hostler.Errorf(hostler.CodeConflict,
			"secrets are still sealed under an earlier key; let the servers run until all are sealed again: "+
				"hostler key rotate-master --status",
			"仍有密文由先前的密钥加密；请让服务运行至全部重新加密：hostler key rotate-master --status")
	}
	return writeMasterKeys(ctx, cfg, keys[:1])
}

func readMasterKeys(ctx context.Context, cfg config.Config) (status MasterKeyStatus, keys [][]byte, err error) {
	var o opening
	if _, embedded := cfg.SQLitePath(); embedded {
		if _, err := existing(cfg); err != nil {
			return status, nil, err
		}
		o.existing = true
	}
	if keys, err = masterKeys(cfg, false); err != nil {
		return status, nil, err
	}
	box, err := secret.NewBox(keys...)
	if err != nil {
		return status, nil, err
	}
	st, _, err := openStore(ctx, cfg, o, slog.New(slog.DiscardHandler))
	if err != nil {
		return status, nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	status.Keys = box.KeyIDs()
	err = st.View(ctx, func(tx *store.Tx) (err error) {
		if status.Current, err = tx.MasterKeyID(); err != nil {
			return err
		}
		resealed, err := tx.Resealed()
		if err != nil {
			return err
		}
		signed, err := auditSigned(tx, box, status.Current)
		status.Resealed = resealed == status.Current && signed
		return err
	})
	return status, keys, err
}

// writeMasterKeys replaces the keys, and returns the state afterwards. Keys of the
// environment can only be shown.
func writeMasterKeys(ctx context.Context, cfg config.Config, keys [][]byte) (MasterKeyStatus, error) {
	if cfg.MasterKey == "" {
		if err := secret.WriteKeys(keyPath(cfg), keys); err != nil {
			return MasterKeyStatus{}, err
		}
		return MasterKey(ctx, cfg)
	}
	status, err := MasterKey(ctx, cfg)
	for i, key := range keys {
		if i > 0 {
			status.NewKey += ","
		}
		status.NewKey += secret.KeyText(key)
	}
	return status, err
}
