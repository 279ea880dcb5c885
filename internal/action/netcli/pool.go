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
	"hostler.dev/hostler/internal/action/ssh"
)

// login is what opens a CLI: equal keys may share one.
type login struct {
	key, platform, enable string
	way                   *ssh.Way
}

// newLogin makes a login. The enable password is part of the key: who does not
// know it may not use a CLI that it opened.
func (f *Family) newLogin(w *ssh.Way, platform, enable string) login {
	h := hmac.New(sha256.New, f.seal[:])
	_ = json.NewEncoder(h).Encode([]string{w.Key, platform, enable})
	return login{key: hex.EncodeToString(h.Sum(nil)), platform: platform, enable: enable, way: w}
}

// pool is the CLIs with one login. Family.mu guards it.
type pool struct {
	clis    []*cli
	opening int
	waiting int
	changed chan struct{} // closed, and replaced, when waiting may be over
}

func (p *pool) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// take gives a CLI at its prompt: a kept one that still answers, or a new one. It
// waits while the login has as many as it may.
func (f *Family) take(ctx context.Context, l login) (*cli, error) {
	for {
		c, changed, err := f.pick(l)
		switch {
		case err != nil:
			return nil, err
		case c != nil:
			c.way = l.way
			if c.wake(ctx) {
				return c, nil
			}
			f.discard(c)
			if ctx.Err() == nil {
				continue
			}
		case changed == nil:
			return f.openInto(ctx, l)
		default:
			select {
			case <-changed:
			case <-ctx.Done():
			}
			f.unwait(l.key)
		}
		if ctx.Err() != nil {
			return nil, &failure{ssh.Stopped(ctx, "while it waited for the device's CLI", "正在等待设备命令行")}
		}
	}
}

// pick finds an idle CLI, or what to wait for, or neither when one may be opened;
// that one is counted already.
func (f *Family) pick(l login) (*cli, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, nil, fail(hostler.ErrKindConnLost, "the worker is stopping", "工作节点正在停止")
	}
	p := f.poolOf(l.key)
	p.waiting++ // so that it stays while condemned ones leave it
	c := f.idleIn(p, l)
	p.waiting--
	if c != nil {
		c.busy = true
		f.stir(c)
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

// idleIn finds an idle CLI in a pool, and closes those whose host key the newest
// decisions condemn.
func (f *Family) idleIn(p *pool, l login) *cli {
	for _, c := range slices.Clone(p.clis) {
		switch {
		case c.busy:
		case c.shell.Trusted(l.way):
			return c
		default:
			f.forget(c)
		}
	}
	return nil
}

func (f *Family) unwait(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pools[key].waiting--
	f.tidy(key)
}

// openInto opens a CLI that pick has counted. The caller may use it at once.
func (f *Family) openInto(ctx context.Context, l login) (*cli, error) {
	c, err := f.open(ctx, l)
	if err = f.opened(l, c, err); err != nil && c != nil {
		c.close()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// opened takes a new CLI into its pool, unless there was an error or the family
// is closed.
func (f *Family) opened(l login, c *cli, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pools[l.key]
	p.opening--
	if err == nil && f.closed {
		err = fail(hostler.ErrKindConnLost, "the worker is stopping", "工作节点正在停止")
	}
	if err != nil {
		p.wake()
		f.tidy(l.key)
		return err
	}
	c.busy = true
	p.clis = append(p.clis, c)
	f.wg.Go(func() {
		<-c.shell.Gone()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.forget(c)
	})
	return nil
}

// giveBack ends a use. A CLI that is not clean is closed.
func (f *Family) giveBack(c *cli, clean, succeeded bool) {
	if !clean {
		f.discard(c)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c.busy, c.kept, c.used = false, true, f.opts.Now()
	if succeeded {
		c.succeeded++
	} else {
		c.failed++
	}
	p := f.pools[c.key]
	if p == nil || !slices.Contains(p.clis, c) {
		return
	}
	p.wake()
	f.rest(c)
}

// rest begins the idle time of a CLI. Family.mu is held, as in the next.
func (f *Family) rest(c *cli) {
	c.idle = time.AfterFunc(f.opts.IdleTimeout, func() { f.expire(c) })
	c.resting = f.idle.PushBack(c)
	if f.idle.Len() > f.opts.MaxIdle {
		f.forget(f.idle.Front().Value.(*cli))
	}
}

// stir ends the idle time.
func (f *Family) stir(c *cli) {
	if c.resting == nil {
		return
	}
	c.idle.Stop()
	f.idle.Remove(c.resting)
	c.resting = nil
}

// expire closes a CLI whose idle time is over.
func (f *Family) expire(c *cli) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !c.busy {
		f.forget(c)
	}
}

// discard closes a CLI and waits until it is closed: a device has few lines.
func (f *Family) discard(c *cli) {
	c.close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(c)
}

// forget takes a CLI out of its pool and closes it. It may be called again.
// Family.mu is held.
func (f *Family) forget(c *cli) {
	p := f.pools[c.key]
	if p == nil {
		return
	}
	i := slices.Index(p.clis, c)
	if i < 0 {
		return
	}
	p.clis = slices.Delete(p.clis, i, i+1)
	f.stir(c)
	f.wg.Go(c.close)
	p.wake()
	f.tidy(c.key)
}

func (f *Family) tidy(key string) {
	if p := f.pools[key]; p != nil && len(p.clis)+p.opening+p.waiting == 0 {
		delete(f.pools, key)
	}
}

// Sessions is a snapshot of the kept CLIs, ordered by address, port and user.
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
		Address: c.address, Port: c.port, User: c.user, Since: c.shell.Since(), LastUsed: c.used,
		Succeeded: c.succeeded, Failed: c.failed,
	}
	if c.busy {
		s.Running = 1
	}
	return s
}

// CloseHost closes the kept CLIs to an address and says how many there were. Jobs
// that use them lose sight of the device.
func (f *Family) CloseHost(address string) int {
	return f.closeWhere(func(c *cli) bool { return c.address == address })
}

// Close closes every CLI and waits until all is quiet.
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
				f.forget(c)
				n++
			}
		}
	}
	return n
}
