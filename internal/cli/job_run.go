package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// runFlags are the flags of 'job run'.
type runFlags struct {
	req            hostler.JobRequest
	args           []string
	base           map[string]any // args below those
	secrets        []string
	argsFile       string
	onLost         string
	retries        int
	wait           bool
	idempotencyKey string
	// webhook is a URL, webhookFile a file with all fields of a [hostler.JobWebhook].
	webhook, webhookFile string
	override             hostler.RuleOverride
	then                 followUpFlags
	rollout              rolloutFlags
	overrideCalendar     string
}

// jobRun is 'hostler job run'.
func (a *app) jobRun() *cobra.Command {
	var f runFlags
	cmd := a.cmd("run ACTION [flags]", doc{
		short: txt("run an action on one or more assets", "在一个或多个资产上执行动作"),
		long: txt(`Create a job for the action; with several assets, or labels, one job per asset.

The action's schema defines the types of its arguments; see 'hostler action show'.
Write key=value; key=a,b for an array; key.sub=value for an object; key=@file for the
content of a file; key:=json for JSON.

With --wait, the command streams the output and waits for the result. The exit code
is 0 when all jobs succeeded, 1 when some did not, 3 when the outcome of some is
unknown, and 130 on Ctrl-C (the jobs keep running).`,
			`创建作业；给出多个资产或标签时，每个资产一个作业。

参数类型由动作的模式决定，参见 'hostler action show'。写法：key=value；key=a,b 表示数组；
key.sub=value 表示对象；key=@file 取文件内容；key:=json 为 JSON。

带 --wait 时实时显示输出并等待结果。退出码：0 全部成功，1 有作业未成功，3 有作业结果未知，
130 表示按下 Ctrl-C（作业继续运行）。`),
		example: `hostler job run check_port --asset web1 --arg port=22 --wait
hostler job run ssh_command --label role=web --arg command=uptime --wait
hostler job run ssh_script --asset web1 --arg script=@fix.sh --timeout 10m
hostler job run service --label role=web --arg name=nginx --arg state=restarted --canary 1 --batch 10% --wait`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		f.req.Action = args[0]
		return a.createJobs(ctx, c, &f)
	})
	a.runTargetFlags(cmd, &f)
	a.runScheduleFlags(cmd, &f)
	a.overrideFlags(cmd, &f.override)
	a.rolloutFlags(cmd, &f.rollout)
	a.calendarOverrideFlag(cmd.Flags(), &f.overrideCalendar)
	a.followUpFlags(cmd, &f.then)
	a.complete(cmd, "", actionNames)
	return cmd
}

// runTargetFlags add what runs where, and what happens with the result.
func (a *app) runTargetFlags(cmd *cobra.Command, f *runFlags) {
	fs := cmd.Flags()
	fs.StringSliceVar(&f.req.Assets, "asset", nil,
		a.t("names or ids of assets; may be repeated, or separated by commas",
			"资产名称或 ID；可重复或用逗号分隔"))
	a.selectorFlag(cmd, &f.req.Selector)
	fs.StringArrayVar(&f.secrets, "secret", nil, a.t("argument from a credential, such as env.PW=credential:db; may be repeated",
		"取自凭据的参数，例如 env.PW=credential:db；可重复"))
	fs.StringArrayVar(&f.args, "arg", nil, a.t("argument of the action; may be repeated",
		"动作的参数；可重复"))
	fs.StringVar(&f.argsFile, "args-file", "",
		a.t("JSON or YAML file with arguments; - is standard input",
			"参数文件（JSON 或 YAML）；- 表示标准输入"))
	fs.StringVar(&f.idempotencyKey, "idempotency-key", "",
		a.t("a repeated call with the same key creates no new jobs",
			"以相同的键重复调用不会再次创建作业"))
	fs.StringVar(&f.webhook, "webhook", "",
		a.t("send a request to this URL when each job ends", "每个作业结束时向此 URL 发送请求"))
	fs.StringVar(&f.webhookFile, "webhook-file", "",
		a.t("JSON or YAML file with url, token, secret, headers … of that request; - is standard input",
			"该请求的文件（JSON 或 YAML：url、token、secret、headers 等）；- 表示标准输入"))
	fs.BoolVar(&f.wait, "wait", false, a.t("stream the output and wait for the result",
		"实时显示输出并等待结果"))
	a.complete(cmd, "asset", assetNames())
}

// runScheduleFlags add when and how often jobs run.
func (a *app) runScheduleFlags(cmd *cobra.Command, f *runFlags) {
	fs := cmd.Flags()
	fs.StringVar(&f.req.Queue, "queue", "", a.t("queue to wait in", "所用队列"))
	fs.StringVar(&f.req.Lane, "lane", "",
		a.t("asset, none, or a key of your own (default: the action's)",
			"通道：asset、none 或自定义键（默认由动作决定）"))
	fs.IntVar(&f.req.Priority, "priority", 0, a.t("1 (first) to 9 (last); default 5",
		"优先级：1（最先）至 9（最后），默认 5"))
	fs.Var(durationFlag{&f.req.Timeout}, "timeout",
		a.t("timeout of one attempt, such as 10m; default 5m", "单次尝试的超时，如 10m；默认 5m"))
	fs.IntVar(&f.retries, "retries", 0, a.t("how often to retry after a failure", "失败后的重试次数"))
	fs.Var(durationFlag{&f.req.Delay}, "delay", a.t("wait this long before the start", "延迟多久后开始"))
	fs.Var(durationFlag{&f.req.TTL}, "ttl",
		a.t("expire when not started within this time", "超过此时长未开始则过期"))
	fs.StringVar(&f.onLost, "on-lost", "",
		a.t("when the connection or the worker is lost: retry, fail or ask (default: the action's)",
			"连接或工作节点丢失时：retry、fail 或 ask（默认由动作决定）"))
	a.complete(cmd, "queue", queueNames)
	a.complete(cmd, "lane", fixed(hostler.LaneAsset, hostler.LaneNone))
	a.complete(cmd, "on-lost",
		fixed(string(hostler.OnLostRetry), string(hostler.OnLostFail), string(hostler.OnLostAsk)))
}

// completeRequest sets what flags of a request mean. The schema of the action defines the
// types of --arg.
func (a *app) completeRequest(ctx context.Context, c *client.Client, f *runFlags) error {
	base, err := addSecrets(f.base, f.secrets)
	if err != nil {
		return err
	}
	if len(f.args) > 0 || !isProgram(f.req.Action) {
		info, err := c.Action(ctx, f.req.Action)
		if err != nil {
			return noAction(ctx, c, f.req.Action, err)
		}
		f.req.Args, err = buildArgs(base, f.args, info.Schema)
		if err != nil {
			return err
		}
	} else if f.req.Args, err = json.Marshal(base); err != nil {
		return err
	}
	if f.req.Webhook, err = a.jobWebhook(f.webhook, f.webhookFile); err != nil {
		return err
	}
	f.req.OverrideCalendar, f.req.Then = calendarOverride(f.overrideCalendar), f.then.list()
	f.req.OnLost, f.req.OverrideRule = hostler.OnLost(f.onLost), overrideOf(f.override)
	if f.req.Rollout, err = f.rollout.rollout(); err != nil {
		return err
	}
	if f.retries > 0 {
		f.req.MaxAttempts = f.retries + 1
	}
	return nil
}

// noAction adds the names of actions that a misspelled one may mean to its error.
func noAction(ctx context.Context, c *client.Client, name string, err error) error {
	e, ok := errors.AsType[*hostler.Error](err)
	if !ok || e.Code != hostler.CodeNotFound {
		return err
	}
	known, listErr := actionNames(ctx, c)
	if listErr != nil {
		return err
	}
	en, zh := didYouMean(name, known)
	cp := *e
	cp.Text.EN, cp.Text.ZH = e.Text.EN+en, e.Text.ZH+zh
	return &cp
}

func (a *app) createJobs(ctx context.Context, c *client.Client, f *runFlags) (err error) {
	if f.base, err = a.readArgsFile(f.argsFile); err != nil {
		return err
	}
	if err := a.completeRequest(ctx, c, f); err != nil {
		return err
	}
	created, err := c.CreateJobs(ctx, f.req, client.CreateOptions{IdempotencyKey: f.idempotencyKey})
	if err != nil {
		return err
	}
	switch {
	case f.wait && f.req.Rollout != nil:
		return a.waitRun(ctx, c, created.Run)
	case f.wait:
		return a.wait(ctx, c, created)
	case a.output != "table":
		return a.structured(created)
	}
	return a.printCreated(created)
}

// printCreated prints the id of the job, or of the run when there are several, so
// that $(hostler job run …) is the id.
func (a *app) printCreated(created hostler.JobsCreated) error {
	if id, ok := singleJob(created); ok {
		_, err := fmt.Fprintln(a.out, id)
		return err
	}
	a.note("created %d jobs; see 'hostler run get %s'", "已创建 %d 个作业；用 'hostler run get %s' 查看",
		created.Count, created.Run)
	_, err := fmt.Fprintln(a.out, created.Run)
	return err
}

// singleJob returns the job when only one was created.
func singleJob(created hostler.JobsCreated) (hostler.JobID, bool) {
	if created.Count == 1 && len(created.Jobs) == 1 {
		return created.Jobs[0], true
	}
	return 0, false
}

// readArgsFile reads arguments from a JSON or YAML file.
func (a *app) readArgsFile(name string) (map[string]any, error) {
	if name == "" {
		return nil, nil
	}
	text, err := a.readSmallFile(name)
	if err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid, "cannot read the arguments: %v", "无法读取参数：%v", err)
	}
	var args map[string]any
	if err := yaml.Unmarshal(text, &args); err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"%s is neither JSON nor YAML: %v", "%s 不是 JSON 或 YAML：%v", name, err)
	}
	return args, nil
}
