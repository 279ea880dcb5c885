package cli

import (
	"context"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/clicontext"
)

// contextCmd is 'hostler context'. Its commands change a file on this machine and call no
// server.
func (a *app) contextCmd() *cobra.Command {
	return a.group("context", doc{
		short: txt("choose the server that commands use", "选择命令所使用的服务器"),
		long: txt(`Choose the server that commands use. A context is the address of a server with a
key, saved in a file that only you can read. 'hostler serve' maintains the context
'local'. HOSTLER_URL and HOSTLER_KEY take precedence over contexts.`,
			`选择命令所使用的服务器。上下文是服务器地址及其密钥，保存在只有您可读的文件中。
'hostler serve' 会维护名为 local 的上下文。HOSTLER_URL 和 HOSTLER_KEY 优先于上下文。`),
		example: `hostler context add prod --url https://hostler.example.com
hostler context use prod
hostler context list`,
	}, a.contextList(), a.contextUse(), a.contextAdd(), a.contextDelete())
}

// contextRow is a context in a listing: without its key.
type contextRow struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	URL     string `json:"url"`
	Project string `json:"project,omitempty"`
	CAFile  string `json:"ca_file,omitempty"`
}

func (a *app) contextList() *cobra.Command {
	return a.localCmd("list", doc{
		short: txt("list contexts", "列出上下文"),
		long: txt("List the saved contexts, without their keys.",
			"列出已保存的上下文（不含密钥）。"),
		example: "hostler context list",
	}, func(context.Context, []string) error {
		_, f, err := loadContexts()
		if err != nil {
			return err
		}
		var rows []contextRow
		for _, name := range slices.Sorted(maps.Keys(f.Contexts)) {
			c := f.Contexts[name]
			rows = append(rows, contextRow{name, name == f.Current, c.URL, c.Project, c.CAFile})
		}
		return list(a, rows, []column[contextRow]{
			col("name", "名称", func(r contextRow) string { return r.Name }),
			col("current", "当前", func(r contextRow) string { return a.yesNo(r.Current) }),
			col("address", "地址", func(r contextRow) string { return r.URL }),
			col("project", "项目", func(r contextRow) string { return dash(r.Project) }),
		})
	})
}

// loadContexts reads the file of saved contexts.
func loadContexts() (path string, f clicontext.File, err error) {
	if path, err = clicontext.Path(); err != nil {
		return path, f, err
	}
	f, err = clicontext.Load(path)
	return path, f, err
}

// changeContexts loads the file, changes it and saves it.
func changeContexts(change func(*clicontext.File) error) error {
	path, f, err := loadContexts()
	if err != nil {
		return err
	}
	if err := change(&f); err != nil {
		return err
	}
	return clicontext.Save(path, f)
}

func contextNotFound(name string) error { return hostler.NotFound(txt("context", "上下文"), name) }

// contextNames completes the names of contexts.
func contextNames(context.Context, *client.Client) ([]string, error) {
	_, f, err := loadContexts()
	return slices.Sorted(maps.Keys(f.Contexts)), err
}

// contextUse is 'hostler context use'.
func (a *app) contextUse() *cobra.Command {
	cmd := a.localCmd("use NAME", doc{
		short:   txt("select the current context", "切换当前上下文"),
		long:    txt("Select the context that commands use.", "选择命令所使用的上下文。"),
		example: "hostler context use prod",
	}, func(_ context.Context, args []string) error {
		return changeContexts(func(f *clicontext.File) error {
			if _, ok := f.Contexts[args[0]]; !ok {
				return contextNotFound(args[0])
			}
			f.Current = args[0]
			return nil
		})
	})
	a.complete(cmd, "", contextNames)
	return cmd
}

// contextAdd is 'hostler context add'. It takes --url and --project from the global flags,
// and checks the URL before it asks for the key.
func (a *app) contextAdd() *cobra.Command {
	var ca string
	from := secretSource{flags: "--stdin"}
	cmd := a.localCmd("add NAME [flags]", doc{
		short: txt("add or replace a context", "添加或替换上下文"),
		long: txt(`Add a context with the address of --url, or replace it. The key is asked for without
echo, or read from standard input with --stdin.`,
			`添加或替换上下文，地址取自 --url。密钥在终端无回显地询问，或用 --stdin 从标准输入读取。`),
		example: `hostler context add prod --url https://hostler.example.com
hostler context add prod --url https://hostler.example.com --ca-file ca.pem --stdin < key`,
	}, func(ctx context.Context, args []string) error {
		if _, err := client.New(a.url, ""); err != nil {
			return err
		}
		key, err := a.secretLine(txt("key", "密钥"), from)
		if err != nil {
			return err
		}
		entry := clicontext.Context{URL: a.url, Key: key, Project: a.project, CAFile: ca}
		if err := a.verifyContext(ctx, entry); err != nil {
			return err
		}
		return changeContexts(func(f *clicontext.File) error {
			f.Contexts[args[0]] = entry
			if _, ok := f.Contexts[f.Current]; !ok {
				f.Current = args[0]
				a.note("%s is the current context", "当前上下文为 %s", args[0])
			}
			return nil
		})
	})
	fs := cmd.Flags()
	fs.StringVar(&ca, "ca-file", "",
		a.t("PEM certificates to trust besides the system's", "除系统证书外还信任的 PEM 证书文件"))
	fs.BoolVar(&from.stdin, "stdin", false, a.t("read the key from standard input", "从标准输入读取密钥"))
	return cmd
}

// verifyContext refuses a key that the server does not know. A server that does not answer now
// is only noted.
func (a *app) verifyContext(ctx context.Context, entry clicontext.Context) error {
	opts := []client.Option{client.WithLang(a.lang), client.WithProject(entry.Project), client.WithRetries(0)}
	if entry.CAFile != "" {
		h, err := clientTrusting(entry.CAFile)
		if err != nil {
			return err
		}
		opts = append(opts, client.WithHTTPClient(h))
	}
	c, err := client.New(entry.URL, entry.Key, opts...)
	if err != nil {
		return err
	}
	me, err := c.Me(ctx)
	switch {
	case err == nil:
		a.note("%s: %s in the project %s", "%s：%s，项目 %s", entry.URL, me.User, me.Project)
	case hostler.CodeOf(err) == hostler.CodeUnauthenticated, hostler.CodeOf(err) == hostler.CodeForbidden:
		return err
	default:
		a.note("saved without a check: %v", "已保存，但未能验证：%v", err)
	}
	return nil
}

// contextDelete is 'hostler context delete'. Deleting the current context leaves none
// selected.
func (a *app) contextDelete() *cobra.Command {
	cmd := a.localCmd("delete NAME", doc{
		short: txt("delete a context", "删除上下文"),
		long: txt("Delete a saved context. Its key stays valid: to revoke it, use 'hostler key revoke'.",
			"删除已保存的上下文。其中的密钥仍然有效；如需停用，请用 'hostler key revoke'。"),
		example: "hostler context delete prod",
	}, func(_ context.Context, args []string) error {
		return changeContexts(func(f *clicontext.File) error {
			if _, ok := f.Contexts[args[0]]; !ok {
				return contextNotFound(args[0])
			}
			delete(f.Contexts, args[0])
			if f.Current == args[0] {
				f.Current = ""
			}
			return nil
		})
	})
	a.complete(cmd, "", contextNames)
	return cmd
}
