package ssh

import (
	"context"
	_ "embed" // the schema
	"encoding/json"
	"time"

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
	ServerVersion string `json:"server_version"` // as the server calls itself
	MS            int64  `json:"ms"`             // from the dial to the login
}

func (f *Family) checkAction() action.Action {
	return action.Action{
		Name:  "check_ssh",
		Title: hostler.Text{EN: "Check SSH login", ZH: "检查 SSH 登录"},
		Help: hostler.Text{
			EN: "Connects to the asset over SSH, judges its host key and logs in; it runs nothing and changes nothing.",
			ZH: "通过 SSH 连接资产，校验主机密钥并登录；不执行任何命令，不做任何更改。",
		},
		Schema: checkSchema, Asset: action.AssetRequired, Enabled: true,
		Traits: func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Run:    f.runCheck,
	}
}

// runCheck makes a connection of its own: a kept one would not tell whether the
// login still opens the host.
func (f *Family) runCheck(ctx context.Context, c *action.Call) action.Result {
	h, err := f.hostOf(c)
	if err != nil {
		return asFault(err).result()
	}
	began := time.Now()
	conn, err := f.dial(ctx, h.route, c)
	if err != nil {
		return asFault(err).result()
	}
	took := time.Since(began)
	_ = conn.client.Close()
	f.release(conn.via)
	return action.Succeeded(Checked{
		Address: h.route.host, Port: h.route.port, User: h.route.user(),
		ServerVersion: serverVersion(conn.client.ServerVersion()), MS: took.Milliseconds(),
	})
}

// serverVersion makes text of what a server sent before anybody knew it.
func serverVersion(b []byte) string { return lastLine(b) }
