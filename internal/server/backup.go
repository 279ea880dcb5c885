package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/store/sqlite"
)

// Backup copies the databases of a server, which may be running, into the folder dest:
// each as of one moment, the main one first. The file of the master key is not copied,
// so that a backup alone reveals no secret.
func Backup(ctx context.Context, cfg config.Config, dest string) (err error) {
	path, err := existing(cfg)
	if err != nil {
		return err
	}
	main, output, err := openSQLite(cfg, path, opening{existing: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, main.Close(), output.Close()) }()
	return sqlite.Backup(ctx, dest, main, output)
}

// KeyPath is the file of the master key, which the user must copy; "" when the
// key is in the environment.
func KeyPath(cfg config.Config) string {
	if cfg.MasterKey != "" {
		return ""
	}
	return keyPath(cfg)
}

// Restore copies a backup into the data folder of the configuration, which must be
// empty or not exist. The user copies the file of the master key.
func Restore(ctx context.Context, cfg config.Config, src string) error {
	path, ok := cfg.SQLitePath()
	if !ok {
		return errPostgresTools()
	}
	return sqlite.Restore(ctx, src, filepath.Dir(path))
}

// LocalAdminKey creates a key of an administrator directly in the database: access to
// the database is the permission. A running server accepts the key at once.
func LocalAdminKey(ctx context.Context, cfg config.Config, name string) (secret string, err error) {
	var o opening
	if _, embedded := cfg.SQLitePath(); embedded {
		if _, err := existing(cfg); err != nil {
			return "", err
		}
		release, err := sqlite.LockFolder(cfg.Data)
		if err == nil {
			defer release()
		}
		o.existing = err != nil // a server is running, perhaps of another version
	}
	st, _, err := openStore(ctx, cfg, o, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return app.New(app.Config{Store: st}).LocalAdminKey(ctx, name)
}

// existing returns the SQLite file of the configuration, which must exist: a mistyped
// folder must not become a new database.
func existing(cfg config.Config) (string, error) {
	path, ok := cfg.SQLitePath()
	if !ok {
		return "", errPostgresTools()
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", hostler.Errorf(hostler.CodeNotFound,
			"there is no database %s; name the server's data folder with --data",
			"数据库 %s 不存在；请用 --data 指定服务的数据目录", path)
	} else if err != nil {
		return "", hostler.Errorf(hostler.CodeInvalid, "the database cannot be used: %v",
			"无法使用数据库：%v", err)
	}
	return path, nil
}

func errPostgresTools() error {
	return hostler.Errorf(hostler.CodeInvalid,
		"this works with SQLite only; with PostgreSQL use pg_dump and pg_restore, and copy the key file",
		"此命令仅支持 SQLite；使用 PostgreSQL 时请用 pg_dump 和 pg_restore，并备份密钥文件")
}
