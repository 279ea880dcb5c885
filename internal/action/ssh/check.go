package ssh

import (
	"context"
	_ "embed" // the schema
	"encoding/json"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

//go:embed schema/check_ssh.json
var checkSchema []byte

// Checked is the result of check_ssh.
type Checked struct {
	Address       string `json:"address"`
	Port          int    `json:"port"`
	User          string `json:"user"`
	ServerVersion string `json:"server_version"` // the server's identification string
	MS            int64  `json:"ms"`             // from the dial to the login
}

func (f *Family) checkAction() action.Action {
	return action.Action{
		Name:  "check_ssh",
		Title: hostler.Text{EN: "Check SSH login", ZH: "检查 SSH 登录"},
		Help: hostler.Text{
			EN: "Connects to the asset over SSH, verifies its host key and logs in; it runs nothing and changes nothing.",
			ZH: "通过 SSH 连接资产，校验主机密钥并登录；不执行任何命令，不做任何更改。",
		},
		Schema: checkSchema, Asset: action.AssetRequired, LogsIn: true, Enabled: true,
		Traits: func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Run:    f.runCheck,
	}
}

func (f *Family) runCheck(ctx context.Context, c *action.Call) action.Result {
	h, err := f.hostOf(c)
	if err != nil {
		return action.ResultOf(err)
	}
	login, err := f.opts.Conns.CheckLogin(ctx, h.Target)
	if err != nil {
		return action.ResultOf(err)
	}
	return action.Succeeded(Checked{
		Address: h.Address, Port: h.Port, User: h.User,
		ServerVersion: action.LastLine(login.ServerVersion), MS: login.Took.Milliseconds(),
	})
}
