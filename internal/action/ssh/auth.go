package ssh

import (
	"errors"

	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
)

// authMethods makes the ways in that a credential opens.
func authMethods(r *route) ([]gossh.AuthMethod, error) {
	if r.cred.Kind == hostler.CredentialPassword {
		password := r.cred.Secret.Password
		return []gossh.AuthMethod{
			gossh.Password(password),
			gossh.KeyboardInteractive(answerOnce(password)),
		}, nil
	}
	signer, err := parseKey(r.cred.Secret)
	if err == nil {
		return []gossh.AuthMethod{gossh.PublicKeys(signer)}, nil
	}
	if _, ok := errors.AsType[*gossh.PassphraseMissingError](err); ok {
		return nil, failed(hostler.ErrKindCredential,
			"the private key of asset %s is encrypted and its credential has no passphrase",
			"资产 %s 的私钥已加密，但凭据中没有口令", r.asset.Name).final()
	}
	return nil, failed(hostler.ErrKindCredential,
		"the private key of asset %s cannot be read: the passphrase is wrong, or it is no OpenSSH or PEM key",
		"资产 %s 的私钥无法读取：口令错误，或不是 OpenSSH/PEM 格式", r.asset.Name).final()
}

func parseKey(s hostler.Secret) (gossh.Signer, error) {
	if s.Passphrase == "" {
		return gossh.ParsePrivateKey([]byte(s.PrivateKey))
	}
	signer, err := gossh.ParsePrivateKeyWithPassphrase([]byte(s.PrivateKey), []byte(s.Passphrase))
	if err != nil {
		// A passphrase that the key does not need does no harm.
		if plain, perr := gossh.ParsePrivateKey([]byte(s.PrivateKey)); perr == nil {
			return plain, nil
		}
	}
	return signer, err
}

var errUnanswerable = errors.New("the server asks for more than a password")

// answerOnce answers the one hidden question of keyboard-interactive
// authentication (RFC 4256) with the password. A second question is a one-time
// code or a new password, which nobody is here to give.
func answerOnce(password string) gossh.KeyboardInteractiveChallenge {
	answered := false
	return func(_, _ string, questions []string, echos []bool) ([]string, error) {
		if len(questions) == 0 {
			return nil, nil
		}
		if answered || len(questions) > 1 || echos[0] {
			return nil, errUnanswerable
		}
		answered = true
		return []string{password}, nil
	}
}
