// Package netcli runs commands and sets configuration on the CLIs of network devices,
// over SSH.
//
// # Model
//
// A platform (cisco_iosxe, huawei_vrp, …) is a definition of the library scrapligo: the
// prompts of its modes, the commands between them, and how it refuses a command. A
// [dialect] is that definition with what the library lacks: how a configuration is
// committed, discarded and saved.
//
// A [cli] is an open shell of internal/sshconn at a known prompt, with paging off. A
// [Family] keeps open CLIs for later jobs, in one pool per login: same device, user,
// secrets, jump hosts and platform. One job at a time uses a CLI.
//
//	login      shell, first prompt, then what the platform sends at the start
//	           (terminal length 0, …)
//	writeLine  types a command, waits until the device has echoed it, then enters it
//	readReply  reads lines until the device waits, and reports what it waits for
//
// # Prompts
//
// The output of a device has no end mark, so the unfinished last line decides:
//
//   - It matches a prompt of the platform, and names the same host as the last prompt:
//     the command has ended.
//   - It matches a prompt, but of another host or before any is known: it must stay the
//     last line for promptDelay or questionDelay, as it may be a part of the output.
//   - It is a pager's mark (--More--): a space is typed, and the mark is taken out of the
//     next line.
//   - It looks like a question or a password prompt and stays the last line for
//     questionDelay: the device asks.
//
// # Invariants
//
//   - HostKeyFirst: the host key is verified before a credential is sent.
//   - OneJob: a CLI is used by one job at a time; a reused one answers with its prompt
//     before anything of the job is sent. If it breaks before that, the job moves to
//     another CLI.
//   - UnchangedOnly: a CLI is reused only at the prompt it was opened with, outside
//     configuration, and if its commands only displayed something.
//   - UnknownWhenUnanswered: what was entered to change a device and was not answered is
//     unknown.
package netcli

import (
	"cmp"
	"container/list"
	"crypto/rand"
	"sync"
	"time"

	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/sshconn"
)

// Options configure a Family. Zero fields take the defaults named with them.
type Options struct {
	// Conns opens the shells. It is required, and is not closed by the Family.
	Conns *sshconn.Pool
	// Now is the clock of the snapshot that Sessions returns (time.Now).
	Now func() time.Time
	// IdleTimeout is how long a CLI stays open without a job (5 min).
	IdleTimeout time.Duration
	// OpenTimeout limits the time from the login to a prompt with paging off (30 s).
	OpenTimeout time.Duration
	// MaxOpen limits the CLIs of one login: devices have few lines (4).
	MaxOpen int
	// MaxIdle limits the idle CLIs over all devices; the one idle for longest is closed
	// first (1,000).
	MaxIdle int
}

// Family is the actions on network devices and the CLIs that they share.
type Family struct {
	opts Options
	// digestKey keys the digests of enable passwords in login keys.
	digestKey [32]byte

	// mu guards what follows, and the state of pools and CLIs that is marked with it. No
	// I/O happens under it.
	mu     sync.Mutex
	closed bool
	pools  map[string]*pool // by login.key
	idle   list.List        // of *cli without a job, idle for longest first
	wg     sync.WaitGroup
}

// New returns a Family without open CLIs. Close releases it.
func New(opts Options) *Family {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.IdleTimeout = cmp.Or(opts.IdleTimeout, 5*time.Minute)
	opts.OpenTimeout = cmp.Or(opts.OpenTimeout, 30*time.Second)
	opts.MaxOpen = cmp.Or(opts.MaxOpen, 4)
	opts.MaxIdle = cmp.Or(opts.MaxIdle, 1000)
	f := &Family{opts: opts, pools: map[string]*pool{}}
	_, _ = rand.Read(f.digestKey[:])
	return f
}

// Actions lists the actions of the family.
func (f *Family) Actions() []action.Action {
	return []action.Action{f.cliAction(), f.checkAction()}
}
