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

// faults lists the paths of the fields at fault, sorted and without duplicates.
func faults(fields *check.Fields) []string {
	var paths []string
	for _, f := range fields.Faults() {
		paths = append(paths, f.Path)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// everyHeader has headers with unusual values that are allowed.
var everyHeader = map[string]string{"X-A": "b\tc", "Cookie": "a=b; c=d", "X-Name": "主机"}

func TestAcceptedEndpoints(t *testing.T) {
	for name, e := range map[string]Endpoint{
		"plain":               {URL: "https://ops.example.com/hooks"},
		"a user":              {URL: "http://ops:canary@10.0.0.1:8080/in?x=1"},
		"an IPv6 address":     {URL: "http://[2001:db8::1]:9000/"},
		"every field":         {URL: "https://h/", Method: "PUT", Token: "t", Secret: goodSecret, Timeout: time.Second, Headers: everyHeader},
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

func TestRefusedEndpoints(t *testing.T) {
	many := map[string]string{}
	for i := range maxHeaders + 1 {
		many[fmt.Sprint("X-", i)] = "v"
	}
	spellings := map[string]string{"X-A": "canary", "x-a": "b"}
	authorization := map[string]string{"authorization": "canary"}
	const feishu = "https://open.feishu.cn/open-apis/bot/v2/hook/x"
	const weCom = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x"
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
		"too short":               {Endpoint{URL: "https://h/", Timeout: time.Nanosecond}, "timeout"},
		"a negative timeout":      {Endpoint{URL: "https://h/", Timeout: -time.Second}, "timeout"},
		"a token of two lines":    {Endpoint{URL: "https://h/", Token: "canary\r\nX: y"}, "token"},
		"a token and a user":      {Endpoint{URL: "https://u:canary@h/", Token: "t"}, "token"},
		"a token and a header":    {Endpoint{URL: "https://h/", Token: "t", Headers: authorization}, "token"},
		"a chat bot with a token": {Endpoint{URL: feishu, Token: "canary"}, "token"},
		"a secret for WeCom":      {Endpoint{URL: weCom, Secret: "canary"}, "secret"},
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
		"two spellings":           {Endpoint{URL: "https://h/", Headers: spellings}, "headers.x-a"},
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

// TestSecretsAreBoundToTheOrigin: a change of the URL must not send the secrets of the
// old origin to a new one.
func TestSecretsAreBoundToTheOrigin(t *testing.T) {
	old := Endpoint{
		URL: "https://ops.example.com/hooks?key=1", Token: "canary", Secret: goodSecret,
		Headers: map[string]string{"X-A": "canary"},
	}
	all := []string{"headers", "secret", "token"}
	empty, given := "", "new"
	for name, tt := range map[string]struct {
		in   hostler.WebhookInput
		want []string
	}{
		"as it is":                 {hostler.WebhookInput{}, nil},
		"as it is shown":           {hostler.WebhookInput{URL: hostler.MaskURL(old.URL)}, nil},
		"another path":             {hostler.WebhookInput{URL: "https://ops.example.com/other"}, nil},
		"the default port":         {hostler.WebhookInput{URL: "https://OPS.example.com:443/other"}, nil},
		"another host":             {hostler.WebhookInput{URL: "https://evil.example.com/hooks"}, all},
		"another port":             {hostler.WebhookInput{URL: "https://ops.example.com:8443/hooks"}, all},
		"clear text":               {hostler.WebhookInput{URL: "http://ops.example.com/hooks"}, all},
		"the old host as the user": {hostler.WebhookInput{URL: "https://ops.example.com@evil.example.com/"}, all},
		"with some given again":    {hostler.WebhookInput{URL: "https://evil.example.com/", Token: &given}, []string{"headers", "secret"}},
		"with all given or emptied": {hostler.WebhookInput{
			URL: "https://evil.example.com/", Token: &given, Secret: &empty, Headers: map[string]string{},
		}, nil},
	} {
		var fields check.Fields
		e := Replace(&fields, tt.in, old)
		if got := faults(&fields); !slices.Equal(got, tt.want) {
			t.Errorf("%s: faults %v, want %v", name, got, tt.want)
		}
		lost := e.Token != old.Token || e.Secret != old.Secret || len(e.Headers) != 1
		if tt.want == nil && tt.in.Token == nil && lost {
			t.Errorf("%s: secrets were lost: %+v", name, e)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{
		"https://h/", "http://u:p@[::1]:1/x?y#z", "http://0x7f000001/", "https://h:99999/", "//h", "http://h\\@e/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var fields check.Fields
		u := checkURL(&fields, raw)
		if (u == nil) == (len(fields.Faults()) == 0) {
			t.Fatalf("%q has both a URL and a fault, or neither", raw)
		}
		if u == nil {
			return
		}
		web := u.Scheme == "http" || u.Scheme == "https"
		if !web || u.Hostname() == "" || strings.ContainsAny(raw, " \r\n\x00") {
			t.Errorf("%q was accepted", raw)
		}
		if origin(raw) != origin(u.String()) {
			t.Errorf("%q has two origins: %s and %s", raw, origin(raw), origin(u.String()))
		}
	})
}

func ExampleEndpoint_Check() {
	e := Of(hostler.WebhookInput{URL: "https://oapi.dingtalk.com/robot/send?access_token=x", Method: "PUT"})
	var fields check.Fields
	e.Check(&fields)

	fmt.Println(e.Format)
	for _, f := range fields.Faults() {
		fmt.Println(f.Path, f.Text.EN)
	}
	// Output:
	// dingtalk
	// method must be POST for this format
}

func ExampleReplace() {
	old := Endpoint{URL: "https://ops.example.com/hook", Token: "secret"}
	var fields check.Fields
	Replace(&fields, hostler.WebhookInput{URL: "https://ops.example.com/other"}, old)
	fmt.Println(len(fields.Faults()), "faults at the same origin")

	Replace(&fields, hostler.WebhookInput{URL: "https://evil.example.com/hook"}, old)
	for _, f := range fields.Faults() {
		fmt.Println(f.Path, f.Text.EN)
	}
	// Output:
	// 0 faults at the same origin
	// token must be given again, or as empty, because the URL leads to another scheme, host or port
}
