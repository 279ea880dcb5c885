package cli

import (
	"context"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

func (a *app) runCmd() *cobra.Command {
	get := a.cmd("get RUN", doc{
		short:   txt("count the jobs of a run by state", "按状态统计一次执行的作业"),
		long:    txt("Counts the jobs of a run by state. 'hostler job list --run RUN' lists them.", "按状态统计一次执行的作业；'hostler job list --run RUN' 可列出它们。"),
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
		cols := []column[hostler.RunSummary]{
			col("run", "执行", func(r hostler.RunSummary) string { return r.Run.String() }),
			col("total", "总数", func(r hostler.RunSummary) string { return number(r.Total) }),
			col("done", "已结束", func(r hostler.RunSummary) string { return a.yesNo(r.Done) }),
		}
		for _, s := range hostler.States() {
			cols = append(cols, col(string(s), a.state(s), func(r hostler.RunSummary) string { return number(r.States[s]) }))
		}
		return one(a, r, cols)
	})
	return a.group("run", doc{
		short:   txt("see runs: the jobs of one call together", "查看执行：一次调用产生的全部作业"),
		long:    txt("A run holds the jobs that one 'hostler job run' made.", "一次执行包含一条 'hostler job run' 创建的所有作业。"),
		example: "hostler run get run_0001a2b3c4d",
	}, get)
}
