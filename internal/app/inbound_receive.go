package app

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/inbound"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

// This file receives the requests to inbound triggers. Whoever sends them has no key: the
// signature says that the sender knows the secret of the trigger, and the run starts with the
// rights that the owner of the trigger has then. The sender is told no more than whether the
// request was accepted; the reason is in the log of the trigger.
//
// The transaction that starts the run records the digest of what was signed, under the lock
// of the trigger: a request that is sent again, at the same time or later, starts nothing.
// A refused one leaves no digest, so that it can be sent again when the reason has passed.

// judgeAgain is how often a run is prepared again that others changed meanwhile.
const judgeAgain = 3

// errSender is the same for a URL that does not exist and for a wrong signature.
func errSender() error {
	return hostler.Errorf(hostler.CodeUnauthenticated, "the URL or the signature is wrong", "URL 或签名有误")
}

// InboundKnown reports whether there is an inbound trigger with this URL, before the body of
// a request is read.
func (a *App) InboundKnown(ctx context.Context, token string) (bool, error) {
	row, _, err := a.inboundBy(ctx, token)
	return row != nil, err
}

func (a *App) inboundBy(ctx context.Context, token string) (row *store.InboundRow, now time.Time, err error) {
	err = a.store.View(ctx, func(tx *store.Tx) error {
		now = tx.Now()
		row, err = tx.InboundByToken(inbound.TokenHash(token))
		return err
	})
	return row, now, err
}

// received is a request to an inbound trigger, as far as it is known.
type received struct {
	app    *App
	row    *store.InboundRow
	remote string
	call   store.InboundCallRow
	event  inbound.Event
}

// ReceiveInbound receives a request to the URL with this secret part, from an address.
func (a *App) ReceiveInbound(
	ctx context.Context, token string, r inbound.Request, remote string,
) (hostler.InboundAnswer, error) {
	row, now, err := a.inboundBy(ctx, token)
	if err != nil || row == nil {
		return hostler.InboundAnswer{}, cmpErr(err, errSender())
	}
	r.Now = now
	rc := &received{app: a, row: row, remote: remote}
	rc.call.Delivery, rc.call.Remote = r.Delivery(row.Input.Kind), remote
	var sec inboundSecrets
	if err := a.cfg.Box.OpenJSON(secret.InboundOwner(row.Project, row.ID), row.Sealed, &sec); err != nil {
		a.cfg.Log.ErrorContext(ctx, "cannot open the secret of a trigger", "trigger", row.Input.Name, "err", err)
		return hostler.InboundAnswer{}, errSender()
	}
	if !now.Before(row.OldUntil) {
		sec.Old = ""
	}
	digest, err := inbound.Verify(row.Input.Kind, r, sec.Current, sec.Old)
	if err != nil {
		rc.note(ctx, hostler.InboundRefused, verifyText(err))
		return hostler.InboundAnswer{}, errSender()
	}
	return rc.authenticated(ctx, r, digest)
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func errHeldInbound() error {
	return hostler.Errorf(hostler.CodeUnavailable, "dispatch is held; try again later", "作业分派已暂停；请稍后再试")
}

func verifyText(err error) hostler.Text {
	if errors.Is(err, inbound.ErrTime) {
		return hostler.Textf("its signed time is more than 5 minutes from the server's clock", "其签名时间与服务器时钟相差超过 5 分钟")
	}
	return hostler.Textf("its signature is missing or wrong", "签名缺失或有误")
}

// authenticated goes on with a request whose sender is known.
func (rc *received) authenticated(ctx context.Context, r inbound.Request, digest string) (hostler.InboundAnswer, error) {
	if before, err := rc.before(ctx, digest); err != nil || before != nil {
		return rc.repeated(ctx, before), err
	}
	if !rc.row.Enabled {
		why := hostler.Textf("the trigger is paused", "触发器已暂停")
		rc.note(ctx, hostler.InboundRefused, why)
		return hostler.InboundAnswer{}, &hostler.Error{Code: hostler.CodeConflict, Text: why}
	}
	if rc.row.Window.Equal(r.Now.Truncate(time.Minute)) && rc.row.Received >= rc.row.Input.Rate {
		rc.note(ctx, hostler.InboundRefused, hostler.Textf(
			"more than %d requests a minute; raise rate", "每分钟超过 %d 个请求；可增大 rate", rc.row.Input.Rate))
		e := hostler.Errorf(hostler.CodeRateLimited, "too many requests; try again later", "请求过多；请稍后再试")
		e.RetryAfter = 60 - r.Now.Second()
		return hostler.InboundAnswer{}, e
	}
	var err error
	if rc.event, err = inbound.Read(rc.row.Input.Kind, r); err != nil {
		return rc.refuse(ctx, hostler.Invalid("body", "must be a JSON object: set the content type of the sender to JSON",
			"须为 JSON 对象：请将发送方的内容类型设为 JSON"))
	}
	rc.call.Event, rc.call.Digest = rc.event.Name, digest
	if !rc.event.Known {
		return rc.filter(ctx, hostler.Textf("its event is not a push", "其事件不是 push"))
	}
	holds, err := flow.HoldsRequest(rc.row.Input.When, inbound.Roots, rc.event.Values)
	switch {
	case err != nil:
		return rc.refuse(ctx, hostler.Invalid("when", "cannot be evaluated for this request: %s", "无法对此请求求值：%s",
			check.Key(err.Error())))
	case !holds:
		return rc.filter(ctx, hostler.Textf("the condition does not hold", "条件不成立"))
	}
	return rc.start(ctx)
}

// before returns the request with a digest that was received before.
func (rc *received) before(ctx context.Context, digest string) (call *store.InboundCallRow, err error) {
	err = rc.app.store.View(ctx, func(tx *store.Tx) error {
		call, err = tx.InboundCallOf(rc.row.ID, digest)
		return err
	})
	return call, err
}

func (rc *received) repeated(ctx context.Context, before *store.InboundCallRow) hostler.InboundAnswer {
	if before == nil {
		return hostler.InboundAnswer{}
	}
	rc.call.Event, rc.call.Digest = before.Event, ""
	rc.note(ctx, hostler.InboundRepeated, hostler.Textf("it was received before, at %s", "此前已于 %s 收到",
		before.At.UTC().Format(time.RFC3339)))
	return hostler.InboundAnswer{State: hostler.InboundRepeated, Run: before.Run}
}

// note records a request that anyone could send: a few a minute, with the number of the
// others. A failure is logged: it must not change the answer.
func (rc *received) note(ctx context.Context, state hostler.InboundState, why hostler.Text) {
	key := refusalKey{rc.row.Project, 0, "trigger " + strconv.FormatInt(rc.row.ID, 10) + string(state)}
	n, ok := rc.app.refusals.take(key, 1, rc.app.cfg.Now())
	if !ok {
		return
	}
	if n > 1 {
		why = hostler.Textf("%[1]s (and %[3]d more)", "%[2]s（另有 %[3]d 个）", why.EN, why.ZH, n-1)
	}
	rc.call.State, rc.call.Reason, rc.call.Digest = state, &why, ""
	err := rc.app.store.InTx(ctx, func(tx *store.Tx) error { return tx.NoteInboundCall(rc.row.ID, rc.call) })
	if err != nil {
		rc.app.cfg.Log.WarnContext(ctx, "cannot record a request to a trigger", "trigger", rc.row.Input.Name, "err", err)
	}
}

// filter records that a request does not run the task.
func (rc *received) filter(ctx context.Context, why hostler.Text) (out hostler.InboundAnswer, err error) {
	err = rc.app.store.InTx(ctx, func(tx *store.Tx) error {
		out, err = rc.record(tx, hostler.InboundFiltered, &why)
		return err
	})
	return outcome(out, err)
}

// refuse records why a request of a known sender cannot run the task, whom it tells nothing
// of hosts, people and rules.
func (rc *received) refuse(ctx context.Context, why error) (hostler.InboundAnswer, error) {
	if code := hostler.CodeOf(why); code == hostler.CodeInternal || code.Temporary() {
		return hostler.InboundAnswer{}, why
	}
	rc.call.Digest = ""
	err := rc.app.store.InTx(ctx, func(tx *store.Tx) error {
		_, err := rc.record(tx, hostler.InboundRefused, textOf(why))
		return err
	})
	if err != nil {
		return outcome(hostler.InboundAnswer{}, err)
	}
	return hostler.InboundAnswer{}, hostler.Errorf(hostler.CodeConflict,
		"the request was refused; the reason is in the log of the trigger", "请求被拒绝；原因见触发器的日志")
}

// record locks the trigger, and records the request unless it was received before.
func (rc *received) record(tx *store.Tx, state hostler.InboundState, why *hostler.Text) (hostler.InboundAnswer, error) {
	before, err := rc.lock(tx)
	if err != nil || before != nil {
		return hostler.InboundAnswer{State: hostler.InboundRepeated, Run: before.RunOf()}, err
	}
	rc.call.State, rc.call.Reason = state, why
	return hostler.InboundAnswer{State: state, Run: rc.call.Run}, tx.AddInboundCall(rc.row, rc.call)
}

// lock locks the trigger as it was read, and returns the same request that was received
// before.
func (rc *received) lock(tx *store.Tx) (*store.InboundCallRow, error) {
	now, err := tx.LockInbound(rc.row.Project, rc.row.Input.Name)
	if err != nil {
		return nil, err
	}
	if now == nil || now.ID != rc.row.ID || !now.Enabled || !now.UpdatedAt.Equal(rc.row.UpdatedAt) {
		return nil, errSender() // deleted, paused or rotated meanwhile
	}
	if now.Window.Equal(tx.Now().Truncate(time.Minute)) && now.Received >= now.Input.Rate {
		return nil, hostler.Errorf(hostler.CodeRateLimited, "too many requests; try again later", "请求过多；请稍后再试")
	}
	return tx.InboundCallOf(rc.row.ID, rc.call.Digest)
}

// start starts the run.
func (rc *received) start(ctx context.Context) (out hostler.InboundAnswer, err error) {
	in, err := rc.request()
	if err != nil {
		return rc.refuse(ctx, err)
	}
	for range judgeAgain {
		if out, err = rc.startOnce(ctx, in); !errors.Is(err, errUnjudged) {
			break
		}
	}
	switch {
	case err == nil:
		return out, nil
	case hostler.CodeOf(err) == hostler.CodeUnauthenticated: // see lock
		return hostler.InboundAnswer{}, err
	case hostler.CodeOf(err) == hostler.CodeUnavailable: // the sender may repeat it
		rc.note(ctx, hostler.InboundRefused, reasonOf(err))
		return hostler.InboundAnswer{}, err
	}
	return rc.refuse(ctx, err)
}

func (rc *received) startOnce(ctx context.Context, in hostler.RunRequest) (out hostler.InboundAnswer, err error) {
	a := rc.app
	var g grant
	err = a.store.View(ctx, func(tx *store.Tx) error {
		if held, err := tx.Hold(); err != nil || held != nil {
			return cmpErr(err, errHeldInbound()) // a copy of the data starts nothing by itself
		}
		g, err = rc.owner(tx)
		return err
	})
	if err != nil {
		return out, err
	}
	id, commands, err := a.judgeNewRun(ctx, a.store, g, in)
	if err != nil {
		a.recordRuleRefusal(ctx, g, err)
		return out, err
	}
	err = a.store.InGrowingTx(ctx, func(tx *store.Tx) error {
		g, err := rc.owner(tx) // as it is now
		if err != nil {
			return err
		}
		before, err := rc.lock(tx)
		if err != nil || before != nil {
			out = hostler.InboundAnswer{State: hostler.InboundRepeated, Run: before.RunOf()}
			return err
		}
		why := cause{origin: "trigger:" + rc.row.Input.Name}
		if rc.call.Run, err = newScope(tx, g).startRun(why, in, id, commands); err != nil {
			return err
		}
		rc.call.State, rc.call.Reason = hostler.InboundAccepted, nil
		out = hostler.InboundAnswer{State: hostler.InboundAccepted, Run: id}
		return tx.AddInboundCall(rc.row, rc.call)
	})
	if err != nil {
		rc.call.Run = 0
	}
	return outcome(out, err)
}

// owner is the permission of the trigger's owner to run the task.
func (rc *received) owner(tx *store.Tx) (grant, error) {
	r := rc.row
	g, err := rc.app.ownerOf(tx, owner{r.Owner, r.OwnerName, r.OwnerKey, r.Project, r.ProjectName})
	g.caller.Remote = rc.remote
	return g, err
}

// request is the request for the run, with what it takes from the payload.
func (rc *received) request() (hostler.RunRequest, error) {
	in := hostler.RunRequest{Task: rc.row.Input.Task}
	params, faults := flow.Render(rc.row.Input.Params, "params", rc.event.Values)
	if len(faults) > 0 {
		return in, hostler.InvalidFields(faults...)
	}
	if len(params) > maxInboundParams {
		return in, hostler.Invalid("params", "must be at most 64 KiB", "最多 64 KiB")
	}
	in.Params = params
	if rc.row.Input.Targets == nil {
		return in, nil
	}
	b, err := json.Marshal(rc.row.Input.Targets)
	if err != nil {
		return in, err
	}
	if b, faults = flow.Render(b, "targets", rc.event.Values); len(faults) > 0 {
		return in, hostler.InvalidFields(faults...)
	}
	if err := json.Unmarshal(b, &in.Targets); err != nil {
		return in, hostler.Invalid("targets", "must be names and labels: a look-up gives another type",
			"须为名称和标签：取值的类型不符")
	}
	for i, name := range in.Targets.Assets {
		// A sender names hosts; patterns of names are for the owner of the trigger.
		if name != rc.row.Input.Targets.Assets[i] && strings.ContainsAny(name, "*?[") {
			return in, hostler.Invalid(check.Item("targets.assets", i), "must be a name, no pattern", "须为名称，不能是通配")
		}
	}
	return in, nil
}
