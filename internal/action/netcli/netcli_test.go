package netcli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
	"hostler.dev/hostler/internal/action/netcli"
	"hostler.dev/hostler/internal/action/netcli/devicetest"
	"hostler.dev/hostler/internal/sshconn"
	"hostler.dev/hostler/internal/sshconn/sshtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	loginCanary  = "login-canary-5d1f"
	enableCanary = "enable-canary-77ab"
)

type m = map[string]any

// env is a family with the host keys that its calls offered.
type env struct {
	tb     testing.TB
	family *netcli.Family
	keys   map[string]string // offered host keys by address
	mu     sync.Mutex
}

func newEnv(tb testing.TB, opts netcli.Options) *env {
	tb.Helper()
	conns := sshconn.New(sshconn.Options{})
	opts.Conns = conns
	f := netcli.New(opts)
	tb.Cleanup(func() {
		f.Close()
		conns.Close()
	})
	return &env{tb: tb, family: f, keys: map[string]string{}}
}

func device(tb testing.TB, address string, opts devicetest.Options) *devicetest.Device {
	tb.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		tb.Fatal(err)
	}
	if opts.Password == "" {
		opts.Password = loginCanary
	}
	d, err := devicetest.Serve(l, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(d.Close)
	return d
}

func asset(d *devicetest.Device, dialect devicetest.Dialect, enable string) *hostler.LeaseAsset {
	return &hostler.LeaseAsset{
		ID: 1, Name: "r1", Address: d.Address, Port: d.Port, Platform: dialect.Platform(), HostKey: hostler.HostKeyAcceptNew,
		Credential: &hostler.LeaseCredential{
			ID: 1, Kind: hostler.CredentialPassword, Username: "admin",
			Secret: hostler.Secret{Password: loginCanary, Enable: enable},
		},
	}
}

// done is a call that has ended.
type done struct {
	*actiontest.Attempt

	report netcli.Report
}

func (e *env) run(ctx context.Context, name string, a *hostler.LeaseAsset, args any) done {
	e.tb.Helper()
	attempt := actiontest.New(a, args)
	attempt.Run(ctx, actiontest.Find(e.tb, e.family.Actions(), name))
	for _, k := range attempt.Offers() {
		e.rememberKey(k)
	}
	res := done{Attempt: attempt}
	res.report, _ = res.Value.(netcli.Report)
	e.noSecrets(res)
	return res
}

func (e *env) rememberKey(k hostler.HostKeyOffer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keys[k.Address] = k.PublicKey
}

// noSecrets checks that result and error, which do not go through the job's log, contain no
// password.
func (e *env) noSecrets(d done) {
	e.tb.Helper()
	text, err := json.Marshal(m{"value": d.Value, "error": d.Error})
	if err != nil {
		e.tb.Fatal(err)
	}
	for _, canary := range []string{loginCanary, enableCanary} {
		if strings.Contains(string(text), canary) {
			e.tb.Errorf("%s is in the result %s", canary, text)
		}
	}
}

func (e *env) cli(a *hostler.LeaseAsset, args any) done {
	e.tb.Helper()
	return e.run(e.tb.Context(), "net_cli", a, args)
}

// words are the commands and replies of a dialect.
type words struct {
	dialect                          devicetest.Dialect
	show, page, rename, bad, refusal string
	before, after                    string // prompts around the renaming
}

func dialects() map[string]words {
	return map[string]words{
		"ios": {
			devicetest.IOSXE, "show version", "show interfaces", "hostname R9",
			"bogus", "% Invalid input detected at '^' marker.", "R1#", "R9#",
		},
		"vrp": {
			devicetest.VRP, "display version", "display interface", "sysname R9",
			"bogus", "Error: Unrecognized command found at '^' position.", "<R1>", "<R9>",
		},
	}
}

func eachDialect(t *testing.T, fn func(t *testing.T, w words)) {
	t.Helper()
	for name, w := range dialects() {
		t.Run(name, func(t *testing.T) { fn(t, w) })
	}
}

func TestCommands(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect})
		e := newEnv(t, netcli.Options{})
		got := e.cli(asset(d, w.dialect, ""), m{"commands": []string{w.show, w.page}})
		got.MustEnd(t, hostler.OutcomeSucceeded, "")
		if diff := cmp.Diff(strings.Join(devicetest.Interfaces(), "\n"), got.report.Results[w.page]); diff != "" {
			t.Errorf("paged output (-want +got):\n%s", diff)
		}
		if !strings.HasPrefix(got.Stdout.String(), w.before+w.show+"\n") ||
			!strings.Contains(got.Stdout.String(), "Interface 11 is up\n") {
			t.Errorf("stdout %q", got.Stdout.String())
		}
		if got.report.Prompt != w.before || got.report.Platform != w.dialect.Platform() ||
			len(got.report.Outputs) != 2 {
			t.Errorf("report %+v", got.report)
		}
	})
}

// Later jobs use the first one's CLI; a broken one is replaced.
func TestReusedCLI(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect})
		e := newEnv(t, netcli.Options{})
		a := asset(d, w.dialect, "")
		for range 3 {
			e.cli(a, m{"commands": []string{w.show}}).MustEnd(t, hostler.OutcomeSucceeded, "")
		}
		if d.Logins() != 1 {
			t.Errorf("%d logins for three jobs, want 1", d.Logins())
		}
		s := e.family.Sessions()
		if len(s) != 1 || s[0].Address != d.Address || s[0].User != "admin" || s[0].Succeeded != 3 ||
			s[0].Running != 0 {
			t.Errorf("sessions %+v", s)
		}
		d.DropConnections()
		e.cli(a, m{"commands": []string{w.show}}).MustEnd(t, hostler.OutcomeSucceeded, "")
		if n := e.family.CloseHost(d.Address); n != 1 {
			t.Errorf("closed %d, want 1", n)
		}
		other := asset(d, w.dialect, "")
		other.ID, other.Credential.ID, other.Credential.Secret.Password = 0, 0, "wrong"
		e.cli(a, m{"commands": []string{w.show}}).MustEnd(t, hostler.OutcomeSucceeded, "")
		e.cli(other, m{"commands": []string{w.show}}).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindAuth)
	})
}

func TestRefusedCommand(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect})
		e := newEnv(t, netcli.Options{})
		a := asset(d, w.dialect, "")
		got := e.cli(a, m{"commands": []string{w.bad, w.show}})
		got.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
		if !strings.Contains(got.Error.Text.EN, w.bad) || !strings.Contains(got.Error.Text.EN, w.refusal) {
			t.Errorf("error %q", got.Error.Text.EN)
		}
		if slices.Contains(d.Typed(), w.show) {
			t.Error("went on after a refusal")
		}
		got = e.cli(a, m{"commands": []string{w.bad, w.show}, "stop_on_error": false})
		got.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
		if len(got.report.Outputs) != 2 || !got.report.Outputs[0].Failed || got.report.Outputs[1].Failed {
			t.Errorf("outputs %+v", got.report.Outputs)
		}
	})
}

// A configuration changes the prompt, is saved only on request, and the CLI is reused.
func TestConfig(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect})
		e := newEnv(t, netcli.Options{})
		a := asset(d, w.dialect, "")
		got := e.cli(a, m{"config": []string{"interface Loopback0", "description managed", w.rename}})
		got.MustEnd(t, hostler.OutcomeSucceeded, "")
		if got.report.Prompt != w.after || got.report.Saved || d.Saved() != 0 {
			t.Errorf("prompt %q, saved %v, %d times", got.report.Prompt, got.report.Saved, d.Saved())
		}
		got = e.cli(a, m{"config": []string{"interface Loopback1"}, "save": true})
		got.MustEnd(t, hostler.OutcomeSucceeded, "")
		if !got.report.Saved || d.Saved() != 1 || d.Logins() != 1 {
			t.Errorf("saved %v, %d times, %d logins", got.report.Saved, d.Saved(), d.Logins())
		}
	})
}

func TestRefusedConfigLine(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect})
		e := newEnv(t, netcli.Options{})
		a := asset(d, w.dialect, "")
		got := e.cli(a, m{"config": []string{"interface Loopback0", w.bad, "description no"}, "save": true})
		got.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
		if !strings.Contains(got.Error.Text.EN, "1 of 3 lines were applied") ||
			!strings.Contains(got.Error.Text.EN, w.refusal) {
			t.Errorf("error %q", got.Error.Text.EN)
		}
		if got.report.Saved || d.Saved() != 0 || slices.Contains(d.Typed(), "description no") {
			t.Errorf("went on: %v", d.Typed())
		}
		if s := e.family.Sessions(); len(s) != 0 {
			t.Errorf("a CLI in configuration mode is still open: %+v", s)
		}
	})
}

func TestConnectionLost(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect, DropAt: "description x"})
		a := asset(d, w.dialect, "")
		got := newEnv(t, netcli.Options{}).cli(a, m{"config": []string{"interface Loopback0", "description x"}})
		got.MustEnd(t, hostler.OutcomeUnknown, hostler.ErrKindConnLost)

		d = device(t, "127.0.2.2", devicetest.Options{Dialect: w.dialect, DropAt: w.show})
		got = newEnv(t, netcli.Options{}).cli(asset(d, w.dialect, ""), m{"commands": []string{w.show}})
		got.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindConnLost)
		if got.NoRetry {
			t.Error("a query must be retryable")
		}

		save := map[devicetest.Dialect]string{devicetest.IOSXE: "write memory", devicetest.VRP: "save"}[w.dialect]
		d = device(t, "127.0.2.3", devicetest.Options{Dialect: w.dialect, DropAt: save})
		got = newEnv(t, netcli.Options{}).
			cli(asset(d, w.dialect, ""), m{"config": []string{"vlan 7"}, "save": true})
		got.MustEnd(t, hostler.OutcomeUnknown, hostler.ErrKindConnLost)
	})
}

func TestNoAnswer(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect, HangAt: w.show})
		e := newEnv(t, netcli.Options{})
		got := e.cli(asset(d, w.dialect, ""), m{"commands": []string{w.show}, "timeout": 0.5})
		got.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindTimeout)
		if len(e.family.Sessions()) != 0 {
			t.Error("the CLI is still open")
		}
		got = e.run(whenTyped(t, d, w.show, action.ErrCancelled), "net_cli", asset(d, w.dialect, ""),
			m{"commands": []string{w.show}})
		got.MustEnd(t, hostler.OutcomeCancelled, hostler.ErrKindCancelled)
	})
}

// whenTyped returns a context that ends when a line is typed once more.
func whenTyped(t *testing.T, d *devicetest.Device, line string, cause error) context.Context {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	count := func() (n int) {
		for _, l := range d.Typed() {
			if l == line {
				n++
			}
		}
		return n
	}
	before := count()
	go func() {
		for ctx.Err() == nil {
			if count() > before {
				cancel(cause)
			}
			<-time.After(5 * time.Millisecond)
		}
	}()
	return ctx
}

func TestEnable(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{Enable: enableCanary})
	e := newEnv(t, netcli.Options{})
	a := asset(d, devicetest.IOSXE, enableCanary)
	got := e.cli(a, m{"commands": []string{"show secrets"}})
	got.MustEnd(t, hostler.OutcomeSucceeded, "")
	if got.report.Prompt != "R1#" || !strings.Contains(got.report.Results["show secrets"], "***") {
		t.Errorf("report %+v", got.report)
	}
	none := asset(d, devicetest.IOSXE, "")
	got = e.cli(none, m{"commands": []string{"show version"}})
	got.MustEnd(t, hostler.OutcomeSucceeded, "")
	if got.report.Prompt != "R1>" {
		t.Errorf("prompt %q without enable password", got.report.Prompt)
	}
	e.cli(none, m{"config": []string{"vlan 7"}}).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCredential)
	e.cli(asset(d, devicetest.IOSXE, "wrong"), m{"commands": []string{"show version"}}).
		MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindAuth)
}

// A question about a configuration line is not answered.
func TestQuestionInConfig(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{})
	e := newEnv(t, netcli.Options{})
	got := e.cli(asset(d, devicetest.IOSXE, ""), m{"config": []string{"vlan 7", "crypto key zeroize"}})
	got.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	if !strings.Contains(got.Error.Text.EN, "[yes/no]") || !strings.Contains(got.Error.Text.EN, "1 of 2 lines") ||
		len(e.family.Sessions()) != 0 {
		t.Errorf("error %q, sessions %v", got.Error.Text.EN, e.family.Sessions())
	}
}

// The outcome of a configuration that is cancelled or times out halfway is unknown.
func TestConfigThatEndsUnderWay(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		for cause, kind := range map[error]string{action.ErrCancelled: hostler.ErrKindUnverified, action.ErrTimeout: hostler.ErrKindTimeout} {
			d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect, HangAt: "description x"})
			e := newEnv(t, netcli.Options{})
			got := e.run(whenTyped(t, d, "description x", cause), "net_cli", asset(d, w.dialect, ""),
				m{"config": []string{"vlan 7", "description x"}})
			got.MustEnd(t, hostler.OutcomeUnknown, kind)
			if len(e.family.Sessions()) != 0 {
				t.Error("the CLI is still open")
			}
		}
	})
}

// A CLI that an enable password opened is not used by jobs without it. CLIs of both kinds are
// reused.
func TestCLIsAreReusedByEnable(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{Enable: enableCanary})
	e := newEnv(t, netcli.Options{})
	for range 2 {
		for enable, prompt := range map[string]string{enableCanary: "R1#", "": "R1>"} {
			got := e.cli(asset(d, devicetest.IOSXE, enable), m{"commands": []string{"show version"}})
			got.MustEnd(t, hostler.OutcomeSucceeded, "")
			if got.report.Prompt != prompt {
				t.Errorf("prompt %q, want %q", got.report.Prompt, prompt)
			}
		}
	}
	if d.Logins() != 2 {
		t.Errorf("%d logins, want 2", d.Logins())
	}
}

// A device behind a jump host accepts a key.
func TestKeyThroughJumpHost(t *testing.T) {
	private, public := sshtest.NewKey(t, "")
	jump := sshtest.Start(t, sshtest.Options{})
	d := device(t, "127.0.2.1", devicetest.Options{Key: public})
	a := asset(d, devicetest.IOSXE, "")
	a.Credential.Kind, a.Credential.Secret = hostler.CredentialSSHKey, hostler.Secret{PrivateKey: private}
	a.Jump = jump.Asset()
	e := newEnv(t, netcli.Options{})
	for range 2 {
		e.cli(a, m{"commands": []string{"show version"}}).MustEnd(t, hostler.OutcomeSucceeded, "")
	}
	if d.Logins() != 1 || jump.Connections() != 1 {
		t.Errorf("%d logins through %d connections of the jump host, want one each", d.Logins(), jump.Connections())
	}
}

// An idle CLI is closed.
func TestIdle(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{})
	e := newEnv(t, netcli.Options{IdleTimeout: 50 * time.Millisecond})
	e.cli(asset(d, devicetest.IOSXE, ""), m{"commands": []string{"show version"}}).
		MustEnd(t, hostler.OutcomeSucceeded, "")
	deadline := time.Now().Add(time.Minute)
	for len(e.family.Sessions()) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the CLI is still open")
		}
		<-time.After(10 * time.Millisecond)
	}
}

// A question without an answer fails the job, and is not confirmed.
func TestQuestion(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{})
	e := newEnv(t, netcli.Options{})
	got := e.cli(asset(d, devicetest.IOSXE, ""), m{"commands": []string{"reload"}})
	got.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	if !strings.Contains(got.Error.Text.EN, "[confirm]") || len(e.family.Sessions()) != 0 {
		t.Errorf("error %q, sessions %v", got.Error.Text.EN, e.family.Sessions())
	}
}

// With confirm, questions are answered with yes or the default; a password prompt never is.
func TestConfirm(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect, AskFile: true})
		e := newEnv(t, netcli.Options{})
		save := map[devicetest.Dialect]string{devicetest.IOSXE: "copy running-config startup-config", devicetest.VRP: "save"}[w.dialect]
		a := asset(d, w.dialect, "")
		e.cli(a, m{"commands": []string{save}}).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
		e.cli(a, m{"commands": []string{save, w.show}, "confirm": true}).MustEnd(t, hostler.OutcomeSucceeded, "")
		if d.Saved() != 1 {
			t.Errorf("saved %d times, want once", d.Saved())
		}
	})
	d := device(t, "127.0.2.1", devicetest.Options{Enable: enableCanary})
	got := newEnv(t, netcli.Options{}).
		cli(asset(d, devicetest.IOSXE, ""), m{"commands": []string{"enable"}, "confirm": true})
	got.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	// The effect of an answered question is unknown when a later one fails the command.
	got = newEnv(t, netcli.Options{}).
		cli(asset(d, devicetest.IOSXE, enableCanary), m{"commands": []string{"copy running-config scp:"}, "confirm": true})
	got.MustEnd(t, hostler.OutcomeUnknown, hostler.ErrKindCommand)
	if !strings.Contains(got.Error.Text.EN, "earlier answers is unknown") ||
		!strings.Contains(got.Error.Text.EN, "Password:") {
		t.Errorf("error %q", got.Error.Text.EN)
	}
}

func TestChangedHostKey(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{})
	e := newEnv(t, netcli.Options{})
	a := asset(d, devicetest.IOSXE, "")
	e.run(t.Context(), "check_cli", a, m{}).MustEnd(t, hostler.OutcomeSucceeded, "")
	seen := len(d.Passwords())
	addr := net.JoinHostPort(d.Address, fmt.Sprint(d.Port))
	key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(e.keys[addr]))
	if err != nil {
		t.Fatal(err)
	}
	a.HostKeys = []hostler.HostKey{
		{Address: addr, Type: key.Type(), PublicKey: e.keys[addr], State: hostler.HostKeyPinned},
	}
	if err := d.RotateHostKey(); err != nil {
		t.Fatal(err)
	}
	e.cli(a, m{"commands": []string{"show version"}}).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindHostKey)
	if got := len(d.Passwords()); got != seen {
		t.Errorf("%d passwords were sent to a device with another host key", got-seen)
	}
}

func TestCheckAndKeyboardInteractive(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect, Interactive: true})
		got := newEnv(t, netcli.Options{}).run(t.Context(), "check_cli", asset(d, w.dialect, ""), m{})
		got.MustEnd(t, hostler.OutcomeSucceeded, "")
		if v := got.Value.(netcli.Checked); v.Prompt != w.before || v.Platform != w.dialect.Platform() {
			t.Errorf("checked %+v", v)
		}
	})
}

// More jobs than a device may have CLIs wait for one another.
func TestLimit(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{Delay: 10 * time.Millisecond})
	e := newEnv(t, netcli.Options{MaxOpen: 2})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := e.cli(asset(d, devicetest.IOSXE, ""), m{"commands": []string{"show version"}}); got.Outcome != hostler.OutcomeSucceeded {
				t.Errorf("%s %+v", got.Outcome, got.Error)
			}
		})
	}
	wg.Wait()
	if d.Logins() > 2 {
		t.Errorf("%d logins, want at most 2", d.Logins())
	}
}

func TestArgs(t *testing.T) {
	conns := sshconn.New(sshconn.Options{})
	defer conns.Close()
	f := netcli.New(netcli.Options{Conns: conns})
	defer f.Close()
	reg, err := action.NewRegistry(f.Actions()...)
	if err != nil {
		t.Fatal(err)
	}
	for args, ok := range map[string]bool{
		`{"commands":["show version"]}`:                        true,
		`{"config":["vlan 7"],"save":true}`:                    true,
		`{"commands":["show version"],"platform":"cisco_ios"}`: true,
		`{}`: false,
		`{"commands":["show version"],"config":["vlan 7"]}`:      false,
		`{"commands":["show version\nreload"]}`:                  false,
		`{"config":["vlan 7\rvlan 8"]}`:                          false,
		`{"commands":["show \u001b[0m"]}`:                        false,
		`{"commands":[" "]}`:                                     false,
		`{"commands":["show version"],"save":true}`:              false,
		`{"commands":["show version"],"platform":"../etc/a"}`:    false,
		`{"commands":["show version"],"command":"show version"}`: false,
	} {
		if err := reg.Validate("net_cli", json.RawMessage(args)); (err == nil) != ok {
			t.Errorf("%s: %v", args, err)
		}
	}
	act, _ := reg.Lookup("net_cli")
	for args, want := range map[string]action.Traits{
		`{"commands":["show version","ping 10.0.0.1"]}`:                 {Idempotent: true},
		`{"commands":["display version | include VRP"]}`:                {Idempotent: true},
		`{"commands":["show version","reload"]}`:                        {Changes: true},
		`{"commands":["show running-config | redirect flash:startup"]}`: {Changes: true},
		`{"commands":["show running-config > bootflash:x"]}`:            {Changes: true},
		`{"commands":["show running-config | r flash:x"]}`:              {Changes: true},
		`{"commands":["show running-config|t flash:x"]}`:                {Changes: true},
		`{"commands":["show log | include a | append flash:x"]}`:        {Changes: true},
		`{"commands":["show clock ; reload"]}`:                          {Changes: true},
		`{"commands":["more $(reboot)"]}`:                               {Changes: true},
		`{"commands":["dir | sh"]}`:                                     {Changes: true},
		`{"commands":["show interfaces | match up | no-more"]}`:         {Idempotent: true},
		`{"commands":["show running-config | sec redirect"]}`:           {Idempotent: true},
		`{"config":["vlan 7"]}`:                                         {Changes: true},
		`{}`:                                                            {Changes: true},
	} {
		if diff := cmp.Diff(want, act.Traits(json.RawMessage(args))); diff != "" {
			t.Errorf("traits of %s (-want +got):\n%s", args, diff)
		}
	}
}

func TestPlatform(t *testing.T) {
	for name, want := range map[string]string{
		"cisco_ios": "cisco_iosxe", "cisco_xe": "cisco_iosxe", "cisco_xr": "cisco_iosxr", "cisco_nxos": "cisco_nxos",
		"juniper": "juniper_junos", "huawei": "huawei_vrp", "Huawei_VRPv8": "huawei_vrp", "ruijie_os": "ruijie_rgos",
		"hp_comware": "hp_comware", "arista_eos": "arista_eos", "linux": "", "": "", "../x": "",
	} {
		if got, ok := netcli.Platform(name); got != want || ok != (want != "") {
			t.Errorf("Platform(%q) = %q, %v, want %q", name, got, ok, want)
		}
	}
	if n := len(netcli.Platforms()); n != 17 {
		t.Errorf("%d platforms, want the library's 17", n)
	}
}

// BenchmarkFifty runs one job on each of fifty devices, on new and on reused CLIs.
func BenchmarkFifty(b *testing.B) {
	var assets []*hostler.LeaseAsset
	for i := range 50 {
		dialect := devicetest.Dialect(i % 2)
		d := device(b, fmt.Sprintf("127.0.2.%d", i+1), devicetest.Options{Dialect: dialect})
		assets = append(assets, asset(d, dialect, ""))
	}
	show := map[string]string{"cisco_iosxe": "show version", "huawei_vrp": "display version"}
	var fresh, reused time.Duration
	for b.Loop() {
		e := newEnv(b, netcli.Options{})
		round := func() time.Duration {
			began := time.Now()
			var wg sync.WaitGroup
			for _, a := range assets {
				wg.Go(func() {
					if got := e.cli(a, m{"commands": []string{show[a.Platform]}}); got.Outcome != hostler.OutcomeSucceeded {
						b.Errorf("%s %+v", got.Outcome, got.Error)
					}
				})
			}
			wg.Wait()
			return time.Since(began)
		}
		fresh += round()
		reused += round()
		e.family.Close()
	}
	b.ReportMetric(fresh.Seconds()*1000/float64(b.N), "fresh-ms/round")
	b.ReportMetric(reused.Seconds()*1000/float64(b.N), "reused-ms/round")
	b.ReportMetric(float64(fresh)/float64(reused), "fresh/reused")
}
