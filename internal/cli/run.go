package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

func (a *app) runCmd() *cobra.Command {
	return a.group("run", doc{
		short: txt("show runs: the jobs of one call together", "查看批次：一次调用产生的全部作业"),
		long: txt("Show runs. A run is the set of jobs that one 'hostler job run' created.",
			"查看批次。批次是一条 'hostler job run' 创建的所有作业。"),
		example: "hostler run get run_0001a2b3c4d",
	}, a.runGet())
}

func (a *app) runGet() *cobra.Command {
	return a.cmd("get RUN", doc{
		short: txt("count the jobs of a run by state", "按状态统计一个批次的作业"),
		long: txt("Count the jobs of a run by state. To list them, use 'hostler job list --run RUN'.",
			"按状态统计一个批次的作业。用 'hostler job list --run 批次' 列出它们。"),
		example: "hostler run get run_0001a2b3c4d",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		var id hostler.RunID
		if err := id.UnmarshalText([]byte(args[0])); err != nil {
			return err
		}
		r, err := c.Run(ctx, id)
		if err != nil {
			return err
		}
		return one(a, r, a.runColumns())
	})
}

// runColumns have a column per state; empty ones are not shown.
func (a *app) runColumns() []column[hostler.RunSummary] {
	cols := []column[hostler.RunSummary]{
		col("run", "批次", func(r hostler.RunSummary) string { return r.Run.String() }),
		col("total", "总数", func(r hostler.RunSummary) string { return number(r.Total) }),
		col("done", "已结束", func(r hostler.RunSummary) string { return a.yesNo(r.Done) }),
	}
	for _, s := range hostler.States() {
		cols = append(cols,
			col(string(s), a.state(s), func(r hostler.RunSummary) string { return number(r.States[s]) }))
	}
	return cols
}
