package webhook

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// webSchemes and mailSchemes are what URLs begin with.
var (
	webSchemes  = []string{"http", "https"}
	mailSchemes = []string{"smtp", "smtps", "smtp+plain"}
)

// checkURL returns the URL; nil when no webhook may have it.
func checkURL(fields *check.Fields, raw string) *url.URL { return checkURLOf(fields, raw, webSchemes) }

// checkURLOf returns a URL with one of the schemes.
func checkURLOf(fields *check.Fields, raw string, schemes []string) *url.URL {
	u, err := url.Parse(raw)
	port := ""
	if err == nil {
		port = u.Port()
	}
	n, portErr := strconv.Atoi(cmp.Or(port, "1"))
	switch {
	case raw == "":
		fields.Given("url", raw)
	case len(raw) > maxURL:
		fields.Add("url", "must be at most %d bytes", "最多 %d 字节", maxURL)
	case strings.Contains(raw, hostler.Masked):
		fields.Add("url", "is the form in which it is shown; give it in full, or leave it out to keep it",
			"这是隐藏敏感部分后的显示形式；请给出完整 URL，或省略以保持不变")
	case err != nil || u.Opaque != "" || strings.ContainsFunc(raw, needsEscaping):
		fields.Add("url", "is not a URL", "不是合法的 URL")
	case !slices.Contains(schemes, u.Scheme):
		first, last := strings.Join(schemes[:len(schemes)-1], "://, "), schemes[len(schemes)-1]
		fields.Add("url", "must begin with %s:// or %s://", "必须以 %s:// 或 %s:// 开头", first, last)
	case !isHost(u.Hostname()):
		fields.Add("url", "must name a host", "必须包含合法的主机")
	case portErr != nil || n < 1 || n > 65535:
		fields.Add("url", "must have a port between 1 and 65535", "端口必须在 1 到 65535 之间")
	case u.Fragment != "":
		fields.Add("url", "must not have a fragment", "不能带有 # 片段")
	default:
		return u
	}
	return nil
}

// needsEscaping reports whether a character must not be in a URL as it is.
func needsEscaping(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("\\\"<>^`{|}", r)
}

func isHost(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Zone() == ""
	}
	return check.HostName(strings.ToLower(s))
}

// formatOf detects the bots of chat services by their URLs.
func formatOf(u *url.URL) hostler.WebhookFormat {
	switch strings.ToLower(u.Hostname()) {
	case "oapi.dingtalk.com", "api.dingtalk.com":
		return hostler.FormatDingTalk
	case "qyapi.weixin.qq.com":
		return hostler.FormatWeCom
	case "open.feishu.cn", "open.larksuite.com":
		return hostler.FormatFeishu
	default:
		return hostler.FormatStandard
	}
}

// origin returns scheme, host and port of a URL: what its secrets are bound to.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
