package ssh

import (
	"context"
	"net"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler/internal/action"
)

// keepAliveRequest is the request that OpenSSH clients use; a server answers
// what it does not know as well, which is all that matters.
const keepAliveRequest = "keepalive@openssh.com"

// dial connects and logs in. The connection is not in any pool yet.
func (f *Family) dial(ctx context.Context, r *route, c *action.Call) (*conn, error) {
	auth, err := authMethods(r)
	if err != nil {
		return nil, err
	}
	nc, via, err := f.connect(ctx, r, c)
	if err != nil {
		return nil, err
	}
	client, key, err := f.handshake(ctx, r, c, nc, auth)
	if err != nil {
		f.release(via)
		return nil, err
	}
	now := f.opts.Now()
	return &conn{
		family: f, route: r, client: client, hostKey: key, via: via,
		gone: make(chan struct{}), since: now, used: now,
	}, nil
}

// connect makes the transport: a TCP connection, or one forwarded by the jump
// host, whose own connection is held meanwhile.
func (f *Family) connect(ctx context.Context, r *route, c *action.Call) (nc net.Conn, via *conn, err error) {
	dial := new(net.Dialer).DialContext
	if r.via != nil {
		if via, err = f.hold(ctx, r.via, c); err != nil {
			return nil, nil, err
		}
		dial = via.client.DialContext
	}
	limited, cancel := context.WithTimeout(ctx, f.opts.ConnectTimeout)
	defer cancel()
	if nc, err = dial(limited, "tcp", r.addr); err != nil {
		f.release(via)
		return nil, nil, connectFault(ctx, r, err)
	}
	f.forwarded(via)
	return nc, via, nil
}

func connectFault(ctx context.Context, r *route, err error) error {
	if ctx.Err() != nil {
		return stopped(ctx, "while it connected", "正在建立连接")
	}
	return dialFault(r, err)
}

// handshake agrees on keys, has the host key judged and logs in. A forwarded
// connection knows no deadlines, so the end of the context closes it.
func (f *Family) handshake(
	ctx context.Context, r *route, c *action.Call, nc net.Conn, auth []gossh.AuthMethod,
) (*gossh.Client, gossh.PublicKey, error) {
	limited, cancel := context.WithTimeout(ctx, f.opts.ConnectTimeout)
	defer cancel()
	closeOnEnd := context.AfterFunc(limited, func() { _ = nc.Close() })
	var key gossh.PublicKey
	var verdict error
	check := hostKeyCheck(limited, r, c, &key)
	cc, chans, reqs, err := gossh.NewClientConn(nc, r.addr, &gossh.ClientConfig{
		Config: f.algorithms(),
		User:   r.user(), Auth: auth,
		HostKeyCallback: func(host string, addr net.Addr, k gossh.PublicKey) error {
			verdict = check(host, addr, k)
			return verdict
		},
		HostKeyAlgorithms: f.hostKeyAlgorithms(r.asset),
	})
	intime := closeOnEnd()
	switch {
	case ctx.Err() != nil:
		_ = nc.Close()
		return nil, nil, stopped(ctx, "while it logged in", "正在登录")
	case verdict != nil:
		return nil, nil, verdict
	case err != nil && limited.Err() != nil, err == nil && !intime:
		_ = nc.Close()
		return nil, nil, timeoutFault(r).because(err)
	case err != nil:
		return nil, nil, f.handshakeFault(r, err)
	}
	return gossh.NewClient(cc, chans, reqs), key, nil
}

// watch takes the connection out of its pool when it breaks.
func (c *conn) watch() {
	err := c.client.Wait()
	c.family.opts.Log.Debug("ssh connection ended", "address", c.route.addr, "user", c.route.user(), "reason", err)
	c.family.drop(c)
}

// ping asks the server for a sign of life and waits for it.
func (c *conn) ping() error {
	_, _, err := c.client.SendRequest(keepAliveRequest, true, nil)
	return err
}

// keepAlive asks the server for a sign of life now and then, and breaks the
// connection when none comes: a host that vanished sends nothing, for ever.
// It closes the connection at the family's end.
func (c *conn) keepAlive(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-c.gone:
			return
		case <-c.family.quit:
			_ = c.client.Close()
			return
		case <-ticker.C:
		}
		overdue := time.AfterFunc(every, func() { _ = c.client.Close() })
		err := c.ping()
		overdue.Stop()
		if err != nil {
			_ = c.client.Close()
			return
		}
	}
}
