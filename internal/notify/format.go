package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

const (
	// maxRobotText bounds a robot's message; WeCom takes 4,096 bytes.
	maxRobotText = 3500
	// maxResult bounds the result of a job in a message; the job has all of it.
	maxResult = 64 << 10
)

func isRobot(f hostler.WebhookFormat) bool {
	return f == hostler.FormatDingTalk || f == hostler.FormatWeCom || f == hostler.FormatFeishu
}

// body makes what is sent, in the webhook's format.
func (n *Notifier) body(ctx context.Context, w store.WebhookRow, d store.ClaimedDelivery) (string, error) {
	var job *hostler.Job
	if d.Event.OfJob() {
		err := n.store.View(ctx, func(tx *store.Tx) (err error) {
			job, err = tx.Job(d.Event.Project, d.Event.Job.Job)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	b, err := json.Marshal(message(w, &d.Event, job))
	if err != nil {
		return "", fmt.Errorf("encode a message: %w", err)
	}
	return string(b), nil
}

// message is an event in a webhook's format. The job is nil when it is gone.
func message(w store.WebhookRow, e *store.Event, job *hostler.Job) any {
	switch w.Format {
	case hostler.FormatTask:
		return taskMessage(e, job, w.Lang)
	case hostler.FormatNetPulse:
		return pulseMessage(e, job, w.Lang)
	case hostler.FormatDingTalk:
		title, lines := words(e, job, w.Lang)
		return map[string]any{"msgtype": "markdown", "markdown": map[string]string{
			"title": escape(title), "text": clip("### "+escape(title)+"\n\n"+strings.Join(escaped(lines), "\n\n"), maxRobotText),
		}}
	case hostler.FormatWeCom:
		title, lines := words(e, job, w.Lang)
		return map[string]any{"msgtype": "markdown", "markdown": map[string]string{
			"content": clip("**"+escape(title)+"**\n"+strings.Join(escaped(lines), "\n"), maxRobotText),
		}}
	case hostler.FormatFeishu:
		title, lines := words(e, job, w.Lang)
		return map[string]any{"msg_type": "text", "content": map[string]string{"text": clip(escape(title)+"\n"+strings.Join(escaped(lines), "\n"), maxRobotText)}}
	default:
		return standardMessage(e, job)
	}
}

// standard is the body as Standard Webhooks asks: type, timestamp, data.
type standard struct {
	Type      hostler.EventType `json:"type"`
	Timestamp time.Time         `json:"timestamp"`
	Pos       int64             `json:"pos"`
	Data      any               `json:"data"`
}

// jobData is what is told of a job: its event, and its result once it has one. A
// result that is too large is left out, and said to be.
type jobData struct {
	*hostler.JobEvent
	Result    json.RawMessage `json:"result,omitempty"`
	Truncated bool            `json:"result_truncated,omitempty"`
}

func standardMessage(e *store.Event, job *hostler.Job) standard {
	s := standard{Type: e.Type, Timestamp: e.At.UTC(), Pos: e.Pos, Data: &e.Object}
	if e.OfJob() {
		data := jobData{JobEvent: &e.Job}
		if job != nil && isEnd(e.Type) {
			data.Result, data.Truncated = job.Result, len(job.Result) > maxResult
		}
		if data.Truncated {
			data.Result = nil
		}
		s.Data = data
	}
	return s
}

// task is the message of the simple task API.
type task struct {
	Event       string    `json:"event"`
	ID          int64     `json:"task_id"`
	AssetID     int64     `json:"asset_id"`
	Action      string    `json:"action"`
	Status      string    `json:"status"`
	Result      *string   `json:"result"`
	Error       *string   `json:"error"`
	CompletedAt time.Time `json:"completed_at"`
}

func taskMessage(e *store.Event, job *hostler.Job, lang hostler.Lang) any {
	if !e.OfJob() {
		return map[string]any{"event": e.Type, "at": e.At.UTC(), "object": e.Object.Object}
	}
	t := task{
		Event: "task_completed", ID: int64(e.Job.Job), AssetID: int64(e.Job.Asset), Action: e.Job.Action,
		Status: hostler.TaskStatus(e.Job.State), CompletedAt: e.At.UTC(),
	}
	if e.Job.Error != nil {
		why := e.Job.Error.Text.In(lang)
		t.Error = &why
	}
	if text := resultText(e, job, lang); text != "" {
		t.Result = &text
	}
	return t
}

// pulse is the message that NetPulse sends.
type pulse struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Result string `json:"result"`
}

func pulseMessage(e *store.Event, job *hostler.Job, lang hostler.Lang) any {
	if !e.OfJob() { // a test of the webhook
		return map[string]any{"event": e.Type, "at": e.At.UTC()}
	}
	p := pulse{ID: e.Job.Job.String(), Status: "success", Result: resultText(e, job, lang)}
	if e.Job.State != hostler.StateSucceeded {
		p.Status = "failed"
	}
	if e.Job.Error != nil {
		p.Result = e.Job.Error.Text.In(lang)
	}
	return p
}

// resultText is what a job's result says, or else its error.
func resultText(e *store.Event, job *hostler.Job, lang hostler.Lang) string {
	if job != nil {
		if text := hostler.ResultText(job.Result); text != "" {
			return clip(text, maxResult)
		}
	}
	if e.Job.Error != nil {
		return e.Job.Error.Text.In(lang)
	}
	return ""
}

// words is an event as people read it: a title and lines.
func words(e *store.Event, job *hostler.Job, lang hostler.Lang) (title string, lines []string) {
	say := func(en, zh string, args ...any) string { return hostler.Textf(en, zh, args...).In(lang) }
	if !e.OfJob() {
		lines = []string{say("Object: %s", "对象：%s", e.Object.Object)}
		if e.Object.By != "" {
			lines = append(lines, say("By: %s", "操作者：%s", e.Object.By))
		}
		return "Hostler: " + string(e.Type), lines
	}
	title = "Hostler: " + e.Job.Action + " " + stateWord(e.Job.State).In(lang)
	if e.Job.AssetName != "" {
		title = "Hostler: " + e.Job.Action + " @ " + e.Job.AssetName + " " + stateWord(e.Job.State).In(lang)
	}
	lines = []string{say("Job: %s", "作业：%s", e.Job.Job)}
	if e.Job.CreatedBy != "" {
		lines = append(lines, say("By: %s", "创建者：%s", e.Job.CreatedBy))
	}
	lines = append(lines, say("At: %s", "时间：%s", e.At.UTC().Format(time.DateTime)+" UTC"))
	if text := resultText(e, job, lang); text != "" && isEnd(e.Type) {
		lines = append(lines, say("Result: %s", "结果：%s", text))
	}
	return title, lines
}

func stateWord(s hostler.State) hostler.Text {
	words := map[hostler.State]hostler.Text{
		hostler.StateScheduled: {EN: "is scheduled", ZH: "已计划"}, hostler.StateQueued: {EN: "is queued", ZH: "排队中"},
		hostler.StateRunning: {EN: "is running", ZH: "运行中"}, hostler.StateSucceeded: {EN: "succeeded", ZH: "成功"},
		hostler.StateFailed: {EN: "failed", ZH: "失败"}, hostler.StateCancelled: {EN: "was cancelled", ZH: "已取消"},
		hostler.StateExpired: {EN: "expired", ZH: "已过期"}, hostler.StateUnknown: {EN: "is unknown: somebody must resolve it", ZH: "结果未知，需要裁定"},
	}
	if w, ok := words[s]; ok {
		return w
	}
	return hostler.Text{EN: string(s), ZH: string(s)}
}

// markdown is what a robot could take for markup; a job's output must not make
// links or mention people.
var markdown = strings.NewReplacer(
	"<", "＜", ">", "＞", "[", "［", "]", "］", "@", "＠", "`", "'", "*", "＊", "&", "＆", "://", "：//",
)

// escape makes one line of plain text: spaces of every kind are one kind, and what
// cannot be seen, such as a change of the direction of writing, is left out.
func escape(s string) string {
	return markdown.Replace(strings.Map(func(r rune) rune {
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

func escaped(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = escape(l)
	}
	return out
}

// clip is at most n bytes of a text, and a sign that there was more.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " …"
}

// refusal reads a robot's verdict from an answer of HTTP 200: errcode of DingTalk
// and WeCom, code or StatusCode of Feishu. Nil says that it took the message.
func refusal(answer []byte) *hostler.Text {
	var a struct {
		ErrCode    *int   `json:"errcode"`
		ErrMsg     string `json:"errmsg"`
		Code       *int   `json:"code"`
		Msg        string `json:"msg"`
		StatusCode *int   `json:"StatusCode"`
		StatusMsg  string `json:"StatusMessage"`
	}
	if json.Unmarshal(answer, &a) != nil || a.ErrCode == nil && a.Code == nil && a.StatusCode == nil {
		return &hostler.Text{EN: "the answer is not that of a robot", ZH: "应答不是机器人的格式"}
	}
	for _, said := range []struct {
		code *int
		text string
	}{{a.ErrCode, a.ErrMsg}, {a.Code, a.Msg}, {a.StatusCode, a.StatusMsg}} {
		if said.code != nil && *said.code != 0 {
			t := hostler.Textf("the robot refused: %d %s", "机器人拒绝：%d %s", *said.code, said.text)
			return &t
		}
	}
	return nil
}

// Signature is the header webhook-signature of Standard Webhooks: one signature
// for each secret that still signs.
func Signature(secrets []store.SigningSecret, id string, stamp int64, body string, now time.Time) string {
	var all []string
	for _, s := range secrets {
		if !s.Until.IsZero() && !s.Until.After(now) {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Secret, "whsec_"))
		if err != nil {
			continue // a robot's secret, of when the format was another
		}
		all = append(all, "v1,"+sign(key, id+"."+strconv.FormatInt(stamp, 10)+"."+body))
	}
	return strings.Join(all, " ")
}

// sign is the base64 of an HMAC-SHA-256.
func sign(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signRobot signs as the robots ask: DingTalk in the URL, over the milliseconds;
// Feishu in the body, over the seconds, with text and key changed round.
func signRobot(f hostler.WebhookFormat, s store.WebhookSecrets, body string, now time.Time) (raw, payload string, err error) {
	if len(s.Signing) == 0 {
		return s.URL, body, nil
	}
	secret := s.Signing[0].Secret
	switch f {
	case hostler.FormatDingTalk:
		u, err := url.Parse(s.URL)
		if err != nil {
			return "", "", fmt.Errorf("sign for DingTalk: the URL is not valid")
		}
		stamp := strconv.FormatInt(now.UnixMilli(), 10)
		q := u.Query()
		q.Set("timestamp", stamp)
		q.Set("sign", sign([]byte(secret), stamp+"\n"+secret))
		u.RawQuery = q.Encode()
		return u.String(), body, nil
	case hostler.FormatFeishu:
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body), &fields); err != nil {
			return "", "", fmt.Errorf("sign for Feishu: %w", err)
		}
		stamp := strconv.FormatInt(now.Unix(), 10)
		fields["timestamp"] = json.RawMessage(strconv.Quote(stamp))
		fields["sign"] = json.RawMessage(strconv.Quote(sign([]byte(stamp+"\n"+secret), "")))
		signed, err := json.Marshal(fields)
		return s.URL, string(signed), err
	default:
		return s.URL, body, nil
	}
}
