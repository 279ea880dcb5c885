package ssh

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

var errNobodyToAsk = errors.New("no authority for host keys")

// hostKeyCheck makes the callback that judges a server's key. It runs before
// authentication, so that a refused server sees no credential.
func hostKeyCheck(ctx context.Context, r *route, c *action.Call, seen *gossh.PublicKey) gossh.HostKeyCallback {
	return func(_ string, _ net.Addr, key gossh.PublicKey) error {
		if err := judge(ctx, r, c, key); err != nil {
			return err
		}
		*seen = key
		return nil
	}
}

func judge(ctx context.Context, r *route, c *action.Call, key gossh.PublicKey) error {
	print := gossh.FingerprintSHA256(key)
	pinned := keysIn(r.asset, hostler.HostKeyPinned)
	switch {
	case contains(keysIn(r.asset, hostler.HostKeyRevoked), key):
		return failed(hostler.ErrKindHostKey,
			"%s shows the host key %s (%s), which was revoked; nothing was sent to it",
			"%s 出示的主机密钥 %s（%s）已被吊销；未发送任何凭据", r.where(), print, key.Type()).final()
	case contains(pinned, key):
		return nil
	case len(pinned) > 0:
		_ = offer(ctx, r, c, key) // recorded, so that a person can accept it
		return failed(hostler.ErrKindHostKey,
			"the host key of %s changed: it shows %s (%s), pinned is %s. Nothing was sent to it. "+
				"If the host was reinstalled, compare the fingerprint and ",
			"%s 的主机密钥已变化：当前为 %s（%s），已固定的是 %s。未发送任何凭据。"+
				"若主机确已重装，请核对指纹后",
			r.where(), print, key.Type(), fingerprints(pinned)).hint(r.asset, "accept").final()
	case r.asset.HostKey != hostler.HostKeyAcceptNew:
		_ = offer(ctx, r, c, key)
		return failed(hostler.ErrKindHostKey,
			"the host key of %s is not known: it shows %s (%s), and the asset is strict. Nothing was sent to it. "+
				"Compare the fingerprint and ",
			"%s 的主机密钥未知：当前为 %s（%s），该资产要求严格校验。未发送任何凭据。"+
				"请核对指纹后",
			r.where(), print, key.Type()).hint(r.asset, "accept").final()
	}
	if err := offer(ctx, r, c, key); err != nil {
		return failed(hostler.ErrKindHostKey,
			"the host key %s (%s) of %s was not accepted. To see what is known, ",
			"主机密钥 %s（%s，%s）未被接受。如需查看已知密钥，请",
			print, key.Type(), r.where()).hint(r.asset, "list").because(err)
	}
	return nil
}

// hint ends the text with the command that shows or decides about the keys of an
// asset. Those of a host that a job brought along hang on its address, and are
// found once an asset has that.
func (e *fault) hint(a *hostler.LeaseAsset, verb string) *fault {
	t := hostler.Textf("run: hostler asset hostkey %s %s", "执行：hostler asset hostkey %s %s", verb, a.Name)
	if a.ID == 0 {
		t = hostler.Textf("add %[2]s as an asset and run: hostler asset hostkey %[1]s NAME",
			"将 %[2]s 添加为资产，再执行：hostler asset hostkey %[1]s 资产名", verb, a.Name)
	}
	e.text.EN += t.EN
	e.text.ZH += t.ZH
	return e
}

func offer(ctx context.Context, r *route, c *action.Call, key gossh.PublicKey) error {
	if c.PinHostKey == nil {
		return errNobodyToAsk
	}
	return c.PinHostKey(ctx, hostler.HostKeyOffer{
		Address: r.addr, Type: key.Type(), PublicKey: authorizedForm(key),
	})
}

func authorizedForm(key gossh.PublicKey) string {
	return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key)))
}

// trusts says whether the key that a kept connection was opened with is still
// good for a job that comes with newer decisions.
func trusts(a *hostler.LeaseAsset, key gossh.PublicKey) bool {
	pinned := keysIn(a, hostler.HostKeyPinned)
	switch {
	case contains(keysIn(a, hostler.HostKeyRevoked), key):
		return false
	case len(pinned) > 0:
		return contains(pinned, key)
	}
	return a.HostKey == hostler.HostKeyAcceptNew
}

// keysIn lists the readable keys of a state.
func keysIn(a *hostler.LeaseAsset, state string) []gossh.PublicKey {
	var keys []gossh.PublicKey
	for _, k := range a.HostKeys {
		if k.State != state {
			continue
		}
		if key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(k.PublicKey)); err == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

func contains(keys []gossh.PublicKey, key gossh.PublicKey) bool {
	return slices.ContainsFunc(keys, func(k gossh.PublicKey) bool {
		return bytes.Equal(k.Marshal(), key.Marshal())
	})
}

func fingerprints(keys []gossh.PublicKey) string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = gossh.FingerprintSHA256(k)
	}
	return strings.Join(all, ", ")
}
