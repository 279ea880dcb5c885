package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/server"
)

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
