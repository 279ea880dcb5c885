package api

import (
	"fmt"
	"html"
	"net/http"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
)

// homePage is the page at the root. It runs no script and loads nothing.
var homePage = hostler.Text{EN: `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Hostler</title>
<h1>Hostler %s</h1>
<p>Hostler runs operational tasks on your hosts and records what ran, where, when, by whom, with which result.</p>
<ul>
<li>REST API: <code>/api/v1</code>, described by <a href="/api/v1/openapi.json">/api/v1/openapi.json</a> (OpenAPI 3.1)</li>
<li>Simple task API: <code>/tasks</code> and <code>/assets</code></li>
<li>Monitoring: <a href="/health">/health</a>, <a href="/metrics">/metrics</a>, <a href="/livez">/livez</a>, <a href="/readyz">/readyz</a></li>
</ul>
<p>Each call needs an API key, sent as <code>X-API-KEY</code> or <code>Authorization: Bearer</code>. On the command line:</p>
<pre>
export HOSTLER_URL=http://this-server:9000 HOSTLER_KEY=hst_…
hostler asset add web1 --address 192.0.2.10
hostler job run check_port --asset web1 --arg port=22 --wait
</pre>
`, ZH: `<!doctype html>
<html lang="zh"><meta charset="utf-8"><title>Hostler</title>
<h1>Hostler %s</h1>
<p>Hostler 在您的主机上执行运维作业，并记录何时、何地、由谁执行了什么、结果如何。</p>
<ul>
<li>REST API：<code>/api/v1</code>，接口描述见 <a href="/api/v1/openapi.json">/api/v1/openapi.json</a>（OpenAPI 3.1）</li>
<li>简单任务 API：<code>/tasks</code> 和 <code>/assets</code></li>
<li>监控：<a href="/health">/health</a>、<a href="/metrics">/metrics</a>、<a href="/livez">/livez</a>、<a href="/readyz">/readyz</a></li>
</ul>
<p>每次调用都需要 API 密钥，通过 <code>X-API-KEY</code> 或 <code>Authorization: Bearer</code> 发送。命令行用法：</p>
<pre>
export HOSTLER_URL=http://this-server:9000 HOSTLER_KEY=hst_…
hostler asset add web1 --address 192.0.2.10
hostler job run check_port --asset web1 --arg port=22 --wait
</pre>
`}

func home(version string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		page := homePage.In(rest.Lang(r.Header.Get("Accept-Language"), hostler.LangEN))
		fmt.Fprintf(w, page, html.EscapeString(version))
		return nil
	}
}
