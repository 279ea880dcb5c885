package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"hostler.dev/hostler"
)

// outcome is the error of a job, or else its result.
func (a *app) outcome(j hostler.Job) string { return cmp.Or(a.jobError(j), a.resultText(j), "-") }

func (a *app) jobError(j hostler.Job) string {
	if j.Error == nil {
		return ""
	}
	return j.Error.Kind + ": " + j.Error.Text.In(a.lang)
}

// resultText returns the line that an action put into its result for readers, or
// else the whole result.
func (a *app) resultText(j hostler.Job) string {
	var r struct {
		Text  string       `json:"text"`
		Ports []portResult `json:"ports"`
	}
	if json.Unmarshal(j.Result, &r) == nil {
		if a.lang == hostler.LangZH && len(r.Ports) > 0 {
			return portsInChinese(r.Ports)
		}
		if r.Text != "" {
			return r.Text
		}
	}
	if string(j.Result) == "null" {
		return ""
	}
	return string(j.Result)
}

// portResult is one port in a result of check_port, whose text is English.
type portResult struct {
	Port  int    `json:"port"`
	State string `json:"state"`
	Errno int    `json:"errno"`
}

var chinesePortStates = map[string]string{
	"open": "开放", "closed": "关闭", "filtered": "被过滤", "unreachable": "不可达",
}

func portsInChinese(ports []portResult) string {
	texts := make([]string, len(ports))
	for i, p := range ports {
		texts[i] = fmt.Sprintf("端口 %d %s", p.Port, cmp.Or(chinesePortStates[p.State], p.State))
		if p.Errno != 0 {
			texts[i] += fmt.Sprintf("（errno=%d）", p.Errno)
		}
	}
	return strings.Join(texts, "；")
}
