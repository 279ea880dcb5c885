package client

import (
	"context"

	"hostler.dev/hostler"
)

// CommandRules fetches the command rules of the project: the built-in ones and its own.
func (c *Client) CommandRules(ctx context.Context) ([]hostler.CommandRule, error) {
	l, err := get[hostler.List[hostler.CommandRule]](ctx, c, nil, "command-rules")
	return l.Items, err
}

// CommandRule fetches one command rule.
func (c *Client) CommandRule(ctx context.Context, name string) (hostler.CommandRule, error) {
	return get[hostler.CommandRule](ctx, c, nil, "command-rules", name)
}

// PutCommandRule changes a built-in rule, or creates or replaces one of the project.
func (c *Client) PutCommandRule(
	ctx context.Context, name string, in hostler.CommandRuleInput,
) (hostler.CommandRule, error) {
	return fetch[hostler.CommandRule](ctx, c, put(in, "command-rules", name))
}

// ResetCommandRule gives a built-in rule its defaults, or deletes a rule of the project.
func (c *Client) ResetCommandRule(ctx context.Context, name string) error {
	return c.do(ctx, del("command-rules", name), nil)
}

// TestCommand reports which command rules a command matches. Nothing runs.
func (c *Client) TestCommand(ctx context.Context, in hostler.CommandTest) (hostler.CommandVerdict, error) {
	return fetch[hostler.CommandVerdict](ctx, c, post(in, "command-rules", "test"))
}
