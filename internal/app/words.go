package app

import "hostler.dev/hostler"

// The glossary's words for what may not be found.
var (
	projectWord    = hostler.Text{EN: "project", ZH: "项目"}
	userWord       = hostler.Text{EN: "user", ZH: "用户"}
	keyWord        = hostler.Text{EN: "key", ZH: "密钥"}
	assetWord      = hostler.Text{EN: "asset", ZH: "资产"}
	hostKeyWord    = hostler.Text{EN: "host key", ZH: "主机密钥"}
	credentialWord = hostler.Text{EN: "credential", ZH: "凭据"}
	actionWord     = hostler.Text{EN: "action", ZH: "动作"}
	jobWord        = hostler.Text{EN: "job", ZH: "作业"}
	runWord        = hostler.Text{EN: "run", ZH: "执行"}
	webhookWord    = hostler.Text{EN: "webhook", ZH: "回调"}
	deliveryWord   = hostler.Text{EN: "delivery", ZH: "投递"}
	queueWord      = hostler.Text{EN: "queue", ZH: "队列"}
	workerWord     = hostler.Text{EN: "worker", ZH: "工作节点"}
)
