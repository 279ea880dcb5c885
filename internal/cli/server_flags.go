package cli

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hostler.dev/hostler/internal/config"
)

// serverFlags adds the settings of a server, or only those named, as flags of cmd.
// It returns the function that loads the configuration after parsing: flags take
// precedence over the environment, which takes precedence over the file.
func (a *app) serverFlags(cmd *cobra.Command, only ...string) func() (config.Config, error) {
	fs := cmd.Flags()
	file := fs.String("config", "", a.t("YAML file with settings (HOSTLER_CONFIG)",
		"设置文件（YAML，HOSTLER_CONFIG）"))
	bound := map[string]bool{}
	for _, s := range config.Settings() {
		name := s.Flag()
		if name == "" || (len(only) > 0 && !slices.Contains(only, name)) {
			continue
		}
		bound[name] = true
		// pflag takes a word in back quotes for the name of the value.
		help := strings.ReplaceAll(s.Help.In(a.lang), "`", "")
		if s.Bool {
			fs.Bool(name, false, help)
		} else {
			fs.String(name, s.Default, help)
		}
		fs.Lookup(name).Hidden = s.Hidden
	}
	return func() (config.Config, error) {
		given := map[string]string{}
		fs.Visit(func(f *pflag.Flag) {
			if bound[f.Name] {
				given[f.Name] = f.Value.String()
			}
		})
		cfg, err := config.Load(config.Source{File: *file, Environ: os.Environ(), Flags: given})
		cfg.Version = version
		return cfg, err
	}
}
