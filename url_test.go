package hostler_test

import (
	"strings"
	"testing"

	"hostler.dev/hostler"
)

func TestMaskURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://ops.example.com/hooks/jobs":                                            "https://ops.example.com/hooks/jobs",
		"http://u:pw@10.0.0.1:8080/a?token=x#f":                                         "http://10.0.0.1:8080/a?***",
		"https://oapi.dingtalk.com/robot/send?access_token=x":                           "https://oapi.dingtalk.com/robot/send?***",
		"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x":                        "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?***",
		"https://open.feishu.cn/open-apis/bot/v2/hook/short":                            "https://open.feishu.cn/open-apis/bot/v2/hook/***",
		"https://open.feishu.cn/open-apis/bot/v2/hook/7b5c1a52-9c8d-4a55-8b0f-1a2b3c4/": "https://open.feishu.cn/open-apis/bot/v2/hook/***/",
		"https://hooks.slack.com/services/T0/B0/abc":                                    "https://hooks.slack.com/services/T0/B0/***",
		"https://ci.example.com/trigger/3f9a77b1c0de/build":                             "https://ci.example.com/trigger/***/build",
		"https://ci.example.com/abcdefghijklmnopqrstuvwxyz":                             "https://ci.example.com/***",
		"https://[2001:db8::1]:9000":                                                    "https://[2001:db8::1]:9000",
		"mailto:canary@example.com":                                                     "***",
		"https://a b/canary":                                                            "***",
		"canary":                                                                        "***",
		"":                                                                              "***",
	} {
		if got := hostler.MaskURL(raw); got != want {
			t.Errorf("MaskURL(%q) = %q, want %q", raw, got, want)
		}
	}
}

func FuzzMaskURL(f *testing.F) {
	f.Add("https://user:canary@host/path?canary=canary#canary")
	f.Add("https://host/canary0123456789")
	f.Fuzz(func(t *testing.T, s string) {
		shown := hostler.MaskURL("https://user:canary@host/" + s)
		if again := hostler.MaskURL(shown); shown != hostler.Masked && again != shown {
			t.Errorf("masked twice %q is %q", shown, again)
		}
		if !strings.Contains(s, "canary") && strings.Contains(shown, "canary") {
			t.Errorf("MaskURL shows the user's password: %q", shown)
		}
	})
}
