package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/bench"
)

// benchCmd is 'hostler bench'. It runs an engine and a worker of its own and needs no
// server.
func (a *app) benchCmd() *cobra.Command {
	var o bench.Options
	var cpuProfile string
	cmd := a.localCmd("bench [flags]", doc{
		short: txt("measure the engine on this machine", "在本机测量引擎性能"),
		long: txt(`Measure the durable lifecycle of jobs that do nothing (enqueue, lease, finish, move to
history) through the real engine and worker, with and without lanes. Bare SQL on the
same database, in the same run, shows the ceiling. The time from enqueue to start is
measured at half load.

Without --db, the command uses a temporary SQLite file. A PostgreSQL database must be
empty; the history of the jobs stays in it.`,
			`通过真实的引擎和工作节点测量空作业的持久化全流程（入队、领取、完成、转入历史），
包含有通道和无通道的情况。同一次运行中以裸 SQL 操作同一数据库，作为性能上限。
入队到开始的时间在半负载下测得。

不指定 --db 时使用临时 SQLite 文件。PostgreSQL 数据库须为空，测试后会留下作业历史。`),
		example: "hostler bench\nhostler bench --db postgres://bench@localhost/bench --rounds 5 -o json",
	}, func(ctx context.Context, _ []string) error {
		o.Progress = func(what hostler.Text) { a.note("%s", "%s", a.t(what.EN, what.ZH)) }
		var r bench.Report
		err := profiled(cpuProfile, func() (err error) {
			r, err = bench.Run(ctx, o)
			return err
		})
		if err != nil {
			return err
		}
		if a.output != "table" {
			return a.structured(r)
		}
		a.note("%s · %s · %s", "%s · %s · %s", r.Store, r.Durability, r.Machine)
		a.note("%d jobs with 200 bytes of arguments, %d slots, median of %d rounds",
			"%d 个作业（参数 200 字节），%d 并发，%d 轮取中位数", r.Jobs, r.Slots, r.Rounds)
		return list(a, r.Rows, a.benchColumns())
	})
	fs := cmd.Flags()
	fs.StringVar(&o.DB, "db", "", a.t("empty database: sqlite:PATH or postgres://…",
		"空数据库：sqlite:路径 或 postgres://…"))
	fs.IntVar(&o.Jobs, "jobs", 50_000, a.t("jobs per scenario", "每个场景的作业数"))
	fs.IntVar(&o.Slots, "slots", 1000, a.t("slots of the worker", "工作节点并发数"))
	fs.IntSliceVar(&o.Lanes, "lanes", []int{0, 500, 50_000},
		a.t("numbers of lanes, one scenario each", "每个通道数对应一个场景"))
	fs.IntVar(&o.Rounds, "rounds", 3, a.t("rounds; the median is reported", "轮数，取中位数"))
	fs.IntVar(&o.Batch, "batch", 100, a.t("jobs per enqueue", "每次入队的作业数"))
	fs.DurationVar(&o.Work, "work", 0, a.t("duration of each job, such as 5ms",
		"每个作业的执行时长，如 5ms"))
	fs.DurationVar(&o.Steady, "steady", 3*time.Second, a.t("duration of the half load", "半负载运行时长"))
	fs.StringVar(&cpuProfile, "cpuprofile", "", a.t("write a CPU profile to this file, for 'go tool pprof'",
		"将 CPU 性能剖析写入此文件，供 'go tool pprof' 使用"))
	return cmd
}

// profiled runs fn, and writes a CPU profile of it to a file unless the path is empty.
func profiled(path string, fn func() error) (err error) {
	if path == "" {
		return fn()
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return fn()
}

func (a *app) benchColumns() []column[bench.Row] {
	num := func(en, zh, format string, of func(bench.Row) float64) column[bench.Row] {
		return col(en, zh, func(r bench.Row) string { return fmt.Sprintf(format, of(r)) })
	}
	ms := func(v float64) string {
		if v == 0 {
			return dash("")
		}
		return hostler.Duration(time.Duration(v * float64(time.Millisecond)).Round(10 * time.Microsecond)).String()
	}
	return []column[bench.Row]{
		col("scenario", "场景", func(r bench.Row) string { return a.t(r.Title.EN, r.Title.ZH) }),
		num("jobs/s", "作业/秒", "%.0f", func(r bench.Row) float64 { return r.JobsPerS }),
		col("spread", "范围", func(r bench.Row) string { return fmt.Sprintf("%.0f–%.0f", r.Min, r.Max) }),
		num("of ceiling", "占上限", "%.0f%%", func(r bench.Row) float64 { return r.Share * 100 }),
		num("cpu µs/job", "CPU µs/作业", "%.1f", func(r bench.Row) float64 { return r.CPUMicros }),
		num("wal bytes/job", "WAL 字节/作业", "%.0f", func(r bench.Row) float64 { return r.WALBytes }),
		col("start p50", "开始 p50", func(r bench.Row) string { return ms(r.StartP50) }),
		col("start p99", "开始 p99", func(r bench.Row) string { return ms(r.StartP99) }),
	}
}
