package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// completionCmd is 'hostler completion'. Cobra generates the scripts; they call the
// hidden command __complete, which ends in [app.completions].
func (a *app) completionCmd() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	var cmd *cobra.Command
	cmd = a.localCmd("completion SHELL", doc{
		short: txt("print the completion script of a shell", "输出命令行补全脚本"),
		long: txt(`Print a script that completes commands, flags, and the names of assets, actions,
queues and jobs. SHELL is bash (needs the package bash-completion), zsh, fish or
powershell.`,
			`输出补全脚本，可补全命令、选项以及资产、动作、队列和作业的名称。
SHELL 为 bash（需安装 bash-completion 软件包）、zsh、fish 或 powershell。`),
		example: `source <(hostler completion bash)
hostler completion zsh > "${fpath[1]}/_hostler"`,
	}, func(_ context.Context, args []string) error {
		root := cmd.Root()
		switch args[0] {
		case "bash":
			return root.GenBashCompletionV2(a.out, true)
		case "zsh":
			return root.GenZshCompletion(a.out)
		case "fish":
			return root.GenFishCompletion(a.out, true)
		case "powershell":
			return root.GenPowerShellCompletionWithDesc(a.out)
		}
		return hostler.Errorf(hostler.CodeInvalid,
			"the shell must be bash, zsh, fish or powershell", "只支持 bash、zsh、fish 和 powershell")
	})
	cmd.ValidArgs = shells
	return cmd
}

// completionTimeout limits how long the shell waits for the server.
const completionTimeout = 2 * time.Second

// completionPage is how many names are offered.
const completionPage = 200

// completer returns the words that may follow. A word may carry a description
// after a tab.
type completer func(ctx context.Context, c *client.Client) ([]string, error)

// fixed completes words that need no server.
func fixed(words ...string) completer {
	return func(context.Context, *client.Client) ([]string, error) { return words, nil }
}

// complete completes a flag, or with flag "" the first argument and its
// repetitions.
func (a *app) complete(cmd *cobra.Command, flag string, f completer) {
	_, most := arity(cmd.Use)
	fn := func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if flag == "" && most > 0 && len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return inList(typed, a.completions(cmd.Context(), f)), cobra.ShellCompDirectiveNoFileComp
	}
	if flag == "" {
		cmd.ValidArgsFunction = fn
		return
	}
	if err := cmd.RegisterFlagCompletionFunc(flag, fn); err != nil {
		panic(err) // the flag does not exist: a mistake in this package
	}
}

// inList completes the last word of a list that commas separate: the words before it stay.
func inList(typed string, offered []cobra.Completion) []cobra.Completion {
	at := strings.LastIndexByte(typed, ',')
	if at < 0 {
		return offered
	}
	out := make([]cobra.Completion, len(offered))
	for i, word := range offered {
		out[i] = typed[:at+1] + word
	}
	return out
}

// completions calls f. It returns none on any error: a shell has no place to show
// it.
func (a *app) completions(ctx context.Context, f completer) []cobra.Completion {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	c, err := a.client()
	if err != nil {
		return nil
	}
	words, err := f(ctx, c)
	if err != nil {
		return nil
	}
	offered := make([]cobra.Completion, len(words))
	for i := range words {
		word, description, _ := strings.Cut(words[i], "\t")
		offered[i] = cobra.CompletionWithDesc(term.Escape(word), term.Escape(description))
	}
	return offered
}

// named completes the names of a paged listing.
func named[T any](list func(*client.Client) client.Lister[T], name func(T) string) completer {
	return func(ctx context.Context, c *client.Client) ([]string, error) {
		l, err := list(c)(ctx, hostler.Page{Limit: completionPage})
		return names(l.Items, name), err
	}
}

// names maps items to their names.
func names[T any](items []T, name func(T) string) []string {
	words := make([]string, len(items))
	for i, it := range items {
		words[i] = name(it)
	}
	return words
}
