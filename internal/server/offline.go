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

// Backup copies the databases of a server, which may run, into the folder dest:
// each as it is at one moment, the main one first. The file of the master key is
// left out: whoever finds the backup must not be able to open what it holds.
func Backup(ctx context.Context, cfg config.Config, dest string) (err error) {
	path, err := existing(cfg)
	if err != nil {
		return err
	}
	main, output, err := openSQLite(path, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, main.Close(), output.Close()) }()
	return sqlite.Backup(ctx, dest, main, output)
}

// KeyPath is the file of the master key, for people who must keep a copy of it;
// "" when the environment has the key.
func KeyPath(cfg config.Config) string {
	if cfg.MasterKey != "" {
		return ""
	}
	return keyPath(cfg)
}

// Restore puts a backup into the data folder of the configuration, which must be
// empty or not exist. The file of the master key is put there by hand.
func Restore(ctx context.Context, cfg config.Config, src string) error {
	path, ok := cfg.SQLitePath()
	if !ok {
		return errPostgresTools()
	}
	return sqlite.Restore(ctx, src, filepath.Dir(path))
}

// LocalAdminKey makes a key for an administrator by way of the data folder, or
// the database: whoever can reach those may do everything already. A running
// server takes it at once.
func LocalAdminKey(ctx context.Context, cfg config.Config, name string) (secret string, err error) {
	if _, embedded := cfg.SQLitePath(); embedded {
		if _, err := existing(cfg); err != nil {
			return "", err
		}
	}
	st, err := openStore(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return app.New(app.Config{Store: st}).LocalAdminKey(ctx, name)
}

// existing is the SQLite file of the configuration, which must exist: a
// mistyped folder must not become a new database.
func existing(cfg config.Config) (string, error) {
	path, ok := cfg.SQLitePath()
	if !ok {
		return "", errPostgresTools()
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", hostler.Errorf(hostler.CodeNotFound,
			"there is no database %s; give the server's data folder with --data", "数据库 %s 不存在；请用 --data 指定服务的数据目录", path)
	} else if err != nil {
		return "", hostler.Errorf(hostler.CodeInvalid, "the database cannot be used: %v", "无法使用数据库：%v", err)
	}
	return path, nil
}

func errPostgresTools() error {
	return hostler.Errorf(hostler.CodeInvalid,
		"this is for SQLite; with PostgreSQL use pg_dump and pg_restore, and keep the key file",
		"此命令仅用于 SQLite；使用 PostgreSQL 时请用 pg_dump 和 pg_restore，并保存密钥文件")
}
