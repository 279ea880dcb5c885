package app

import (
	"encoding/json"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// This file is about hosts that a request brings along with their logins. Like a
// credential, the secret parts are sealed for one row, the job's; unlike one they
// are gone when the job is.

// checkTarget checks a host that the request brings along and returns it with its
// address in the one form that is stored. It never repeats a value: any of them
// may be a secret in the wrong place.
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
		"belongs to a private key", "仅用于私钥")
	opens := t.Password != "" || t.PrivateKey != ""
	fields.Require(t.Enable == "" || opens, "target.enable", "needs a password or a private key", "需要同时提供密码或私钥")
	fields.Require(t.Username != "" || !opens, "target.username", "is needed with a password or a private key", "提供密码或私钥时不能为空")
	if t.PrivateKey != "" {
		var key check.Fields
		checkPrivateKey(&key, t.PrivateKey, t.Passphrase)
		fields.Nest("target.", key.Faults()...)
	}
	return &t
}

// jobTarget makes what the store keeps of a checked target.
func (a *App) jobTarget(t *hostler.InlineTarget) *hostler.JobTarget {
	secret := hostler.Secret{PrivateKey: t.PrivateKey, Passphrase: t.Passphrase, Password: t.Password, Enable: t.Enable}
	return &hostler.JobTarget{
		Address: t.Address, Port: t.Port, Platform: t.Platform, Username: t.Username,
		Seal: func(id hostler.JobID) ([]byte, error) {
			plain, err := json.Marshal(sealedSecret(secret))
			if err != nil {
				return nil, fmt.Errorf("encode the login of job %v", id)
			}
			sealed, err := a.cfg.Box.Seal(plain, associatedJob(id))
			if err != nil {
				return nil, fmt.Errorf("seal the login of job %v: %w", id, err)
			}
			return sealed, nil
		},
	}
}

func associatedJob(id hostler.JobID) []byte { return []byte("job " + id.String()) }

// openTarget makes the lease's view of a host that the job brought. A login that
// cannot be opened is left out; the error then says why.
func (a *App) openTarget(id hostler.JobID, t store.SealedTarget, keys []hostler.HostKey) (*hostler.LeaseAsset, error) {
	out := &hostler.LeaseAsset{
		Name: t.Address, Address: t.Address, Port: t.Port, Platform: t.Platform,
		HostKeys: keys, HostKey: hostler.HostKeyAcceptNew,
	}
	plain, err := a.cfg.Box.Open(t.Sealed, associatedJob(id))
	if err != nil {
		return out, err
	}
	var s sealedSecret
	if json.Unmarshal(plain, &s) != nil {
		// The decoder's error could repeat a part of the secret.
		return out, fmt.Errorf("decode the login of job %v", id)
	}
	switch {
	case s.PrivateKey != "":
		out.Credential = &hostler.LeaseCredential{Kind: hostler.CredentialSSHKey, Username: t.Username, Secret: hostler.Secret(s)}
	case s.Password != "":
		out.Credential = &hostler.LeaseCredential{Kind: hostler.CredentialPassword, Username: t.Username, Secret: hostler.Secret(s)}
	}
	return out, nil
}

// errLoginGone refuses to make a job again that brought its own host.
func errLoginGone(address string) error {
	return hostler.Errorf(hostler.CodeConflict,
		"the job brought its own login for %s, which was deleted when the job ended; send the request again",
		"该作业自带 %s 的登录信息，作业结束时已删除；请重新提交请求", address)
}
