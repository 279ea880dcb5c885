package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
)

// # How a master key is replaced
//
// The key file, or the environment, has the keys; the first one is to become the current
// one. The database has the id of the current one, which seals. So a rotation survives a
// crash at any point:
//
//	file: old        database: old           before
//	file: new old    database: old           every server reads the file again, and reports its keys
//	file: new old    database: new           once all servers have the new key; values are sealed again
//	file: new old    database: new, resealed
//	file: new        database: new, resealed after 'rotate-master --retire'
//
// A backup of any of these times opens with the file of that time, or of a later one that
// still has its key.

const (
	// keyPoll is how often a server reads the key file, and which key is current.
	keyPoll = 10 * time.Second
	// resealBatch bounds the rows of one transaction.
	resealBatch = 100
	// resealSettle is how long after a change of the current key another server may still
	// seal with the one before.
	resealSettle = 6 * keyPoll
)

// openBox opens the Box of this database, with the master keys of the environment or of
// the key file. The file is created for a new database.
func openBox(ctx context.Context, cfg config.Config, st *store.Store) (*secret.Box, error) {
	known, err := masterKeyID(ctx, st)
	if err != nil {
		return nil, err
	}
	keys, err := masterKeys(cfg, known == "")
	if err != nil {
		return nil, err
	}
	box, err := secret.NewBox(keys...)
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
	if !box.Use(known) {
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"the master key is not that of this database: copy the key file of its first server to %s, "+
				"or set HOSTLER_MASTER_KEY",
			"主密钥与该数据库不匹配：请将首个服务的密钥文件复制到 %s，或设置 HOSTLER_MASTER_KEY", keyPath(cfg))
	}
	return box, nil
}

func masterKeyID(ctx context.Context, st *store.Store) (id string, err error) {
	err = st.View(ctx, func(tx *store.Tx) error {
		id, err = tx.MasterKeyID()
		return err
	})
	return id, err
}

// masterKeys reads the keys; mayMake allows to create the key file.
func masterKeys(cfg config.Config, mayMake bool) ([][]byte, error) {
	if cfg.MasterKey != "" {
		return secret.KeysFromText(cfg.MasterKey.Reveal())
	}
	return secret.KeyFile(keyPath(cfg), mayMake)
}

// keyKeeper follows changes of the master keys, and seals stored values again.
type keyKeeper struct {
	cfg    config.Config
	store  *store.Store
	box    *secret.Box
	sole   bool // the only server of its database
	log    *slog.Logger
	now    func() time.Time
	server string // this process, among the servers of the database

	current string    // the key that this process has seen as the current one
	since   time.Time // since when
	done    bool      // all values are sealed under it
}

func newKeyKeeper(cfg config.Config, st *store.Store, box *secret.Box, sole bool, log *slog.Logger) *keyKeeper {
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	return &keyKeeper{
		cfg: cfg, store: st, box: box, sole: sole, log: log, now: time.Now,
		server: fmt.Sprintf("%s %d %d", host, os.Getpid(), time.Now().UnixNano()),
	}
}

// Run follows the keys until ctx is done.
func (k *keyKeeper) Run(ctx context.Context) error {
	for {
		if err := k.runOnce(ctx); err != nil && ctx.Err() == nil {
			k.log.ErrorContext(ctx, "master key; will retry", "err", err)
		}
		if wait.Sleep(ctx, keyPoll) != nil {
			return nil
		}
	}
}

func (k *keyKeeper) runOnce(ctx context.Context) error {
	if err := k.reload(); err != nil {
		return err
	}
	if err := k.agree(ctx); err != nil {
		return err
	}
	if k.done {
		return nil
	}
	return k.reseal(ctx)
}

// reload reads the key file again; the environment of a process does not change.
func (k *keyKeeper) reload() error {
	if k.cfg.MasterKey != "" {
		return nil
	}
	keys, err := masterKeys(k.cfg, false)
	if err != nil {
		return err
	}
	return k.box.SetKeys(keys...)
}

// agree reports the keys of this server, makes the first one the current one when every
// server has it, and follows a change that another server made.
func (k *keyKeeper) agree(ctx context.Context) error {
	ids := k.box.KeyIDs()
	current, err := masterKeyID(ctx, k.store)
	if err != nil {
		return err
	}
	if k.sole && current == ids[0] { // most of the time: nothing to write
		return k.follow(ctx, current)
	}
	err = k.store.InTx(ctx, func(tx *store.Tx) (err error) {
		if err := tx.HoldKeys(k.server, ids); err != nil {
			return err
		}
		if current, err = tx.MasterKeyID(); err != nil || current == ids[0] {
			return err
		}
		current, err = tx.ReplaceMasterKey(current, ids[0])
		return err
	})
	if err != nil {
		return err
	}
	return k.follow(ctx, current)
}

// follow seals with the current key from now on.
func (k *keyKeeper) follow(ctx context.Context, current string) error {
	if !k.box.Use(current) {
		return hostler.Errorf(hostler.CodeInvalid,
			"the master key was replaced, and this server does not have the new one: copy the key file to %s",
			"主密钥已更换，而本服务没有新密钥：请将密钥文件复制到 %s", keyPath(k.cfg))
	}
	if current != k.current {
		if k.current != "" {
			k.log.InfoContext(ctx, "the master key was replaced; stored secrets are sealed again")
		}
		k.current, k.since, k.done = current, k.now(), false
	}
	return nil
}

// reseal seals every value again that is not sealed under the current key and in the
// newest layout. It is done when a pass finds nothing, and no server can still seal
// otherwise.
func (k *keyKeeper) reseal(ctx context.Context) error {
	var resealed string
	err := k.store.View(ctx, func(tx *store.Tx) (err error) {
		resealed, err = tx.Resealed()
		return err
	})
	if err != nil {
		return err
	}
	if resealed == k.current {
		k.done = true
		k.box.RefuseOld()
		return nil
	}
	found := 0
	for _, table := range store.SealedTables() {
		n, err := k.resealTable(ctx, table)
		if err != nil {
			return err
		}
		found += n
	}
	if found > 0 || !k.sole && k.now().Sub(k.since) < resealSettle {
		return nil // another pass follows
	}
	return k.store.InTx(ctx, func(tx *store.Tx) error { return tx.SetResealed(k.current) })
}

// resealTable seals the values of a table again, a part of them in each transaction. It
// returns how many it found. One that does not open is logged and left as it is.
func (k *keyKeeper) resealTable(ctx context.Context, table string) (found int, err error) {
	for after := int64(0); ; {
		var rows []store.SealedRow
		failed := 0
		err := k.store.InTx(ctx, func(tx *store.Tx) (err error) {
			failed = 0
			rows, err = tx.SealedOtherwise(table, after, k.box.Prefix(), resealBatch)
			for _, row := range rows {
				sealed, ok, openErr := k.box.Reseal(row.Sealed, ownerOf(table, row))
				if openErr != nil {
					failed++
					k.log.ErrorContext(ctx, "cannot open a stored secret to seal it again; enter it again",
						"table", table, "id", row.ID, "err", openErr)
					continue
				}
				if ok {
					err = tx.Reseal(table, row, sealed)
				}
				if err != nil {
					return err
				}
			}
			return err
		})
		if err != nil {
			return found, err
		}
		// A value that does not open is lost already: it does not hold up the others.
		found += len(rows) - failed
		if len(rows) < resealBatch {
			return found, nil
		}
		after = rows[len(rows)-1].ID
	}
}

// ownerOf names the row of a sealed value.
func ownerOf(table string, row store.SealedRow) secret.Owner {
	switch table {
	case "webhook":
		return secret.WebhookOwner(row.Project, hostler.WebhookID(row.ID))
	case "inbound":
		return secret.InboundOwner(row.Project, row.ID)
	case "job_target":
		return secret.JobOwner(row.Project, hostler.JobID(row.ID))
	default:
		return secret.CredentialOwner(row.Project, hostler.CredentialID(row.ID))
	}
}
