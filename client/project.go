package client

import (
	"context"

	"hostler.dev/hostler"
)

// Projects fetches one page of the projects that the caller may see.
func (c *Client) Projects(ctx context.Context, p hostler.Page) (hostler.List[hostler.Project], error) {
	return list[hostler.Project](ctx, c, p, "projects")
}

// CreateProject creates a project.
func (c *Client) CreateProject(ctx context.Context, name string) (hostler.Project, error) {
	return fetch[hostler.Project](ctx, c, post(hostler.ProjectInput{Name: name}, "projects"))
}

// Project fetches one project.
func (c *Client) Project(ctx context.Context, name string) (hostler.Project, error) {
	return get[hostler.Project](ctx, c, nil, "projects", name)
}

// ChangeProject changes the weight and the limits of a project.
func (c *Client) ChangeProject(
	ctx context.Context, name string, change hostler.ProjectChange,
) (hostler.Project, error) {
	return fetch[hostler.Project](ctx, c, patch(change, "projects", name))
}
