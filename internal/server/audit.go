package server

import (
	"log/slog"
	"path/filepath"

	"hostler.dev/hostler/internal/auditchain"
	"hostler.dev/hostler/internal/auditor"
	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

// auditPurpose derives the keys that sign the audit from the master key. It is part of
// what old checkpoints verify with: do not change it.
const auditPurpose = "sign the audit"

func newAuditor(cfg config.Config, st *store.Store, box *secret.Box, log *slog.Logger) *auditor.Auditor {
	return auditor.New(auditor.Config{
		Store: st, Keys: func() (auditchain.Keys, error) { return auditKeys(box) },
		HeadFile:   filepath.Join(cfg.Data, "audit-head.json"),
		ArchiveDir: cfg.AuditArchive, Retention: cfg.AuditRetention, Log: log,
	})
}

// auditKeys derives a key from each master key of the box: several while one replaces
// another.
func auditKeys(box *secret.Box) (keys auditchain.Keys, err error) {
	for i, seed := range box.Digests(auditPurpose, nil) {
		key, err := auditchain.NewKey(seed)
		if err != nil {
			return keys, err
		}
		if i == 0 {
			keys.Current = key
		} else {
			keys.Older = append(keys.Older, key)
		}
	}
	return keys, nil
}

// auditSigned reports whether the current master key has signed the end of the audit, so
// that the keys before it are confirmed and no longer needed.
func auditSigned(tx *store.Tx, box *secret.Box, current string) (bool, error) {
	if !box.Use(current) {
		return false, nil
	}
	keys, err := auditKeys(box)
	if err != nil {
		return false, err
	}
	return auditor.SignedBy(tx, keys)
}
