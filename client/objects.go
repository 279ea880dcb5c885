package client

import (
	"context"
	"net/http"

	"hostler.dev/hostler"
)

// Version fetches the server's version; it needs no key.
func (c *Client) Version(ctx context.Context) (hostler.Version, error) {
	return get[hostler.Version](ctx, c, nil, "version")
}

// Me fetches what the server knows of the caller.
func (c *Client) Me(ctx context.Context) (hostler.Me, error) {
	return get[hostler.Me](ctx, c, nil, "me")
}

// Projects fetches one page of the projects that the caller may see.
func (c *Client) Projects(ctx context.Context, p hostler.Page) (hostler.List[hostler.Project], error) {
	return list[hostler.Project](ctx, c, p, "projects")
}

// CreateProject makes a project.
func (c *Client) CreateProject(ctx context.Context, name string) (hostler.Project, error) {
	return fetch[hostler.Project](ctx, c, post(hostler.ProjectInput{Name: name}, "projects"))
}

// Users fetches one page of the users.
func (c *Client) Users(ctx context.Context, p hostler.Page) (hostler.List[hostler.User], error) {
	return list[hostler.User](ctx, c, p, "users")
}

// User fetches one user.
func (c *Client) User(ctx context.Context, name string) (hostler.User, error) {
	return get[hostler.User](ctx, c, nil, "users", name)
}

// CreateUser makes a user with roles by project name.
func (c *Client) CreateUser(ctx context.Context, name string, roles map[string]hostler.Role) (hostler.User, error) {
	return fetch[hostler.User](ctx, c, post(hostler.UserInput{Name: name, Roles: roles}, "users"))
}

// ChangeUser disables, enables, or gives roles.
func (c *Client) ChangeUser(ctx context.Context, name string, ch hostler.UserChange) (hostler.User, error) {
	return fetch[hostler.User](ctx, c, call{method: http.MethodPatch, path: []string{"users", name}, body: ch})
}

// Keys fetches one page of the keys that the caller may see.
func (c *Client) Keys(ctx context.Context, p hostler.Page) (hostler.List[hostler.Key], error) {
	return list[hostler.Key](ctx, c, p, "keys")
}

// CreateKey makes an API key.
func (c *Client) CreateKey(ctx context.Context, in hostler.KeyInput) (hostler.KeyCreated, error) {
	return fetch[hostler.KeyCreated](ctx, c, post(in, "keys"))
}

// RotateKey makes a successor; the old key stays valid for a while.
func (c *Client) RotateKey(ctx context.Context, id hostler.KeyID) (hostler.KeyCreated, error) {
	return fetch[hostler.KeyCreated](ctx, c, post(nil, "keys", id.String(), "rotate"))
}

// RevokeKey ends a key.
func (c *Client) RevokeKey(ctx context.Context, id hostler.KeyID) error {
	return c.do(ctx, del("keys", id.String()), nil)
}

// Assets fetches one page of the assets.
func (c *Client) Assets(ctx context.Context, p hostler.Page) (hostler.List[hostler.Asset], error) {
	return list[hostler.Asset](ctx, c, p, "assets")
}

// AssetsWith lists the assets that have every one of the labels, for All.
func (c *Client) AssetsWith(labels map[string]string) Lister[hostler.Asset] {
	return func(ctx context.Context, p hostler.Page) (hostler.List[hostler.Asset], error) {
		q := pageQuery(p)
		for k, v := range labels {
			q.Add("label", k+"="+v)
		}
		return get[hostler.List[hostler.Asset]](ctx, c, q, "assets")
	}
}

// Asset fetches one asset by name or id.
func (c *Client) Asset(ctx context.Context, asset string) (hostler.Asset, error) {
	return get[hostler.Asset](ctx, c, nil, "assets", asset)
}

// CreateAsset makes an asset.
func (c *Client) CreateAsset(ctx context.Context, in hostler.AssetInput) (hostler.Asset, error) {
	return fetch[hostler.Asset](ctx, c, post(in, "assets"))
}

// PutAsset replaces an asset as a whole.
func (c *Client) PutAsset(ctx context.Context, asset string, in hostler.AssetInput) (hostler.Asset, error) {
	return fetch[hostler.Asset](ctx, c, put(in, "assets", asset))
}

// DeleteAsset deletes an asset; its history stays.
func (c *Client) DeleteAsset(ctx context.Context, asset string) error {
	return c.do(ctx, del("assets", asset), nil)
}

// HostKeys lists the SSH host keys that were seen at an asset's address.
func (c *Client) HostKeys(ctx context.Context, asset string) ([]hostler.HostKey, error) {
	l, err := get[hostler.List[hostler.HostKey]](ctx, c, nil, "assets", asset, "hostkeys")
	return l.Items, err
}

// AcceptHostKey pins an offered host key.
func (c *Client) AcceptHostKey(ctx context.Context, asset string, id hostler.HostKeyID) (hostler.HostKey, error) {
	return fetch[hostler.HostKey](ctx, c, post(nil, "assets", asset, "hostkeys", id.String(), "accept"))
}

// RevokeHostKey takes the trust in a host key away.
func (c *Client) RevokeHostKey(ctx context.Context, asset string, id hostler.HostKeyID) (hostler.HostKey, error) {
	return fetch[hostler.HostKey](ctx, c, post(nil, "assets", asset, "hostkeys", id.String(), "revoke"))
}

// Credentials fetches one page of the credentials, without their secrets.
func (c *Client) Credentials(ctx context.Context, p hostler.Page) (hostler.List[hostler.Credential], error) {
	return list[hostler.Credential](ctx, c, p, "credentials")
}

// Credential fetches one credential, without its secret.
func (c *Client) Credential(ctx context.Context, name string) (hostler.Credential, error) {
	return get[hostler.Credential](ctx, c, nil, "credentials", name)
}

// CreateCredential seals a new credential.
func (c *Client) CreateCredential(ctx context.Context, in hostler.CredentialInput) (hostler.Credential, error) {
	return fetch[hostler.Credential](ctx, c, post(in, "credentials"))
}

// PutCredential replaces a credential's content; its version grows.
func (c *Client) PutCredential(ctx context.Context, name string, in hostler.CredentialInput) (hostler.Credential, error) {
	return fetch[hostler.Credential](ctx, c, put(in, "credentials", name))
}

// DeleteCredential deletes a credential that no asset uses.
func (c *Client) DeleteCredential(ctx context.Context, name string) error {
	return c.do(ctx, del("credentials", name), nil)
}

// Actions lists the kinds of work.
func (c *Client) Actions(ctx context.Context) ([]hostler.ActionInfo, error) {
	l, err := get[hostler.List[hostler.ActionInfo]](ctx, c, nil, "actions")
	return l.Items, err
}

// Action fetches one action with the JSON Schema of its args.
func (c *Client) Action(ctx context.Context, name string) (hostler.ActionInfo, error) {
	return get[hostler.ActionInfo](ctx, c, nil, "actions", name)
}

// Queues lists the queues.
func (c *Client) Queues(ctx context.Context) ([]hostler.Queue, error) {
	l, err := get[hostler.List[hostler.Queue]](ctx, c, nil, "queues")
	return l.Items, err
}

// Queue fetches one queue.
func (c *Client) Queue(ctx context.Context, name string) (hostler.Queue, error) {
	return get[hostler.Queue](ctx, c, nil, "queues", name)
}

// PutQueue makes a queue, or changes its limits.
func (c *Client) PutQueue(ctx context.Context, name string, l hostler.QueueLimits) (hostler.Queue, error) {
	return fetch[hostler.Queue](ctx, c, put(l, "queues", name))
}

// PauseQueue keeps the queue's jobs from starting; running ones go on.
func (c *Client) PauseQueue(ctx context.Context, name string) (hostler.Queue, error) {
	return fetch[hostler.Queue](ctx, c, post(nil, "queues", name, "pause"))
}

// ResumeQueue ends a pause.
func (c *Client) ResumeQueue(ctx context.Context, name string) (hostler.Queue, error) {
	return fetch[hostler.Queue](ctx, c, post(nil, "queues", name, "resume"))
}

// Workers lists the workers.
func (c *Client) Workers(ctx context.Context) ([]hostler.Worker, error) {
	l, err := get[hostler.List[hostler.Worker]](ctx, c, nil, "workers")
	return l.Items, err
}

// StopWorker stops a worker by force; what it runs is dealt with as its on_lost
// says.
func (c *Client) StopWorker(ctx context.Context, id hostler.WorkerID) (hostler.WorkerStopped, error) {
	return fetch[hostler.WorkerStopped](ctx, c, post(nil, "workers", id.String(), "stop"))
}

// CloseSession has a worker close the connections that it keeps to an address.
func (c *Client) CloseSession(ctx context.Context, id hostler.WorkerID, address string) (hostler.SessionClosed, error) {
	return fetch[hostler.SessionClosed](ctx, c, post(hostler.SessionClose{Address: address}, "workers", id.String(), "close-session"))
}

// Audit fetches one page of the audit, newest first.
func (c *Client) Audit(ctx context.Context, p hostler.Page) (hostler.List[hostler.Audit], error) {
	return list[hostler.Audit](ctx, c, p, "audit")
}

// OpenAPI fetches the description of the API; it needs no key.
func (c *Client) OpenAPI(ctx context.Context) ([]byte, error) {
	return get[[]byte](ctx, c, nil, "openapi.json")
}

func post(body any, path ...string) call {
	return call{method: http.MethodPost, path: path, body: body}
}

func put(body any, path ...string) call {
	return call{method: http.MethodPut, path: path, body: body}
}

func del(path ...string) call { return call{method: http.MethodDelete, path: path} }
