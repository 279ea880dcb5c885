package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/server"
)

// configFlags binds the server's settings, or only those named, to flags of cmd
// and returns what loads the configuration once they are parsed.
func (a *app) configFlags(cmd *cobra.Command, only ...string) func() (config.Config, error) {
	fs := cmd.Flags()
	file := fs.String("config", "", a.t("a YAML file with settings (HOSTLER_CONFIG)", "设置文件（YAML，HOSTLER_CONFIG）"))
	bound := map[string]bool{}
	for _, s := range config.Settings() {
		name := s.Flag()
		if name == "" || (len(only) > 0 && !slices.Contains(only, name)) {
			continue
		}
		bound[name] = true
		// pflag would take a word in back quotes for the value's name.
		help := strings.ReplaceAll(s.Help.In(a.lang), "`", "")
		if s.Bool {
			fs.Bool(name, false, help)
		} else {
			fs.String(name, s.Default, help)
		}
		fs.Lookup(name).Hidden = s.Hidden
	}
	return func() (config.Config, error) {
		given := map[string]string{}
		fs.Visit(func(f *pflag.Flag) {
			if bound[f.Name] {
				given[f.Name] = f.Value.String()
			}
		})
		return config.Load(config.Source{File: *file, Environ: os.Environ(), Flags: given})
	}
}

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

func (a *app) doctorCmd() *cobra.Command {
	var load func() (config.Config, error)
	cmd := a.localCmd("doctor [flags]", doc{
		short:   txt("check what a server needs, and say what to do", "检查服务所需的条件并给出建议"),
		long:    txt("Checks configuration, data folder, master key, store, disk, clock, address, TLS and\nlimits. It changes nothing; the exit code is 1 when there is a problem.", "检查配置、数据目录、主密钥、存储、磁盘、时钟、监听地址、TLS 和系统限制。不做任何修改；\n存在问题时退出码为 1。"),
		example: "hostler doctor --data /var/lib/hostler\nhostler doctor --config /etc/hostler/hostler.yaml -o json",
	}, func(ctx context.Context, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		return a.sayFindings(server.Doctor(ctx, cfg))
	})
	load = a.configFlags(cmd)
	return cmd
}

func (a *app) sayFindings(found []server.Finding) error {
	err := list(a, found, []column[server.Finding]{
		col("check", "检查项", func(f server.Finding) string { return f.Check }),
		col("level", "级别", func(f server.Finding) string { return a.level(f.Level) }),
		col("found", "结果", func(f server.Finding) string { return f.Text.In(a.lang) }),
		col("what to do", "处理建议", func(f server.Finding) string { return dash(f.Remedy.In(a.lang)) }),
	})
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.Level == server.LevelProblem {
			return &outcomeError{exitNotSucceeded}
		}
	}
	return nil
}

func (a *app) level(l string) string {
	switch l {
	case server.LevelWarning:
		return a.t(l, "注意")
	case server.LevelProblem:
		return a.t(l, "问题")
	}
	return a.t(l, "正常")
}

// localKey makes an admin key by way of the data folder.
func (a *app) localKey(ctx context.Context, load func() (config.Config, error), name, role string) error {
	if role != "" && hostler.Role(role) != hostler.RoleAdmin {
		return hostler.Errorf(hostler.CodeInvalid,
			"--local makes admin keys only; make others with 'hostler key create'", "--local 只能创建 admin 密钥；其他密钥请用 'hostler key create' 创建")
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	secret, err := server.LocalAdminKey(ctx, cfg, name)
	if err != nil {
		return err
	}
	a.note("admin key %s; keep it now, it is not shown again", "管理员密钥 %s；请立即保存，不会再次显示", name)
	_, err = fmt.Fprintln(a.out, secret)
	return err
}
