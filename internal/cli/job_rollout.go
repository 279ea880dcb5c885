package cli

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
)

// rolloutFlags say on how many hosts at a time jobs start. The server starts them.
type rolloutFlags struct {
	parallel  int
	canary    string
	batch     []string
	stopAfter int
	pause     hostler.Duration
}

func (a *app) rolloutFlags(cmd *cobra.Command, f *rolloutFlags) {
	fs := cmd.Flags()
	fs.IntVar(&f.parallel, "parallel", 0, a.t("on at most this many hosts at once", "同时最多在多少台主机上执行"))
	fs.StringVar(&f.canary, "canary", "", a.t("first on this many hosts, such as 1 or 5%; the others follow when all succeeded",
		"先在若干台主机上执行，如 1 或 5%；全部成功后再执行其余"))
	fs.StringSliceVar(&f.batch, "batch", nil, a.t("in waves of this many hosts, such as 1,25%,100%; the last is repeated",
		"分批执行，如 1,25%,100%；最后一个数重复使用"))
	fs.IntVar(&f.stopAfter, "stop-after", 0, a.t("start no further host after this many failures (default: 1 with waves, none without)",
		"失败达到此数后不再启动其他主机（默认：分批时为 1，否则不限）"))
	fs.Var(durationFlag{&f.pause}, "pause", a.t("pause this long between waves", "每批之间暂停的时长"))
}

// rollout returns the rollout of the flags; nil without any.
func (f *rolloutFlags) rollout() (*hostler.Rollout, error) {
	sizes := f.batch
	if f.canary != "" {
		sizes = append([]string{f.canary}, sizes...)
		if len(f.batch) == 0 {
			sizes = append(sizes, "100%")
		}
	}
	if len(sizes) == 0 && f.parallel == 0 && f.stopAfter == 0 && f.pause == 0 {
		return nil, nil //nolint:nilnil // all jobs start at once
	}
	r := &hostler.Rollout{Parallel: f.parallel, PauseBetween: f.pause}
	for _, s := range sizes {
		amount, err := amountOf(s)
		if err != nil {
			return nil, err
		}
		r.Batch = append(r.Batch, amount)
	}
	switch {
	case f.stopAfter > 0:
		r.MaxFailures.N = f.stopAfter - 1
	case len(sizes) == 0:
		r.MaxFailures = hostler.Amount{N: 100, Percent: true}
	}
	return r, nil
}

// amountOf reads a number, or a part such as 25%.
func amountOf(s string) (hostler.Amount, error) {
	digits, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || percent && n > 100 {
		return hostler.Amount{}, hostler.Errorf(hostler.CodeInvalid, "%q is no number of hosts: write 5, or 25%% for a part",
			"%q 不是主机数：请写 5，或用 25%% 表示比例", s)
	}
	return hostler.Amount{N: n, Percent: percent}, nil
}
