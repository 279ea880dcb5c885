package sshconn

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// verifyHostKey decides whether to go on with a server that presents key. It runs
// before authentication, so that a refused server sees no credential. A key that is
// refused because it is not known is offered nonetheless: the offer is recorded, so
// that a person can accept it.
func verifyHostKey(ctx context.Context, r *route, c *action.Call, key ssh.PublicKey) error {
	print := ssh.FingerprintSHA256(key)
	pinned := keysIn(r.asset, hostler.HostKeyPinned)
	switch {
	case contains(keysIn(r.asset, hostler.HostKeyRevoked), key):
		return action.NewFault(hostler.ErrKindHostKey,
			"%s presents the host key %s (%s), which was revoked; no credential was sent",
			"%s 出示的主机密钥 %s（%s）已被吊销；未发送任何凭据", r.where(), print, key.Type()).Final()
	case contains(pinned, key):
		return nil
	case len(pinned) > 0:
		_ = offer(ctx, r, c, key)
		do := hostKeyCommand(r.asset, "accept")
		return action.NewFault(hostler.ErrKindHostKey,
			"the host key of %s changed: it presents %s (%s), pinned is %s; no credential was sent",
			"%s 的主机密钥已变化：当前为 %s（%s），已固定的是 %s；未发送任何凭据",
			r.where(), print, key.Type(), fingerprints(pinned)).
			WithRemedy("if the host was reinstalled, compare the fingerprint and %[1]s",
				"若主机确已重装，请核对指纹后%[2]s", do.EN, do.ZH).Final()
	case r.asset.HostKey != hostler.HostKeyAcceptNew:
		_ = offer(ctx, r, c, key)
		do := hostKeyCommand(r.asset, "accept")
		return action.NewFault(hostler.ErrKindHostKey,
			"the host key of %s is unknown: it presents %s (%s), which no person has accepted, and the asset is strict "+
				"or its credential demands it; no credential was sent",
			"%s 的主机密钥未知：当前为 %s（%s），尚无人接受，而该资产或其凭据要求严格校验；未发送任何凭据",
			r.where(), print, key.Type()).
			WithRemedy("compare the fingerprint and %[1]s", "请核对指纹后%[2]s", do.EN, do.ZH).Final()
	}
	if err := offer(ctx, r, c, key); err != nil {
		do := hostKeyCommand(r.asset, "list")
		return action.NewFault(hostler.ErrKindHostKey,
			"the host key %s (%s) of %s was not accepted",
			"主机密钥 %s（%s，%s）未被接受", print, key.Type(), r.where()).
			WithRemedy("to list the known keys, %[1]s",
				"如需查看已知密钥，请%[2]s", do.EN, do.ZH).Because(err)
	}
	return nil
}

var errHostKeyReplaced = errors.New("the server presents another host key than at the login")

// sameHostKey refuses a server that presents another key when keys are exchanged again
// (RFC 4253, 9) than the one that was verified at the login.
func sameHostKey(verified, key ssh.PublicKey) error {
	if !contains([]ssh.PublicKey{verified}, key) {
		return errHostKeyReplaced
	}
	return nil
}

// hostKeyCommand is the command that lists or decides the host keys of an asset. The
// keys of an ad-hoc host are recorded by its address, so that an asset with that
// address must be added first.
func hostKeyCommand(a *hostler.LeaseAsset, verb string) hostler.Text {
	if a.ID == 0 {
		return hostler.Textf("add %[2]s as an asset and run: hostler asset hostkey %[1]s NAME",
			"将 %[2]s 添加为资产，再执行：hostler asset hostkey %[1]s 资产名", verb, a.Name)
	}
	return hostler.Textf("run: hostler asset hostkey %s %s", "执行：hostler asset hostkey %s %s", verb, a.Name)
}

var errNoAuthority = errors.New("no authority for host keys")

// offer asks the dispatcher to record the key, and whether it may be trusted.
func offer(ctx context.Context, r *route, c *action.Call, key ssh.PublicKey) error {
	if c.PinHostKey == nil {
		return errNoAuthority
	}
	return c.PinHostKey(ctx, hostler.HostKeyOffer{
		Address: r.addr, Type: key.Type(), PublicKey: authorizedForm(key),
	})
}

func authorizedForm(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// trusts reports whether a job that brings the newest decisions about the asset's
// host keys may use a connection whose server presented key.
func trusts(a *hostler.LeaseAsset, key ssh.PublicKey) bool {
	pinned := keysIn(a, hostler.HostKeyPinned)
	switch {
	case contains(keysIn(a, hostler.HostKeyRevoked), key):
		return false
	case len(pinned) > 0:
		return contains(pinned, key)
	}
	return a.HostKey == hostler.HostKeyAcceptNew
}

// keysIn returns the keys of an asset that are in a state, without unreadable ones.
func keysIn(a *hostler.LeaseAsset, state string) []ssh.PublicKey {
	var keys []ssh.PublicKey
	for _, k := range a.HostKeys {
		if k.State != state {
			continue
		}
		if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.PublicKey)); err == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

func contains(keys []ssh.PublicKey, key ssh.PublicKey) bool {
	return slices.ContainsFunc(keys, func(k ssh.PublicKey) bool {
		return bytes.Equal(k.Marshal(), key.Marshal())
	})
}

func fingerprints(keys []ssh.PublicKey) string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = ssh.FingerprintSHA256(k)
	}
	return strings.Join(all, ", ")
}
