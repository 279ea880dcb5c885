package ssh

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"strconv"

	"hostler.dev/hostler"
)

const (
	defaultPort = 22
	// maxJumps bounds a chain of jump hosts.
	maxJumps = 5
)

// route is the way to an asset: where it is, who logs in with what, and the
// route to the jump host before it.
type route struct {
	key   string // equal for routes that may share connections
	host  string
	port  int
	addr  string // host:port as dialled
	asset *hostler.LeaseAsset
	cred  *hostler.LeaseCredential
	via   *route
}

// newRoute finds the way to a, refusing chains that loop or that are too long,
// and assets that nothing opens.
func (f *Family) newRoute(a *hostler.LeaseAsset) (*route, error) {
	seen := map[string]bool{}
	for j, n := a, 0; j != nil; j, n = j.Jump, n+1 {
		addr := addrOf(j)
		if n > maxJumps || seen[addr] {
			return nil, failed(hostler.ErrKindBadArgs,
				"the jump hosts of %s form a loop or are more than %d",
				"%s 的跳板机形成循环，或超过 %d 级", a.Name, maxJumps).final()
		}
		seen[addr] = true
	}
	return f.routeTo(a)
}

func (f *Family) routeTo(a *hostler.LeaseAsset) (*route, error) {
	if err := checkAsset(a); err != nil {
		return nil, err
	}
	r := &route{host: a.Address, port: or(a.Port, defaultPort), addr: addrOf(a), asset: a, cred: a.Credential}
	if a.Jump != nil {
		via, err := f.routeTo(a.Jump)
		if err != nil {
			return nil, err
		}
		r.via = via
	}
	r.key = f.keyOf(r)
	return r, nil
}

func checkAsset(a *hostler.LeaseAsset) error {
	c := a.Credential
	switch {
	case a.Address == "" || a.Address[0] == '-':
		return failed(hostler.ErrKindBadArgs, "asset %s has no usable address", "资产 %s 没有可用的地址", a.Name).final()
	case c == nil && a.ID == 0:
		return failed(hostler.ErrKindCredential,
			"the request brought no login for %s", "请求未提供 %s 的登录信息", a.Name).final()
	case c == nil:
		return failed(hostler.ErrKindCredential,
			"asset %s has no credential; give it one with: hostler asset set %s --credential NAME",
			"资产 %s 未绑定凭据；请执行：hostler asset set %s --credential 凭据名", a.Name, a.Name).final()
	case c.Kind != hostler.CredentialPassword && c.Kind != hostler.CredentialSSHKey:
		return failed(hostler.ErrKindCredential,
			"the credential of asset %s is a %s; SSH needs a password or an ssh_key",
			"资产 %s 的凭据类型为 %s；SSH 需要 password 或 ssh_key", a.Name, c.Kind).final()
	case c.Username == "":
		return failed(hostler.ErrKindCredential,
			"the credential of asset %s names no user", "资产 %s 的凭据没有用户名", a.Name).final()
	}
	return nil
}

func addrOf(a *hostler.LeaseAsset) string {
	return net.JoinHostPort(a.Address, strconv.Itoa(or(a.Port, defaultPort)))
}

// keyOf digests what must be equal for two routes to share a connection: where it
// goes, and the login with its secret, under a key of this process. Which asset or
// credential it came from does not count: a host that a job brought along shares
// with an asset whose login is the same, and a changed secret is another login.
func (f *Family) keyOf(r *route) string {
	h := hmac.New(sha256.New, f.seal[:])
	s := r.cred.Secret
	parts := []string{
		r.addr, r.cred.Username, r.cred.Kind,
		s.PrivateKey, s.Passphrase, s.Password,
	}
	if r.via != nil {
		parts = append(parts, r.via.key)
	}
	_ = json.NewEncoder(h).Encode(parts)
	return hex.EncodeToString(h.Sum(nil))
}

func (r *route) user() string { return r.cred.Username }

// where names the server for people: its address, and the jump host before it.
func (r *route) where() string {
	if r.via == nil {
		return r.addr
	}
	return r.addr + " (via " + r.via.addr + ")"
}

// secrets lists what must not appear in any output.
func (r *route) secrets() []string {
	all := r.cred.Secret.Values()
	if r.via != nil {
		all = append(all, r.via.secrets()...)
	}
	return all
}
