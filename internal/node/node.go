// Package node runs jobs: it registers every action that this program has and sets
// up a worker over them.
//
// # Model
//
// A [Node] is built in two steps, because the dispatcher that hands out jobs may
// itself need the actions: [New] builds the registry, [Node.Connect] the worker.
// In a server the dispatcher is the engine; in a remote worker it is the client of
// a server. The node knows neither.
//
// # Invariants
//
// New and Connect start nothing; [Node.Run] does. [Node.Close] closes the
// connections to hosts that the actions reuse, and is called after Run returned.
package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	httpaction "hostler.dev/hostler/internal/action/http"
	"hostler.dev/hostler/internal/action/local"
	"hostler.dev/hostler/internal/action/mail"
	netaction "hostler.dev/hostler/internal/action/net"
	"hostler.dev/hostler/internal/action/netcli"
	"hostler.dev/hostler/internal/action/sql"
	"hostler.dev/hostler/internal/action/ssh"
	"hostler.dev/hostler/internal/runlog"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/sshconn"
	"hostler.dev/hostler/internal/worker"
)

// Options configure a Node.
type Options struct {
	Version string   // of this program
	Queues  []string // that the worker serves; "*" means all of them
	Slots   int      // jobs that run at once; 0 means no worker

	OutputLimit  int            // bytes of output stored per job; 0 means runlog.DefaultLimit
	EgressAllow  []netip.Prefix // special ranges that actions may reach
	LegacySSH    bool           // offer outdated SSH algorithms too
	LocalCommand bool           // enable the action local_command
	LocalAccount local.Account  // that it runs as

	// Trace makes the spans of jobs; see worker.Config.
	Trace func(l *hostler.Lease) (end func(o hostler.Outcome))

	Log *slog.Logger // nil discards
}

// Node holds the actions and, once connected, the worker.
type Node struct {
	opts    Options
	conns   *sshconn.Pool
	netcli  *netcli.Family
	actions *action.Registry

	worker       *worker.Worker // nil without slots
	registration *registration
}

// New builds the actions.
func New(o Options) (*Node, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{opts: o}
	n.conns = sshconn.New(sshconn.Options{Log: o.Log, Legacy: o.LegacySSH, Allow: o.EgressAllow})
	n.netcli = netcli.New(netcli.Options{Conns: n.conns})
	var err error
	if n.actions, err = n.register(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// register collects the actions of every family.
func (n *Node) register() (*action.Registry, error) {
	all := ssh.New(ssh.Options{Conns: n.conns}).Actions()
	all = append(all, n.netcli.Actions()...)
	all = append(all, netaction.Actions(n.opts.EgressAllow...)...)
	all = append(all, httpaction.Actions(httpaction.Options{Allow: n.opts.EgressAllow})...)
	all = append(all, mail.Actions(n.opts.EgressAllow...)...)
	all = append(all, sql.Actions(n.opts.EgressAllow...)...)
	all = append(all, local.Actions(local.Options{
		Enabled: n.opts.LocalCommand, Account: n.opts.LocalAccount,
	})...)
	return action.NewRegistry(all...)
}

// Actions returns the registry.
func (n *Node) Actions() *action.Registry { return n.actions }

// Connect sets up the worker, which gets its jobs from the dispatcher. Without
// slots it does nothing.
func (n *Node) Connect(d hostler.Dispatcher) error {
	if n.opts.Slots == 0 {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("the name of this machine: %w", err)
	}
	n.registration = &registration{Dispatcher: d}
	open := pools{n.conns, n.netcli}
	n.worker, err = worker.New(worker.Config{
		Info: hostler.WorkerInfo{
			Name: host + "-" + strconv.Itoa(os.Getpid()), Hostname: host, PID: os.Getpid(),
			Version: n.opts.Version, Queues: n.opts.Queues, Slots: n.opts.Slots,
		},
		Dispatcher: n.registration, Actions: n.actions, Log: n.opts.Log, OutputLimit: n.opts.OutputLimit, Trace: n.opts.Trace,
		Redactor: func(values ...string) runlog.Redactor { return secret.NewRedactor(values...) },
		Sessions: open.Sessions, CloseHost: open.CloseHost,
	})
	return err
}

// HasWorker reports whether Connect set up a worker.
func (n *Node) HasWorker() bool { return n.worker != nil }

// Run runs the worker; see [worker.Worker.Run].
func (n *Node) Run(ctx context.Context) error { return n.worker.Run(ctx) }

// Drain stops the worker once its jobs have ended; see [worker.Worker.Drain].
func (n *Node) Drain(ctx context.Context) error { return n.worker.Drain(ctx) }

// WorkerID is the id under which the worker registered last; 0 before that.
func (n *Node) WorkerID() hostler.WorkerID { return hostler.WorkerID(n.registration.id.Load()) }

// Close closes the connections to hosts.
func (n *Node) Close() {
	n.netcli.Close()
	n.conns.Close()
}

// registration is a dispatcher that records which worker this process is, so that
// its lease can be given up when the process ends.
type registration struct {
	hostler.Dispatcher
	id atomic.Int64
}

// Register implements hostler.Dispatcher.
func (r *registration) Register(ctx context.Context, w hostler.WorkerInfo) (hostler.WorkerID, error) {
	id, err := r.Dispatcher.Register(ctx, w)
	if err == nil {
		r.id.Store(int64(id))
	}
	return id, err
}
