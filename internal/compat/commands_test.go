//go:build record

package compat

// plainRequest makes a step of a plain request.
func plainRequest(method, path, body string) step {
	return step{Exchanges: []exchange{{Method: method, Path: path, Body: body}}}
}

func command(args ...string) step { return step{Args: args} }

func saved(name string, args ...string) step { return step{Args: args, Save: name} }

func piped(stdin string, args ...string) step { return step{Args: args, Stdin: stdin} }

// commands are what a user of the older release does, in order. $NAME is a variable:
// a recorded job by its name, or what an earlier command printed.
func commands() []step {
	steps := []step{
		command("version", "-o", "json"),
		command("queue", "list", "-o", "json"),
		command("queue", "resume", "default", "-o", "json"),
		command("queue", "set", "bulk", "--limit", "3", "--max-depth", "2", "-o", "json"),
		command("queue", "pause", "bulk", "-o", "json"),
		command("project", "create", "shop", "-o", "json"),
		command("project", "list", "-o", "json"),
		command("project", "create", "shop"),
		command("user", "create", "dave", "--role", "default=viewer", "-o", "json"),
		command("user", "list", "-o", "json"),
		command("user", "set", "dave", "--role", "shop=operator", "-o", "json"),
		command("user", "disable", "dave", "-o", "json"),
		command("user", "enable", "dave", "-o", "json"),
		command("user", "set", "dave", "--role", "nowhere=operator"),
		command("key", "create", "dave-laptop", "--user", "dave", "--role", "viewer", "--expires-in", "30d", "-o", "json"),
		command("key", "list", "-o", "json"),
		command("key", "rotate", "$KEY", "-o", "json"),
		command("key", "revoke", "$KEY", "-o", "json"),
		command("key", "revoke", "key_00000000001"),
	}
	steps = append(steps, inventoryCommands()...)
	steps = append(steps, jobCommands()...)
	steps = append(steps, webhookCommands()...)
	steps = append(steps,
		command("worker", "list", "-o", "json"),
		command("worker", "close-session", "$WORKER", "192.0.2.7", "-o", "json"),
		command("worker", "stop", "wrk_00000000001"),
		command("audit", "list", "--limit", "20", "-o", "json"),
		command("audit", "list", "--limit", "0", "-o", "json"),
		command("events", "--after", "0", "-o", "json"),
		command("events", "--after", "0", "--type", "job.*", "--asset", "site"),
		command("events", "--types", "-o", "json"),
		command("events", "--type", "job.exploded"),
		command("worker", "stop", "$WORKER", "-o", "json"),
		command("nosuch"),
		command("asset", "list", "--nosuch"),
	)
	return append(steps, otherRequests()...)
}

func inventoryCommands() []step {
	return []step{
		command("credential", "list", "-o", "json"),
		piped("secret-one", "credential", "add", "sudo", "--kind", "password", "--username", "ops", "--stdin", "-o", "json"),
		piped("secret-two", "credential", "set", "sudo", "--stdin", "-o", "json"),
		piped("token-one", "credential", "add", "bot", "--kind", "token", "--stdin", "-o", "json"),
		piped("not a key", "credential", "add", "bad", "--kind", "ssh_key", "--username", "x", "--stdin"),
		command("credential", "get", "ops", "-o", "json"),
		command("credential", "get", "nosuch"),
		command("credential", "delete", "ops"),
		command("credential", "delete", "bot"),
		command("asset", "add", "db1", "--address", "127.0.0.1", "--port", "2222", "--label", "role=db", "--var", "a=b", "--credential", "sudo", "-o", "json"),
		command("asset", "add", "db1", "--address", "127.0.0.1"),
		command("asset", "add", "db2", "--address", "127.0.0.1", "--port", "70000"),
		command("asset", "list", "-o", "json"),
		command("asset", "list", "--label", "role=web", "-o", "json"),
		command("asset", "list", "--project", "lab", "-o", "json"),
		command("asset", "get", "web", "-o", "json"),
		command("asset", "get", "nosuch"),
		command("asset", "set", "db1", "--label", "role=", "--label", "tier=1", "--port", "22", "--host-key", "strict", "-o", "json"),
		command("asset", "export"),
		command("asset", "export", "--label", "role=web"),
		piped("name,address,port,label.role\nn1,192.0.2.1,22,new\nweb,127.0.0.1,,x\n", "asset", "import", "-", "--dry-run", "-o", "json"),
		piped("name,address\nn1,192.0.2.1\nn3,192.0.2.3\n", "asset", "import", "-", "--dry-run"),
		piped("name,address,port,label.role\nn1,192.0.2.1,22,new\n", "asset", "import", "-", "--yes", "-o", "json"),
		piped("name,address,port\nn2,192.0.2.1,ssh\n", "asset", "import", "-", "--yes", "-o", "json"),
		command("asset", "hostkey", "list", "web", "-o", "json"),
		command("asset", "hostkey", "accept", "web", "$HOSTKEY", "-o", "json"),
		command("asset", "hostkey", "revoke", "web", "$HOSTKEY", "-o", "json"),
		command("asset", "delete", "n1", "db1"),
		command("asset", "delete", "gate"),
		command("action", "list", "-o", "json"),
		command("action", "show", "net_cli", "-o", "json"),
		command("action", "show", "nosuch"),
	}
}

func jobCommands() []step {
	return []step{
		command("job", "list", "-o", "json"),
		command("job", "list", "--state", "succeeded,failed", "--limit", "3", "-o", "json"),
		command("job", "list", "--asset", "site", "--since", "2020-01-01", "--limit", "0", "-o", "json"),
		command("job", "list", "--run", "$FAN", "-o", "json"),
		command("job", "get", "$SUCCEEDED", "-o", "json"),
		command("job", "get", "$FAILED", "-o", "json"),
		command("job", "get", "$UNKNOWN_HOLDS", "-o", "json"),
		command("job", "get", "job_00000000001"),
		command("job", "attempts", "$FAILED", "-o", "json"),
		command("job", "why", "$BEHIND_THE_UNKNOWN", "-o", "json"),
		command("job", "why", "$FROZEN", "-o", "json"),
		command("job", "log", "$INLINE_OUTPUT"),
		command("job", "log", "$BLOCK_OUTPUT"),
		command("job", "log", "$BLOCK_OUTPUT", "--tail", "5"),
		command("job", "log", "-f", "$INLINE_OUTPUT"),
		command("run", "get", "$FAN", "-o", "json"),
		command("job", "run", "check_port", "--asset", "site", "--queue", "ops", "--wait", "-o", "json"),
		command("job", "run", "check_port", "--asset", "site", "--wait"),
		command("job", "run", "check_port", "--asset", "closed", "--wait"),
		command("job", "run", "check_port", "--label", "role=site", "--lane", "none", "--priority", "2", "--timeout", "10s", "--wait"),
		command("job", "run", "check_port", "--asset", "site", "--arg", "port=ssh"),
		command("job", "run", "nosuch", "--asset", "site"),
		command("job", "run", "check_port", "--asset", "site", "--queue", "nowhere"),
		command("job", "run", "check_port", "--asset", "site", "--idempotency-key", "once", "--queue", "bulk", "--ttl", "1h", "--retries", "2", "-o", "json"),
		command("job", "run", "check_port", "--asset", "site", "--idempotency-key", "once", "--queue", "bulk", "--ttl", "1h", "--retries", "2", "-o", "json"),
		command("job", "run", "check_port", "--asset", "site", "--idempotency-key", "once", "--queue", "bulk"),
		saved("HELD", "job", "run", "check_port", "--asset", "site", "--queue", "bulk", "--delay", "0s", "--on-lost", "fail"),
		command("job", "run", "check_port", "--asset", "site", "--queue", "bulk"),
		command("job", "why", "$HELD", "-o", "json"),
		command("job", "cancel", "$HELD", "-o", "json"),
		command("job", "cancel", "$HELD"),
		command("job", "cancel", "--queue", "bulk", "--state", "queued", "-o", "json"),
		command("job", "retry", "$FAILED", "-o", "json"),
		command("job", "retry", "--run", "$FAN", "--state", "succeeded", "-o", "json"),
		command("job", "retry", "$FROZEN"),
		command("job", "resolve", "$UNKNOWN_RELEASES", "--as", "succeeded", "--note", "looked", "-o", "json"),
		command("job", "resolve", "$UNKNOWN_RELEASES", "--as", "failed"),
		command("job", "resolve", "--asset", "nosuch", "--as", "failed"),
		command("job", "run", "local_command", "--queue", "ops", "--arg", "argv=sh,-c,echo out; echo err >&2; exit 4", "--wait"),
		command("job", "run", "local_command", "--queue", "ops", "--arg", "argv=sleep,20", "--timeout", "1s", "--webhook", "$RECEIVER/own", "--wait"),
		command("job", "resolve", "$BECOMES_UNKNOWN", "--as", "failed", "-o", "json"),
	}
}

func webhookCommands() []step {
	return []step{
		command("webhook", "list", "-o", "json"),
		command("webhook", "get", "hook", "-o", "json"),
		command("webhook", "get", "nosuch"),
		command("webhook", "create", "new", "$RECEIVER/new", "--event", "job.*", "--asset", "site", "--queue", "ops", "--rate", "60", "--limit", "2", "--generate-secret", "-o", "json"),
		command("webhook", "create", "bad", "$RECEIVER/new", "--event", "job.exploded"),
		command("webhook", "update", "new", "--event", "job.failed", "--rate", "0", "--lang", "zh", "-o", "json"),
		command("webhook", "test", "new", "-o", "json"),
		command("webhook", "rotate", "new", "--overlap", "1h", "-o", "json"),
		command("webhook", "disable", "new", "-o", "json"),
		command("webhook", "enable", "new", "-o", "json"),
		command("delivery", "list", "-o", "json"),
		command("delivery", "list", "--webhook", "hook", "--state", "delivered", "--limit", "2", "-o", "json"),
		command("delivery", "list", "--state", "failed", "-o", "json"),
		command("delivery", "get", "$DELIVERY", "-o", "json"),
		command("delivery", "resend", "$DELIVERY", "-o", "json"),
		command("delivery", "resend", "--webhook", "broken", "--state", "failed", "-o", "json"),
		command("delivery", "get", "dlv_00000000001"),
		command("webhook", "delete", "new"),
	}
}

// otherRequests are requests of scripts: those of the simple task API and of NetPulse,
// and what the command line does not use of the native API.
func otherRequests() []step {
	return []step{
		plainRequest("GET", "/livez", ""),
		plainRequest("GET", "/readyz", ""),
		plainRequest("GET", "/health", ""),
		plainRequest("GET", "/netpulse/0.3/health", ""),
		plainRequest("GET", "/metrics", ""),
		plainRequest("GET", "/", ""),
		plainRequest("GET", "/api/v1/me", ""),
		plainRequest("GET", "/api/v1/nosuch", ""),
		plainRequest("POST", "/api/v1/version", ""),
		plainRequest("GET", "/api/v1/users/alice", ""),
		plainRequest("GET", "/api/v1/queues/ops", ""),
		plainRequest("GET", "/api/v1/jobs?limit=2", ""),
		plainRequest("GET", "/api/v1/jobs?limit=0", ""),
		plainRequest("GET", "/api/v1/jobs?bogus=1", ""),
		plainRequest("GET", "/api/v1/jobs/$BLOCK_OUTPUT/log?limit=2", ""),
		plainRequest("GET", "/api/v1/jobs/$BLOCK_OUTPUT/log?format=text", ""),
		plainRequest("GET", "/api/v1/jobs/$INLINE_OUTPUT/log?follow=true", ""),
		plainRequest("GET", "/api/v1/events?format=json&after=0&limit=5", ""),
		plainRequest("POST", "/api/v1/jobs?wait=10s", `{"action":"check_port","assets":["site"],"queue":"ops"}`),
		plainRequest("POST", "/api/v1/jobs", `{"action":"check_port","assets":["site","closed"],"queue":"ops","concurrency":{"key":"k","limit":2},"priority":3,"max_attempts":2,"backoff":{"kind":"fixed","base":"1s","max":"2s"},"timeout":"5s","ttl":"1h","on_unknown":"release","on_retry":"release"}`),
		plainRequest("POST", "/api/v1/jobs", `{"action":"check_port","assets":["site"],"queue":"frozen","run_at":"2099-01-01T00:00:00Z"}`),
		plainRequest("POST", "/api/v1/jobs", `{"action":"net_cli","queue":"frozen","args":{"commands":["show version"]},"target":{"address":"192.0.2.9","port":22,"platform":"cisco_iosxe","username":"u","password":"p","enable":"e"},"webhook":{"url":"$RECEIVER/own","method":"PUT","headers":{"X-A":"b"},"token":"t","secret":"whsec_bGF0ZSBzZWNyZXQgb2YgdGhlIHNjZW5lLCAyNCs=","format":"task","timeout":"3s"}}`),
		plainRequest("POST", "/api/v1/jobs", `{"action":"check_port","bogus":true}`),
		plainRequest("POST", "/api/v1/jobs", `{`),
		plainRequest("POST", "/api/v1/jobs/cancel", `{"filter":{"queue":"nowhere"}}`),
		plainRequest("POST", "/api/v1/jobs/cancel", `{}`),
		plainRequest("POST", "/api/v1/jobs/retry", `{"ids":["$SUCCEEDED","$FROZEN"]}`),
		plainRequest("POST", "/api/v1/jobs/resolve", `{"ids":["$SUCCEEDED"],"state":"failed","note":"n"}`),
		plainRequest("POST", "/api/v1/deliveries/resend", `{"ids":["$DELIVERY"]}`),
		plainRequest("GET", "/tasks", ""),
		plainRequest("GET", "/tasks?status=done", ""),
		plainRequest("GET", "/tasks/$TASK", ""),
		plainRequest("GET", "/tasks/1", ""),
		plainRequest("POST", "/tasks", `{"asset_id":$SITE,"action":"check_port","args":{"port":18473}}`),
		plainRequest("POST", "/tasks", `{"asset_id":1,"action":"check_port"}`),
		plainRequest("GET", "/assets", ""),
		plainRequest("GET", "/assets/$SITE", ""),
		plainRequest("PUT", "/assets/$SITE", `{"name":"site","ip":"127.83.41.5","port":18473,"labels":{"a":"b"}}`),
		plainRequest("POST", "/assets", `{"name":"simple","ip":"192.0.2.77"}`),
		plainRequest("POST", "/assets", `{"name":"simple"}`),
		plainRequest("DELETE", "/assets/1", ""),
		plainRequest("GET", "/task-stats", ""),
		plainRequest("GET", "/job?limit=3", ""),
		plainRequest("GET", "/job?id=$SUCCEEDED", ""),
		plainRequest("GET", "/job?status=failed", ""),
		plainRequest("GET", "/netpulse/0.3/job?status=finished", ""),
		plainRequest("GET", "/netpulse/0.3/job?id=$FAILED", ""),
		plainRequest("GET", "/worker", ""),
		plainRequest("GET", "/netpulse/0.3/worker", ""),
		plainRequest("DELETE", "/worker", ""),
		plainRequest("DELETE", "/worker?name=nosuch", ""),
		plainRequest("DELETE", "/job?host=192.0.2.200", ""),
		plainRequest("DELETE", "/netpulse/0.3/job?queue=HostQ_192.0.2.200", ""),
		plainRequest("DELETE", "/job", ""),
		plainRequest("POST", "/device/exec", `{"driver":"netmiko","asset":"core","command":"show version","queue_strategy":"pinned","ttl":60,"webhook":{"url":"$RECEIVER/own"}}`),
		plainRequest("POST", "/device/exec", `{"driver":"paramiko","command":"uptime","connection_args":{"host":"127.0.0.9","port":1,"username":"u","password":"p","secret":"s","device_type":"x"}}`),
		plainRequest("POST", "/device/exec", `{"driver":"nosuch","command":"x","connection_args":{"host":"127.0.0.9","username":"u","password":"p"}}`),
		plainRequest("POST", "/netpulse/0.3/device/exec", `{"driver":"netmiko","config":["hostname x"],"driver_args":{"read_timeout":30},"connection_args":{"host":"127.0.0.9","port":1,"username":"u","password":"p","device_type":"huawei"}}`),
		plainRequest("POST", "/device/bulk", `{"driver":"netmiko","command":["show version"],"connection_args":{"username":"u","password":"p","device_type":"cisco_ios"},"devices":[{"host":"127.0.0.8","port":1},{"asset":"nosuch"},{"asset":"core"}]}`),
		plainRequest("POST", "/device/test", `{"driver":"netmiko","connection_args":{"host":"127.0.0.7","port":1,"username":"u","password":"p","device_type":"cisco_ios"}}`),
	}
}
