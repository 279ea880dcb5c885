package config

import (
	"fmt"
	"strings"

	"hostler.dev/hostler"
)

// Doc renders docs/configuration.md in the language, from the settings.
func Doc(lang hostler.Lang) string {
	var b strings.Builder
	write := func(en, zh string) { b.WriteString(txt(en, zh).In(lang) + "\n") }
	write("# Configuration\n", "# 配置\n")
	write("`hostler serve` reads its settings from four sources. A later one wins:\n",
		"`hostler serve` 从四处读取设置，后者优先：\n")
	write("1. the defaults below\n2. a YAML file, named by `--config` or `HOSTLER_CONFIG`\n"+
		"3. environment variables\n4. flags\n",
		"1. 下列默认值\n2. YAML 文件，由 `--config` 或 `HOSTLER_CONFIG` 指定\n3. 环境变量\n4. 命令行参数\n")
	write("An unknown key is an error, in the file and as a `HOSTLER_` variable alike. "+
		"All problems are reported at once. Durations are written like `90s`, `10m` or `30d`, sizes like "+
		"`10MiB`, lists as YAML lists or with commas. Secrets come from the environment only.\n",
		"未知的键是错误，无论出现在文件中还是以 `HOSTLER_` 变量出现。所有问题会一次列出。"+
			"时长写成 `90s`、`10m` 或 `30d`，大小写成 `10MiB`，列表可用 YAML 列表或逗号分隔。机密只能来自环境变量。\n")
	write("| file | environment | flag | default | meaning |",
		"| 文件 | 环境变量 | 命令行 | 默认值 | 含义 |")
	b.WriteString("|---|---|---|---|---|\n")
	for _, s := range Settings() {
		if s.Hidden {
			continue
		}
		file, flag := code(s.Key), ""
		if s.EnvOnly {
			file = ""
		}
		if s.Flag() != "" {
			flag = code("--" + s.Flag())
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", file, code(s.Env()), flag, code(s.Default), s.Help.In(lang))
	}
	b.WriteByte('\n')
	write("## Example\n", "## 示例\n")
	b.WriteString(Example)
	write("\n## Memory\n", "\n## 内存\n")
	write("An idle server takes about 60 MB. Each running job takes about 0.1 MB, and with output up to 2 MB for what "+
		"is not stored yet. Of an output that is longer than `output_limit`, the end is in memory until the job "+
		"ends: at most half of `output_limit` for one job, and 64 MiB for all; beyond that, less of the end is "+
		"kept, but at least 256 KiB. Requests take at most 4 × `body_limit` (at least 32 MiB) for their bodies and "+
		"64 MiB for lists, of which one user gets half.\n",
		"空闲的服务器约占 60 MB。每个运行中的作业约占 0.1 MB，有输出时，未保存的部分最多再占 2 MB。"+
			"超过 `output_limit` 的输出，其结尾在作业结束前保存在内存中：单个作业最多为 `output_limit` 的一半，"+
			"全部作业合计 64 MiB；超出后结尾保留得更少，但至少 256 KiB。请求体最多占 4 × `body_limit`"+
			"（至少 32 MiB），列表最多占 64 MiB，单个用户最多占其中一半。\n")
	write("The garbage collector keeps within a limit: 90 % of the memory limit of the control group that the process "+
		"is in (systemd `MemoryMax=`, a container), and without one 192 MiB and 1 MiB for each slot. Set `GOMEMLIMIT`, "+
		"such as `GOMEMLIMIT=1GiB`, for another one: the processor usage rises when the server needs more than it has.",
		"垃圾回收会保持在限制以内：进程所在控制组（systemd 的 `MemoryMax=`、容器）内存限制的 90%；没有该限制时为 192 MiB，"+
			"每个并发再加 1 MiB。可用 `GOMEMLIMIT` 指定其他值，例如 `GOMEMLIMIT=1GiB`：服务器所需超过限制时，处理器占用会上升。")
	return b.String()
}

// Example is the example of the documents, a YAML file between its fences.
const Example = "```yaml\n" + `listen: 0.0.0.0:9000
data: /var/lib/hostler
db: postgres://hostler@db.example.com/hostler
tls_cert: /etc/hostler/tls.crt
tls_key: /etc/hostler/tls.key
slots: 128
retention: 90d
trusted_proxies: [10.0.0.0/8, 192.0.2.7]
` + "```\n"

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
