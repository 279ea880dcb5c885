package importtest

import "slices"

// Rules returns the allowed imports between the packages of the module, from the
// entry points down to what imports nothing.
func Rules() []Rule {
	return slices.Concat(
		top, entryPoints, apis, useCases, loops, workers, actions, stores, pureRules, tools, tests,
	)
}

// The root package imports the standard library only.
var top = []Rule{
	{Package: "."},
	{Package: "cmd/hostler", May: []string{"internal/cli"}},
	{Package: "client", May: []string{"internal/wait"}},
}

// Entry points. The server is the only place that wires: it may import
// everything.
var entryPoints = []Rule{
	{Package: "internal/cli", May: []string{
		"client", "internal/auditchain", "internal/bench", "internal/cli/term", "internal/clicontext",
		"internal/config", "internal/server", "internal/wait",
	}},
	{Package: "internal/cli/term"},
	{Package: "internal/server", May: []string{"internal/..."}},
	{Package: "internal/bench", May: []string{
		"internal/action", "internal/engine", "internal/outbox", "internal/runlog", "internal/secret",
		"internal/sqldb", "internal/store/...", "internal/wait", "internal/worker",
	}},
	{Package: "internal/soak", May: []string{
		"internal/action", "internal/app", "internal/auditchain", "internal/auditor", "internal/auth",
		"internal/egress", "internal/engine", "internal/notify", "internal/outbox", "internal/runlog", "internal/secret", "internal/sqldb",
		"internal/store", "internal/store/postgres", "internal/store/sqlite", "internal/wait",
		"internal/webhook", "internal/worker",
	}},
	{Package: "internal/config", May: []string{"internal/check"}},
	{Package: "internal/clicontext"},
}

// The APIs reach the store and the engine through app only. The framework in
// api/rest knows no route, and no API imports another.
var apis = []Rule{
	{Package: "internal/api", May: []string{"internal/api/...", "internal/app", "internal/auth", "internal/inbound", "internal/stats"}},
	{Package: "internal/api/rest", May: []string{"internal/auth", "internal/check", "internal/wait"}},
	{Package: "internal/api/native", May: []string{
		"internal/api/rest", "internal/app", "internal/auth", "internal/check", "internal/wait",
	}},
	{Package: "internal/api/netpulse", May: []string{
		"internal/api/rest", "internal/app", "internal/auth", "internal/check", "internal/wait",
	}},
	{Package: "internal/api/simple", May: []string{"internal/api/rest", "internal/app", "internal/auth"}},
	{Package: "internal/api/monitor", May: []string{
		"internal/api/rest", "internal/app", "internal/auth", "internal/stats",
	}},
}

// Use cases with a Caller, and what a lease needs without one.
var useCases = []Rule{
	{Package: "internal/app", May: []string{
		"internal/action", "internal/alert", "internal/assetfile", "internal/auditor", "internal/auth", "internal/channel", "internal/check",
		"internal/destination", "internal/flow", "internal/inbound", "internal/outbox", "internal/resolve", "internal/schedule",
		"internal/risk", "internal/secret", "internal/selector", "internal/stats", "internal/store", "internal/store/schema",
		"internal/webhook",
	}},
	{Package: "internal/resolve", May: []string{
		"internal/action", "internal/check", "internal/destination", "internal/flow", "internal/secret", "internal/store",
	}},
}

// Loops over the store.
var loops = []Rule{
	{Package: "internal/engine", May: []string{"internal/alert", "internal/flow", "internal/stats", "internal/store", "internal/wait"}},
	{Package: "internal/auditor", May: []string{"internal/auditchain", "internal/store", "internal/wait"}},
	{Package: "internal/outbox", May: []string{"internal/store", "internal/wait"}},
	{Package: "internal/notify", May: []string{
		"internal/channel", "internal/egress", "internal/mailer", "internal/secret", "internal/stats", "internal/store", "internal/wait", "internal/webhook",
	}},
}

// The worker sees neither store nor engine, only a hostler.Dispatcher, so
// that it also runs on another machine.
var workers = []Rule{
	{Package: "internal/node", May: []string{
		"internal/action", "internal/action/http", "internal/action/local", "internal/action/mail", "internal/action/net",
		"internal/action/netcli", "internal/action/sql", "internal/action/ssh", "internal/runlog", "internal/secret",
		"internal/sshconn", "internal/worker",
	}},
	{Package: "internal/worker", May: []string{"internal/action", "internal/runlog", "internal/wait"}},
	{Package: "internal/runlog", May: []string{"internal/wait"}},
}

// Families of actions import the contract, and no other family.
var actions = []Rule{
	{Package: "internal/action", May: []string{"internal/check", "internal/risk"}},
	{Package: "internal/action/...", May: []string{"internal/action"}},
	{Package: "internal/action/http", May: []string{
		"internal/action", "internal/check", "internal/destination", "internal/egress",
	}},
	{Package: "internal/action/mail", May: []string{
		"internal/action", "internal/check", "internal/destination", "internal/egress", "internal/mailer",
	}},
	{Package: "internal/action/net", May: []string{"internal/action", "internal/egress"}},
	{Package: "internal/action/local", May: []string{"internal/action", "internal/risk"}},
	{Package: "internal/action/netcli", May: []string{
		"internal/action", "internal/check", "internal/risk", "internal/sshconn",
	}},
	{Package: "internal/action/netcli/devicetest"},
	{Package: "internal/action/sql", May: []string{
		"internal/action", "internal/check", "internal/destination", "internal/egress", "internal/risk",
	}},
	{Package: "internal/action/sql/mariadbtest"},
	{Package: "internal/action/ssh", May: []string{
		"internal/action", "internal/check", "internal/risk", "internal/sshconn", "internal/wait",
	}},
	{Package: "internal/sshconn", May: []string{"internal/action", "internal/egress", "internal/wait"}},
	{Package: "internal/sshconn/sshtest"},
}

// The store and its drivers, over what both drivers need.
var stores = []Rule{
	{Package: "internal/store", May: []string{"internal/selector", "internal/sqldb", "internal/stats", "internal/store/schema", "internal/tracing"}},
	{Package: "internal/store/schema", May: []string{"internal/sqldb"}},
	{Package: "internal/store/sqlite", May: []string{"internal/sqldb", "internal/store/schema"}},
	{Package: "internal/store/postgres", May: []string{"internal/sqldb", "internal/store/schema", "internal/wait"}},
	{Package: "internal/store/storetest", May: []string{
		"internal/sqldb", "internal/store", "internal/store/postgres", "internal/store/sqlite",
	}},
	{Package: "internal/sqldb"},
}

// Pure rules, without a store.
var pureRules = []Rule{
	{Package: "internal/alert", May: []string{"internal/check", "internal/stats"}},
	{Package: "internal/assetfile", May: []string{"internal/check"}},
	{Package: "internal/auditchain"},
	{Package: "internal/inbound"},
	{Package: "internal/channel", May: []string{"internal/check"}},
	{Package: "internal/flow", May: []string{"internal/check", "internal/selector"}},
	{Package: "internal/schedule", May: []string{"internal/check"}},
	{Package: "internal/risk"},
	{Package: "internal/selector"},
	{Package: "internal/stats"},
	{Package: "internal/webhook", May: []string{"internal/check", "internal/secret"}},
	{Package: "internal/auth"},
	{Package: "internal/destination"},
}

// Tools that import nothing.
var tools = []Rule{
	{Package: "internal/check"},
	{Package: "internal/egress/..."},
	{Package: "internal/mailer"},
	{Package: "internal/secret"},
	{Package: "internal/wait"},
	{Package: "internal/tracing"},
	{Package: "internal/telemetry", May: []string{"internal/tracing"}},
}

// Tests of the whole, and this package.
var tests = []Rule{
	{Package: "internal/compat"},
	{Package: "internal/crash"},
	{Package: "internal/e2e"},
	{Package: "internal/importtest"},
}

// Homes returns the outside libraries that only some packages may import.
func Homes() []Home {
	return []Home{
		{Library: "github.com/danielgtaylor/huma/v2", Packages: []string{
			"internal/api/rest", "internal/api/native", "internal/api/netpulse", "internal/api/simple",
		}},
		{Library: "github.com/expr-lang/expr", Packages: []string{"internal/flow"}},
		{Library: "github.com/go-sql-driver/mysql", Packages: []string{"internal/action/sql"}},
		{Library: "github.com/jackc/pgx/v5", Packages: []string{"internal/action/sql", "internal/store/postgres", "internal/store/storetest"}},
		{Library: "github.com/netresearch/go-cron", Packages: []string{"internal/schedule"}},
		{Library: "github.com/pkg/sftp", Packages: []string{"internal/action/ssh"}},
		{Library: "github.com/rogpeppe/go-internal", Packages: []string{"internal/cli"}},
		{Library: "github.com/scrapli/scrapligo", Packages: []string{"internal/action/netcli"}},
		{Library: "github.com/spf13/cobra", Packages: []string{"internal/cli"}},
		{Library: "github.com/tink-crypto/tink-go/v2", Packages: []string{"internal/secret"}},
		{Library: "golang.org/x/crypto/ssh", Packages: []string{
			"internal/action/netcli/devicetest", "internal/action/ssh", "internal/app", "internal/resolve", "internal/sshconn",
			"internal/sshconn/sshtest",
		}},
		{Library: "go.opentelemetry.io", Packages: []string{"internal/telemetry"}},
		{Library: "github.com/getsentry/sentry-go", Packages: []string{"internal/telemetry"}},
		{Library: "github.com/wneessen/go-mail", Packages: []string{"internal/action/mail", "internal/mailer", "internal/notify"}},
		{Library: "modernc.org/sqlite", Packages: []string{"internal/store/sqlite"}},
		{Library: "modernc.org/libc", Packages: []string{"internal/store/sqlite"}},
		{Library: "mvdan.cc/sh/v3", Packages: []string{"internal/risk"}},
	}
}
