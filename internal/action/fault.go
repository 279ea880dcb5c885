package action

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hostler.dev/hostler"
)

// Fault is a classified error: why an action did not do its work. It has everything that a
// [Result] needs, so that helpers deep inside a family return an error, and the action
// converts it to a result with [ResultOf].
type Fault struct {
	// Outcome is OutcomeFailed if the work had no effect, OutcomeUnknown if it may have
	// had one, OutcomeCancelled if it was stopped on request.
	Outcome hostler.Outcome
	// Kind classifies the fault for programs; see the ErrKind constants.
	Kind string
	// Text is what happened, and to what.
	Text hostler.Text
	// Remedy is what to do next, as an imperative clause; empty for none.
	Remedy hostler.Text
	// NoRetry: another attempt would fail the same way.
	NoRetry bool

	cause error
}

// NewFault returns the fault of work that had no effect. The args fill in both
// texts.
func NewFault(kind, en, zh string, args ...any) *Fault {
	return &Fault{Outcome: hostler.OutcomeFailed, Kind: kind, Text: hostler.Textf(en, zh, args...)}
}

// NewUnknownFault returns the fault of work that may have taken effect, which could not be
// verified.
func NewUnknownFault(kind, en, zh string, args ...any) *Fault {
	return &Fault{Outcome: hostler.OutcomeUnknown, Kind: kind, Text: hostler.Textf(en, zh, args...)}
}

// Error returns the kind and the English text.
func (f *Fault) Error() string { return f.Kind + ": " + f.Text.EN }

// Unwrap returns the underlying error.
func (f *Fault) Unwrap() error { return f.cause }

// Clone returns a copy, for a second caller: the methods below change their fault.
func (f *Fault) Clone() *Fault {
	c := *f
	return &c
}

// Because records the underlying error.
func (f *Fault) Because(err error) *Fault {
	f.cause = err
	return f
}

// Final marks a fault that another attempt would meet again.
func (f *Fault) Final() *Fault {
	f.NoRetry = true
	return f
}

// WithRemedy sets what to do next. The args fill in both texts.
func (f *Fault) WithRemedy(en, zh string, args ...any) *Fault {
	f.Remedy = hostler.Textf(en, zh, args...)
	return f
}

// Append adds to the end of the text.
func (f *Fault) Append(t hostler.Text) *Fault {
	f.Text.EN += t.EN
	f.Text.ZH += t.ZH
	return f
}

// Message returns the text with the remedy after it.
func (f *Fault) Message() hostler.Text {
	if f.Remedy == (hostler.Text{}) {
		return f.Text
	}
	return hostler.Text{EN: f.Text.EN + "; " + f.Remedy.EN, ZH: f.Text.ZH + "；" + f.Remedy.ZH}
}

// Result returns the result of an attempt that ended with the fault. It has no
// value.
func (f *Fault) Result() Result {
	return Result{
		Outcome: f.Outcome, NoRetry: f.NoRetry,
		Error: &hostler.JobError{Kind: f.Kind, Text: f.Message()},
	}
}

// AsFault returns the fault in an error's chain. Any other error becomes an
// internal fault.
func AsFault(err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	return NewFault(hostler.ErrKindInternal, "internal error: %v", "Hostler 内部错误：%v", err).Because(err)
}

// ResultOf returns the result of an attempt that ended with err.
func ResultOf(err error) Result { return AsFault(err).Result() }

// StoppedFault returns the fault of work that ended with its context and left
// nothing running: cancelled, or failed after a timeout. The phases complete
// "cancelled …" and "timed out …"; the Chinese one is written in brackets.
func StoppedFault(ctx context.Context, phaseEN, phaseZH string) *Fault {
	f := &Fault{
		Outcome: hostler.OutcomeCancelled, Kind: hostler.ErrKindCancelled,
		Text: hostler.Text{EN: "cancelled " + phaseEN, ZH: "已取消（" + phaseZH + "）"},
	}
	if TimedOut(ctx) {
		f.Outcome, f.Kind = hostler.OutcomeFailed, hostler.ErrKindTimeout
		t := TimeoutText(ctx)
		f.Text = hostler.Text{EN: t.EN + " " + phaseEN, ZH: t.ZH + "（" + phaseZH + "）"}
	}
	return f
}

// TimedOut reports whether a call's context ended because of a timeout, and not because the job
// was cancelled.
func TimedOut(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, ErrTimeout) || errors.Is(cause, context.DeadlineExceeded)
}

// TimeoutText returns "timed out after 2s", without the duration if the cause of the context
// does not have it.
func TimeoutText(ctx context.Context) hostler.Text {
	if t, ok := errors.AsType[*TimeoutError](context.Cause(ctx)); ok {
		return hostler.Textf("timed out after %s", "已超时（%s）", t.After)
	}
	return hostler.Text{EN: "timed out", ZH: "已超时"}
}

// TimeoutError is the context cause of a job that ran for longer than its timeout.
// errors.Is(err, ErrTimeout) holds for it.
type TimeoutError struct{ After time.Duration }

// Error implements error.
func (e *TimeoutError) Error() string { return fmt.Sprintf("timed out after %s", e.After) }

// Is makes the error match [ErrTimeout].
func (e *TimeoutError) Is(target error) bool { return target == ErrTimeout }
