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
		short: txt("run a server", "运行服务"),
		long: txt(
			"Runs a server with its worker until it gets SIGTERM or SIGINT. Then it takes no\nnew jobs and lets running ones end, for --drain at most; a second signal ends the\nwait. Every flag is also a setting in a YAML file and an environment variable.",
			"运行服务及其工作节点，直至收到 SIGTERM 或 SIGINT；随后不再领取作业，最多等待 --drain 让运行中的作业结束，\n再次收到信号则立即结束等待。每个选项也可写入 YAML 文件或环境变量。"),
		example: "hostler serve\nhostler serve --listen 0.0.0.0:9000 --tls-cert cert.pem --tls-key key.pem\nhostler serve --db postgres://hostler@db.example/hostler",
	}, func(ctx context.Context, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		file, err := clicontext.Path()
		if err != nil {
			file = "" // no home, no file: the command line takes HOSTLER_URL and HOSTLER_KEY
		}
		stop, abort, done := twoSignals(ctx)
		defer done()
		return server.Run(stop, cfg, server.Process{Version: version, Out: a.out, ContextFile: file, Abort: abort})
	})
	load = a.configFlags(cmd)
	return cmd
}

// twoSignals returns a context that the first SIGTERM or SIGINT ends, and a
// channel that the second one closes.
func twoSignals(ctx context.Context) (first context.Context, second <-chan struct{}, done func()) {
	first, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	abort := make(chan struct{})
	over := make(chan struct{})
	go func() {
		for i := range 2 {
			select {
			case <-signals:
			case <-over:
				return
			}
			if i == 0 {
				cancel()
			} else {
				close(abort)
			}
		}
	}()
	return first, abort, func() {
		signal.Stop(signals)
		close(over)
		cancel()
	}
}
