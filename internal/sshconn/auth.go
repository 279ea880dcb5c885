package sshconn

import (
	"errors"

	"golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// authMethods returns the authentication methods that a route's credential supports.
func authMethods(r *route) ([]ssh.AuthMethod, error) {
	if r.cred.Kind == hostler.CredentialPassword {
		password := r.cred.Secret.Password
		return []ssh.AuthMethod{
			ssh.Password(password),
			ssh.KeyboardInteractive(answerPassword(password)),
		}, nil
	}
	signer, err := parseKey(r.cred.Secret)
	if err == nil {
		return []ssh.AuthMethod{ssh.PublicKeys(signer)}, nil
	}
	if _, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		return nil, action.NewFault(hostler.ErrKindCredential,
			"the private key of asset %s is encrypted and its credential has no passphrase",
			"资产 %s 的私钥已加密，但凭据中没有口令", r.asset.Name).Final()
	}
	return nil, action.NewFault(hostler.ErrKindCredential,
		"the private key of asset %s cannot be read: the passphrase is wrong, or it is not an OpenSSH or PEM key",
		"资产 %s 的私钥无法读取：口令错误，或不是 OpenSSH/PEM 格式", r.asset.Name).Final()
}

func parseKey(s hostler.Secret) (ssh.Signer, error) {
	if s.Passphrase == "" {
		return ssh.ParsePrivateKey([]byte(s.PrivateKey))
	}
	signer, err := ssh.ParsePrivateKeyWithPassphrase([]byte(s.PrivateKey), []byte(s.Passphrase))
	if err != nil {
		// A passphrase for a key that is not encrypted is ignored.
		if plain, perr := ssh.ParsePrivateKey([]byte(s.PrivateKey)); perr == nil {
			return plain, nil
		}
	}
	return signer, err
}

var errMoreThanPassword = errors.New("the server asks for more than a password")

// answerPassword answers the one hidden question of keyboard-interactive
// authentication (RFC 4256) with the password. A second question asks for a one-time
// code or a new password, and is an error.
func answerPassword(password string) ssh.KeyboardInteractiveChallenge {
	answered := false
	return func(_, _ string, questions []string, echos []bool) ([]string, error) {
		if len(questions) == 0 {
			return nil, nil
		}
		if answered || len(questions) > 1 || echos[0] {
			return nil, errMoreThanPassword
		}
		answered = true
		return []string{password}, nil
	}
}
