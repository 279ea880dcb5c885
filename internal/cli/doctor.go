package cli

import (
	"cmp"
	"context"
	"slices"

	"github.com/spf13/cobra"

	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/server"
)

// doctorCmd is 'hostler doctor'. It checks the configuration that the same flags would
// start a server with, and may run while the server does.
func (a *app) doctorCmd() *cobra.Command {
	var load func() (config.Config, error)
	cmd := a.localCmd("doctor [flags]", doc{
		short: txt("check the requirements of a server and suggest fixes",
			"检查服务的运行条件并给出建议"),
		long: txt(`Check configuration, data folder, master key, store, disk, clock, address, TLS,
webhook and limits, and suggest fixes. The database is opened, and the pages of a SQLite
file are checked for damage. It changes nothing. The exit code is 1 when
there is a problem.`,
			`检查配置、数据目录、主密钥、存储、磁盘、时钟、监听地址、TLS、回调和系统限制，并给出建议。
会打开数据库，并检查 SQLite 文件的页是否损坏。
不做任何修改；存在问题时退出码为 1。`),
		example: "hostler doctor --data /var/lib/hostler\nhostler doctor --config /etc/hostler/hostler.yaml -o json",
	}, func(ctx context.Context, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		return a.printFindings(server.Doctor(ctx, cfg))
	})
	load = a.serverFlags(cmd)
	return cmd
}

// printFindings lists the findings; the exit code is 1 when one is a problem.
func (a *app) printFindings(findings []server.Finding) error {
	err := list(a, findings, []column[server.Finding]{
		col("check", "检查项", func(f server.Finding) string { return a.checkName(f.Check) }),
		col("level", "级别", func(f server.Finding) string { return a.checkLevel(f.Level) }),
		col("finding", "结果", func(f server.Finding) string { return f.Text.In(a.lang) }),
		col("what to do", "处理建议", func(f server.Finding) string { return dash(f.Remedy.In(a.lang)) }),
	})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(findings, func(f server.Finding) bool { return f.Level == server.LevelProblem }) {
		return &outcomeError{exitNotSucceeded}
	}
	return nil
}

var chineseChecks = map[string]string{
	"configuration": "配置", "data": "数据目录", "key": "主密钥", "store": "存储", "dispatch": "作业分派", "disk": "磁盘", "clock": "时钟",
	"listen": "监听地址", "tls": "TLS", "limits": "系统限制", "webhook": "回调",
}

func (a *app) checkName(name string) string { return a.t(name, cmp.Or(chineseChecks[name], name)) }

func (a *app) checkLevel(level string) string {
	switch level {
	case server.LevelWarning:
		return a.t(level, "注意")
	case server.LevelProblem:
		return a.t(level, "问题")
	}
	return a.t(level, "正常")
}
