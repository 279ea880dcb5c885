package hostler

import (
	"net/url"
	"slices"
	"strings"
)

// Masked replaces a part of a URL that is not shown.
const Masked = "***"

// chatHosts are chat services whose URLs end in a secret of any length.
var chatHosts = []string{
	"open.feishu.cn", "open.larksuite.com", "hooks.slack.com", "discord.com", "discordapp.com",
}

// MaskURL returns a URL without the parts that may be secret: the user, the query, and
// the parts of the path that look like a token. The host remains visible. It returns
// [Masked] for text that is not a URL with a host.
func MaskURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return Masked
	}
	parts := strings.Split(u.EscapedPath(), "/")
	last := len(parts) - 1
	for last > 0 && parts[last] == "" {
		last--
	}
	chat := slices.Contains(chatHosts, strings.ToLower(u.Hostname()))
	for i, part := range parts {
		if looksSecret(part) || chat && i == last && part != "" {
			parts[i] = Masked
		}
	}
	shown := u.Scheme + "://" + u.Host + strings.Join(parts, "/")
	if u.RawQuery != "" || u.ForceQuery {
		shown += "?" + Masked
	}
	return shown
}

// looksSecret reports whether a part of a path is more likely a token than a word.
func looksSecret(part string) bool {
	return len(part) >= 24 || len(part) >= 12 && strings.ContainsAny(part, "0123456789%")
}
