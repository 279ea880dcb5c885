package main

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"golang.org/x/sync/errgroup"
)

// redis is a temporary redis-server with an append-only file.
type redis struct {
	dir, socket string
	cmd         *exec.Cmd
}

// startRedis starts a redis-server; fsync is its appendfsync.
func startRedis(ctx context.Context, fsync string) (*redis, error) {
	dir, err := os.MkdirTemp("", "hostler-bench-redis-")
	if err != nil {
		return nil, err
	}
	r := &redis{dir: dir, socket: filepath.Join(dir, "redis.sock")}
	r.cmd = exec.CommandContext(ctx, "redis-server", "--port", "0", "--unixsocket", r.socket, "--dir", dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", fsync)
	if err := r.cmd.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	for range 500 {
		if out, err := r.cli(ctx, "ping"); err == nil && strings.HasPrefix(out, "PONG") {
			return r, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.stop()
	return nil, fmt.Errorf("redis-server did not answer within 5 s")
}

func (r *redis) cli(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "redis-cli", append([]string{"-s", r.socket}, args...)...).Output()
	return string(out), err
}

func (r *redis) stop() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	_ = os.RemoveAll(r.dir)
}

// asynqRound measures Asynq: 64 goroutines enqueue, since it has no enqueue of many, while
// 100 work. Ended tasks are deleted, as is its default. It returns tasks per second.
func asynqRound(fsync string) func(ctx context.Context, jobs int) (float64, error) {
	return func(ctx context.Context, jobs int) (float64, error) {
		r, err := startRedis(ctx, fsync)
		if err != nil {
			return 0, err
		}
		defer r.stop()
		opt := asynq.RedisClientOpt{Network: "unix", Addr: r.socket, PoolSize: 200}
		server := asynq.NewServer(opt, asynq.Config{
			Concurrency: 100, TaskCheckInterval: 2 * time.Millisecond, LogLevel: asynq.FatalLevel,
		})
		var ended atomic.Int64
		err = server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
			ended.Add(1)
			return nil
		}))
		if err != nil {
			return 0, err
		}
		defer server.Shutdown()
		start := time.Now()
		if err := enqueueAsynq(ctx, opt, jobs); err != nil {
			return 0, err
		}
		inspector := asynq.NewInspector(opt)
		defer func() { _ = inspector.Close() }()
		for {
			// A handler ends before its task does.
			info, err := inspector.GetQueueInfo("default")
			if err != nil {
				return 0, err
			}
			if ended.Load() >= int64(jobs) && info.Active+info.Pending == 0 {
				return float64(jobs) / time.Since(start).Seconds(), nil
			}
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-time.After(2 * time.Millisecond):
			}
		}
	}
}

func enqueueAsynq(ctx context.Context, opt asynq.RedisClientOpt, jobs int) error {
	client := asynq.NewClient(opt)
	defer func() { _ = client.Close() }()
	payload := []byte(`{"pad":"` + strings.Repeat("x", 190) + `"}`)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for range jobs {
		g.Go(func() error {
			_, err := client.EnqueueContext(ctx, asynq.NewTask("noop", payload))
			return err
		})
	}
	return g.Wait()
}

//go:embed peers.py
var peersScript []byte

// pythonRound measures a queue of Python, celery or rq, with the fsync of Redis: see
// peers.py. It returns jobs per second.
func pythonRound(python, which, fsync string) func(ctx context.Context, jobs int) (float64, error) {
	return func(ctx context.Context, jobs int) (float64, error) {
		r, err := startRedis(ctx, fsync)
		if err != nil {
			return 0, err
		}
		defer r.stop()
		script := filepath.Join(r.dir, "peers.py")
		if err := os.WriteFile(script, peersScript, 0o600); err != nil {
			return 0, err
		}
		cmd := exec.CommandContext(ctx, python, script, which, r.socket, strconv.Itoa(jobs))
		cmd.Dir, cmd.Stderr = r.dir, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", which, err)
		}
		return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	}
}

// hasPython reports whether a Python has the peers.
func hasPython(ctx context.Context, python string) bool {
	err := exec.CommandContext(ctx, python, "-c", "import celery, rq").Run()
	if err != nil {
		slog.Warn("Celery and RQ are left out: no Python with them; see -python", "err", err)
	}
	return err == nil
}
