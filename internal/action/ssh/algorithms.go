package ssh

import (
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
)

// algorithms is what may be agreed on with a server, best first. The library's own
// choice leaves out safe ones that some devices have alone.
func (f *Family) algorithms() gossh.Config {
	safe := gossh.SupportedAlgorithms()
	c := gossh.Config{
		KeyExchanges: append(safe.KeyExchanges, gossh.InsecureKeyExchangeDH14SHA1), // of sound size
		Ciphers:      safe.Ciphers,
		MACs:         safe.MACs,
	}
	if f.opts.Legacy {
		old := legacy()
		c.KeyExchanges = append(c.KeyExchanges, old.KeyExchanges...)
		c.Ciphers = append(c.Ciphers, old.Ciphers...)
		c.MACs = append(c.MACs, old.MACs...)
	}
	return c
}

// legacy are the algorithms that only Options.Legacy allows.
func legacy() gossh.Algorithms {
	return gossh.Algorithms{
		KeyExchanges: []string{gossh.InsecureKeyExchangeDHGEXSHA1, gossh.InsecureKeyExchangeDH1SHA1},
		Ciphers:      []string{gossh.InsecureCipherAES128CBC, gossh.InsecureCipherTripleDESCBC},
		MACs:         []string{gossh.InsecureHMACSHA196},
		HostKeys:     gossh.InsecureAlgorithms().HostKeys,
	}
}

// legacyHelps says whether Options.Legacy would bring an agreement about.
func (f *Family) legacyHelps(e *gossh.AlgorithmNegotiationError) bool {
	old := legacy()
	all := slices.Concat(old.KeyExchanges, old.Ciphers, old.MACs, old.HostKeys)
	return !f.opts.Legacy && slices.ContainsFunc(e.RequestedAlgorithms, func(alg string) bool { return slices.Contains(all, alg) })
}

// hostKeyAlgorithms puts the algorithms of pinned keys first: a server with
// several keys must show one that is known. Host certificates are left out, as
// no authority for them is configured.
func (f *Family) hostKeyAlgorithms(a *hostler.LeaseAsset) []string {
	allowed := gossh.SupportedAlgorithms().HostKeys
	if f.opts.Legacy {
		allowed = append(allowed, legacy().HostKeys...)
	}
	var known []string
	for _, k := range keysIn(a, hostler.HostKeyPinned) {
		known = append(known, algorithmsOf(k.Type())...)
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

// algorithmsOf lists the signature algorithms of a key type: an RSA key signs
// with several (RFC 8332).
func algorithmsOf(keyType string) []string {
	if keyType == gossh.KeyAlgoRSA {
		return []string{gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSA}
	}
	return []string{keyType}
}
