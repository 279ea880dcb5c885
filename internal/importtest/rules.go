package importtest

// Rules are the arrows of the architecture.
func Rules() []Rule {
	return []Rule{
		{Package: "."},
		{Package: "client", May: []string{"internal/wait"}},
		{Package: "cmd/hostler", May: []string{"internal/cli"}},

		// The ways in.
		{Package: "internal/cli", May: []string{"client", "internal/server", "internal/config", "internal/clicontext", "internal/bench", "internal/wait", "internal/cli/term"}},
		{Package: "internal/cli/term"},
		{Package: "internal/bench", May: []string{"internal/store/...", "internal/engine", "internal/notify", "internal/worker", "internal/action", "internal/runlog", "internal/secret", "internal/wait"}},
		{Package: "internal/server", May: []string{"client", "internal/..."}},
		{Package: "internal/config", May: []string{"internal/check"}},
		{Package: "internal/clicontext"},
		{Package: "internal/api/...", May: []string{"internal/api/...", "internal/app", "internal/auth", "internal/flow", "internal/schedule", "internal/wait", "internal/check"}},

		// The rules of the house, over the store.
		{Package: "internal/app", May: []string{"internal/store", "internal/feed", "internal/auth", "internal/flow", "internal/schedule", "internal/action", "internal/secret", "internal/runlog", "internal/check"}},
		{Package: "internal/engine", May: []string{"internal/store", "internal/flow", "internal/schedule", "internal/action", "internal/secret", "internal/runlog", "internal/wait"}},
		{Package: "internal/feed", May: []string{"internal/store", "internal/wait"}},
		{Package: "internal/notify", May: []string{"internal/store", "internal/egress/...", "internal/secret", "internal/wait"}},

		// The worker knows neither store nor engine: all it has is the
		// Dispatcher.
		{Package: "internal/worker", May: []string{"internal/action", "internal/runlog", "client", "internal/wait"}},
		{Package: "internal/action", May: []string{"internal/check"}},
		{Package: "internal/action/...", May: []string{"internal/action/...", "internal/egress/...", "internal/wait", "internal/check"}},

		// Pure.
		{Package: "internal/check"},
		{Package: "internal/auth"},
		{Package: "internal/flow"},
		{Package: "internal/schedule"},
		{Package: "internal/egress/..."},
		{Package: "internal/secret"},
		{Package: "internal/runlog", May: []string{"internal/wait"}},
		{Package: "internal/wait"},

		// The bottom.
		{Package: "internal/store"},
		{Package: "internal/store/sqlite", May: []string{"internal/store"}},
		{Package: "internal/store/postgres", May: []string{"internal/store", "internal/wait"}},
		{Package: "internal/store/storetest", May: []string{"internal/store/..."}},

		{Package: "internal/importtest"},
		{Package: "internal/crash"},
		{Package: "internal/e2e"},
	}
}

// Homes are the outside libraries that have one place.
func Homes() []Home {
	return []Home{
		{Library: "github.com/danielgtaylor/huma/v2", Packages: []string{"internal/api/..."}},
		{Library: "github.com/spf13/cobra", Packages: []string{"internal/cli"}},
		{Library: "github.com/jackc/pgx/v5", Packages: []string{"internal/store/postgres", "internal/store/storetest"}},
		{Library: "modernc.org/sqlite", Packages: []string{"internal/store/sqlite"}},
		{Library: "golang.org/x/crypto/ssh", Packages: []string{"internal/action/ssh/...", "internal/action/netcli/devicetest", "internal/app"}},
		{Library: "github.com/scrapli/scrapligo", Packages: []string{"internal/action/netcli"}},
		{Library: "github.com/tink-crypto/tink-go/v2", Packages: []string{"internal/secret"}},
	}
}
