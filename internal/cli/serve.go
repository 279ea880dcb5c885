package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"hostler.dev/hostler/internal/clicontext"
	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/server"
)

// serveCmd is 'hostler serve', the only command that runs a server. The wiring is in
// package server.
func (a *app) serveCmd() *cobra.Command {
	var load func() (config.Config, error)
	var hold bool
	cmd := a.localCmd("serve [flags]", doc{
		short: txt("start a server", "启动服务"),
		long: txt(`Start a server with a worker of its own. Without flags it stores everything in ./data
and listens on 127.0.0.1:9000. On the first start it prints an admin key, once. The
commands of the same user on this machine find the server automatically.

On SIGTERM or Ctrl-C, the server waits for running jobs to finish, at most for the
drain time. A second signal ends the wait.

With --hold no job starts until 'hostler dispatch release', as after a restore: use it
for a clone of a PostgreSQL database from a physical backup, which is not recognized.

Every flag can also be set as an environment variable (--log-level is
HOSTLER_LOG_LEVEL) or as a key of the --config file (log_level).`,
			`启动服务及其内置工作节点。不带选项时数据保存在 ./data，监听 127.0.0.1:9000。
首次启动时打印一次管理员密钥；本机同一用户的命令会自动找到该服务。

收到 SIGTERM 或 Ctrl-C 后，服务在 drain 时间内等待运行中的作业结束；第二次信号立即结束等待。

使用 --hold 时，在执行 'hostler dispatch release' 之前不启动任何作业，与恢复备份后相同。
由物理备份克隆的 PostgreSQL 数据库无法自动识别，请使用此选项。

每个选项也可以用环境变量（--log-level 即 HOSTLER_LOG_LEVEL）或 --config 文件中的键（log_level）设置。`),
		example: `hostler serve
hostler serve --config /etc/hostler/hostler.yaml
hostler serve --db postgres://hostler@db.example.com/hostler --listen 0.0.0.0:9000 --tls-cert tls.crt --tls-key tls.key`,
	}, func(ctx context.Context, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		file, err := clicontext.Path()
		if err != nil {
			file = "" // a service account without a home needs no context
		}
		ctx, abort := untilSignals(ctx)
		return server.Run(ctx, cfg, server.Process{
			Version: version, Out: a.out, ContextFile: file, Hold: hold, Abort: abort,
		})
	})
	load = a.serverFlags(cmd)
	cmd.Flags().BoolVar(&hold, "hold", false, a.t("start no job until 'hostler dispatch release'",
		"在执行 'hostler dispatch release' 之前不启动任何作业"))
	return cmd
}

// untilSignals returns a context that is cancelled at the first SIGTERM or
// interrupt, and a channel that is closed at the second. The third terminates the
// process.
func untilSignals(parent context.Context) (context.Context, <-chan struct{}) {
	// Main cancels the parent at an interrupt: the first one would count twice.
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	abort := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		close(abort)
		signal.Stop(signals)
	}()
	return ctx, abort
}
