package sshconn

import (
	"context"
	"net"
	"time"

	"golang.org/x/crypto/ssh"

	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/egress"
)

// dial connects and logs in. The connection is not in any route pool yet.
func (p *Pool) dial(ctx context.Context, r *route, call *action.Call) (*conn, error) {
	auth, err := authMethods(r)
	if err != nil {
		return nil, err
	}
	nc, via, err := p.connect(ctx, r, call)
	if err != nil {
		return nil, err
	}
	client, key, err := p.handshake(ctx, r, call, nc, auth)
	if err != nil {
		p.release(via)
		return nil, err
	}
	now := p.opts.Now()
	return &conn{
		pool: p, route: r, client: client, hostKey: key, via: via,
		gone: make(chan struct{}), since: now, lastUsed: now,
	}, nil
}

// connect makes the transport: a TCP connection, or one that the jump host forwards,
// with a use of the jump host's connection.
func (p *Pool) connect(ctx context.Context, r *route, call *action.Call) (nc net.Conn, via *conn, err error) {
	policy := egress.ForHosts(p.opts.Allow...)
	dial := (&net.Dialer{ControlContext: policy.Control}).DialContext
	if r.via != nil {
		// The jump host resolves names; what it connects to is checked as far as it is known.
		host, _, err := net.SplitHostPort(r.addr)
		if err == nil {
			err = policy.CheckHost(host)
		}
		if err != nil {
			return nil, nil, dialFault(r, err)
		}
		if via, err = p.acquireForward(ctx, r.via, call); err != nil {
			return nil, nil, err
		}
		dial = via.client.DialContext
	}
	limited, cancel := context.WithTimeout(ctx, p.opts.ConnectTimeout)
	defer cancel()
	if nc, err = dial(limited, "tcp", r.addr); err != nil {
		p.release(via)
		if ctx.Err() != nil {
			return nil, nil, action.StoppedFault(ctx, "while it connected", "正在建立连接")
		}
		return nil, nil, dialFault(r, err)
	}
	p.forwarded(via)
	return nc, via, nil
}

// handshake exchanges keys, verifies the host key and logs in. A forwarded connection
// supports no deadlines, so the end of the context closes it.
func (p *Pool) handshake(
	ctx context.Context, r *route, call *action.Call, nc net.Conn, auth []ssh.AuthMethod,
) (*ssh.Client, ssh.PublicKey, error) {
	limited, cancel := context.WithTimeout(ctx, p.opts.ConnectTimeout)
	defer cancel()
	stopClosing := context.AfterFunc(limited, func() { _ = nc.Close() })
	var hostKey ssh.PublicKey // the verified one
	var keyErr error          // the library wraps the callback's error in text
	cc, chans, reqs, err := ssh.NewClientConn(nc, r.addr, &ssh.ClientConfig{
		Config: p.algorithms(),
		User:   r.user(), Auth: auth,
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			// The library also calls it when keys are exchanged again, possibly hours after
			// the job that brought the decisions has ended.
			if hostKey != nil {
				return sameHostKey(hostKey, k)
			}
			if keyErr = verifyHostKey(limited, r, call, k); keyErr == nil {
				hostKey = k
			}
			return keyErr
		},
		HostKeyAlgorithms: p.hostKeyAlgorithms(r.asset),
	})
	inTime := stopClosing()
	switch {
	case ctx.Err() != nil:
		_ = nc.Close()
		return nil, nil, action.StoppedFault(ctx, "while it logged in", "正在登录")
	case keyErr != nil:
		return nil, nil, keyErr
	case err != nil && limited.Err() != nil, err == nil && !inTime:
		_ = nc.Close()
		return nil, nil, timeoutFault(r).Because(err)
	case err != nil:
		return nil, nil, p.handshakeFault(r, err)
	}
	return ssh.NewClient(cc, chans, reqs), hostKey, nil
}

// Login is the outcome of [Pool.CheckLogin].
type Login struct {
	// ServerVersion is the identification string that the server sent (RFC 4253, 4.2).
	ServerVersion []byte
	// Took is the time from the dial to the login.
	Took time.Duration
}

// CheckLogin connects to the target and logs in, on a connection of its own that it
// closes again: a shared one would not show whether the login still works.
func (p *Pool) CheckLogin(ctx context.Context, t *Target) (Login, error) {
	began := time.Now()
	c, err := p.dial(ctx, t.route, t.call)
	if err != nil {
		return Login{}, err
	}
	took := time.Since(began)
	_ = c.client.Close()
	p.release(c.via)
	return Login{ServerVersion: c.client.ServerVersion(), Took: took}, nil
}
