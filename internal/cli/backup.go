package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/server"
)

// backupCmd is 'hostler backup'. It works on the data folder, not over the API: the
// server may be running or not.
func (a *app) backupCmd() *cobra.Command {
	var load func() (config.Config, error)
	cmd := a.localCmd("backup FOLDER [flags]", doc{
		short: txt("back up the database; the server may be running", "备份数据库（服务可继续运行）"),
		long: txt(`Copy the SQLite databases of a server into an empty folder. Each copy is consistent;
the server may be running. The master key is not part of the backup. Save it
elsewhere: without it the stored credentials cannot be decrypted.`,
			`将服务的 SQLite 数据库复制到空目录。每个副本内部一致，服务可继续运行。备份中不含主密钥，
请另外保存：没有它就无法解密已保存的凭据。`),
		example: "hostler backup /var/backups/hostler-2026-01-31 --data /var/lib/hostler",
	}, func(ctx context.Context, args []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		if err := server.Backup(ctx, cfg, args[0]); err != nil {
			return err
		}
		a.note("backed up to %s", "已备份到 %s", args[0])
		if path := server.KeyPath(cfg); path != "" {
			a.note("The master key %s is not part of it: save a copy elsewhere.",
				"其中不含主密钥 %s：请另外保存一份。", path)
		} else {
			a.note("The master key in HOSTLER_MASTER_KEY is not part of it: save a copy elsewhere.",
				"其中不含环境变量 HOSTLER_MASTER_KEY 中的主密钥：请另外保存一份。")
		}
		return nil
	})
	load = a.serverFlags(cmd, "data", "db")
	return cmd
}

// restoreCmd is 'hostler restore'. It never overwrites a data folder, and it does not copy
// the master key, which a backup must not contain.
func (a *app) restoreCmd() *cobra.Command {
	var load func() (config.Config, error)
	cmd := a.localCmd("restore FOLDER [flags]", doc{
		short: txt("restore a backup into an empty data folder", "将备份恢复到空的数据目录"),
		long: txt(`Check a backup and copy it into the data folder, which must be empty or not exist.
Then copy the master key there, and start the server.`,
			`检查备份并复制到数据目录（须为空或不存在）。然后将主密钥复制到该目录，并启动服务。`),
		example: "hostler restore /var/backups/hostler-2026-01-31 --data /var/lib/hostler",
	}, func(ctx context.Context, args []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		if err := server.Restore(ctx, cfg, args[0]); err != nil {
			return err
		}
		a.note("restored into %s", "已恢复到 %s", cfg.Data)
		if path := server.KeyPath(cfg); path != "" {
			a.note("Next, copy the master key of that server to %s (mode 0600), then run 'hostler serve'.",
				"请将原服务的主密钥复制到 %s（权限 0600），然后执行 'hostler serve'。", path)
		}
		return nil
	})
	load = a.serverFlags(cmd, "data", "db")
	return cmd
}
