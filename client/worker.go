package client

import (
	"context"

	"hostler.dev/hostler"
)

// Workers lists the workers.
func (c *Client) Workers(ctx context.Context) ([]hostler.Worker, error) {
	l, err := get[hostler.List[hostler.Worker]](ctx, c, nil, "workers")
	return l.Items, err
}

// StopWorker stops a worker by force. The on_lost of each job that it runs applies.
func (c *Client) StopWorker(ctx context.Context, id hostler.WorkerID) (hostler.WorkerStopped, error) {
	return fetch[hostler.WorkerStopped](ctx, c, post(nil, "workers", id.String(), "stop"))
}

// CloseSession closes a worker's open connections to an address.
func (c *Client) CloseSession(ctx context.Context, id hostler.WorkerID, address string) (hostler.SessionClosed, error) {
	return fetch[hostler.SessionClosed](ctx, c, post(hostler.SessionClose{Address: address}, "workers", id.String(), "close-session"))
}
