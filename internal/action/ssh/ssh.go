// Package ssh runs commands, scripts and service operations on hosts over SSH.
//
// # Model
//
// An action describes a [program]: a command line for the user's login shell, a script,
// or an argv, with environment, standard input and the user to run as. An [exchange]
// runs one program on one session of internal/sshconn, through a small wrapper in sh:
//
//	Hostler                              host
//	exec: one fixed line        ──────▶  login shell becomes /bin/sh (sudo if asked)
//	                            ◀──────  "<nonce> ready"
//	the payload, on stdin       ──────▶  sh reads it, forks a child
//	                            ◀──────  "<nonce> started <pid> <start time>"
//	                                     child: setsid, then exec of the program
//	the program's stdin         ──────▶
//	                            ◀──────  the program's output
//	                            ◀──────  the program's exit status
//
// Nothing of a job is on a command line, which every user of the host can list. The
// nonce separates messages of the wrapper from output of login scripts and programs.
//
// # Killing
//
// The program leads a session and process group of its own. To stop a job, a second
// exchange runs a script as the same user: TERM to the group, KILL after KillGrace, and
// a check in /proc that no process of it is left. The start time distinguishes the
// program from a later process with the same number. The outcomes:
//
//	the group is gone                      cancelled, or failed with a timeout
//	it ended before the first signal       the program's own exit status
//	anything else                          unknown (kill_not_verified)
//
// # Invariants
//
//   - NoArgv: a job's texts reach the host on standard input, quoted for sh only.
//   - StoppedMeansGone: a job is reported as stopped only after its process group was
//     verified to be gone; what cannot be verified is unknown.
//   - NeverStarted: a job whose payload was not sent had no effect. It moves to another
//     connection, or fails and may be tried again.
package ssh

import (
	"cmp"
	"time"

	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/sshconn"
)

// Kinds of job error that only this family has.
const (
	// KindNotStarted: the host could not start the program.
	KindNotStarted = "not_started"
	// KindShellKilled: a signal ended the shell that ran the program.
	KindShellKilled = "shell_killed"
	// KindServiceState: the service manager did what was asked, but the service is not
	// in the state that this should lead to.
	KindServiceState = "service_state"
)

// Options configure a Family. Zero durations take the defaults named with them.
type Options struct {
	// Conns opens the sessions. It is required, and stays open when jobs end.
	Conns *sshconn.Pool
	// KillGrace is the time between TERM and KILL (5 s).
	KillGrace time.Duration
	// KillWait is what killing and verifying may take beyond KillGrace; after that the
	// job's outcome is unknown (10 s).
	KillWait time.Duration
}

// Family is the SSH actions.
type Family struct {
	opts Options
}

// New returns a Family that runs programs on sessions of opts.Conns.
func New(opts Options) *Family {
	opts.KillGrace = cmp.Or(opts.KillGrace, 5*time.Second)
	opts.KillWait = cmp.Or(opts.KillWait, 10*time.Second)
	return &Family{opts: opts}
}

// Actions lists the actions of the family.
func (f *Family) Actions() []action.Action {
	return []action.Action{
		f.commandAction(), f.scriptAction(), f.serviceAction(), f.restartAction(), f.checkAction(),
		f.copyAction(), f.archiveAction(), f.cleanupAction(), f.backupAction(),
	}
}

// host is the target of one call.
type host struct {
	*sshconn.Target

	family *Family
	call   *action.Call
}

func (f *Family) hostOf(c *action.Call) (*host, error) {
	t, err := f.opts.Conns.Target(c)
	if err != nil {
		return nil, err
	}
	return &host{Target: t, family: f, call: c}, nil
}
