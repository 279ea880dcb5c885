package app

import (
	"context"
	"errors"

	"golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/secret"
)

// Credentials lists the credentials of the acting project, without their secrets.
func (a *App) Credentials(
	ctx context.Context, c auth.Caller, p hostler.Page,
) (hostler.List[hostler.Credential], error) {
	g, err := a.allow(c, auth.ReadCredential)
	if err != nil {
		return hostler.List[hostler.Credential]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Credential]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Credential], error) {
		items, err := s.Credentials(s.project, after, limit+1)
		return cut(items, limit, func(c hostler.Credential) string { return c.Name }), err
	})
}

// Credential reads one credential, without its secret.
func (a *App) Credential(ctx context.Context, c auth.Caller, name string) (hostler.Credential, error) {
	g, err := a.allow(c, auth.ReadCredential)
	if err != nil {
		return hostler.Credential{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Credential, error) {
		return found(s.Credential, s, credentialKind, name)
	})
}

// found looks up an object by name in the acting project.
func found[T any](
	find func(hostler.ProjectID, string) (*T, error), s *scope, kind hostler.Text, name string,
) (T, error) {
	var zero T
	if !check.Storable(name) {
		return zero, hostler.NotFound(kind, name)
	}
	o, err := find(s.project, name)
	if err != nil {
		return zero, err
	}
	if o == nil {
		return zero, hostler.NotFound(kind, name)
	}
	return *o, nil
}

// CreateCredential creates a credential; its secret parts are stored sealed.
func (a *App) CreateCredential(
	ctx context.Context, c auth.Caller, in hostler.CredentialInput,
) (hostler.Credential, error) {
	g, err := a.allow(c, auth.WriteCredential)
	if err != nil {
		return hostler.Credential{}, err
	}
	if err := checkCredential(in); err != nil {
		return hostler.Credential{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Credential, error) {
		_, err := s.InsertCredential(s.project, credentialOf(in, ""),
			func(id hostler.CredentialID) ([]byte, error) {
				return a.cfg.Box.SealSecret(secret.CredentialOwner(s.project, id), secretOf(in))
			})
		if err != nil {
			return hostler.Credential{}, err
		}
		return s.recordCredential("credential.create", in.Name)
	})
}

// PutCredential replaces the content of a credential and increments its version, so
// that connections opened with the old content are not reused.
func (a *App) PutCredential(
	ctx context.Context, c auth.Caller, name string, in hostler.CredentialInput,
) (hostler.Credential, error) {
	g, err := a.allow(c, auth.WriteCredential)
	if err != nil {
		return hostler.Credential{}, err
	}
	if in.Name == "" {
		in.Name = name
	}
	if in.Name != name {
		return hostler.Credential{}, hostler.Invalid("name",
			"must not change: jobs refer to a credential by its name",
			"凭据不能改名：作业会引用它的名称")
	}
	if err := checkCredential(in); err != nil {
		return hostler.Credential{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.Credential, error) {
		old, err := found(s.LockCredential, s, credentialKind, name)
		if err != nil {
			return old, err
		}
		sealed, err := a.cfg.Box.SealSecret(secret.CredentialOwner(s.project, old.ID), secretOf(in))
		if err != nil {
			return old, err
		}
		if err := s.UpdateCredential(old.ID, credentialOf(in, old.HostKey), sealed); err != nil {
			return old, err
		}
		return s.recordCredential("credential.change", name)
	})
}

// credentialOf is the part of an input that is not secret. hostKey is the policy when the
// input has none.
func credentialOf(in hostler.CredentialInput, hostKey string) hostler.Credential {
	if in.HostKey != nil {
		hostKey = *in.HostKey
	}
	return hostler.Credential{Name: in.Name, Kind: in.Kind, Username: in.Username, HostKey: hostKey}
}

// recordCredential reads what was written, which never includes the secret, and
// records it in the audit.
func (s *scope) recordCredential(verb, name string) (hostler.Credential, error) {
	c, err := found(s.Credential, s, credentialKind, name)
	if err != nil {
		return c, err
	}
	return c, s.audit(verb, name, map[string]any{
		"kind": c.Kind, "username": c.Username, "version": c.Version, "host_key": c.HostKey,
	})
}

// DeleteCredential deletes a credential that no asset uses.
func (a *App) DeleteCredential(ctx context.Context, c auth.Caller, name string) error {
	g, err := a.allow(c, auth.WriteCredential)
	if err != nil {
		return err
	}
	_, err = change(ctx, g, func(s *scope) (hostler.Credential, error) {
		old, err := found(s.LockCredential, s, credentialKind, name)
		if err != nil {
			return old, err
		}
		if err := s.DeleteCredential(old.ID); err != nil {
			return old, err
		}
		return old, s.audit("credential.delete", name, nil)
	})
	return err
}

// check names every field at fault. It never repeats a value: any of them may be
// a secret in the wrong place.
func checkCredential(in hostler.CredentialInput) error {
	var fields check.Fields
	fields.Name("name", in.Name, 128)
	fields.Line("username", in.Username, 128)
	check.OneOf(&fields, "kind", in.Kind, hostler.CredentialSSHKey, hostler.CredentialPassword, hostler.CredentialToken)
	if in.HostKey != nil {
		check.OneOf(&fields, "host_key", *in.HostKey, "", hostler.HostKeyStrict)
	}
	fields.Text("private_key", in.PrivateKey, 64<<10)
	fields.Text("passphrase", in.Passphrase, 4096)
	fields.Text("password", in.Password, 4096)
	fields.Text("token", in.Token, 64<<10)
	wanted := map[string]string{
		hostler.CredentialSSHKey:   "private_key",
		hostler.CredentialPassword: "password",
		hostler.CredentialToken:    "token",
	}[in.Kind]
	for _, f := range []struct{ path, value string }{
		{"private_key", in.PrivateKey}, {"passphrase", in.Passphrase}, {"password", in.Password}, {"token", in.Token},
	} {
		switch {
		case f.path == wanted:
			fields.Require(f.value != "", f.path, "is required for this kind", "此类型必须提供")
		case f.path == "passphrase" && wanted == "private_key":
		case wanted != "":
			fields.Require(f.value == "", f.path, "is not allowed for this kind", "此类型不支持")
		}
	}
	if wanted == "private_key" && in.PrivateKey != "" {
		checkPrivateKey(&fields, in.PrivateKey, in.Passphrase)
	}
	return fields.Err()
}

// checkPrivateKey checks that a private key can be opened with its passphrase.
func checkPrivateKey(fields *check.Fields, pem, passphrase string) {
	var err error
	if passphrase == "" {
		_, err = ssh.ParseRawPrivateKey([]byte(pem))
	} else {
		_, err = ssh.ParseRawPrivateKeyWithPassphrase([]byte(pem), []byte(passphrase))
	}
	var missing *ssh.PassphraseMissingError
	switch {
	case err == nil:
	case errors.As(err, &missing):
		fields.Add("passphrase", "is required: the private key is encrypted", "私钥已加密，必须提供口令")
	case passphrase != "":
		fields.Add("private_key", "cannot be read with this passphrase", "无法用该口令读取私钥")
	default:
		fields.Add("private_key", "is not a private key in PEM or OpenSSH form",
			"不是 PEM 或 OpenSSH 格式的私钥")
	}
}

func secretOf(in hostler.CredentialInput) hostler.Secret {
	return hostler.Secret{PrivateKey: in.PrivateKey, Passphrase: in.Passphrase, Password: in.Password, Token: in.Token}
}
