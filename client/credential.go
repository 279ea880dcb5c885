package client

import (
	"context"

	"hostler.dev/hostler"
)

// Credentials fetches one page of the credentials, without their secrets.
func (c *Client) Credentials(ctx context.Context, p hostler.Page) (hostler.List[hostler.Credential], error) {
	return list[hostler.Credential](ctx, c, p, "credentials")
}

// Credential fetches one credential, without its secret.
func (c *Client) Credential(ctx context.Context, name string) (hostler.Credential, error) {
	return get[hostler.Credential](ctx, c, nil, "credentials", name)
}

// CreateCredential creates a credential, whose secret the server encrypts.
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

// AddCredentialRule allows uses of a credential by a rule.
func (c *Client) AddCredentialRule(
	ctx context.Context, name string, in hostler.CredentialRuleInput,
) (hostler.CredentialRule, error) {
	return fetch[hostler.CredentialRule](ctx, c, post(in, "credentials", name, "rules"))
}

// CredentialUses fetches one page of the single uses of a credential that are allowed.
func (c *Client) CredentialUses(
	ctx context.Context, name string, p hostler.Page,
) (hostler.List[hostler.CredentialUse], error) {
	return list[hostler.CredentialUse](ctx, c, p, "credentials", name, "uses")
}

// ForbidCredential removes a rule of a credential, by its number, or an allowed use, by
// its id.
func (c *Client) ForbidCredential(ctx context.Context, name, ref string) error {
	return c.do(ctx, del("credentials", name, "uses", ref), nil)
}
