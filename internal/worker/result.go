package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/runlog"
)

// prepare finds the action and checks the lease; a refusal is the job's result.
func (j *job) prepare() (*action.Action, *action.Result) {
	cfg := &j.s.w.cfg
	act, ok := cfg.Actions.Lookup(j.lease.Action)
	switch {
	case !ok:
		return nil, refusal(hostler.ErrKindNoAction, "unknown action: %s", "未知操作: %s", j.lease.Action)
	case !act.Enabled:
		return nil, refusal(hostler.ErrKindNoAction, "the action %s is switched off on this worker",
			"动作 %s 未在此工作节点上启用", j.lease.Action)
	case j.lease.AssetMissing:
		return nil, refusal(hostler.ErrKindAssetMissing, "the asset was deleted while the job waited",
			"资产在作业等待期间已被删除")
	case act.Asset == action.AssetRequired && j.lease.Asset == nil:
		return nil, refusal(hostler.ErrKindBadArgs, "the action %s works on an asset; the job names none",
			"动作 %s 需要资产，而作业未指定", j.lease.Action)
	case act.Asset == action.AssetNever && j.lease.Asset != nil:
		return nil, refusal(hostler.ErrKindBadArgs, "the action %s works without an asset; the job names one",
			"动作 %s 不使用资产，而作业指定了资产", j.lease.Action)
	}
	if hasSecrets(&j.lease) {
		j.secret.Store(true)
	}
	if err := cfg.Actions.Validate(j.lease.Action, j.lease.Args); err != nil {
		text := textOf(err)
		return nil, refusal(hostler.ErrKindBadArgs, "%[1]s", "%[2]s", text.EN, text.ZH)
	}
	return act, nil
}

// refusal is the result of a job that cannot run, now or later.
func refusal(kind, en, zh string, args ...any) *action.Result {
	res := action.Result{
		Outcome: hostler.OutcomeFailed, NoRetry: true,
		Error: &hostler.JobError{Kind: kind, Text: hostler.Textf(en, zh, args...)},
	}
	return &res
}

// textOf is what an error says to people, with the fields at fault.
func textOf(err error) hostler.Text {
	var e *hostler.Error
	if !errors.As(err, &e) {
		return hostler.Text{EN: "the args are not valid", ZH: "参数无效"}
	}
	text := e.Text
	for _, f := range e.Fields {
		text.EN += "; " + f.Path + ": " + f.Text.EN
		text.ZH += "；" + f.Path + "：" + f.Text.In(hostler.LangZH)
	}
	return text
}

// idempotent reports whether the job may be run twice; false when in doubt.
func (j *job) idempotent() (yes bool) {
	act, ok := j.s.w.cfg.Actions.Lookup(j.lease.Action)
	if !ok || act.Traits == nil {
		return false
	}
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	return act.Traits(j.lease.Args).Idempotent
}

// lostSight is the result of work of which nobody knows how it ended: it is
// known to be harmless only for an idempotent action.
func (j *job) lostSight(kind, en, zh string, args ...any) action.Result {
	if j.idempotent() {
		return action.Failed(nil, kind, en, zh, args...)
	}
	return action.Unknown(nil, kind, en, zh, args...)
}

func (j *job) crashed() action.Result {
	return j.lostSight(hostler.ErrKindInternal,
		"the action broke down; the worker's log has the details", "动作异常中止；详情见工作节点日志")
}

func (j *job) stubborn() action.Result {
	grace := j.s.w.cfg.Grace
	if errors.Is(j.cause(), action.ErrTimeout) {
		return j.lostSight(hostler.ErrKindTimeout,
			"the time is over, and the action did not stop within %v", "已超时，且动作未在 %v 内停止", grace)
	}
	return j.lostSight(hostler.ErrKindUnverified,
		"cancelled, but the action did not stop within %v", "已取消，但动作未在 %v 内停止", grace)
}

// sound mends a result that an action may not give: an outcome that is none of
// its own, or a bad end without a reason.
func (j *job) sound(res action.Result) action.Result {
	switch res.Outcome {
	case hostler.OutcomeSucceeded:
		return res
	case hostler.OutcomeFailed, hostler.OutcomeUnknown:
	case hostler.OutcomeCancelled:
		if errors.Is(j.cause(), action.ErrCancelled) {
			if res.Error == nil {
				res.Error = action.Cancelled(nil).Error
			}
			return res
		}
		// Nobody asked for it: the action takes the end of its time for that.
		res.Outcome, res.Error = hostler.OutcomeFailed, nil
	default:
		j.s.log.Error("action gave no valid outcome", "job", j.lease.Job, "action", j.lease.Action, "outcome", res.Outcome)
		return j.crashed()
	}
	if res.Error == nil {
		res.Error = &hostler.JobError{Kind: hostler.ErrKindInternal, Text: hostler.Textf(
			"the action gave no reason", "动作未说明原因")}
		if errors.Is(j.cause(), action.ErrTimeout) {
			res.Error = &hostler.JobError{Kind: hostler.ErrKindTimeout, Text: hostler.Textf(
				"the time is over", "已超时")}
		}
	}
	return res
}

// encode is a result's value as JSON, without secrets.
func (j *job) encode(value any) json.RawMessage {
	if value == nil {
		return nil
	}
	b, err := json.Marshal(value)
	if err == nil && j.secret.Load() {
		b, err = j.cleanJSON(b)
	}
	if err != nil {
		j.s.log.Error("result cannot be encoded", "job", j.lease.Job, "action", j.lease.Action, "err", err)
		return nil
	}
	return b
}

// cleanJSON redacts every name and value of a document: in the decoded strings a
// secret stands as it is, whatever escapes the document uses.
func (j *job) cleanJSON(b []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(j.cleanValue(v))
}

func (j *job) cleanValue(v any) any {
	switch v := v.(type) {
	case string:
		return j.clean(v)
	case json.Number:
		if s := j.clean(v.String()); s != v.String() {
			return s
		}
	case []any:
		for i := range v {
			v[i] = j.cleanValue(v[i])
		}
	case map[string]any:
		clean := make(map[string]any, len(v))
		for k, x := range v {
			clean[j.clean(k)] = j.cleanValue(x)
		}
		return clean
	}
	return v
}

func (j *job) cleanError(e *hostler.JobError) *hostler.JobError {
	if e == nil || !j.secret.Load() {
		return e
	}
	return &hostler.JobError{Kind: e.Kind, Text: hostler.Text{EN: j.clean(e.Text.EN), ZH: j.clean(e.Text.ZH)}}
}

// clean redacts a text.
func (j *job) clean(s string) string {
	if !j.secret.Load() {
		return s
	}
	return j.log.Clean(s)
}

// redact is the action's way to name further secrets.
func (j *job) redact(values ...string) {
	if len(values) > 0 {
		j.secret.Store(true)
		j.log.Redact(values...)
	}
}

func (j *job) redactor() runlog.Redactor {
	return j.s.w.cfg.Redactor(secretsOf(&j.lease)...)
}

func hasSecrets(l *hostler.Lease) bool {
	return len(l.Credentials) > 0 || l.Asset != nil && len(secretsOf(l)) > 0
}

// secretsOf lists every secret that came with a lease.
func secretsOf(l *hostler.Lease) []string {
	var all []string
	for a := l.Asset; a != nil; a = a.Jump {
		if a.Credential != nil {
			all = append(all, a.Credential.Secret.Values()...)
		}
	}
	for _, c := range l.Credentials {
		all = append(all, c.Secret.Values()...)
	}
	return all
}

func panicText(p any) string {
	if p == nil {
		return "the action ended its goroutine"
	}
	return strings.TrimSpace(fmt.Sprint(p))
}
