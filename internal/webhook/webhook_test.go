package webhook

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
	for name, e := range map[string]Endpoint{
		"plain":               {URL: "https://ops.example.com/hooks"},
		"a user":              {URL: "http://ops:canary@10.0.0.1:8080/in?x=1"},
		"an IPv6 address":     {URL: "http://[2001:db8::1]:9000/"},
		"everything":          {URL: "https://h/", Method: "PUT", Token: "t", Secret: goodSecret, Timeout: time.Second, Headers: map[string]string{"X-A": "b\tc", "Cookie": "a=b; c=d", "X-Name": "主机"}},
		"own credentials":     {URL: "https://h/", Headers: map[string]string{"Authorization": "Basic eDp5"}},
		"a chat bot's secret": {URL: "https://oapi.dingtalk.com/robot/send?access_token=x", Secret: "SECabc"},
	} {
		var fields check.Fields
		if e.Check(&fields); len(fields.Faults()) > 0 {
			t.Errorf("%s: %v", name, fields.Err())
		}
		if e.Method == "" || e.Format == "" || e.Timeout == 0 {
			t.Errorf("%s: defaults are missing: %+v", name, e)
		}
	}
}

func TestEndpointThatIsRefused(t *testing.T) {
	many := map[string]string{}
	for i := range maxHeaders + 1 {
		many[fmt.Sprint("X-", i)] = "v"
	}
	header := func(name, value string) Endpoint {
		return Endpoint{URL: "https://h/", Headers: map[string]string{name: value}}
	}
	for name, tt := range map[string]struct {
		e    Endpoint
		path string
	}{
		"no URL":                  {Endpoint{}, "url"},
		"another scheme":          {Endpoint{URL: "file:///etc/passwd"}, "url"},
		"gopher":                  {Endpoint{URL: "gopher://canary:70/"}, "url"},
		"no host":                 {Endpoint{URL: "https:///canary"}, "url"},
		"opaque":                  {Endpoint{URL: "http:canary"}, "url"},
		"a line end":              {Endpoint{URL: "https://h/\r\nX: canary"}, "url"},
		"a space":                 {Endpoint{URL: "https://h/a canary"}, "url"},
		"a fragment":              {Endpoint{URL: "https://h/#canary"}, "url"},
		"a port too high":         {Endpoint{URL: "https://h:70000/canary"}, "url"},
		"port 0":                  {Endpoint{URL: "https://h:0/canary"}, "url"},
		"a zone":                  {Endpoint{URL: "https://[fe80::1%25canary]/"}, "url"},
		"an option as host":       {Endpoint{URL: "https://-canary/"}, "url"},
		"the shown form":          {Endpoint{URL: "https://h/hook/***"}, "url"},
		"too long":                {Endpoint{URL: "https://h/" + strings.Repeat("c", maxURL)}, "url"},
		"an unknown format":       {Endpoint{URL: "https://h/", Format: "canary"}, "format"},
		"DELETE":                  {Endpoint{URL: "https://h/", Method: "DELETE"}, "method"},
		"too slow":                {Endpoint{URL: "https://h/", Timeout: 11 * time.Second}, "timeout"},
		"no time at all":          {Endpoint{URL: "https://h/", Timeout: time.Nanosecond}, "timeout"},
		"a negative timeout":      {Endpoint{URL: "https://h/", Timeout: -time.Second}, "timeout"},
		"a token of two lines":    {Endpoint{URL: "https://h/", Token: "canary\r\nX: y"}, "token"},
		"a token and a user":      {Endpoint{URL: "https://u:canary@h/", Token: "t"}, "token"},
		"a token and a header":    {Endpoint{URL: "https://h/", Token: "t", Headers: map[string]string{"authorization": "canary"}}, "token"},
		"a chat bot with a token": {Endpoint{URL: "https://open.feishu.cn/open-apis/bot/v2/hook/x", Token: "canary"}, "token"},
		"WeCom signs nothing":     {Endpoint{URL: "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x", Secret: "canary"}, "secret"},
		"a chat bot by GET":       {Endpoint{URL: "https://oapi.dingtalk.com/robot/send", Method: "GET"}, "method"},
		"a secret of words":       {Endpoint{URL: "https://h/", Secret: "canary"}, "secret"},
		"a short secret":          {Endpoint{URL: "https://h/", Secret: "whsec_Y2FuYXJ5"}, "secret"},
		"a name with a space":     {header("X canary", "v"), "headers"},
		"a name with a colon":     {header("X:canary", "v"), "headers"},
		"a name with a newline":   {header("X\r\ncanary", "v"), "headers"},
		"no name":                 {header("", "canary"), "headers"},
		"Host":                    {header("host", "canary"), "headers.host"},
		"Content-Length":          {header("Content-Length", "1"), "headers.Content-Length"},
		"Content-Type":            {header("Content-Type", "canary"), "headers.Content-Type"},
		"our own signature":       {header("webhook-signature", "canary"), "headers.webhook-signature"},
		"chunks":                  {header("Transfer-Encoding", "chunked"), "headers.Transfer-Encoding"},
		"a value of two lines":    {header("X-A", "a\r\nX-B: canary"), "headers.X-A"},
		"a NUL":                   {header("X-A", "canary\x00"), "headers.X-A"},
		"no UTF-8":                {header("X-A", "canary\xff"), "headers.X-A"},
		"a long value":            {header("X-A", strings.Repeat("c", maxHeaderValue+1)), "headers.X-A"},
		"two spellings":           {Endpoint{URL: "https://h/", Headers: map[string]string{"X-A": "canary", "x-a": "b"}}, "headers.x-a"},
		"too many":                {Endpoint{URL: "https://h/", Headers: many}, "headers"},
	} {
		var fields check.Fields
		tt.e.Check(&fields)
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
		e := Endpoint{URL: raw}
		if e.Check(&fields); e.Format != want {
			t.Errorf("%s is %s, want %s", raw, e.Format, want)
		}
	}
}

// TestSecretsStayWithTheirAddress: who can change a URL must not have the secrets
// of the old one sent to a new one.
func TestSecretsStayWithTheirAddress(t *testing.T) {
	old := Endpoint{URL: "https://ops.example.com/hooks?key=1", Token: "canary", Secret: goodSecret, Headers: map[string]string{"X-A": "canary"}}
	empty, given := "", "new"
	for name, tt := range map[string]struct {
		in   hostler.WebhookInput
		want []string
	}{
		"as it is":                {hostler.WebhookInput{}, nil},
		"as it is shown":          {hostler.WebhookInput{URL: hostler.MaskURL(old.URL)}, nil},
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
		e := Replace(&fields, tt.in, old)
		if got := faults(&fields); !slices.Equal(got, tt.want) {
			t.Errorf("%s: faults %v, want %v", name, got, tt.want)
		}
		if tt.want == nil && tt.in.Token == nil && (e.Token != old.Token || e.Secret != old.Secret || len(e.Headers) != 1) {
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
