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

func (a *app) completionCmd() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	var cmd *cobra.Command
	cmd = a.localCmd("completion SHELL", doc{
		short:   txt("write the completion script of a shell", "生成命令行补全脚本"),
		long:    txt("Writes a script that completes commands, flags, and the names of assets, actions,\nqueues and jobs, for bash (with its package bash-completion), zsh, fish or powershell.", "生成补全脚本，可补全命令、选项以及资产、动作、队列和作业的名称；\n支持 bash（需安装 bash-completion 软件包）、zsh、fish 和 powershell。"),
		example: "source <(hostler completion bash)\nhostler completion zsh > \"${fpath[1]}/_hostler\"",
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

// completer offers words that may follow.
type completer func(ctx context.Context, c *client.Client) ([]string, error)

func fixed(words ...string) completer {
	return func(context.Context, *client.Client) ([]string, error) { return words, nil }
}

// complete completes a flag, or with flag "" the first argument and those that
// repeat it.
func (a *app) complete(cmd *cobra.Command, flag string, f completer) {
	_, most := arity(cmd.Use)
	fn := func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if flag == "" && most > 0 && len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		words, err := f(ctx, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for i := range words {
			word, note, _ := strings.Cut(words[i], "\t")
			words[i] = cobra.CompletionWithDesc(term.Escape(word), term.Escape(note))
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	if flag == "" {
		cmd.ValidArgsFunction = fn
		return
	}
	if err := cmd.RegisterFlagCompletionFunc(flag, fn); err != nil {
		cmd.ValidArgsFunction = nil // only a flag that does not exist; TestCompletion would show it
	}
}

// named makes a completer of the names in a paged listing.
func named[T any](list func(*client.Client) client.Lister[T], name func(T) string) completer {
	return func(ctx context.Context, c *client.Client) ([]string, error) {
		l, err := list(c)(ctx, hostler.Page{Limit: 200})
		return names(l.Items, name), err
	}
}

func names[T any](items []T, name func(T) string) []string {
	words := make([]string, len(items))
	for i, it := range items {
		words[i] = name(it)
	}
	return words
}

func assetNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.Asset] { return c.Assets },
		func(x hostler.Asset) string { return x.Name })
}

func credentialNames() completer {
	return named(func(c *client.Client) client.Lister[hostler.Credential] { return c.Credentials },
		func(x hostler.Credential) string { return x.Name })
}

func jobIDs(states ...hostler.State) completer {
	return named(func(c *client.Client) client.Lister[hostler.Job] {
		return c.JobsLister(hostler.JobFilter{States: states})
	}, func(j hostler.Job) string {
		return j.ID.String() + "\t" + string(j.State) + " " + j.Action + " " + j.AssetName
	})
}

func actionNames(ctx context.Context, c *client.Client) ([]string, error) {
	l, err := c.Actions(ctx)
	return names(l, func(x hostler.ActionInfo) string { return x.Name }), err
}

func queueNames(ctx context.Context, c *client.Client) ([]string, error) {
	l, err := c.Queues(ctx)
	return names(l, func(x hostler.Queue) string { return x.Name }), err
}
