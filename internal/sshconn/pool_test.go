package sshconn_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
	"hostler.dev/hostler/internal/sshconn"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

func TestErrorKinds(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	wrongKey, _ := sshtest.NewKey(t, "")
	encrypted, _ := sshtest.NewKey(t, "right")
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and sends nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	const retryable, final = false, true
	for name, tc := range map[string]struct {
		change func(a *hostler.LeaseAsset)
		kind   string
		final  bool
	}{
		"no such name":       {withAddress("no-such-host.invalid"), hostler.ErrKindUnreachable, retryable},
		"no route":           {withAddress("255.255.255.255"), hostler.ErrKindUnreachable, retryable},
		"refused":            {withPort(closed), hostler.ErrKindRefused, retryable},
		"timeout":            {withPort(silent), hostler.ErrKindConnTimeout, retryable},
		"authentication":     {withSecret(hostler.Secret{PrivateKey: wrongKey}), hostler.ErrKindAuth, final},
		"no credential":      {withoutCredential, hostler.ErrKindCredential, final},
		"no user":            {withoutUser, hostler.ErrKindCredential, final},
		"token":              {withToken, hostler.ErrKindCredential, final},
		"unreadable key":     {withSecret(hostler.Secret{PrivateKey: "no key"}), hostler.ErrKindCredential, final},
		"passphrase missing": {withSecret(hostler.Secret{PrivateKey: encrypted}), hostler.ErrKindCredential, final},
		"passphrase wrong": {
			withSecret(hostler.Secret{PrivateKey: encrypted, Passphrase: "wrong"}), hostler.ErrKindCredential, final,
		},
		"jump refused": {func(a *hostler.LeaseAsset) {
			a.Jump = s.Asset()
			a.Address, a.Port = "127.0.0.2", portOf(closed)
		}, hostler.ErrKindRefused, retryable},
		"metadata": {withAddress("169.254.169.254"), hostler.ErrKindBadArgs, final},
		"metadata through a jump host": {func(a *hostler.LeaseAsset) {
			a.Jump = s.Asset()
			a.Address = "169.254.169.254"
		}, hostler.ErrKindBadArgs, final},
		"metadata as a number through a jump host": {func(a *hostler.LeaseAsset) {
			a.Jump = s.Asset()
			a.Address = "2852039166"
		}, hostler.ErrKindBadArgs, final},
		"jump loop": {func(a *hostler.LeaseAsset) { a.Jump = s.Asset() }, hostler.ErrKindBadArgs, final},
	} {
		t.Run(name, func(t *testing.T) {
			var opts sshconn.Options
			if tc.kind == hostler.ErrKindConnTimeout {
				opts.ConnectTimeout = time.Second
			}
			e := newEnv(t, opts)
			asset := s.Asset()
			tc.change(asset)
			a := e.command(asset, "true")
			a.MustEnd(t, hostler.OutcomeFailed, tc.kind)
			if a.NoRetry != tc.final {
				t.Errorf("NoRetry: got %v, want %v", a.NoRetry, tc.final)
			}
		})
	}
	a := actiontest.New(nil, m{"command": "true"})
	a.Call.AssetMissing = true
	a.Start(t.Context(), newEnv(t, sshconn.Options{}).runner)
	a.Wait(t).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindAssetMissing)
}

func withAddress(address string) func(*hostler.LeaseAsset) {
	return func(a *hostler.LeaseAsset) { a.Address = address }
}

func withPort(l net.Listener) func(*hostler.LeaseAsset) {
	return func(a *hostler.LeaseAsset) { a.Port = portOf(l) }
}

func withSecret(s hostler.Secret) func(*hostler.LeaseAsset) {
	return func(a *hostler.LeaseAsset) { a.Credential.Secret = s }
}

func withoutCredential(a *hostler.LeaseAsset) { a.Credential = nil }

func withoutUser(a *hostler.LeaseAsset) { a.Credential.Username = "" }

func withToken(a *hostler.LeaseAsset) { a.Credential.Kind = hostler.CredentialToken }

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func TestEncryptedKeyAndRedaction(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	private, public := sshtest.NewKey(t, "open sesame")
	s.Authorize(public)
	asset := s.Asset()
	asset.Credential.Secret = hostler.Secret{PrivateKey: private, Passphrase: "open sesame"}
	a := newEnv(t, sshconn.Options{}).command(asset, "true")
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	if diff := cmp.Diff([]string{private, "open sesame"}, a.Redacted()); diff != "" {
		t.Errorf("redacted (-want +got):\n%s", diff)
	}
}

func TestPassword(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	name := sshtest.NewUser(t, "s3cret pass")
	asset := s.Asset()
	asset.Credential = &hostler.LeaseCredential{
		ID: 2, Version: 1, Kind: hostler.CredentialPassword, Username: name,
		Secret: hostler.Secret{Password: "s3cret pass"},
	}
	e := newEnv(t, sshconn.Options{})
	a := e.command(asset, "id -un")
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	if got := strings.TrimSpace(a.Stdout.String()); got != name {
		t.Errorf("user: got %q", got)
	}
	asset.Credential.Secret.Password = "wrong"
	e.command(asset, "true").MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindAuth)
}

// A server that offers keyboard-interactive and asks nothing, as OpenSSH without PAM does,
// refuses a wrong password. That is final, as retries could lock the account.
func TestWrongPasswordWithoutAQuestion(t *testing.T) {
	s := startServer(t, sshtest.Options{Config: []string{"Match all", "KbdInteractiveAuthentication yes"}})
	asset := s.Asset()
	asset.Credential = &hostler.LeaseCredential{
		ID: 2, Version: 1, Kind: hostler.CredentialPassword, Username: sshtest.NewUser(t, "s3cret pass"),
		Secret: hostler.Secret{Password: "wrong"},
	}
	e := newEnv(t, sshconn.Options{})
	e.command(asset, "true").MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindAuth)
	asset.Credential.Secret.Password = "s3cret pass"
	e.command(asset, "true").MustEnd(t, hostler.OutcomeSucceeded, "")
}

// countingServer is an SSH server in this process that counts authentication attempts.
type countingServer struct {
	asset   *hostler.LeaseAsset
	hostKey string
	auths   atomic.Int64
}

func startCounting(t *testing.T, change func(*gossh.ServerConfig)) *countingServer {
	t.Helper()
	c := &countingServer{}
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	config := &gossh.ServerConfig{
		AuthLogCallback: func(_ gossh.ConnMetadata, method string, _ error) { c.auths.Add(1) },
	}
	change(config)
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serveRefusing(nc, config) })
		}
	})
	c.hostKey = strings.TrimSpace(string(gossh.MarshalAuthorizedKey(signer.PublicKey())))
	c.asset = &hostler.LeaseAsset{
		Name: "counting", Address: "127.0.0.1", Port: portOf(l), HostKey: hostler.HostKeyAcceptNew,
		Credential: &hostler.LeaseCredential{
			ID: 3, Version: 1, Kind: hostler.CredentialPassword, Username: "ann", Secret: hostler.Secret{Password: "pw"},
		},
	}
	return c
}

// serveRefusing accepts logins and refuses every session.
func serveRefusing(nc net.Conn, config *gossh.ServerConfig) {
	conn, chans, reqs, err := gossh.NewServerConn(nc, config)
	if err != nil {
		_ = nc.Close()
		return
	}
	defer conn.Close()
	go gossh.DiscardRequests(reqs)
	for ch := range chans {
		_ = ch.Reject(gossh.Prohibited, "no sessions here")
	}
}

func TestKeyboardInteractive(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		questions []string
		kind      string
	}{
		"password":     {[]string{"Password: "}, hostler.ErrKindRefused}, // logged in, then no session
		"one-time too": {[]string{"Password: ", "Code: "}, hostler.ErrKindAuth},
	} {
		t.Run(name, func(t *testing.T) {
			c := startCounting(t, func(config *gossh.ServerConfig) {
				config.KeyboardInteractiveCallback = func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
					for _, q := range tc.questions {
						answers, err := ask("", "", []string{q}, []bool{false})
						if err != nil || len(answers) != 1 || answers[0] != "pw" {
							return nil, errors.New("no")
						}
					}
					return &gossh.Permissions{}, nil
				}
			})
			newEnv(t, sshconn.Options{}).command(c.asset, "true").MustEnd(t, hostler.OutcomeFailed, tc.kind)
		})
	}
}

// A server whose host key is refused sees no credential.
func TestHostKeyIsVerifiedBeforeAnyCredential(t *testing.T) {
	_, otherKey := sshtest.NewKey(t, "")
	for name, tc := range map[string]struct {
		keys   func(c *countingServer) []hostler.HostKey
		policy string
		pin    error
		kind   string
		offers int
		auths  bool
	}{
		"pinned": {keys: func(c *countingServer) []hostler.HostKey {
			return []hostler.HostKey{sshtest.PinnedKey(t, "", c.hostKey)}
		}, policy: hostler.HostKeyStrict, kind: hostler.ErrKindAuth, auths: true},
		"accept-new":         {policy: hostler.HostKeyAcceptNew, kind: hostler.ErrKindAuth, offers: 1, auths: true},
		"accept-new, denied": {policy: hostler.HostKeyAcceptNew, pin: errors.New("no"), kind: hostler.ErrKindHostKey, offers: 1},
		"strict":             {policy: hostler.HostKeyStrict, kind: hostler.ErrKindHostKey, offers: 1},
		"changed": {keys: func(*countingServer) []hostler.HostKey {
			return []hostler.HostKey{sshtest.PinnedKey(t, "", otherKey)}
		}, policy: hostler.HostKeyAcceptNew, kind: hostler.ErrKindHostKey, offers: 1},
		"revoked": {keys: func(c *countingServer) []hostler.HostKey {
			k := sshtest.PinnedKey(t, "", c.hostKey)
			k.State = hostler.HostKeyRevoked
			return []hostler.HostKey{k}
		}, policy: hostler.HostKeyAcceptNew, kind: hostler.ErrKindHostKey},
	} {
		t.Run(name, func(t *testing.T) {
			c := startCounting(t, func(config *gossh.ServerConfig) {
				config.PasswordCallback = func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) {
					return nil, errors.New("no")
				}
			})
			c.asset.HostKey = tc.policy
			if tc.keys != nil {
				c.asset.HostKeys = tc.keys(c)
			}
			a := actiontest.New(c.asset, m{"command": "true"})
			a.PinError = tc.pin
			a.Start(t.Context(), newEnv(t, sshconn.Options{}).runner)
			a.Wait(t)
			a.MustEnd(t, hostler.OutcomeFailed, tc.kind)
			if got := c.auths.Load() > 0; got != tc.auths {
				t.Errorf("authentication tried: got %v, want %v", got, tc.auths)
			}
			if len(a.Offers()) != tc.offers {
				t.Fatalf("offers: got %v, want %d", a.Offers(), tc.offers)
			}
			if tc.offers > 0 {
				want := hostler.HostKeyOffer{
					Address: net.JoinHostPort("127.0.0.1",
						strconv.Itoa(c.asset.Port)), Type: "ssh-ed25519", PublicKey: c.hostKey,
				}
				if diff := cmp.Diff(want, a.Offers()[0]); diff != "" {
					t.Errorf("offer (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestChangedHostKeyNamesBothFingerprints(t *testing.T) {
	s := startServer(t, sshtest.Options{LogLevel: "DEBUG1"})
	asset := s.Asset()
	s.RotateHostKeys()
	a := newEnv(t, sshconn.Options{}).command(asset, "true")
	a.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindHostKey)
	now := sshtest.PinnedKey(t, "", s.HostKey("")).Fingerprint
	for _, want := range []string{asset.HostKeys[0].Fingerprint, now, "hostler asset hostkey accept sshtest"} {
		if !strings.Contains(a.Error.Text.EN, want) || !strings.Contains(a.Error.Text.ZH, want) {
			t.Errorf("the text lacks %q: %s", want, a)
		}
	}
	if strings.Contains(s.Log(), "userauth-request") {
		t.Errorf("the server saw an authentication request:\n%s", s.Log())
	}
}

// A server may exchange keys again at any time (RFC 4253, 9), long after the job that opened
// the connection has ended. The host key was decided on at the login.
func TestRekeyAsksForNoSecondDecision(t *testing.T) {
	s := startServer(t, sshtest.Options{Config: []string{"RekeyLimit 64K"}})
	asset := s.Asset()
	asset.HostKey, asset.HostKeys = hostler.HostKeyAcceptNew, nil
	a := actiontest.New(asset, m{"command": "head -c 1000000 /dev/zero"})
	offers := 0
	a.Call.PinHostKey = func(ctx context.Context, _ hostler.HostKeyOffer) error {
		offers++
		return ctx.Err()
	}
	a.Start(t.Context(), newEnv(t, sshconn.Options{}).runner)
	a.Wait(t)
	if a.Outcome != hostler.OutcomeSucceeded || len(a.Stdout.String()) != 1_000_000 {
		t.Errorf("got %s with %d bytes of output (%v), want success with all of it",
			a.Outcome, len(a.Stdout.String()), a.Error)
	}
	if offers != 1 {
		t.Errorf("the host key was offered %d times, want once", offers)
	}
}

// A login password is often the beginning of the enable password.
func TestRedactReplacesTheLongestSecret(t *testing.T) {
	call := actiontest.New(&hostler.LeaseAsset{
		Address: "192.0.2.1",
		Credential: &hostler.LeaseCredential{
			Kind: hostler.CredentialPassword, Username: "ann", Secret: hostler.Secret{Password: "cisco"},
		},
	}, m{}).Call
	target, err := newEnv(t, sshconn.Options{}).pool.Target(call)
	if err != nil {
		t.Fatal(err)
	}
	target.Hide("cisco123")
	if got, want := target.Redact("password cisco, enable cisco123"), "password ***, enable ***"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A server with several host keys presents the pinned one.
func TestPinnedTypeIsNegotiated(t *testing.T) {
	s := startServer(t, sshtest.Options{HostKeyTypes: []string{"ed25519", "ecdsa", "rsa"}})
	for _, typ := range []string{"ed25519", "ecdsa", "rsa"} {
		asset := s.Asset()
		asset.HostKeys = []hostler.HostKey{sshtest.PinnedKey(t, s.Addr, s.HostKey(typ))}
		newEnv(t, sshconn.Options{}).command(asset, "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	}
}

func TestOneConnectionForManyJobs(t *testing.T) {
	s := startServer(t, sshtest.Options{MaxSessions: 50})
	e := newEnv(t, sshconn.Options{})
	asset := s.Asset()
	asset.HostKeys, asset.HostKey = nil, hostler.HostKeyAcceptNew
	attempts := make([]*actiontest.Attempt, 20)
	for i := range attempts {
		attempts[i] = e.start(asset, fmt.Sprint("echo ", i))
	}
	offers := 0
	for i, a := range attempts {
		a.Wait(t).MustEnd(t, hostler.OutcomeSucceeded, "")
		if got, want := a.Stdout.String(), fmt.Sprintln(i); got != want {
			t.Errorf("stdout: got %q, want %q", got, want)
		}
		offers += len(a.Offers())
	}
	if got := s.Connections(); got != 1 {
		t.Errorf("connections: got %d, want 1", got)
	}
	if offers != 1 {
		t.Errorf("host key offered %d times, want once", offers)
	}
	sshtest.Eventually(t, "a quiet session", func() bool {
		all := e.pool.Sessions()
		return len(all) == 1 && all[0].Running == 0
	})
	got := e.pool.Sessions()[0]
	got.Since, got.LastUsed = time.Time{}, time.Time{}
	if diff := cmp.Diff(hostler.HostSession{Address: "127.0.0.1", Port: s.Port, User: s.User}, got); diff != "" {
		t.Errorf("session (-want +got):\n%s", diff)
	}
	// An ad-hoc host with the same login shares the connection.
	inline := s.Asset()
	inline.ID, inline.Name = 0, inline.Address
	inline.HostKeys, inline.HostKey = nil, hostler.HostKeyAcceptNew
	inline.Credential.ID, inline.Credential.Version = 0, 0
	e.command(inline, "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	if got := s.Connections(); got != 1 {
		t.Errorf("connections: got %d, want 1", got)
	}
	// Another secret is another connection, even if both logins work.
	inline.Credential.Secret.Passphrase = "not needed"
	e.command(inline, "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	if got := s.Connections(); got != 2 {
		t.Errorf("connections: got %d, want 2", got)
	}
	// A wrong secret gets no existing connection.
	inline.Credential = &hostler.LeaseCredential{
		Kind:     hostler.CredentialPassword,
		Username: s.User,
		Secret:   hostler.Secret{Password: "wrong"},
	}
	e.command(inline, "true").MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindAuth)
}

func TestIdleConnectionCloses(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, sshconn.Options{IdleTimeout: 100 * time.Millisecond})
	e.command(s.Asset(), "sleep 0.5").MustEnd(t, hostler.OutcomeSucceeded, "")
	sshtest.Eventually(t, "the idle close", func() bool { return len(e.pool.Sessions()) == 0 })
	e.command(s.Asset(), "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	if got := s.Connections(); got != 2 {
		t.Errorf("connections: got %d, want 2", got)
	}
}

func TestBrokenConnectionIsReplaced(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, sshconn.Options{})
	e.command(s.Asset(), "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	s.DropConnections()
	e.command(s.Asset(), "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	if got := e.pool.CloseHost("127.0.0.1"); got != 1 {
		t.Errorf("closed %d connections, want 1", got)
	}
	e.command(s.Asset(), "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	if got := s.Connections(); got != 3 {
		t.Errorf("connections: got %d, want 3", got)
	}
}

// A server that stops answering is detected by keepalive.
func TestKeepAliveBreaksASilentConnection(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	relay := sshtest.NewRelay(t, s.Addr)
	asset := s.Asset()
	asset.Port = relay.Port
	e := newEnv(t, sshconn.Options{KeepAlive: time.Second})
	f := sshtest.NewPIDFile(t)
	a := e.start(asset, fmt.Sprintf("echo $$ >%s; exec sleep 300", f))
	f.PID(t)
	relay.Silence()
	a.Wait(t).MustEnd(t, hostler.OutcomeUnknown, hostler.ErrKindConnLost)
}

func TestRevokedHostKeyClosesAConnection(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, sshconn.Options{})
	e.command(s.Asset(), "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	asset := s.Asset()
	asset.HostKeys[0].State = hostler.HostKeyRevoked
	e.command(asset, "true").MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindHostKey)
	sshtest.Eventually(t, "the close", func() bool { return len(e.pool.Sessions()) == 0 })
}

func TestJumpHosts(t *testing.T) {
	first := startServer(t, sshtest.Options{})
	second := startServer(t, sshtest.Options{})
	last := startServer(t, sshtest.Options{})
	e := newEnv(t, sshconn.Options{})
	asset := last.Asset()
	asset.Jump = second.Asset()
	asset.Jump.Jump = first.Asset()
	for range 2 {
		e.command(asset, "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	}
	for i, s := range []*sshtest.Server{first, second, last} {
		if got := s.Connections(); got != 1 {
			t.Errorf("connections to server %d: got %d, want 1", i, got)
		}
	}
	second.RotateHostKeys()
	e.command(asset, "true").MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindHostKey)
}

func TestKillThroughAJumpHost(t *testing.T) {
	jump := startServer(t, sshtest.Options{})
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, sshconn.Options{})
	asset := s.Asset()
	asset.Jump = jump.Asset()
	f := sshtest.NewPIDFile(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	a := e.startIn(ctx, asset, fmt.Sprintf("echo $$ >%s; exec sleep 300", f))
	pid := f.PID(t)
	cancel(action.ErrTimeout)
	a.Wait(t).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindTimeout)
	if sshtest.Running(pid) {
		t.Error("the program still runs")
	}
}

// The server's limit of sessions fails no job.
func TestManySessionsOnALimitedServer(t *testing.T) {
	t.Parallel()
	s := startServer(t, sshtest.Options{MaxSessions: 10})
	e := newEnv(t, sshconn.Options{MaxConnections: 3, ReuseTimeout: time.Minute})
	attempts := make([]*actiontest.Attempt, 100)
	for i := range attempts {
		attempts[i] = e.start(s.Asset(), "sleep 0.2")
	}
	for _, a := range attempts {
		a.Wait(t).MustEnd(t, hostler.OutcomeSucceeded, "")
	}
	if got := s.Connections(); got > 3 {
		t.Errorf("connections: got %d, want at most 3", got)
	}
}

// A reused connection that breaks before the job's program was sent is replaced; if it breaks
// afterwards the outcome is unknown.
func TestReusedConnectionBreaks(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	relay := sshtest.NewRelay(t, s.Addr)
	asset := s.Asset()
	asset.Port = relay.Port
	e := newEnv(t, sshconn.Options{})
	e.command(asset, "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	for i, step := range []struct {
		what string
		size int64
	}{{"opens its session", 1}, {"asks for the wrapper", 200}} {
		t.Log("cut while the job", step.what)
		relay.CutAt(step.size)
		a := e.command(asset, "echo once")
		a.MustEnd(t, hostler.OutcomeSucceeded, "")
		if got, want := a.Stdout.String(), "once\n"; got != want {
			t.Errorf("stdout: got %q, want %q", got, want)
		}
		if got, want := s.Connections(), i+2; got != want {
			t.Errorf("connections: got %d, want %d", got, want)
		}
	}
	relay.CutAt(4096)
	e.command(asset, "true #"+strings.Repeat("x", 8192)).MustEnd(t, hostler.OutcomeUnknown, hostler.ErrKindConnLost)
	if got := s.Connections(); got != 3 {
		t.Errorf("connections: got %d, want 3", got)
	}
}

// A reused connection whose server vanished delays a job and does not fail it.
func TestReusedConnectionToAVanishedServer(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	relay := sshtest.NewRelay(t, s.Addr)
	asset := s.Asset()
	asset.Port = relay.Port
	e := newEnv(t, sshconn.Options{KeepAlive: time.Hour, ReuseTimeout: 200 * time.Millisecond})
	e.command(asset, "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	relay.Silence()
	e.command(asset, "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	if got := s.Connections(); got != 2 {
		t.Errorf("connections: got %d, want 2", got)
	}
}

// Only the MaxIdle idle connections that were used last stay open.
func TestIdleConnectionsAreBounded(t *testing.T) {
	s := startServer(t, sshtest.Options{AnyAddress: true})
	e := newEnv(t, sshconn.Options{MaxIdle: 2})
	for i := range 4 {
		asset := s.Asset()
		asset.Address = fmt.Sprintf("127.0.3.%d", i+1)
		e.command(asset, "true").MustEnd(t, hostler.OutcomeSucceeded, "")
		e.awaitIdle()
	}
	var got []string
	sshtest.Eventually(t, "two connections", func() bool {
		got = nil
		for _, s := range e.pool.Sessions() {
			got = append(got, s.Address)
		}
		return len(got) <= 2
	})
	if want := []string{"127.0.3.3", "127.0.3.4"}; !slices.Equal(got, want) {
		t.Errorf("open: %v, want %v", got, want)
	}
}

// Any number of dead connections does not fail a job.
func TestManyDeadConnections(t *testing.T) {
	const n = 6
	s := startServer(t, sshtest.Options{MaxSessions: 1})
	relay := sshtest.NewRelay(t, s.Addr)
	asset := s.Asset()
	asset.Port = relay.Port
	e := newEnv(t, sshconn.Options{KeepAlive: time.Hour, ReuseTimeout: 500 * time.Millisecond})
	var attempts []*actiontest.Attempt
	var pids []int
	for range n {
		f := sshtest.NewPIDFile(t)
		attempts = append(attempts, e.start(asset, fmt.Sprintf("echo $$ >%s; exec sleep 300", f)))
		pids = append(pids, f.PID(t))
	}
	for i, a := range attempts {
		if err := syscall.Kill(pids[i], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		a.Wait(t).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	}
	e.awaitIdle()
	if got := len(e.pool.Sessions()); got < 4 {
		t.Fatalf("invalid test: only %d connections are open", got)
	}
	relay.Silence()
	e.command(asset, "true").MustEnd(t, hostler.OutcomeSucceeded, "")
}

// Closing the connections to a host while jobs start fails none of them: each runs, or its
// outcome is unknown.
func TestCloseHostWhileJobsStart(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, sshconn.Options{})
	var closing sync.WaitGroup
	ran := 0
	for range 15 {
		closing.Go(func() { e.pool.CloseHost("127.0.0.1") })
		switch a := e.command(s.Asset(), "true"); a.Outcome {
		case hostler.OutcomeSucceeded:
			ran++
		case hostler.OutcomeUnknown:
		default:
			t.Error(a)
		}
		closing.Wait()
	}
	if ran == 0 || s.Connections() < 2 {
		t.Errorf("invalid test: %d ran, over %d connections", ran, s.Connections())
	}
}

// Safe algorithms are always supported, outdated ones only with Legacy.
func TestAlgorithms(t *testing.T) {
	for line, safe := range map[string]bool{
		"KexAlgorithms diffie-hellman-group16-sha512":        true,
		"KexAlgorithms diffie-hellman-group-exchange-sha256": true,
		"KexAlgorithms diffie-hellman-group-exchange-sha1":   false,
		"KexAlgorithms diffie-hellman-group1-sha1":           false,
		"HostKeyAlgorithms ssh-rsa":                          false,
		"Ciphers aes128-cbc":                                 false,
	} {
		t.Run(line, func(t *testing.T) {
			s := startServer(t, sshtest.Options{HostKeyTypes: []string{"rsa"}, Config: []string{line}})
			newEnv(t, sshconn.Options{Legacy: true}).command(s.Asset(), "true").MustEnd(t, hostler.OutcomeSucceeded, "")
			a := newEnv(t, sshconn.Options{}).command(s.Asset(), "true")
			if safe {
				a.MustEnd(t, hostler.OutcomeSucceeded, "")
				return
			}
			a.MustEnd(t, hostler.OutcomeFailed, sshconn.KindHandshake)
			if !strings.Contains(a.Error.Text.EN, "ssh_algorithms") || !a.NoRetry {
				t.Errorf("the error has no remedy: %s", a)
			}
		})
	}
}

// A retired connection is still listed, and can be closed.
func TestRetiredConnectionCanBeClosed(t *testing.T) {
	s := startServer(t, sshtest.Options{})
	e := newEnv(t, sshconn.Options{MaxConnections: 1})
	f := sshtest.NewPIDFile(t)
	a := e.start(s.Asset(), fmt.Sprintf("echo $$ >%s; exec sleep 300", f))
	f.PID(t)
	asset := s.Asset()
	asset.HostKeys[0].State = hostler.HostKeyRevoked
	e.command(asset, "true").MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindHostKey)
	e.command(s.Asset(), "true").MustEnd(t, hostler.OutcomeSucceeded, "")
	if got := len(e.pool.Sessions()); got != 2 {
		t.Errorf("sessions: got %d, want 2", got)
	}
	if got := e.pool.CloseHost("127.0.0.1"); got != 2 {
		t.Errorf("closed %d connections, want 2", got)
	}
	a.Wait(t).MustEnd(t, hostler.OutcomeUnknown, hostler.ErrKindConnLost)
}

// A dialled connection is used even if another one became free meanwhile, so that it counts
// as reused later.
func TestDialOutrunByAFreeConnection(t *testing.T) {
	s := startServer(t, sshtest.Options{MaxSessions: 1})
	relay := sshtest.NewRelay(t, s.Addr)
	asset := s.Asset()
	asset.Port = relay.Port
	e := newEnv(t, sshconn.Options{KeepAlive: time.Hour, ReuseTimeout: 500 * time.Millisecond})
	f := sshtest.NewPIDFile(t)
	first := e.start(asset, fmt.Sprintf("echo $$ >%s; exec sleep 300", f))
	pid := f.PID(t)

	second := actiontest.New(asset, m{"command": "true"})
	asked, answer := make(chan struct{}), make(chan struct{})
	second.Call.Asset = s.Asset()
	second.Call.Asset.Port, second.Call.Asset.HostKey, second.Call.Asset.HostKeys = relay.Port, hostler.HostKeyAcceptNew, nil
	second.Call.PinHostKey = func(context.Context, hostler.HostKeyOffer) error {
		close(asked)
		<-answer
		return nil
	}
	second.Start(t.Context(), e.runner)
	<-asked
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	first.Wait(t).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	e.awaitIdle()
	close(answer)
	second.Wait(t).MustEnd(t, hostler.OutcomeSucceeded, "")
	e.awaitIdle()
	relay.Silence()
	e.command(asset, "true").MustEnd(t, hostler.OutcomeSucceeded, "")
}

// A connection to a jump host that broke, or whose host vanished, is replaced.
func TestDeadJumpHostConnection(t *testing.T) {
	jump := startServer(t, sshtest.Options{})
	s := startServer(t, sshtest.Options{AnyAddress: true})
	relay := sshtest.NewRelay(t, jump.Addr)
	e := newEnv(t, sshconn.Options{KeepAlive: time.Hour, ReuseTimeout: 200 * time.Millisecond})
	for i, fail := range []func(){func() {}, relay.Silence, func() { relay.CutAt(1) }} {
		fail()
		asset := s.Asset()
		asset.Address = fmt.Sprintf("127.0.3.%d", i+1) // the connection to it is a new one
		asset.Jump = jump.Asset()
		asset.Jump.Port = relay.Port
		e.command(asset, "true").MustEnd(t, hostler.OutcomeSucceeded, "")
		if got, want := jump.Connections(), i+1; got != want {
			t.Errorf("connections to the jump host: got %d, want %d", got, want)
		}
	}
}
