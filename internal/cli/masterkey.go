package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/server"
)

// keyRotateMaster is 'hostler key rotate-master'. It works on the data folder, not over the
// API: no answer of a server may contain the master key.
func (a *app) keyRotateMaster() *cobra.Command {
	var status, retire bool
	var load func() (config.Config, error)
	cmd := a.localCmd("rotate-master [flags]", doc{
		short: txt("replace the master key, which encrypts stored secrets", "更换加密存储内容的主密钥"),
		long: txt(`Add a new master key to the key file, on the server's machine. Running servers read
the file within seconds: new secrets are sealed with the new key once every server
has it, and stored ones are sealed again in the background. With several servers,
copy the key file to each of them. When --status shows that all is sealed again,
--retire removes the earlier key. Backups from before need it: keep a copy with them.`,
			`在服务所在机器的密钥文件中加入新的主密钥。运行中的服务会在数秒内读取该文件：所有服务都有新密钥后，
新内容用新密钥加密，已存储的内容在后台重新加密。有多个服务时，请将密钥文件复制到每一个。
--status 显示全部重新加密后，用 --retire 移除先前的密钥。此前的备份仍需要它：请与备份一起保留副本。`),
		example: `hostler key rotate-master --data /var/lib/hostler
hostler key rotate-master --status --data /var/lib/hostler
hostler key rotate-master --retire --data /var/lib/hostler`,
	}, func(ctx context.Context, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		do := server.RotateMasterKey
		switch {
		case status:
			do = server.MasterKey
		case retire:
			do = server.RetireMasterKeys
		}
		s, err := do(ctx, cfg)
		if err != nil {
			return err
		}
		return a.printMasterKeys(s)
	})
	fs := cmd.Flags()
	fs.BoolVar(&status, "status", false, a.t("show how far the rotation has come", "显示轮换进度"))
	fs.BoolVar(&retire, "retire", false, a.t("remove keys that are no longer needed", "移除不再需要的密钥"))
	cmd.MarkFlagsMutuallyExclusive("status", "retire")
	load = a.serverFlags(cmd, "data", "db")
	return cmd
}

// printMasterKeys prints ids of keys. A new key itself is printed only where Hostler cannot
// store it: for the environment.
func (a *app) printMasterKeys(s server.MasterKeyStatus) error {
	if s.NewKey != "" {
		a.note("set HOSTLER_MASTER_KEY to this value on every server, and restart them one after another",
			"请将每个服务的 HOSTLER_MASTER_KEY 设为以下值，并逐个重启")
		_, err := fmt.Fprintln(a.out, s.NewKey)
		return err
	}
	return one(a, s, []column[server.MasterKeyStatus]{
		col("keys", "密钥", func(x server.MasterKeyStatus) string { return strings.Join(x.Keys, " ") }),
		col("current", "当前", func(x server.MasterKeyStatus) string { return x.Current }),
		col("resealed", "已重新加密", func(x server.MasterKeyStatus) string { return a.yesNo(x.Resealed && !x.Waiting()) }),
	})
}
