package cli

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
)

// followUpFlags are the flags for what follows a run.
type followUpFlags struct {
	success, failure, change, webhooks []string
}

func (a *app) followUpFlags(cmd *cobra.Command, f *followUpFlags) {
	fs := cmd.Flags()
	fs.StringSliceVar(&f.success, "on-success", nil,
		a.t("task to run after a success, or schedule:NAME; may be repeated", "成功后执行的任务，或 schedule:名称；可重复"))
	fs.StringSliceVar(&f.failure, "on-failure", nil,
		a.t("task to run after a failure, or schedule:NAME; may be repeated", "失败后执行的任务，或 schedule:名称；可重复"))
	fs.StringSliceVar(&f.change, "on-change", nil,
		a.t("task to run when the output has changed, or schedule:NAME; may be repeated", "输出变化后执行的任务，或 schedule:名称；可重复"))
	fs.StringSliceVar(&f.webhooks, "callback", nil,
		a.t("webhook that gets the result; may be repeated", "接收结果的 Webhook；可重复"))
	a.complete(cmd, "on-success", taskNames())
	a.complete(cmd, "on-failure", taskNames())
	a.complete(cmd, "on-change", taskNames())
	a.complete(cmd, "callback", webhookNames())
}

// followUpText names what follows a run.
func followUpText(then []hostler.FollowUp) string {
	var out []string
	for _, u := range then {
		what := cmp.Or(u.Task, u.Webhook)
		if u.Schedule != "" {
			what = "schedule:" + u.Schedule
		}
		out = append(out, string(u.On)+": "+what)
	}
	return strings.Join(out, ", ")
}

// list is what the flags say.
func (f *followUpFlags) list() (out []hostler.FollowUp) {
	for _, follow := range []struct {
		on    hostler.FollowOn
		names []string
	}{{hostler.FollowSuccess, f.success}, {hostler.FollowFailure, f.failure}, {hostler.FollowChange, f.change}} {
		for _, name := range follow.names {
			u := hostler.FollowUp{On: follow.on, Task: name}
			if schedule, ok := strings.CutPrefix(name, "schedule:"); ok {
				u.Task, u.Schedule = "", schedule
			}
			out = append(out, u)
		}
	}
	for _, name := range f.webhooks {
		out = append(out, hostler.FollowUp{On: hostler.FollowEnd, Webhook: name})
	}
	return out
}
