package config

import (
	"net/netip"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// Setting is one thing that can be configured.
type Setting struct {
	Key     string // in the YAML file
	Default string // as written; "" when Help describes it
	Help    hostler.Text
	EnvOnly bool // secrets: neither in the file nor as a flag
	NoFlag  bool // may hold a secret: every user of the machine can read flags
	Bool    bool // the flag needs no value
	Hidden  bool // for development; not in the documents

	value // how the text becomes a field of Config
}

// Env is the setting's environment variable.
func (s Setting) Env() string { return envPrefix + strings.ToUpper(s.Key) }

// Flag is the setting's name on the command line, without dashes; "" for none.
func (s Setting) Flag() string {
	if s.EnvOnly || s.NoFlag {
		return ""
	}
	return strings.ReplaceAll(s.Key, "_", "-")
}

// Limits of the settings.
const (
	maxSlots       = 10_000
	maxConnections = 100_000
	minRetention   = time.Hour
	// minAuditRetention leaves time to look at the audit before it is archived.
	minAuditRetention = 24 * time.Hour
	minSize           = 1 << 10
	maxRetries        = 30
	maxRetryDelay     = 7 * 24 * time.Hour
)

// Settings lists every setting in the order of the documents.
func Settings() []Setting {
	var all []Setting
	for _, group := range [][]Setting{serverSettings(), jobSettings(), webhookSettings(), processSettings()} {
		all = append(all, group...)
	}
	return all
}

// serverSettings are about where the server listens, and where its data is.
func serverSettings() []Setting {
	return []Setting{
		{
			Key: "listen", Default: "127.0.0.1:9000",
			Help:  txt("Address and port to serve on.", "监听的地址和端口。"),
			value: textOf(func(c *Config) *string { return &c.Listen }, checkListen),
		},
		{
			Key: "data", Default: "./data",
			Help: txt("Folder for the embedded database, job output and the master key file.",
				"存放内置数据库、作业输出和主密钥文件的目录。"),
			value: textOf(func(c *Config) *string { return &c.Data }, notEmpty),
		},
		{
			Key: "db",
			Help: txt("Database: `sqlite:PATH` (default `sqlite:<data>/hostler.db`) or `postgres://user@host/name`. "+
				"A password belongs into the environment or the file; `--db` refuses one, because every user of the "+
				"machine sees the command line.",
				"数据库：`sqlite:路径`（默认 `sqlite:<data>/hostler.db`）或 `postgres://user@host/name`。"+
					"密码应放在环境变量或文件中；`--db` 拒绝密码，因为本机所有用户都能看到命令行。"),
			value: database(func(c *Config) *string { return &c.DB }),
		},
		{
			Key: "slots", Default: "64",
			Help: txt("Jobs that the server's own worker runs at once; 0 starts no worker.",
				"服务器内置工作节点同时运行的作业数；0 表示不启动工作节点。"),
			value: count(func(c *Config) *int { return &c.Slots }, 0, maxSlots),
		},
		{
			Key: "tls_cert",
			Help: txt("PEM file with the server's certificate chain; together with `tls_key` it enables TLS. "+
				"Changed files are read without a restart, on SIGHUP at once.",
				"服务器证书链的 PEM 文件；与 `tls_key` 一起设置后启用 TLS。文件更新后无需重启即会生效，SIGHUP 可立即生效。"),
			value: textOf(func(c *Config) *string { return &c.TLSCert }),
		},
		{
			Key:   "tls_key",
			Help:  txt("PEM file with the private key of `tls_cert`.", "`tls_cert` 对应私钥的 PEM 文件。"),
			value: textOf(func(c *Config) *string { return &c.TLSKey }),
		},
		{
			Key: "drain", Default: "60s",
			Help: txt("How long running jobs may continue after SIGTERM.",
				"收到 SIGTERM 后运行中的作业还可继续的时间。"),
			value: duration(func(c *Config) *time.Duration { return &c.Drain }, 0),
		},
		{
			Key: "log_level", Default: "info",
			Help:  txt("`debug`, `info`, `warn` or `error`.", "`debug`、`info`、`warn` 或 `error`。"),
			value: logLevel(),
		},
		{
			Key: "log_format", Default: "text",
			Help: txt("`text` for people or `json` for programs.",
				"`text` 便于阅读，`json` 便于程序处理。"),
			value: oneOf(func(c *Config) *string { return &c.LogFormat }, "text", "json"),
		},
		{
			Key: "public_url",
			Help: txt("Address of the server as people reach it, such as `https://hostler.example.com`; "+
				"notices of approvals link to it. Without it they have no link.",
				"人员访问本服务的地址，如 `https://hostler.example.com`；审批通知中的链接使用它。未设置时通知不含链接。"),
			value: textOf(func(c *Config) *string { return &c.PublicURL }, checkPublicURL),
		},
		{
			Key: "trusted_proxies",
			Help: txt("CIDRs of the proxies whose `forwarded_header` is trusted; from other addresses it is ignored.",
				"其 `forwarded_header` 可信的代理网段（CIDR）；其他来源的该头会被忽略。"),
			value: prefixes(func(c *Config) *[]netip.Prefix { return &c.TrustedProxies }),
		},
		{
			Key: "forwarded_header", Default: ForwardedForHeader,
			Help: txt("The one header in which the trusted proxies write the address of the client: `x-forwarded-for`, "+
				"`forwarded` or `x-real-ip`. Others are ignored: clients can send them through a proxy.",
				"可信代理写入客户端地址的唯一请求头：`x-forwarded-for`、`forwarded` 或 `x-real-ip`。其他头会被忽略，因为客户端可以经代理自行发送。"),
			value: oneOf(func(c *Config) *string { return &c.ForwardedHeader },
				ForwardedForHeader, ForwardedHeader, RealIPHeader),
		},
		{
			Key: "open_health", Default: OpenHealthLoopback,
			Help: txt("Which clients may read `/health` and `/metrics` without a key: `none`, `loopback` "+
				"(this machine, not through a proxy) or `all`.",
				"哪些客户端可以不带密钥读取 `/health` 和 `/metrics`：`none`、`loopback`（本机且不经代理）或 `all`。"),
			value: oneOf(func(c *Config) *string { return &c.OpenHealth },
				OpenHealthNone, OpenHealthLoopback, OpenHealthAll),
		},
	}
}

// jobSettings are about jobs and what they may do.
func jobSettings() []Setting {
	return []Setting{
		{
			Key: "retention", Default: "30d",
			Help: txt("How long ended jobs and their output are stored.",
				"已结束作业及其输出的保留时间。"),
			value: duration(func(c *Config) *time.Duration { return &c.Retention }, minRetention),
		},
		{
			Key: "audit_retention", Default: "365d",
			Help: txt("How long rows of the audit are stored before they move to files in `audit_archive`; "+
				"0 keeps them in the database for ever.",
				"审计记录在数据库中的保留时间，之后移入 `audit_archive` 中的文件；0 表示永久保留在数据库中。"),
			value: duration(func(c *Config) *time.Duration { return &c.AuditRetention }, 0),
		},
		{
			Key: "audit_archive",
			Help: txt("Folder for archives of the audit (default `<data>/audit`), on a disk that lasts. "+
				"Hostler deletes no archive.",
				"审计归档文件的目录（默认 `<data>/audit`），应位于持久磁盘上。Hostler 不会删除归档文件。"),
			value: textOf(func(c *Config) *string { return &c.AuditArchive }),
		},
		{
			Key: "enable_local_command", Default: "false", Bool: true,
			Help: txt("Allow the action `local_command`, which runs commands on the server itself, to admins of the "+
				"project `default`.",
				"允许 default 项目的 admin 使用 `local_command` 动作，即在服务器本机执行命令。"),
			value: boolean(func(c *Config) *bool { return &c.EnableLocalCommand }),
		},
		{
			Key: "local_command_projects",
			Help: txt("Projects whose operators may use `local_command` too.",
				"其操作员也可使用 `local_command` 的项目。"),
			value: list(func(c *Config) *[]string { return &c.LocalProjects }),
		},
		{
			Key: "local_command_user",
			Help: txt("User of this machine that `local_command` runs as, which must not be able to read the data folder, "+
				"the configuration file or `tls_key`. "+
				"Default: `nobody` if the server runs as root, else the server's own user, and then only for admins.",
				"`local_command` 以本机的哪个用户运行；该用户不得能读取数据目录、配置文件和 `tls_key`。"+
					"默认：服务器以 root 运行时为 `nobody`，否则为服务器自身的用户（仅限 admin）。"),
			value: textOf(func(c *Config) *string { return &c.LocalCommandUser }),
		},
		{
			Key: "ssh_algorithms", Default: SSHAlgorithmsSafe,
			Help: txt("`safe`; or `legacy` to also connect to hosts and devices that support only outdated SSH "+
				"algorithms, such as `ssh-rsa` with SHA-1.",
				"`safe`；或 `legacy`，以便连接仅支持过时 SSH 算法（如使用 SHA-1 的 `ssh-rsa`）的主机和设备。"),
			value: oneOf(func(c *Config) *string { return &c.SSHAlgorithms }, SSHAlgorithmsSafe, SSHAlgorithmsLegacy),
		},
		{
			Key: "output_limit", Default: "10MiB",
			Help: txt("Output stored per job; of longer output, the beginning and the end are stored.",
				"单个作业保留的输出大小；超出时保留开头和结尾。"),
			value: size(func(c *Config) *int64 { return &c.OutputLimit }),
		},
		{
			Key: "artefact_limit", Default: "1GiB",
			Help: txt("Largest artefact, a file that a job produces. Artefacts are stored with the job output, and deleted "+
				"after `retention`.",
				"单个产物（作业生成的文件）的大小上限。产物与作业输出存放在一起，超过 `retention` 后删除。"),
			value: size(func(c *Config) *int64 { return &c.ArtefactLimit }),
		},
		{
			Key: "artefact_job_limit", Default: "4GiB",
			Help:  txt("All artefacts of a job.", "单个作业的产物总大小上限。"),
			value: size(func(c *Config) *int64 { return &c.ArtefactJob }),
		},
		{
			Key: "artefact_project_limit", Default: "20GiB",
			Help: txt("All artefacts of a project; a job that exceeds it fails.",
				"单个项目的产物总大小上限；超出时作业失败。"),
			value: size(func(c *Config) *int64 { return &c.ArtefactProject }),
		},
		{
			Key: "body_limit", Default: "8MiB",
			Help:  txt("Largest request body.", "请求体的大小上限。"),
			value: size(func(c *Config) *int64 { return &c.BodyLimit }),
		},
		{
			Key: "max_connections", Default: "0",
			Help: txt("Connections of clients at once, of which one address has at most half; 0 is half of the files "+
				"that the process may open, at most 4096. When they are used up, a new connection replaces the "+
				"one that has waited longest for its client. Requests with a key may be 7/8 as many at once, and "+
				"those of one user half of these.",
				"客户端的最大并发连接数，单个地址最多占一半；0 表示进程可打开文件数的一半，最多 4096。"+
					"用尽时，新连接会取代等待客户端时间最长的连接。带密钥的并发请求最多为其 7/8，单个用户最多占其中一半。"),
			value: count(func(c *Config) *int { return &c.MaxConnections }, 0, maxConnections),
		},
		{
			Key: "egress_allow",
			Help: txt("CIDRs that `http_request` and webhooks may connect to although they are this machine, "+
				"link-local or another special range; and those that `check_port` and SSH may connect to although "+
				"they are link-local or a cloud's metadata service.",
				"`http_request` 和回调可以访问的特殊网段（CIDR），如本机或链路本地地址；"+
					"也适用于 `check_port` 和 SSH 访问链路本地地址或云元数据服务。"),
			value: prefixes(func(c *Config) *[]netip.Prefix { return &c.EgressAllow }),
		},
	}
}

// webhookSettings are about the webhook of the whole server, and about deliveries.
func webhookSettings() []Setting {
	return []Setting{
		{
			Key: "webhook_url", NoFlag: true,
			Help: txt("Receives a request when a job of any project ends: see [webhooks.md](webhooks.md).",
				"任一项目的作业结束时向此地址发送请求：参见 [webhooks.zh.md](webhooks.zh.md)。"),
			value: webhookURL(func(c *Config) *Secret { return &c.WebhookURL }),
		},
		{
			Key: "webhook_format",
			Help: txt("Format of those requests: `task`, `standard`, `netpulse`, `dingtalk`, `wecom` or `feishu`; "+
				"by default the chat bot that the URL belongs to, else `task`.",
				"这些请求的格式：`task`、`standard`、`netpulse`、`dingtalk`、`wecom` 或 `feishu`；"+
					"默认按 URL 识别聊天机器人，否则为 `task`。"),
			value: webhookFormat(func(c *Config) *hostler.WebhookFormat { return &c.WebhookFormat }),
		},
		{
			Key: "webhook_retry", Default: "5s,5m,30m,2h,5h,10h,14h,20h,24h",
			Help: txt("Delays between the attempts of a delivery, for every webhook; an empty list means one attempt.",
				"所有回调投递失败后各次重试之间的等待时间；空列表表示只尝试一次。"),
			value: durations(func(c *Config) *[]time.Duration { return &c.WebhookRetry }, maxRetries, maxRetryDelay),
		},
		{
			Key: "webhook_token", EnvOnly: true,
			Help: txt("Sent to `webhook_url` as `Authorization: Bearer …`.",
				"以 `Authorization: Bearer …` 发送给 `webhook_url`。"),
			value: secret(func(c *Config) *Secret { return &c.WebhookToken }),
		},
		{
			Key: "webhook_secret", EnvOnly: true,
			Help: txt("Signs the requests to `webhook_url`: the chat bot's own secret, "+
				"or a `whsec_…` of Standard Webhooks.",
				"为发往 `webhook_url` 的请求签名：聊天机器人的加签密钥，或 Standard Webhooks 的 `whsec_…`。"),
			value: secret(func(c *Config) *Secret { return &c.WebhookSecret }),
		},
	}
}

// processSettings are about the process itself: its language and its keys.
func processSettings() []Setting {
	return []Setting{
		{
			Key: "lang", Default: "en",
			Help: txt("Language of the server's own messages: `en` or `zh`.",
				"服务器自身消息的语言：`en` 或 `zh`。"),
			value: language(func(c *Config) *hostler.Lang { return &c.Lang }),
		},
		{
			Key: "otlp_endpoint",
			Help: txt("Base URL of an OTLP receiver over HTTP, such as `http://127.0.0.1:4318`, for traces of requests and jobs "+
				"and the metrics of `/metrics`; empty: nothing is sent.",
				"OTLP（HTTP）接收端的基础 URL，如 `http://127.0.0.1:4318`，用于请求与作业的链路追踪以及 `/metrics` 的指标；留空则不发送。"),
			value: textOf(func(c *Config) *string { return &c.OTLPEndpoint }, httpURL),
		},
		{
			Key: "otlp_headers", EnvOnly: true,
			Help: txt("Headers of requests to `otlp_endpoint`: `name=value`, separated by commas.",
				"发往 `otlp_endpoint` 的请求头：`name=value`，以逗号分隔。"),
			value: secret(func(c *Config) *Secret { return &c.OTLPHeaders }),
		},
		{
			Key: "sentry_dsn", EnvOnly: true,
			Help: txt("DSN of Sentry, or of what takes its events: errors of the log and alerts that fire are sent to it.",
				"Sentry（或兼容服务）的 DSN：日志中的错误和触发的告警会发送到此处。"),
			value: secret(func(c *Config) *Secret { return &c.SentryDSN }),
		},
		{
			Key: "admin_key", EnvOnly: true,
			Help: txt("Sets the first admin key, `hst_…`; without it, one is generated and printed once.",
				"预设首个管理员密钥 `hst_…`；否则自动生成并只打印一次。"),
			value: secret(func(c *Config) *Secret { return &c.AdminKey }),
		},
		{
			Key: "master_key", EnvOnly: true,
			Help: txt("The key that encrypts credentials; without it, the key is in a file of mode 0600 "+
				"in the data folder.",
				"用于加密凭据的主密钥；未设置时保存在数据目录中权限为 0600 的文件里。"),
			value: secret(func(c *Config) *Secret { return &c.MasterKey }),
		},
		{
			Key: "seed_sample", Default: "false", Bool: true, Hidden: true,
			Help: txt("Creates a sample asset and a first job in an empty database.",
				"在空数据库中创建示例资产和第一个作业。"),
			value: boolean(func(c *Config) *bool { return &c.SeedSample }),
		},
	}
}

func txt(en, zh string) hostler.Text { return hostler.Text{EN: en, ZH: zh} }
