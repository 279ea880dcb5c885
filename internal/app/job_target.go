package app

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/secret"
)

// A request may bring a host with its login instead of naming an asset. The secret
// parts are sealed like a credential, for the row of the job, and are deleted when
// the job ends.

// checkTarget checks a host that a request brings, and returns it with its address in
// the form that is stored.
func checkTarget(fields *check.Fields, t hostler.InlineTarget) *hostler.InlineTarget {
	t.Address = fields.Address("target.address", t.Address)
	check.Between(fields, "target.port", t.Port, 0, 65535)
	fields.Line("target.platform", t.Platform, 64)
	fields.Line("target.username", t.Username, 256)
	fields.Text("target.password", t.Password, 4096)
	fields.Text("target.private_key", t.PrivateKey, 64<<10)
	fields.Text("target.passphrase", t.Passphrase, 4096)
	fields.Text("target.enable", t.Enable, 4096)
	fields.Require(t.Password == "" || t.PrivateKey == "", "target.private_key",
		"excludes password: give one of the two", "不能与 password 同时提供")
	fields.Require(t.Passphrase == "" || t.PrivateKey != "", "target.passphrase",
		"requires a private key", "仅用于私钥")
	opens := t.Password != "" || t.PrivateKey != ""
	fields.Require(t.Enable == "" || opens, "target.enable", "requires a password or a private key",
		"需要同时提供密码或私钥")
	fields.Require(t.Username != "" || !opens, "target.username",
		"is required with a password or a private key", "提供密码或私钥时不能为空")
	if t.PrivateKey != "" {
		var key check.Fields
		checkPrivateKey(&key, t.PrivateKey, t.Passphrase)
		fields.Nest("target.", key.Faults()...)
	}
	return &t
}

// jobTarget returns what is stored of a checked target.
func (a *App) jobTarget(t *hostler.InlineTarget) *hostler.JobTarget {
	login := hostler.Secret{PrivateKey: t.PrivateKey, Passphrase: t.Passphrase, Password: t.Password, Enable: t.Enable}
	return &hostler.JobTarget{
		Address: t.Address, Port: t.Port, Platform: t.Platform, Username: t.Username,
		Seal: func(project hostler.ProjectID, id hostler.JobID) ([]byte, error) {
			return a.cfg.Box.SealSecret(secret.JobOwner(project, id), login)
		},
	}
}

// errLoginDeleted refuses to repeat a job that brought its own host.
func errLoginDeleted(address string) error {
	return hostler.Errorf(hostler.CodeConflict,
		"the job brought its own login for %s, which was deleted when the job ended; send the request again",
		"该作业自带 %s 的登录信息，作业结束时已删除；请重新提交请求", address)
}
