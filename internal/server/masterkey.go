package server

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

// openBox opens the Box of this database, with the master key of the environment or of
// the key file. The file is created for a new database. Every server of a database
// must have the same key: the id of the first key is stored and compared.
func openBox(ctx context.Context, cfg config.Config, st *store.Store) (*secret.Box, error) {
	var known string
	err := st.View(ctx, func(tx *store.Tx) (err error) {
		known, err = tx.MasterKeyID()
		return err
	})
	if err != nil {
		return nil, err
	}
	key, err := masterKey(cfg, known == "")
	if err != nil {
		return nil, err
	}
	box, err := secret.NewBox(key)
	if err != nil {
		return nil, err
	}
	err = st.InTx(ctx, func(tx *store.Tx) (err error) {
		known, err = tx.ClaimMasterKey(box.KeyID())
		return err
	})
	if err != nil {
		return nil, err
	}
	if known != box.KeyID() {
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"the master key is not that of this database: copy the key file of its first server to %s, "+
				"or set HOSTLER_MASTER_KEY",
			"主密钥与该数据库不匹配：请将首个服务的密钥文件复制到 %s，或设置 HOSTLER_MASTER_KEY", keyPath(cfg))
	}
	return box, nil
}

// masterKey reads the key; mayMake allows to create the key file.
func masterKey(cfg config.Config, mayMake bool) ([]byte, error) {
	if cfg.MasterKey != "" {
		return secret.KeyFromText(cfg.MasterKey.Reveal())
	}
	return secret.KeyFile(keyPath(cfg), mayMake)
}
