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

func (a *app) serveCmd() *cobra.Command {
	var load func() (config.Config, error)
	cmd := a.localCmd("serve [flags]", doc{
		short: txt("start a server", "启动服务"),
		long: txt(
			"Starts a server with its own worker. Without flags it keeps everything in ./data\nand serves at 127.0.0.1:9000. On the first start it prints an admin key, once; the\ncommands of the same user on this machine find the server by themselves.\n\nSIGTERM or Ctrl-C lets running jobs finish for the drain time; a second one ends\nthe wait.\n\nEvery flag is also an environment variable (--log-level is HOSTLER_LOG_LEVEL) and a\nkey of the file that --config names (log_level).",
			"启动服务及其内置工作节点。不带选项时数据保存在 ./data，监听 127.0.0.1:9000。首次启动时打印一次管理员密钥；\n本机同一用户的命令会自动找到该服务。\n\nSIGTERM 或 Ctrl-C 会在 drain 时间内等待运行中的作业结束；第二次则立即结束等待。\n\n每个选项也可以是环境变量（--log-level 即 HOSTLER_LOG_LEVEL）或 --config 所指文件中的键（log_level）。"),
		example: "hostler serve\nhostler serve --config /etc/hostler/hostler.yaml\nhostler serve --db postgres://hostler@db.example.com/hostler --listen 0.0.0.0:9000 --tls-cert tls.crt --tls-key tls.key",
	}, func(ctx context.Context, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		file, err := clicontext.Path()
		if err != nil {
			file = "" // a service without a home serves all the same
		}
		ctx, abort := untilSignals(ctx)
		return server.Run(ctx, cfg, server.Process{Version: version, Out: a.out, ContextFile: file, Abort: abort})
	})
	load = a.configFlags(cmd)
	return cmd
}

// untilSignals returns a context that ends at the first SIGTERM or interrupt,
// and a channel that is closed at the second; the third ends the process.
func untilSignals(parent context.Context) (context.Context, <-chan struct{}) {
	// The parent ends at an interrupt, too: it would count the first one twice.
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
