package app

import "hostler.dev/hostler"

// The kinds of object, as errors name them.
var (
	projectKind    = hostler.Text{EN: "project", ZH: "项目"}
	userKind       = hostler.Text{EN: "user", ZH: "用户"}
	roleKind       = hostler.Text{EN: "role", ZH: "角色"}
	keyKind        = hostler.Text{EN: "key", ZH: "密钥"}
	assetKind      = hostler.Text{EN: "asset", ZH: "资产"}
	hostKeyKind    = hostler.Text{EN: "host key", ZH: "主机密钥"}
	credentialKind = hostler.Text{EN: "credential", ZH: "凭据"}
	useKind        = hostler.Text{EN: "use or rule", ZH: "用途或规则"}
	actionKind     = hostler.Text{EN: "action", ZH: "动作"}
	jobKind        = hostler.Text{EN: "job", ZH: "作业"}
	runKind        = hostler.Text{EN: "run", ZH: "批次"}
	alertRuleKind  = hostler.Text{EN: "alert rule", ZH: "告警规则"}
	silenceKind    = hostler.Text{EN: "silence", ZH: "静默"}
	calendarKind   = hostler.Text{EN: "calendar", ZH: "日历"}
	inboundKind    = hostler.Text{EN: "trigger", ZH: "触发器"}
	scheduleKind   = hostler.Text{EN: "schedule", ZH: "计划"}
	stepKind       = hostler.Text{EN: "step", ZH: "步骤"}
	templateKind   = hostler.Text{EN: "template", ZH: "模板"}
	taskKind       = hostler.Text{EN: "task", ZH: "任务"}
	approvalKind   = hostler.Text{EN: "approval", ZH: "审批"}
	webhookKind    = hostler.Text{EN: "webhook", ZH: "回调"}
	channelKind    = hostler.Text{EN: "channel", ZH: "通知渠道"}
	artefactKind   = hostler.Text{EN: "artefact", ZH: "产物"}
	deliveryKind   = hostler.Text{EN: "delivery", ZH: "投递"}
	setAsideKind   = hostler.Text{EN: "events set aside", ZH: "被搁置的事件"}
	holdKind       = hostler.Text{EN: "hold", ZH: "暂停"}
	queueKind      = hostler.Text{EN: "queue", ZH: "队列"}
	laneKind       = hostler.Text{EN: "lane", ZH: "通道"}
	ruleKind       = hostler.Text{EN: "command rule", ZH: "命令规则"}
	workerKind     = hostler.Text{EN: "worker", ZH: "工作节点"}
)
