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

// prepare finds the action and checks the lease. If the job cannot run it returns the
// result.
func (j *job) prepare() (*action.Action, *action.Result) {
	cfg := &j.s.w.cfg
	act, ok := cfg.Actions.Lookup(j.lease.Action)
	switch {
	case !ok:
		// The simple /tasks API promises these exact words.
		return nil, refusal(hostler.ErrKindNoAction, "unknown action: %s", "未知操作: %s", j.lease.Action)
	case !act.Enabled:
		return nil, refusal(hostler.ErrKindNoAction, "the action %s is disabled on this worker",
			"动作 %s 未在此工作节点上启用", j.lease.Action)
	case j.lease.AssetMissing:
		return nil, refusal(hostler.ErrKindAssetMissing, "the asset was deleted while the job was waiting",
			"资产在作业等待期间已被删除")
	case j.lease.Refused != nil:
		return nil, &action.Result{Outcome: hostler.OutcomeFailed, NoRetry: true, Error: j.lease.Refused}
	case act.Asset == action.AssetRequired && j.lease.Asset == nil:
		return nil, refusal(hostler.ErrKindBadArgs, "the action %s needs an asset, but the job has none",
			"动作 %s 需要资产，而作业未指定", j.lease.Action)
	case act.Asset == action.AssetNever && j.lease.Asset != nil:
		return nil, refusal(hostler.ErrKindBadArgs, "the action %s runs without an asset, but the job has one",
			"动作 %s 不使用资产，而作业指定了资产", j.lease.Action)
	}
	if hasSecrets(&j.lease) {
		j.hasSecrets.Store(true)
	}
	if err := cfg.Actions.Validate(j.lease.Action, j.lease.Args); err != nil {
		text := textOf(err)
		return nil, refusal(hostler.ErrKindBadArgs, "%[1]s", "%[2]s", text.EN, text.ZH)
	}
	return act, nil
}

// refusal returns the result of a job that can never run.
func refusal(kind, en, zh string, args ...any) *action.Result {
	res := action.Result{
		Outcome: hostler.OutcomeFailed, NoRetry: true,
		Error: &hostler.JobError{Kind: kind, Text: hostler.Textf(en, zh, args...)},
	}
	return &res
}

// textOf returns the text of an error, with the fields at fault.
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

// idempotent reports whether the job may run twice; false if that cannot be determined.
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

// outcomeUnknown returns the result of work whose end is not known. An idempotent action is
// failed instead, as it may run again.
func (j *job) outcomeUnknown(kind, en, zh string, args ...any) action.Result {
	if j.idempotent() {
		return action.Failed(nil, kind, en, zh, args...)
	}
	return action.Unknown(nil, kind, en, zh, args...)
}

func (j *job) crashed() action.Result {
	return j.outcomeUnknown(hostler.ErrKindInternal,
		"the action crashed; see the worker's log for details", "动作异常中止；详情见工作节点日志")
}

// unresponsive returns the result of an action that did not return within the grace time.
func (j *job) unresponsive() action.Result {
	grace := j.s.w.cfg.Grace
	if errors.Is(j.cause(), action.ErrTimeout) {
		t := action.TimeoutText(j.ctx)
		return j.outcomeUnknown(hostler.ErrKindTimeout,
			"%[1]s, but the action did not stop within %[3]v",
			"%[2]s，且动作未在 %[3]v 内停止", t.EN, t.ZH, grace)
	}
	return j.outcomeUnknown(hostler.ErrKindUnverified,
		"cancelled, but the action did not stop within %v", "已取消，但动作未在 %v 内停止", grace)
}

// normalize corrects a result that an action must not return: an outcome that is not its
// own, or a failure without an error.
func (j *job) normalize(res action.Result) action.Result {
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
		// The job was not cancelled; the action misread the end of its context.
		res.Outcome, res.Error = hostler.OutcomeFailed, nil
	default:
		j.s.log.Error("action returned no valid outcome",
			"job", j.lease.Job, "action", j.lease.Action, "outcome", res.Outcome)
		return j.crashed()
	}
	if res.Error == nil {
		res.Error = &hostler.JobError{Kind: hostler.ErrKindInternal, Text: hostler.Textf(
			"the action failed without giving a reason", "动作失败，但未说明原因")}
		if errors.Is(j.cause(), action.ErrTimeout) {
			res.Error = &hostler.JobError{Kind: hostler.ErrKindTimeout, Text: action.TimeoutText(j.ctx)}
		}
	}
	return res
}

// encode returns a result's value as JSON, without secrets.
func (j *job) encode(value any) json.RawMessage {
	if value == nil {
		return nil
	}
	b, err := json.Marshal(value)
	if err == nil && j.hasSecrets.Load() {
		b, err = j.redactJSON(b)
	}
	if err != nil {
		j.s.log.Error("result cannot be encoded", "job", j.lease.Job, "action", j.lease.Action, "err", err)
		return nil
	}
	return b
}

// redactJSON redacts every name and value of a document. It works on the decoded strings,
// so that escapes in the document cannot hide a secret.
func (j *job) redactJSON(b []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(j.redactValue(v))
}

func (j *job) redactValue(v any) any {
	switch v := v.(type) {
	case string:
		return j.redact(v)
	case json.Number:
		if s := j.redact(v.String()); s != v.String() {
			return s
		}
	case []any:
		for i := range v {
			v[i] = j.redactValue(v[i])
		}
	case map[string]any:
		redacted := make(map[string]any, len(v))
		for k, x := range v {
			redacted[j.redact(k)] = j.redactValue(x)
		}
		return redacted
	}
	return v
}

func (j *job) redactError(e *hostler.JobError) *hostler.JobError {
	if e == nil || !j.hasSecrets.Load() {
		return e
	}
	return &hostler.JobError{Kind: e.Kind, Text: hostler.Text{EN: j.redact(e.Text.EN), ZH: j.redact(e.Text.ZH)}}
}

// redact returns a text without secrets.
func (j *job) redact(s string) string {
	if !j.hasSecrets.Load() {
		return s
	}
	return j.log.RedactText(s)
}

// addSecrets adds values to redact; actions call it as Call.Redact.
func (j *job) addSecrets(values ...string) {
	if len(values) > 0 {
		j.hasSecrets.Store(true)
		j.log.AddSecrets(values...)
	}
}

func (j *job) redactor() runlog.Redactor {
	return j.s.w.cfg.Redactor(secretsOf(&j.lease)...)
}

func hasSecrets(l *hostler.Lease) bool {
	return len(l.Credentials) > 0 || l.Asset != nil && len(secretsOf(l)) > 0
}

// secretsOf lists every secret of a lease.
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
