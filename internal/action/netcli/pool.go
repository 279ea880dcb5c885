package netcli

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/sshconn"
)

// login is what opens a CLI. Logins with the same key may share one.
type login struct {
	key, platform, enable string
	target                *sshconn.Target
}

// newLogin returns a login. The enable password is part of the key: a job without it must
// not use a CLI that it opened.
func (f *Family) newLogin(t *sshconn.Target, platform, enable string) login {
	h := hmac.New(sha256.New, f.digestKey[:])
	_ = json.NewEncoder(h).Encode([]string{t.Key, platform, enable})
	return login{key: hex.EncodeToString(h.Sum(nil)), platform: platform, enable: enable, target: t}
}

// pool is the CLIs of one login. Family.mu guards it.
type pool struct {
	clis    []*cli
	opening int
	waiting int
	changed chan struct{} // closed, and replaced, when a waiting job should look again
}

func (p *pool) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// acquire returns a CLI at its prompt: an idle one that still answers, or a new one. It
// waits while the login has MaxOpen.
func (f *Family) acquire(ctx context.Context, l login) (*cli, error) {
	for {
		c, changed, err := f.pick(l)
		switch {
		case err != nil:
			return nil, err
		case c != nil:
			c.target = l.target
			if c.responds(ctx) {
				return c, nil
			}
			f.discard(c)
			if ctx.Err() == nil {
				continue
			}
		case changed == nil:
			return f.openCounted(ctx, l)
		default:
			select {
			case <-changed:
			case <-ctx.Done():
			}
			f.doneWaiting(l.key)
		}
		if ctx.Err() != nil {
			return nil, action.StoppedFault(ctx, "while it waited for the device's CLI", "正在等待设备命令行")
		}
	}
}

// pick returns an idle CLI, or the channel to wait for, or neither when a new CLI may be
// opened, which it then counts.
func (f *Family) pick(l login) (*cli, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, nil, sshconn.StoppingFault()
	}
	p := f.poolOf(l.key)
	p.waiting++ // keeps the pool while pickIdle removes CLIs from it
	c := f.pickIdle(p, l)
	p.waiting--
	if c != nil {
		c.busy = true
		f.leaveIdle(c)
		return c, nil, nil
	}
	if len(p.clis)+p.opening < f.opts.MaxOpen {
		p.opening++
		return nil, nil, nil
	}
	p.waiting++
	return nil, p.changed, nil
}

func (f *Family) poolOf(key string) *pool {
	p := f.pools[key]
	if p == nil {
		p = &pool{changed: make(chan struct{})}
		f.pools[key] = p
	}
	return p
}

// pickIdle returns an idle CLI, and closes those whose host key the newest decisions no
// longer trust.
func (f *Family) pickIdle(p *pool, l login) *cli {
	for _, c := range slices.Clone(p.clis) {
		switch {
		case c.busy:
		case c.shell.Trusted(l.target):
			return c
		default:
			f.remove(c)
		}
	}
	return nil
}

func (f *Family) doneWaiting(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pools[key].waiting--
	f.deleteIfEmpty(key)
}

// openCounted opens a CLI that pick has counted, for the caller to use.
func (f *Family) openCounted(ctx context.Context, l login) (*cli, error) {
	c, err := f.open(ctx, l)
	if err = f.add(l, c, err); err != nil && c != nil {
		c.close()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// add puts a new CLI into its pool, unless opening it failed or the family is closed.
func (f *Family) add(l login, c *cli, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pools[l.key]
	p.opening--
	if err == nil && f.closed {
		err = sshconn.StoppingFault()
	}
	if err != nil {
		p.notify()
		f.deleteIfEmpty(l.key)
		return err
	}
	c.busy = true
	p.clis = append(p.clis, c)
	f.wg.Go(func() {
		<-c.shell.Gone()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.remove(c)
	})
	return nil
}

// release ends a use. A CLI that is not reusable is closed.
func (f *Family) release(c *cli, reusable, succeeded bool) {
	if !reusable {
		f.discard(c)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c.busy, c.reused, c.lastUsed = false, true, f.opts.Now()
	if succeeded {
		c.succeeded++
	} else {
		c.failed++
	}
	p := f.pools[c.key]
	if p == nil || !slices.Contains(p.clis, c) {
		return
	}
	p.notify()
	f.becomeIdle(c)
}

// becomeIdle starts the idle time of a CLI. Family.mu is held, as in leaveIdle.
func (f *Family) becomeIdle(c *cli) {
	c.idleTimer = time.AfterFunc(f.opts.IdleTimeout, func() { f.expire(c) })
	c.idleElem = f.idle.PushBack(c)
	if f.idle.Len() > f.opts.MaxIdle {
		f.remove(f.idle.Front().Value.(*cli))
	}
}

func (f *Family) leaveIdle(c *cli) {
	if c.idleElem == nil {
		return
	}
	c.idleTimer.Stop()
	f.idle.Remove(c.idleElem)
	c.idleElem = nil
}

// expire closes a CLI that was idle for IdleTimeout.
func (f *Family) expire(c *cli) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !c.busy {
		f.remove(c)
	}
}

// discard closes a CLI and waits until it is closed: the device may have no line for the
// next one before that.
func (f *Family) discard(c *cli) {
	c.close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(c)
}

// remove takes a CLI out of its pool and closes it. It may be called more than once.
// Family.mu is held.
func (f *Family) remove(c *cli) {
	p := f.pools[c.key]
	if p == nil {
		return
	}
	i := slices.Index(p.clis, c)
	if i < 0 {
		return
	}
	p.clis = slices.Delete(p.clis, i, i+1)
	f.leaveIdle(c)
	f.wg.Go(c.close)
	p.notify()
	f.deleteIfEmpty(c.key)
}

// deleteIfEmpty deletes a pool without CLIs and callers.
func (f *Family) deleteIfEmpty(key string) {
	if p := f.pools[key]; p != nil && len(p.clis)+p.opening+p.waiting == 0 {
		delete(f.pools, key)
	}
}

// Sessions returns a snapshot of the open CLIs, ordered by address, port and user.
func (f *Family) Sessions() []hostler.HostSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []hostler.HostSession
	for _, p := range f.pools {
		for _, c := range p.clis {
			all = append(all, c.snapshot())
		}
	}
	slices.SortFunc(all, func(a, b hostler.HostSession) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), a.Port-b.Port, cmp.Compare(a.User, b.User))
	})
	return all
}

func (c *cli) snapshot() hostler.HostSession {
	s := hostler.HostSession{
		Address: c.address, Port: c.port, User: c.user, Since: c.shell.Since(), LastUsed: c.lastUsed,
		Succeeded: c.succeeded, Failed: c.failed,
	}
	if c.busy {
		s.Running = 1
	}
	return s
}

// CloseHost closes the CLIs to an address and returns their number. The outcome of jobs
// that use them may become unknown.
func (f *Family) CloseHost(address string) int {
	return f.closeWhere(func(c *cli) bool { return c.address == address })
}

// Close closes every CLI and waits until all goroutines have ended.
func (f *Family) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.closeWhere(func(*cli) bool { return true })
	f.wg.Wait()
}

func (f *Family) closeWhere(match func(*cli) bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, p := range f.pools {
		for _, c := range slices.Clone(p.clis) {
			if match(c) {
				f.remove(c)
				n++
			}
		}
	}
	return n
}
