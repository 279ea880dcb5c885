// Package netcli runs commands and sets configuration on the CLIs of network
// devices, over SSH.
//
// Model: the library scrapligo knows the platforms: their prompts, modes and
// refusals. Its transport is a shell of internal/action/ssh, so that host keys,
// jump hosts and logins are the same as everywhere. A Family keeps open CLIs, one
// pool for each way to a device: address, port, user, secrets, jump hosts and
// platform.
//
// Invariants: the host key is judged before a credential is sent. One job at a
// time uses a CLI, and a kept one shows its prompt before anything of the job is
// sent; when it breaks before that, the job goes on another one. Only a CLI that is
// at a prompt outside configuration is kept, and none in which a command did more
// than look. What was sent to change a device and got no answer is unknown.
package netcli

import (
	"container/list"
	"crypto/rand"
	"sync"
	"time"

	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/ssh"
)

// Options configure a Family. Zero fields take the defaults named with them.
type Options struct {
	// SSH opens the shells; it is not the Family's to close.
	SSH *ssh.Family
	// Now is the clock of the snapshot that Sessions gives (time.Now).
	Now func() time.Time
	// IdleTimeout closes a CLI that no job has used for it (5 min).
	IdleTimeout time.Duration
	// OpenTimeout bounds the way from the login to a prompt with paging off (30 s).
	OpenTimeout time.Duration
	// MaxOpen bounds the CLIs of one way: devices have few lines (4).
	MaxOpen int
	// MaxIdle bounds the CLIs that no job uses, over all devices; the one that was
	// used longest ago goes first (1,000).
	MaxIdle int
}

// Family is the actions on network devices and the CLIs that they share.
type Family struct {
	opts Options
	// seal keys the digests of enable passwords.
	seal [32]byte

	mu     sync.Mutex // guards what follows, and what the pools and CLIs say
	closed bool
	pools  map[string]*pool
	idle   list.List // of *cli that no job uses, longest unused first
	wg     sync.WaitGroup
}

// New makes a Family without connections. Close ends it.
func New(opts Options) *Family {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.IdleTimeout == 0 {
		opts.IdleTimeout = 5 * time.Minute
	}
	if opts.OpenTimeout == 0 {
		opts.OpenTimeout = 30 * time.Second
	}
	if opts.MaxOpen == 0 {
		opts.MaxOpen = 4
	}
	if opts.MaxIdle == 0 {
		opts.MaxIdle = 1000
	}
	f := &Family{opts: opts, pools: map[string]*pool{}}
	_, _ = rand.Read(f.seal[:])
	return f
}

// Actions lists the actions of the family.
func (f *Family) Actions() []action.Action {
	return []action.Action{f.cliAction(), f.checkAction()}
}
