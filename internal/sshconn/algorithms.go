package sshconn

import (
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
)

// algorithms returns what may be negotiated with a server, best first. The library's
// default leaves out safe algorithms that are the only ones of some devices.
func (p *Pool) algorithms() ssh.Config {
	safe := ssh.SupportedAlgorithms()
	c := ssh.Config{
		// Group 14 has 2048 bits; SHA-1 is no weakness in this exchange.
		KeyExchanges: append(safe.KeyExchanges, ssh.InsecureKeyExchangeDH14SHA1),
		Ciphers:      safe.Ciphers,
		MACs:         safe.MACs,
	}
	if p.opts.Legacy {
		old := legacyAlgorithms()
		c.KeyExchanges = append(c.KeyExchanges, old.KeyExchanges...)
		c.Ciphers = append(c.Ciphers, old.Ciphers...)
		c.MACs = append(c.MACs, old.MACs...)
	}
	return c
}

// legacyAlgorithms returns the algorithms that only Options.Legacy allows.
func legacyAlgorithms() ssh.Algorithms {
	return ssh.Algorithms{
		KeyExchanges: []string{ssh.InsecureKeyExchangeDHGEXSHA1, ssh.InsecureKeyExchangeDH1SHA1},
		Ciphers:      []string{ssh.InsecureCipherAES128CBC, ssh.InsecureCipherTripleDESCBC},
		MACs:         []string{ssh.InsecureHMACSHA196},
		HostKeys:     ssh.InsecureAlgorithms().HostKeys,
	}
}

// legacyHelps reports whether a negotiation that failed would succeed with
// Options.Legacy.
func (p *Pool) legacyHelps(e *ssh.AlgorithmNegotiationError) bool {
	old := legacyAlgorithms()
	all := slices.Concat(old.KeyExchanges, old.Ciphers, old.MACs, old.HostKeys)
	return !p.opts.Legacy && slices.ContainsFunc(e.RequestedAlgorithms, func(alg string) bool {
		return slices.Contains(all, alg)
	})
}

// hostKeyAlgorithms puts the algorithms of pinned keys first, so that a server with
// several host keys presents one that is known. Host certificates are left out: no
// authority for them can be configured.
func (p *Pool) hostKeyAlgorithms(a *hostler.LeaseAsset) []string {
	allowed := ssh.SupportedAlgorithms().HostKeys
	if p.opts.Legacy {
		allowed = append(allowed, legacyAlgorithms().HostKeys...)
	}
	var known []string
	for _, k := range keysIn(a, hostler.HostKeyPinned) {
		known = append(known, signatureAlgorithms(k.Type())...)
	}
	var first, rest []string
	for _, alg := range allowed {
		switch {
		case strings.Contains(alg, "-cert-"):
		case slices.Contains(known, alg):
			first = append(first, alg)
		default:
			rest = append(rest, alg)
		}
	}
	return append(first, rest...)
}

// signatureAlgorithms lists the signature algorithms of a key type. An RSA key signs
// with several (RFC 8332).
func signatureAlgorithms(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA}
	}
	return []string{keyType}
}
