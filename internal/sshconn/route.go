package sshconn

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"slices"
	"strconv"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

const defaultPort = 22

// Target is the asset of a call as the call reaches it over SSH.
type Target struct {
	// Key is equal for targets that may share connections and shells: same address,
	// port, user, secret and jump hosts.
	Key     string
	Address string
	Port    int
	User    string

	route   *route
	call    *action.Call
	secrets []string // values that Redact replaces, longest first
}

// Target resolves the route to a call's asset and adds its secrets to the values that
// the job's output must not show. Its error is a [action.Fault].
func (p *Pool) Target(c *action.Call) (*Target, error) {
	if c.Asset == nil || c.AssetMissing {
		return nil, action.NewFault(hostler.ErrKindAssetMissing, "the asset was deleted", "资产已被删除").Final()
	}
	r, err := p.newRoute(c.Asset)
	if err != nil {
		return nil, err
	}
	t := &Target{Key: r.key, Address: r.host, Port: r.port, User: r.user(), route: r, call: c}
	t.Hide(r.secrets()...)
	return t, nil
}

// Where names the host in texts: its address, and the jump host before it.
func (t *Target) Where() string { return t.route.where() }

// HostPort is the address as dialled.
func (t *Target) HostPort() string { return t.route.addr }

// Hide adds values that Redact and the job's output must not show. Empty ones are
// ignored.
func (t *Target) Hide(values ...string) {
	for _, v := range values {
		if v != "" {
			t.secrets = append(t.secrets, v)
		}
	}
	// A password may be the beginning of another: cisco, cisco123.
	slices.SortStableFunc(t.secrets, func(a, b string) int { return len(b) - len(a) })
	if t.call.Redact != nil {
		t.call.Redact(values...)
	}
}

// Redact replaces the call's secrets in a text that does not go through the job's
// log, such as an error or a result.
func (t *Target) Redact(s string) string {
	for _, secret := range t.secrets {
		s = strings.ReplaceAll(s, secret, "***")
	}
	return s
}

// route is the way to an asset: its address, its login, and the route to the jump
// host before it.
type route struct {
	key   string // equal for routes that may share connections
	host  string
	port  int
	addr  string // host:port as dialled
	asset *hostler.LeaseAsset
	cred  *hostler.LeaseCredential
	via   *route
}

// newRoute resolves the route to a. It refuses chains of jump hosts that loop or are
// too long, and assets that cannot be logged in to.
func (p *Pool) newRoute(a *hostler.LeaseAsset) (*route, error) {
	seen := map[string]bool{}
	for j, n := a, 0; j != nil; j, n = j.Jump, n+1 {
		addr := addrOf(j)
		if n > hostler.MaxJumps || seen[addr] {
			return nil, action.NewFault(hostler.ErrKindBadArgs,
				"the jump hosts of %s form a loop or are more than %d",
				"%s 的跳板机形成循环，或超过 %d 级", a.Name, hostler.MaxJumps).Final()
		}
		seen[addr] = true
	}
	return p.routeTo(a)
}

func (p *Pool) routeTo(a *hostler.LeaseAsset) (*route, error) {
	if err := checkAsset(a); err != nil {
		return nil, err
	}
	r := &route{
		host: a.Address, port: cmp.Or(a.Port, defaultPort), addr: addrOf(a),
		asset: a, cred: a.Credential,
	}
	if a.Jump != nil {
		via, err := p.routeTo(a.Jump)
		if err != nil {
			return nil, err
		}
		r.via = via
	}
	r.key = p.routeKey(r)
	return r, nil
}

func checkAsset(a *hostler.LeaseAsset) error {
	c := a.Credential
	switch {
	case a.Address == "" || a.Address[0] == '-':
		return action.NewFault(hostler.ErrKindBadArgs,
			"asset %s has no usable address", "资产 %s 没有可用的地址", a.Name).Final()
	case c == nil && a.ID == 0:
		return action.NewFault(hostler.ErrKindCredential,
			"the request contains no login for %s", "请求未提供 %s 的登录信息", a.Name).Final()
	case c == nil:
		return action.NewFault(hostler.ErrKindCredential,
			"asset %s has no credential", "资产 %s 未绑定凭据", a.Name).
			WithRemedy("assign one: hostler asset set %s --credential NAME",
				"请绑定：hostler asset set %s --credential 凭据名", a.Name).Final()
	case c.Kind != hostler.CredentialPassword && c.Kind != hostler.CredentialSSHKey:
		return action.NewFault(hostler.ErrKindCredential,
			"the credential of asset %s is a %s; SSH needs a password or an ssh_key",
			"资产 %s 的凭据类型为 %s；SSH 需要 password 或 ssh_key", a.Name, c.Kind).Final()
	case c.Username == "":
		return action.NewFault(hostler.ErrKindCredential,
			"the credential of asset %s has no user name", "资产 %s 的凭据没有用户名", a.Name).Final()
	}
	return nil
}

func addrOf(a *hostler.LeaseAsset) string {
	return net.JoinHostPort(a.Address, strconv.Itoa(cmp.Or(a.Port, defaultPort)))
}

// routeKey digests what two routes must have in common to share a connection: the
// address, the login with its secret, and the jump hosts. The digest is keyed by this
// process, so that it reveals nothing of the secret. The ids of asset and credential
// are left out: an ad-hoc host shares with an asset that has the same login, and a
// changed secret is another login.
func (p *Pool) routeKey(r *route) string {
	h := hmac.New(sha256.New, p.digestKey[:])
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

func (r *route) where() string {
	if r.via == nil {
		return r.addr
	}
	return r.addr + " (via " + r.via.addr + ")"
}

// secrets lists the values that no output may show.
func (r *route) secrets() []string {
	all := r.cred.Secret.Values()
	if r.via != nil {
		all = append(all, r.via.secrets()...)
	}
	return all
}
