package channel

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// Refusal is why a chat did not accept a message.
type Refusal struct {
	Text hostler.Text
	// Wait is how long the chat wants no more messages; 0 when it did not say so.
	Wait time.Duration
}

// maxWords bounds what is quoted of an answer.
const maxWords = 300

// remedy is what to do about an error of a chat.
type remedy struct {
	en, zh string
	wait   time.Duration
}

var (
	badURL     = remedy{en: "check the URL of the chat bot", zh: "请检查机器人的 URL"}
	tooFast    = remedy{en: "the chat limits messages; Hostler waits before the next one", zh: "触发了频率限制；稍后自动重试", wait: time.Minute}
	badMessage = remedy{en: "check the title and the text of the channel", zh: "请检查渠道的标题与正文"}
	disabled   = remedy{en: "enable the chat bot in its group", zh: "请在群中启用该机器人"}
)

// dingTalkErrors are the documented errors of a custom robot.
// https://open.dingtalk.com/document/robots/custom-robot-access
var dingTalkErrors = map[int]remedy{
	310000: {en: "check the secret, the keywords and the allowed addresses in the bot's security settings, and the server's clock", zh: "请检查机器人安全设置中的加签密钥、关键词、IP 白名单，以及服务器时钟"},
	130101: {en: "the chat limits messages to 20 per minute; Hostler waits 10 minutes", zh: "每分钟最多 20 条；10 分钟后自动重试", wait: 10 * time.Minute},
	410100: {en: "the chat limits messages to 20 per minute; Hostler waits 10 minutes", zh: "每分钟最多 20 条；10 分钟后自动重试", wait: 10 * time.Minute},
	300001: badURL, 300005: badURL, 400101: badURL, 40035: badMessage, 400105: badMessage,
	400013: {en: "the group was dissolved: create a bot in another group", zh: "群已解散：请在其他群中新建机器人"},
	400102: disabled,
}

// feishuErrors are the documented errors of a custom bot.
// https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
var feishuErrors = map[int]remedy{
	19021: {en: "check the secret of the bot and the server's clock", zh: "请检查机器人的签名密钥和服务器时钟"},
	19022: {en: "add the server's address to the bot's allowed addresses", zh: "请将服务器地址加入机器人的 IP 白名单"},
	19024: {en: "put one of the bot's keywords into the title of the channel", zh: "请在渠道标题中加入机器人的关键词"},
	19001: badURL, 19007: disabled, 9499: badMessage, 11232: tooFast,
}

// weComErrors are the documented errors of a group robot.
// https://developer.work.weixin.qq.com/document/path/90313
var weComErrors = map[int]remedy{
	93000: badURL, 93004: disabled, 45009: tooFast, 40008: badMessage, 40058: badMessage, 45002: badMessage,
	93008: {en: "add the bot to the group again", zh: "请将机器人重新加入群"},
	93017: {en: "the group was dissolved: create a bot in another group", zh: "群已解散：请在其他群中新建机器人"},
}

// slackErrors are the documented errors of an incoming webhook, which come as text.
// https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
var slackErrors = map[string]remedy{
	"no_service": badURL, "no_service_id": badURL, "no_team": badURL, "invalid_token": badURL, "team_disabled": badURL,
	"invalid_payload": badMessage, "no_text": badMessage, "rate_limited": tooFast, "ratelimited": tooFast,
	"channel_not_found":   {en: "choose another channel for the app in Slack", zh: "请在 Slack 中为应用选择其他频道"},
	"channel_is_archived": {en: "unarchive the channel in Slack", zh: "请在 Slack 中取消频道归档"},
	"action_prohibited":   {en: "ask an admin of the workspace to allow the app to post", zh: "请联系工作区管理员允许该应用发消息"},

	"posting_to_general_channel_denied": {
		en: "ask an admin of the workspace to allow the app to post", zh: "请联系工作区管理员允许该应用发消息",
	},
}

// refused returns a Refusal with the words of the chat and a remedy.
func refused(code, words string, r remedy) *Refusal {
	words = truncate(line(words), maxWords)
	t := hostler.Textf("the chat refused the message with error %s: %s", "聊天服务拒绝了消息，错误 %s：%s", code, words)
	if r.en != "" {
		t.EN, t.ZH = t.EN+"; "+r.en, t.ZH+"；"+r.zh
	}
	return &Refusal{Text: t, Wait: r.wait}
}

// textNoChat refuses an answer that is not that of a chat.
var textNoChat = hostler.Text{
	EN: "the response is not that of a chat bot; check the URL and the kind or format",
	ZH: "响应不是聊天机器人的格式；请检查 URL 与类型或格式",
}

// codes judges answers of the form {"errcode": 310000, "errmsg": "sign not match"}, with
// the names that a chat has. Feishu's older bots have StatusCode and StatusMessage.
func codes(codeName, textName string, errors map[int]remedy) func(int, []byte) *Refusal {
	return func(status int, body []byte) *Refusal {
		var a map[string]json.RawMessage
		if json.Unmarshal(body, &a) != nil {
			return unknownAnswer(status)
		}
		judged := false
		for _, pair := range [][2]string{{codeName, textName}, {"StatusCode", "StatusMessage"}} {
			var code int
			var words string
			if a[pair[0]] == nil || json.Unmarshal(a[pair[0]], &code) != nil {
				continue
			}
			if judged = true; code != 0 {
				_ = json.Unmarshal(a[pair[1]], &words) // no words, then
				r := errors[code]
				if strings.Contains(words, "too many") || strings.Contains(words, "frequency") {
					r = tooFast
				}
				return refused(string(a[pair[0]]), words, r)
			}
		}
		if !judged {
			return unknownAnswer(status)
		}
		return nil
	}
}

// unknownAnswer refuses an answer that is not of the expected form. The status says more
// if it is not 200.
func unknownAnswer(status int) *Refusal {
	if status < 200 || status > 299 {
		return nil
	}
	return &Refusal{Text: textNoChat}
}

// slackRefusal judges answers of Slack: "ok", or an error as text. Compatible services
// answer {"ok": false, "error": …}.
func slackRefusal(status int, body []byte) *Refusal {
	text := strings.TrimSpace(string(body))
	var a struct {
		OK    *bool  `json:"ok"`
		Error string `json:"error"`
	}
	isJSON := json.Unmarshal(body, &a) == nil && a.OK != nil
	switch {
	case isJSON && *a.OK, text == "ok" && status/100 == 2:
		return nil
	case isJSON:
		return refused(word(a.Error), a.Error, slackErrors[a.Error])
	case slackErrors[text].en != "" || status == http.StatusTooManyRequests:
		r, known := slackErrors[text]
		if !known {
			r = tooFast
		}
		return refused(word(text), text, r)
	}
	return unknownAnswer(status)
}

// word returns a text that is one word, and otherwise "unknown".
func word(s string) string {
	if s == "" || len(s) > 60 || strings.ContainsFunc(s, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) {
		return "unknown"
	}
	return s
}

// teamsRefusal judges answers of Teams: 202 without a body of a workflow, 200 and "1" of
// a connector, and errors of the service behind it inside a 200.
func teamsRefusal(status int, body []byte) *Refusal {
	text := string(body)
	var a struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &a) // the body of an acceptance has no form
	switch {
	case a.Error.Code != "":
		r := remedy{en: "create the workflow's URL again", zh: "请重新创建工作流的 URL"}
		if status == http.StatusTooManyRequests {
			r = tooFast
		}
		return refused(truncate(line(a.Error.Code), 60), a.Error.Message, r)
	case strings.Contains(text, "failed with error"):
		r := badMessage
		if strings.Contains(text, "429") {
			r = tooFast
		}
		return refused("unknown", text, r)
	}
	return nil
}

// webhookRefusal judges answers of any other receiver: the status decides, unless the
// body says that the message was refused.
func webhookRefusal(_ int, body []byte) *Refusal {
	var a struct {
		OK      *bool           `json:"ok"`
		Success *bool           `json:"success"`
		ErrCode json.Number     `json:"errcode"`
		ErrMsg  string          `json:"errmsg"`
		Error   json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &a) != nil {
		return nil
	}
	negative := a.OK != nil && !*a.OK || a.Success != nil && !*a.Success
	if !negative && (a.ErrCode == "" || a.ErrCode == "0") {
		return nil
	}
	words := a.ErrMsg
	if words == "" {
		words = string(a.Error)
	}
	code := string(a.ErrCode)
	if code == "" {
		code = "unknown"
	}
	return refused(code, words, remedy{})
}
