package client

import (
	"context"

	"hostler.dev/hostler"
)

// Me fetches the caller and its permissions.
func (c *Client) Me(ctx context.Context) (hostler.Me, error) {
	return get[hostler.Me](ctx, c, nil, "me")
}

// Users fetches one page of the users.
func (c *Client) Users(ctx context.Context, p hostler.Page) (hostler.List[hostler.User], error) {
	return list[hostler.User](ctx, c, p, "users")
}

// User fetches one user.
func (c *Client) User(ctx context.Context, name string) (hostler.User, error) {
	return get[hostler.User](ctx, c, nil, "users", name)
}

// CreateUser creates a user with roles by project name.
func (c *Client) CreateUser(ctx context.Context, name string, roles map[string]hostler.Role) (hostler.User, error) {
	return fetch[hostler.User](ctx, c, post(hostler.UserInput{Name: name, Roles: roles}, "users"))
}

// ChangeUser disables or enables a user, or changes its roles.
func (c *Client) ChangeUser(ctx context.Context, name string, ch hostler.UserChange) (hostler.User, error) {
	return fetch[hostler.User](ctx, c, patch(ch, "users", name))
}

// CancelJobsOfUser cancels jobs of a user in all projects; repeat it while there are more.
func (c *Client) CancelJobsOfUser(ctx context.Context, name string) (hostler.JobsCancelled, error) {
	return fetch[hostler.JobsCancelled](ctx, c, post(nil, "users", name, "cancel-jobs"))
}
