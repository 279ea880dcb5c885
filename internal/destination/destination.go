// Package destination decides where a secret may be sent.
//
// # Model
//
// A [Destination] is one use of a credential: its kind, and the way to the host or the
// origin of the URL. A use is allowed in one of two ways:
//
//	a pair   (credential, kind, host, port, jump host), made by an admin's own action:
//	         giving an asset its credential, naming a credential in a job
//	a rule   of the credential: kinds of use, addresses, ports, labels, origins
//
// Operators write assets: their addresses, jump hosts and labels. Therefore neither
// counts by itself. Every host between the worker and the destination must be confirmed,
// which means that an admin wrote it as it is now, or the rule must cover it too; and a
// rule counts the labels that an admin confirmed.
//
//	web1 10.0.0.5:22 ─ jump ─▶ bastion 192.0.2.1:22      pair (ops, ssh, 10.0.0.5, 22, bastion)
//	an operator moves bastion to 198.51.100.7            bastion is not confirmed: refused
//
// # Invariants
//
//   - DefaultDeny: what no pair and no rule allows is refused.
//   - AsDialled: the decision is about the address, the port and the jump hosts of the
//     connection that will be opened, not about the name of an asset.
package destination

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"hostler.dev/hostler"
)

const (
	sshPort  = 22
	httpPort = 80
)

// originPorts are the default ports of the schemes of origins. The scheme tells the kinds of
// service apart: a use for smtp:// is none for https://.
var originPorts = map[string]string{
	"http": "80", "https": "443", "smtp": "587", "smtps": "465",
	"postgres": "5432", "mysql": "3306", "redis": "6379", "rediss": "6379",
}

// Place is where an asset is: what decides which machine a connection reaches.
type Place struct {
	Address string
	Port    int // 0 is the default one
	Jump    hostler.AssetID
}

// Same reports whether two places are the same one: port 0 is port 22.
func (p Place) Same(q Place) bool {
	return p.Address == q.Address && p.Jump == q.Jump && cmp.Or(p.Port, sshPort) == cmp.Or(q.Port, sshPort)
}

// Host is a host on a way: an asset, or the host that a job brought.
type Host struct {
	Place
	Labels map[string]string
	// Was is the place of the asset as an admin confirmed it, with its labels at that
	// time.
	Was       Place
	WasLabels map[string]string
}

// Confirmed reports whether an admin confirmed the place as it is.
func (h Host) Confirmed() bool { return h.Was.Address != "" && h.Was.Same(h.Place) }

// Pair is a use of a credential as it is stored.
type Pair struct {
	Use    string
	Target string // host, or origin
	Port   int
	Jump   hostler.AssetID
}

// Destination is what a use of a credential opens.
type Destination struct {
	Use    string
	Origin string // of a URL; then Way is not used
	// Way is the host, then the jump hosts, from the host to the worker.
	Way []Host
}

// Pair returns the pair that allows the destination.
func (d Destination) Pair() Pair {
	if d.Use == hostler.UseHTTP {
		return Pair{Use: d.Use, Target: d.Origin}
	}
	h := d.Way[0]
	return Pair{Use: d.Use, Target: h.Address, Port: cmp.Or(h.Port, sshPort), Jump: h.Jump}
}

// Where names the destination in texts.
func (d Destination) Where() string {
	if d.Use == hostler.UseHTTP {
		return d.Origin
	}
	return hostler.SSHAddress(d.Way[0].Address, d.Way[0].Port)
}

// Confirmed reports whether an admin confirmed every host of the way from the one at
// index from.
func (d Destination) confirmed(from int) bool {
	return !slices.ContainsFunc(d.Way[from:], func(h Host) bool { return !h.Confirmed() })
}

// Confirmed reports whether an admin's own action may allow the destination: it names the
// origin itself, or a host that no operator has moved.
func (d Destination) Confirmed() bool { return d.Use == hostler.UseHTTP || d.confirmed(0) }

// Allowed reports whether a pair or a rule allows the destination.
func (d Destination) Allowed(paired bool, rules []hostler.CredentialRule) bool {
	if d.Use == hostler.UseHTTP {
		return paired || slices.ContainsFunc(rules, func(r hostler.CredentialRule) bool {
			return slices.Contains(r.Uses, d.Use) && slices.ContainsFunc(r.Origins, d.matchesOrigin)
		})
	}
	if paired && d.confirmed(1) {
		return true
	}
	return slices.ContainsFunc(rules, func(r hostler.CredentialRule) bool {
		if !slices.Contains(r.Uses, d.Use) || !covers(r, d.Way[0]) {
			return false
		}
		uncovered := slices.ContainsFunc(d.Way[1:], func(h Host) bool { return !covers(r, h) })
		return !uncovered || d.confirmed(0)
	})
}

// covers reports whether a rule covers a host.
func covers(r hostler.CredentialRule, h Host) bool {
	if len(r.Addresses) == 0 && len(r.Labels) == 0 {
		return false
	}
	if len(r.Ports) > 0 && !slices.Contains(r.Ports, cmp.Or(h.Port, sshPort)) {
		return false
	}
	if len(r.Addresses) > 0 && !slices.ContainsFunc(r.Addresses, func(p string) bool { return matchesHost(p, h.Address) }) {
		return false
	}
	return len(r.Labels) == 0 || h.Confirmed() && has(h.Labels, r.Labels) && has(h.WasLabels, r.Labels)
}

func has(labels, wanted map[string]string) bool {
	for k, v := range wanted {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// matchesHost reports whether a pattern of a rule matches an address. A network or an IP
// address only matches IP addresses: who controls a name controls what it resolves to.
func matchesHost(pattern, address string) bool {
	if pattern == "*" {
		return true
	}
	ip, isIP := parseIP(address)
	if network, err := netip.ParsePrefix(pattern); err == nil {
		return isIP && network.Contains(ip)
	}
	if one, ok := parseIP(pattern); ok {
		return isIP && one == ip
	}
	// A star in the last label is one label or less: web* is not web.attacker.example.
	last := pattern[strings.LastIndexByte(pattern, '.')+1:]
	if strings.Contains(last, "*") && strings.Count(pattern, ".") != strings.Count(address, ".") {
		return false
	}
	good, err := path.Match(pattern, address)
	return err == nil && good && !isIP
}

func parseIP(s string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(s)
	return ip.Unmap(), err == nil
}

func (d Destination) matchesOrigin(pattern string) bool {
	return matchesOrigin(pattern, d.Origin)
}

func matchesOrigin(pattern, origin string) bool {
	want, ok := cutOrigin(pattern)
	if !ok {
		return false
	}
	got, ok := cutOrigin(origin)
	return ok && got.scheme == want.scheme && got.port == want.port && matchesHost(want.host, got.host)
}

type originParts struct{ scheme, host, port string }

// cutOrigin reads the origin of a URL; ok is false for what has more than one, or less.
func cutOrigin(s string) (o originParts, ok bool) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return o, false
	}
	o = originParts{u.Scheme, strings.ToLower(u.Hostname()), u.Port()}
	o.port = cmp.Or(o.port, originPorts[o.scheme])
	return o, o.port != "" && o.host != ""
}

// Origin returns the origin of a URL in the form in which pairs have it: scheme, host in
// lower case, and port (RFC 6454).
func Origin(u *url.URL) string {
	port := cmp.Or(u.Port(), originPorts[u.Scheme])
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// OriginOf returns the origin of a request whose URL is a path on a host.
func OriginOf(h Host) string {
	return "http://" + net.JoinHostPort(strings.ToLower(h.Address), strconv.Itoa(cmp.Or(h.Port, httpPort)))
}

// Refusal is why a credential may not be used for a destination, and who can allow it.
func Refusal(credential, project string, d Destination) hostler.Text {
	where, how := d.Where(), "--origin "+d.Origin
	if d.Use != hostler.UseHTTP {
		how = "--address " + d.Way[0].Address
	}
	if len(d.Way) > 1 && !d.confirmed(1) {
		return hostler.Textf(
			"the credential %[1]q may not be used for %[2]s at %[3]s: no admin has confirmed its jump host as it is now; "+
				"an admin of the project %[4]q can: hostler asset confirm JUMP-HOST",
			"凭据 %[1]q 不得用于 %[3]s 的 %[2]s：其跳板机的现状未经管理员确认；"+
				"项目 %[4]q 的管理员可执行：hostler asset confirm 跳板资产", credential, d.Use, where, project)
	}
	return hostler.Textf(
		"the credential %[1]q may not be used for %[2]s at %[3]s; an admin of the project %[4]q can allow it: "+
			"hostler credential allow %[1]s --use %[2]s %[5]s",
		"凭据 %[1]q 不得用于 %[3]s 的 %[2]s；项目 %[4]q 的管理员可以放行："+
			"hostler credential allow %[1]s --use %[2]s %[5]s", credential, d.Use, where, project, how)
}

// CheckHost returns the pattern of a rule in the form that is stored; ok is false for
// what is not one, such as 10.0.*: it looks like a network and would only match names.
func CheckHost(p string) (string, bool) {
	if network, err := netip.ParsePrefix(p); err == nil {
		return network.Masked().String(), true
	}
	if ip, ok := parseIP(p); ok {
		return ip.String(), ip.Zone() == ""
	}
	p = strings.TrimSuffix(strings.ToLower(p), ".")
	good := p != "" && len(p) <= 253 && !strings.ContainsFunc(p, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.*", r)
	})
	network := strings.Contains(p, "*") && strings.ContainsAny(p, "0123456789") && strings.Trim(p, "0123456789.*") == ""
	return p, good && !network
}

// CheckOrigin is [CheckHost] for the origin of a URL.
func CheckOrigin(p string) (string, bool) {
	o, ok := cutOrigin(p)
	if !ok {
		return p, false
	}
	host, ok := CheckHost(o.host)
	if !ok || strings.Contains(host, "/") {
		return p, false
	}
	return o.scheme + "://" + net.JoinHostPort(host, o.port), true
}

// SameLabels reports whether two sets of labels are equal.
func SameLabels(a, b map[string]string) bool { return maps.Equal(a, b) }
