package notify

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// maxChatText bounds the text of a message; WeCom accepts 4,096 bytes.
const maxChatText = 3500

// chatMessage returns the message of a chat bot, as its service expects it.
func chatMessage(f hostler.WebhookFormat, e *store.Event, job *hostler.Job, lang hostler.Lang) any {
	title, lines := describe(e, job, lang)
	title = escapeMarkup(title)
	for i := range lines {
		lines[i] = escapeMarkup(lines[i])
	}
	switch f {
	case hostler.FormatDingTalk:
		text := "### " + title + "\n\n" + strings.Join(lines, "\n\n")
		return map[string]any{"msgtype": "markdown", "markdown": map[string]string{
			"title": title, "text": truncate(text, maxChatText),
		}}
	case hostler.FormatWeCom:
		text := "**" + title + "**\n" + strings.Join(lines, "\n")
		return map[string]any{"msgtype": "markdown", "markdown": map[string]string{
			"content": truncate(text, maxChatText),
		}}
	default: // Feishu
		text := title + "\n" + strings.Join(lines, "\n")
		return map[string]any{"msg_type": "text", "content": map[string]string{
			"text": truncate(text, maxChatText),
		}}
	}
}

// describe returns an event as people read it: a title and lines.
func describe(e *store.Event, job *hostler.Job, lang hostler.Lang) (title string, lines []string) {
	line := func(en, zh string, args ...any) {
		lines = append(lines, hostler.Textf(en, zh, args...).In(lang))
	}
	if !e.OfJob() {
		line("Object: %s", "对象：%s", e.Object.Object)
		if e.Object.By != "" {
			line("By: %s", "操作者：%s", e.Object.By)
		}
		return "Hostler: " + string(e.Type), lines
	}
	title = "Hostler: " + e.Job.Action
	if e.Job.AssetName != "" {
		title += " @ " + e.Job.AssetName
	}
	title += " " + stateText(e.Job.State).In(lang)
	line("Job: %s", "作业：%s", e.Job.Job)
	if e.Job.CreatedBy != "" {
		line("By: %s", "创建者：%s", e.Job.CreatedBy)
	}
	line("At: %s", "时间：%s", e.At.UTC().Format(time.DateTime)+" UTC")
	if text := resultText(e, job, lang); text != "" && e.Type.SettlesJob() {
		line("Result: %s", "结果：%s", text)
	}
	return title, lines
}

// stateText returns what follows the name of an action: "check_port succeeded".
func stateText(s hostler.State) hostler.Text {
	texts := map[hostler.State]hostler.Text{
		hostler.StateScheduled: {EN: "is scheduled", ZH: "已计划"},
		hostler.StateQueued:    {EN: "is queued", ZH: "排队中"},
		hostler.StateRunning:   {EN: "is running", ZH: "运行中"},
		hostler.StateSucceeded: {EN: "succeeded", ZH: "成功"},
		hostler.StateFailed:    {EN: "failed", ZH: "失败"},
		hostler.StateCancelled: {EN: "was cancelled", ZH: "已取消"},
		hostler.StateExpired:   {EN: "expired", ZH: "已过期"},
		hostler.StateUnknown:   {EN: "has an unknown outcome; please resolve it", ZH: "结果未知，请确认结果"},
	}
	if t, ok := texts[s]; ok {
		return t
	}
	return hostler.Text{EN: string(s), ZH: string(s)}
}

// markup replaces what a chat service could read as markup: the output of a job
// must not make links or mention people.
var markup = strings.NewReplacer(
	"<", "＜", ">", "＞", "[", "［", "]", "］", "@", "＠", "`", "'", "*", "＊", "&", "＆", "://", "：//",
)

// escapeMarkup returns a text as one line without markup. White space of every kind
// becomes a space; invisible characters, such as those that change the direction of
// writing, are removed.
func escapeMarkup(s string) string {
	return markup.Replace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		default:
			return r
		}
	}, s))
}

// chatBotError returns the error in a response with HTTP status 200, or nil: DingTalk
// and WeCom have errcode and errmsg, Feishu code and msg or StatusCode and
// StatusMessage.
func chatBotError(body []byte) *hostler.Text {
	var a struct {
		ErrCode    *int   `json:"errcode"`
		ErrMsg     string `json:"errmsg"`
		Code       *int   `json:"code"`
		Msg        string `json:"msg"`
		StatusCode *int   `json:"StatusCode"`
		StatusMsg  string `json:"StatusMessage"`
	}
	if json.Unmarshal(body, &a) != nil || a.ErrCode == nil && a.Code == nil && a.StatusCode == nil {
		return &hostler.Text{
			EN: "the response is not that of a chat bot; check the URL and the format of the webhook",
			ZH: "响应不是聊天机器人的格式；请检查该回调的 URL 与格式",
		}
	}
	for _, e := range []struct {
		code *int
		text string
	}{{a.ErrCode, a.ErrMsg}, {a.Code, a.Msg}, {a.StatusCode, a.StatusMsg}} {
		if e.code != nil && *e.code != 0 {
			t := hostler.Textf("the chat bot returned error %d: %s",
				"聊天机器人返回错误 %d：%s", *e.code, e.text)
			return &t
		}
	}
	return nil
}
