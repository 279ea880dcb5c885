package cli

import (
	"context"
	"runtime"

	"github.com/spf13/cobra"
)

// version is set by the linker; see the Makefile.
var version = "dev"

// versionCmd is 'hostler version'. It succeeds without a server.
func (a *app) versionCmd() *cobra.Command {
	type versions struct {
		Command string `json:"command"`
		Go      string `json:"go"`
		Server  string `json:"server,omitempty"`
		Store   string `json:"store,omitempty"`
	}
	return a.localCmd("version", doc{
		short: txt("show the versions of the command and the server", "显示命令和服务器的版本"),
		long: txt("Show the version of this command and, when it is reachable, of the server.",
			"显示此命令的版本；服务器可达时也显示其版本。"),
		example: "hostler version\nhostler version -o json",
	}, func(ctx context.Context, _ []string) error {
		v := versions{Command: version, Go: runtime.Version()}
		if c, err := a.client(); err == nil {
			if s, err := c.Version(ctx); err == nil {
				v.Server, v.Store = s.Version, s.Store
			}
		}
		return one(a, v, []column[versions]{
			col("command", "命令", func(v versions) string { return v.Command }),
			col("go", "Go", func(v versions) string { return v.Go }),
			col("server", "服务器", func(v versions) string { return v.Server }),
			col("store", "存储", func(v versions) string { return v.Store }),
		})
	})
}
