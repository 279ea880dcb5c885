package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// runFlags are what 'job run' is given besides the request's own fields.
type runFlags struct {
	req      hostler.JobRequest
	args     []string
	argsFile string
	onLost   string
	retries  int
	wait     bool
	idem     string
	// webhook is a URL, webhookFile a file with the whole of it.
	webhook, webhookFile string
}

func (a *app) jobRun() *cobra.Command {
	var f runFlags
	cmd := a.cmd("run ACTION [flags]", doc{
		short: txt("make one job, or one per asset", "创建一个作业，或每个资产一个"),
		long: txt(
			"Makes a job of the action; with several assets, or labels, one per asset.\n\nArguments are typed as the action's schema says (see 'hostler action show'):\nkey=value, key=a,b for arrays, key.sub=value for objects, key=@file for a file's\ncontent, key:=json for JSON as it stands.\n\nWith --wait the output is streamed, and the exit code is 0 when all succeeded,\n1 when some did not, 3 when the outcome of some is unknown, 130 on Ctrl-C (the\njobs go on).",
			"创建作业；给出多个资产或标签时，每个资产一个作业。\n\n参数按动作的模式确定类型（参见 'hostler action show'）：key=value；\nkey=a,b 表示数组；key.sub=value 表示对象；key=@file 取文件内容；key:=json 原样 JSON。\n\n带 --wait 时输出实时显示；退出码：0 全部成功，1 有失败，3 有结果未知，\n130 表示按下 Ctrl-C（作业继续运行）。"),
		example: "hostler job run check_port --asset web1 --arg port=22 --wait\nhostler job run ssh_command --label role=web --arg command=uptime --wait\nhostler job run ssh_script --asset web1 --arg script=@fix.sh --timeout 10m",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		f.req.Action = args[0]
		return a.makeJobs(ctx, c, &f)
	})
	a.runFlags(cmd, &f)
	a.complete(cmd, "", actionNames)
	return cmd
}

func (a *app) runFlags(cmd *cobra.Command, f *runFlags) {
	fs := cmd.Flags()
	fs.StringSliceVar(&f.req.Assets, "asset", nil, a.t("names or ids of assets; repeat, or use commas", "资产名称或 ID；可重复或用逗号分隔"))
	fs.Var(pairsFlag{&f.req.Labels}, "label", a.t("every asset with this label; repeat for more", "带此标签的所有资产；可重复"))
	fs.StringArrayVar(&f.args, "arg", nil, a.t("an argument of the action; repeat for more", "动作的参数；可重复"))
	fs.StringVar(&f.argsFile, "args-file", "", a.t("a JSON or YAML file with the arguments; - is standard input", "参数文件（JSON 或 YAML）；- 表示标准输入"))
	fs.StringVar(&f.req.Queue, "queue", "", a.t("queue to wait in", "所用队列"))
	fs.StringVar(&f.req.Lane, "lane", "", a.t("asset, none, or a key of your own (default: the action's)", "通道：asset、none 或自定义键（默认由动作决定）"))
	fs.IntVar(&f.req.Priority, "priority", 0, a.t("1 (first) to 9 (last); default 5", "优先级：1（最先）至 9（最后），默认 5"))
	fs.Var(durationFlag{&f.req.Timeout}, "timeout", a.t("of one attempt, such as 10m; default 5m", "单次尝试的超时，如 10m；默认 5m"))
	fs.IntVar(&f.retries, "retries", 0, a.t("further attempts after a failure", "失败后的重试次数"))
	fs.Var(durationFlag{&f.req.Delay}, "delay", a.t("start no sooner than this from now", "延迟多久后开始"))
	fs.Var(durationFlag{&f.req.TTL}, "ttl", a.t("expire when not started within this span", "超过此时长未开始则过期"))
	fs.StringVar(&f.onLost, "on-lost", "", a.t("retry, fail or ask, when sight of it is lost (default: the action's)", "失联时的处理：retry、fail 或 ask（默认由动作决定）"))
	fs.StringVar(&f.idem, "idempotency-key", "", a.t("the same key never makes the same work twice", "相同的键不会重复创建作业"))
	fs.StringVar(&f.webhook, "webhook", "", a.t("URL that gets a request at the end of each job", "每个作业结束时向此 URL 发送请求"))
	fs.StringVar(&f.webhookFile, "webhook-file", "", a.t("a JSON or YAML file with url, token, secret, headers … of that request; - is standard input", "该请求的文件（JSON 或 YAML：url、token、secret、headers 等）；- 表示标准输入"))
	fs.BoolVar(&f.wait, "wait", false, a.t("stream the output and wait for the end", "实时显示输出并等待结束"))
	a.complete(cmd, "asset", assetNames())
	a.complete(cmd, "queue", queueNames)
	a.complete(cmd, "lane", fixed(hostler.LaneAsset, hostler.LaneNone))
	a.complete(cmd, "on-lost", fixed(string(hostler.OnLostRetry), string(hostler.OnLostFail), string(hostler.OnLostAsk)))
}

func (a *app) makeJobs(ctx context.Context, c *client.Client, f *runFlags) error {
	info, err := c.Action(ctx, f.req.Action)
	if err != nil {
		return err
	}
	base, err := a.argsFile(f.argsFile)
	if err != nil {
		return err
	}
	if f.req.Args, err = buildArgs(base, f.args, info.Schema); err != nil {
		return err
	}
	if f.req.Webhook, err = a.jobWebhook(f.webhook, f.webhookFile); err != nil {
		return err
	}
	f.req.OnLost = hostler.OnLost(f.onLost)
	if f.retries > 0 {
		f.req.MaxAttempts = f.retries + 1
	}
	made, err := c.CreateJobs(ctx, f.req, client.CreateOptions{IdempotencyKey: f.idem})
	if err != nil {
		return err
	}
	if f.wait {
		return a.wait(ctx, c, made)
	}
	if a.output != "table" {
		return a.structured(made)
	}
	return a.sayMade(made)
}

func (a *app) sayMade(made hostler.JobsCreated) error {
	if made.Count == 1 && len(made.Jobs) == 1 {
		_, err := fmt.Fprintln(a.out, made.Jobs[0])
		return err
	}
	a.note("%d jobs; see 'hostler run get %s'", "已创建 %d 个作业；用 'hostler run get %s' 查看", made.Count, made.Run)
	_, err := fmt.Fprintln(a.out, made.Run)
	return err
}

// argsFile reads arguments from a JSON or YAML file.
func (a *app) argsFile(name string) (map[string]any, error) {
	if name == "" {
		return nil, nil
	}
	text, err := a.readFile(name)
	if err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid, "the arguments cannot be read: %v", "无法读取参数：%v", err)
	}
	var args map[string]any
	if err := yaml.Unmarshal(text, &args); err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid, "%s is neither JSON nor YAML: %v", "%s 不是 JSON 或 YAML：%v", name, err)
	}
	return args, nil
}
