package client

import (
	"context"

	"hostler.dev/hostler"
)

// Queues lists the queues.
func (c *Client) Queues(ctx context.Context) ([]hostler.Queue, error) {
	l, err := get[hostler.List[hostler.Queue]](ctx, c, nil, "queues")
	return l.Items, err
}

// Queue fetches one queue.
func (c *Client) Queue(ctx context.Context, name string) (hostler.Queue, error) {
	return get[hostler.Queue](ctx, c, nil, "queues", name)
}

// PutQueue creates a queue, or changes its limits.
func (c *Client) PutQueue(ctx context.Context, name string, l hostler.QueueLimits) (hostler.Queue, error) {
	return fetch[hostler.Queue](ctx, c, put(l, "queues", name))
}

// PauseQueue pauses a queue: its jobs do not start. Running jobs continue.
func (c *Client) PauseQueue(ctx context.Context, name string) (hostler.Queue, error) {
	return fetch[hostler.Queue](ctx, c, post(nil, "queues", name, "pause"))
}

// ResumeQueue resumes a paused queue.
func (c *Client) ResumeQueue(ctx context.Context, name string) (hostler.Queue, error) {
	return fetch[hostler.Queue](ctx, c, post(nil, "queues", name, "resume"))
}
