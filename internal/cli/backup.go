package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/server"
)

func (a *app) backupCmd() *cobra.Command {
	var load func() (config.Config, error)
	cmd := a.localCmd("backup FOLDER [flags]", doc{
		short: txt("copy the database of a server, which may run", "备份数据库（服务可继续运行）"),
		long: txt(
			"Copies the SQLite databases of a server into an empty folder, each as it is at\none moment. The master key is not in the copy; without it the stored credentials\ncannot be opened, so keep it too, elsewhere.",
			"将服务的 SQLite 数据库（各自在某一时刻的状态）复制到空目录。备份中不含主密钥；没有它就无法打开已保存的凭据，\n请另外妥善保存。"),
		example: "hostler backup /var/backups/hostler-2026-01-31 --data /var/lib/hostler",
	}, func(ctx context.Context, args []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		if err := server.Backup(ctx, cfg, args[0]); err != nil {
			return err
		}
		a.note("the backup is in %s", "备份位于 %s", args[0])
		if path := server.KeyPath(cfg); path != "" {
			a.note("The master key %s is not in it: keep a copy of it elsewhere.", "其中不含主密钥 %s：请另外保存一份。", path)
		} else {
			a.note("The master key of the environment is not in it: keep a copy of it elsewhere.", "其中不含环境变量中的主密钥：请另外保存一份。")
		}
		return nil
	})
	load = a.configFlags(cmd, "data", "db")
	return cmd
}

func (a *app) restoreCmd() *cobra.Command {
	var load func() (config.Config, error)
	cmd := a.localCmd("restore FOLDER [flags]", doc{
		short:   txt("put a backup into an empty data folder", "将备份恢复到空的数据目录"),
		long:    txt("Checks a backup and puts it into the data folder, which must be empty or not\nexist. Then put the master key there, and start the server.", "检查备份并放入数据目录（须为空或不存在）。然后放入主密钥并启动服务。"),
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
			a.note("Now put the master key of that server to %s (mode 0600), then 'hostler serve'.",
				"请将原服务的主密钥放到 %s（权限 0600），然后执行 'hostler serve'。", path)
		}
		return nil
	})
	load = a.configFlags(cmd, "data", "db")
	return cmd
}
