package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

const goodSecret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"

// faults are the fields that a check found at fault, in order and once each.
func faults(fields *check.Fields) []string {
	var paths []string
	for _, f := range fields.Faults() {
		paths = append(paths, f.Path)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

func TestEndpointThatIsTaken(t *testing.T) {
	for name, e := range map[string]endpoint{
		"plain":            {url: "https://ops.example.com/hooks"},
		"a user":           {url: "http://ops:canary@10.0.0.1:8080/in?x=1"},
		"an IPv6 address":  {url: "http://[2001:db8::1]:9000/"},
		"everything":       {url: "https://h/", method: "PUT", token: "t", secret: goodSecret, timeout: time.Second, headers: map[string]string{"X-A": "b\tc", "Cookie": "a=b; c=d", "X-Name": "主机"}},
		"own credentials":  {url: "https://h/", headers: map[string]string{"Authorization": "Basic eDp5"}},
		"a robot's secret": {url: "https://oapi.dingtalk.com/robot/send?access_token=x", secret: "SECabc"},
	} {
		var fields check.Fields
		if e.check(&fields); len(fields.Faults()) > 0 {
			t.Errorf("%s: %v", name, fields.Err())
		}
		if e.method == "" || e.format == "" || e.timeout == 0 {
			t.Errorf("%s: defaults are missing: %+v", name, e)
		}
	}
}

func TestEndpointThatIsRefused(t *testing.T) {
	many := map[string]string{}
	for i := range maxHeaders + 1 {
		many[fmt.Sprint("X-", i)] = "v"
	}
	header := func(name, value string) endpoint {
		return endpoint{url: "https://h/", headers: map[string]string{name: value}}
	}
	for name, tt := range map[string]struct {
		e    endpoint
		path string
	}{
		"no URL":                {endpoint{}, "url"},
		"another scheme":        {endpoint{url: "file:///etc/passwd"}, "url"},
		"gopher":                {endpoint{url: "gopher://canary:70/"}, "url"},
		"no host":               {endpoint{url: "https:///canary"}, "url"},
		"opaque":                {endpoint{url: "http:canary"}, "url"},
		"a line end":            {endpoint{url: "https://h/\r\nX: canary"}, "url"},
		"a space":               {endpoint{url: "https://h/a canary"}, "url"},
		"a fragment":            {endpoint{url: "https://h/#canary"}, "url"},
		"a port too high":       {endpoint{url: "https://h:70000/canary"}, "url"},
		"port 0":                {endpoint{url: "https://h:0/canary"}, "url"},
		"a zone":                {endpoint{url: "https://[fe80::1%25canary]/"}, "url"},
		"an option as host":     {endpoint{url: "https://-canary/"}, "url"},
		"the shown form":        {endpoint{url: "https://h/hook/***"}, "url"},
		"too long":              {endpoint{url: "https://h/" + strings.Repeat("c", maxURL)}, "url"},
		"an unknown format":     {endpoint{url: "https://h/", format: "canary"}, "format"},
		"DELETE":                {endpoint{url: "https://h/", method: "DELETE"}, "method"},
		"too slow":              {endpoint{url: "https://h/", timeout: 11 * time.Second}, "timeout"},
		"no time at all":        {endpoint{url: "https://h/", timeout: time.Nanosecond}, "timeout"},
		"a negative timeout":    {endpoint{url: "https://h/", timeout: -time.Second}, "timeout"},
		"a token of two lines":  {endpoint{url: "https://h/", token: "canary\r\nX: y"}, "token"},
		"a token and a user":    {endpoint{url: "https://u:canary@h/", token: "t"}, "token"},
		"a token and a header":  {endpoint{url: "https://h/", token: "t", headers: map[string]string{"authorization": "canary"}}, "token"},
		"a robot with a token":  {endpoint{url: "https://open.feishu.cn/open-apis/bot/v2/hook/x", token: "canary"}, "token"},
		"WeCom signs nothing":   {endpoint{url: "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x", secret: "canary"}, "secret"},
		"a robot by GET":        {endpoint{url: "https://oapi.dingtalk.com/robot/send", method: "GET"}, "method"},
		"a secret of words":     {endpoint{url: "https://h/", secret: "canary"}, "secret"},
		"a short secret":        {endpoint{url: "https://h/", secret: "whsec_Y2FuYXJ5"}, "secret"},
		"a name with a space":   {header("X canary", "v"), "headers"},
		"a name with a colon":   {header("X:canary", "v"), "headers"},
		"a name with a newline": {header("X\r\ncanary", "v"), "headers"},
		"no name":               {header("", "canary"), "headers"},
		"Host":                  {header("host", "canary"), "headers.host"},
		"Content-Length":        {header("Content-Length", "1"), "headers.Content-Length"},
		"Content-Type":          {header("Content-Type", "canary"), "headers.Content-Type"},
		"our own signature":     {header("webhook-signature", "canary"), "headers.webhook-signature"},
		"chunks":                {header("Transfer-Encoding", "chunked"), "headers.Transfer-Encoding"},
		"a value of two lines":  {header("X-A", "a\r\nX-B: canary"), "headers.X-A"},
		"a NUL":                 {header("X-A", "canary\x00"), "headers.X-A"},
		"no UTF-8":              {header("X-A", "canary\xff"), "headers.X-A"},
		"a long value":          {header("X-A", strings.Repeat("c", maxHeaderValue+1)), "headers.X-A"},
		"two spellings":         {endpoint{url: "https://h/", headers: map[string]string{"X-A": "canary", "x-a": "b"}}, "headers.x-a"},
		"too many":              {endpoint{url: "https://h/", headers: many}, "headers"},
	} {
		var fields check.Fields
		tt.e.check(&fields)
		if !slices.Contains(faults(&fields), tt.path) {
			t.Errorf("%s: faults %v, want %s among them", name, faults(&fields), tt.path)
		}
		for _, f := range fields.Faults() {
			if text := f.Text.EN + f.Text.ZH; strings.Contains(text, "canary") {
				t.Errorf("%s: the error repeats the value: %s", name, text)
			}
		}
	}
}

func TestFormatByURL(t *testing.T) {
	for raw, want := range map[string]hostler.WebhookFormat{
		"https://oapi.dingtalk.com/robot/send?access_token=x":    hostler.FormatDingTalk,
		"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x": hostler.FormatWeCom,
		"https://OPEN.feishu.cn/open-apis/bot/v2/hook/x":         hostler.FormatFeishu,
		"https://open.larksuite.com/open-apis/bot/v2/hook/x":     hostler.FormatFeishu,
		"https://open.feishu.cn.example.com/":                    hostler.FormatStandard,
		"https://ops.example.com/open.feishu.cn":                 hostler.FormatStandard,
	} {
		var fields check.Fields
		e := endpoint{url: raw}
		if e.check(&fields); e.format != want {
			t.Errorf("%s is %s, want %s", raw, e.format, want)
		}
	}
}

// TestSecretsStayWithTheirAddress: who can change a URL must not have the secrets
// of the old one sent to a new one.
func TestSecretsStayWithTheirAddress(t *testing.T) {
	old := endpoint{url: "https://ops.example.com/hooks?key=1", token: "canary", secret: goodSecret, headers: map[string]string{"X-A": "canary"}}
	empty, given := "", "new"
	for name, tt := range map[string]struct {
		in   hostler.WebhookInput
		want []string
	}{
		"as it is":                {hostler.WebhookInput{}, nil},
		"as it is shown":          {hostler.WebhookInput{URL: hostler.MaskURL(old.url)}, nil},
		"another path":            {hostler.WebhookInput{URL: "https://ops.example.com/other"}, nil},
		"the port in words":       {hostler.WebhookInput{URL: "https://OPS.example.com:443/other"}, nil},
		"another host":            {hostler.WebhookInput{URL: "https://evil.example.com/hooks"}, []string{"headers", "secret", "token"}},
		"another port":            {hostler.WebhookInput{URL: "https://ops.example.com:8443/hooks"}, []string{"headers", "secret", "token"}},
		"clear text":              {hostler.WebhookInput{URL: "http://ops.example.com/hooks"}, []string{"headers", "secret", "token"}},
		"the host as user":        {hostler.WebhookInput{URL: "https://ops.example.com@evil.example.com/"}, []string{"headers", "secret", "token"}},
		"with some given again":   {hostler.WebhookInput{URL: "https://evil.example.com/", Token: &given}, []string{"headers", "secret"}},
		"with all given or taken": {hostler.WebhookInput{URL: "https://evil.example.com/", Token: &given, Secret: &empty, Headers: map[string]string{}}, nil},
	} {
		var fields check.Fields
		e := replaced(&fields, tt.in, old)
		if got := faults(&fields); !slices.Equal(got, tt.want) {
			t.Errorf("%s: faults %v, want %v", name, got, tt.want)
		}
		if tt.want == nil && tt.in.Token == nil && (e.token != old.token || e.secret != old.secret || len(e.headers) != 1) {
			t.Errorf("%s: secrets were lost: %+v", name, e)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"https://h/", "http://u:p@[::1]:1/x?y#z", "http://0x7f000001/", "https://h:99999/", "//h", "http://h\\@e/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var fields check.Fields
		u := checkURL(&fields, raw)
		if (u == nil) == (len(fields.Faults()) == 0) {
			t.Fatalf("%q: a URL and a fault, or neither", raw)
		}
		if u != nil && (u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsAny(raw, " \r\n\x00")) {
			t.Errorf("%q was taken", raw)
		}
		if u != nil && origin(raw) != origin(u.String()) {
			t.Errorf("%q has two origins: %s and %s", raw, origin(raw), origin(u.String()))
		}
	})
}
