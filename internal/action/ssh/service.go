package ssh

import (
	"context"
	_ "embed" // the schemas
	"encoding/json"
	"io"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

//go:embed schema/service.json
var serviceSchema []byte

//go:embed schema/restart_service.json
var restartSchema []byte

// Operations on a service.
const (
	opStart   = "start"
	opStop    = "stop"
	opRestart = "restart"
	opReload  = "reload"
	opStatus  = "status"
)

type serviceArgs struct {
	Name           string   `json:"name"`
	Operation      string   `json:"operation"`
	Verify         *bool    `json:"verify"`
	WaitS          *float64 `json:"wait_s"`
	SettleS        *float64 `json:"settle_s"`
	RunAs          string   `json:"run_as"`
	SudoCredential string   `json:"sudo_credential"`
}

// ServiceState is the result of an operation on a service: the states that
// systemctl is-active gave before and after, such as active, inactive, failed.
type ServiceState struct {
	Service   string  `json:"service"`
	Operation string  `json:"operation"`
	Before    string  `json:"before"`
	After     string  `json:"after"`
	ExitCode  int     `json:"exit_code"` // of systemctl
	Verified  bool    `json:"verified"`
	DurationS float64 `json:"duration_s"`
}

func (f *Family) serviceAction() action.Action {
	return action.Action{
		Name:  "service",
		Title: hostler.Text{EN: "Service", ZH: "服务操作"},
		Help: hostler.Text{
			EN: "Starts, stops, restarts, reloads or looks at a systemd service over SSH, and verifies its state.",
			ZH: "通过 SSH 启动、停止、重启、重载或查看 systemd 服务，并校验其状态。",
		},
		Schema: serviceSchema, Asset: action.AssetRequired, Enabled: true,
		Traits: serviceTraits, Credentials: sudoCredential, Run: f.runService,
	}
}

// restartAction is service under the name that people look for. It is an action
// of its own as its operation has a default, which service must not have: a
// forgotten field may not restart anything.
func (f *Family) restartAction() action.Action {
	a := f.serviceAction()
	a.Name = "restart_service"
	a.Title = hostler.Text{EN: "Restart service", ZH: "重启服务"}
	a.Help = hostler.Text{
		EN: "Restarts a systemd service over SSH and verifies that it runs; the same as service with operation restart.",
		ZH: "通过 SSH 重启 systemd 服务并校验其已运行；等同于 operation 为 restart 的 service。",
	}
	a.Schema = restartSchema
	return a
}

// serviceTraits: starting what runs and stopping what stands still changes
// nothing; a second restart interrupts the service once more.
func serviceTraits(raw json.RawMessage) action.Traits {
	var args serviceArgs
	if json.Unmarshal(raw, &args) != nil {
		return action.Traits{Changes: true}
	}
	return action.Traits{
		Idempotent: slices.Contains([]string{opStart, opStop, opStatus}, args.Operation),
		Changes:    args.Operation != opStatus,
	}
}

func (f *Family) runService(ctx context.Context, c *action.Call) action.Result {
	var args serviceArgs
	if err := json.Unmarshal(c.Args, &args); err != nil || args.Name == "" {
		return action.Result{
			Outcome: hostler.OutcomeFailed, NoRetry: true,
			Error: &hostler.JobError{Kind: hostler.ErrKindBadArgs, Text: hostler.Textf("not readable: %v", "无法解析：%v", err)},
		}
	}
	args.Operation = or(args.Operation, opRestart)
	h, err := f.hostOf(c)
	if err != nil {
		return asFault(err).result()
	}
	s := &service{host: h, args: args, state: ServiceState{Service: args.Name, Operation: args.Operation}}
	if s.runAs, s.password, err = h.sudo(args.RunAs, args.SudoCredential); err != nil {
		return asFault(err).result()
	}
	began := time.Now()
	result := s.do(ctx)
	s.state.DurationS = float64(time.Since(began).Milliseconds()) / 1000
	result.Value = s.state
	return result
}

// service is one operation on one service.
type service struct {
	host            *host
	args            serviceArgs
	runAs, password string
	state           ServiceState
}

func (s *service) do(ctx context.Context) action.Result {
	before, err := s.look(ctx)
	if err != nil {
		return s.lost(err)
	}
	s.state.Before, s.state.After = before, before
	if s.args.Operation == opStatus {
		return s.status(ctx)
	}
	argv := []string{"systemctl", "--no-ask-password", s.args.Operation, "--", s.args.Name}
	ended, complaint, err := s.systemctl(ctx, argv, s.runAs)
	if err != nil {
		return s.lost(err)
	}
	s.state.ExitCode = ended.ExitCode
	if ended.ExitCode != 0 {
		if after, err := s.look(ctx); err == nil {
			s.state.After = after
		}
		return commandFailed(nil, ended, complaint)
	}
	if s.args.Verify != nil && !*s.args.Verify {
		return action.Succeeded(nil)
	}
	return s.verify(ctx)
}

// status shows what systemctl says. Its exit code tells of the service's state,
// not of its own success; 4 is "no such unit".
func (s *service) status(ctx context.Context) action.Result {
	argv := []string{"systemctl", "--no-pager", "--full", opStatus, "--", s.args.Name}
	ended, complaint, err := s.systemctl(ctx, argv, s.runAs)
	if err != nil {
		return s.lost(err)
	}
	s.state.ExitCode = ended.ExitCode
	if ended.ExitCode == 4 || ended.ExitCode > 100 {
		return commandFailed(nil, ended, complaint)
	}
	s.state.Verified = true
	return action.Succeeded(nil)
}

func (s *service) systemctl(ctx context.Context, argv []string, runAs string) (Ended, string, error) {
	p := program{argv: argv, runAs: runAs}
	if runAs != "" {
		p.password = s.password
	}
	return s.host.runTimed(ctx, p, s.host.call.Stdout, s.host.call.Stderr)
}

// look asks for the state. Everybody may, so it needs no other user; a host
// without systemctl is told here.
func (s *service) look(ctx context.Context) (string, error) {
	var out tail
	argv := []string{"systemctl", "is-active", "--", s.args.Name}
	ended, complaint, err := s.host.runTimed(ctx, program{argv: argv}, &out, io.Discard)
	if err != nil {
		f := asFault(err)
		if f.outcome == hostler.OutcomeUnknown {
			f.outcome = hostler.OutcomeFailed // looking changes nothing
		}
		return "", f
	}
	if ended.ExitCode == 126 || ended.ExitCode == 127 {
		return "", failed(hostler.ErrKindCommand,
			"%s has no systemctl: %s", "%s 上没有 systemctl：%s", s.host.route.addr, complaint).final()
	}
	state := lastLine([]byte(out.String()))
	if state == "" {
		return "", failed(hostler.ErrKindCommand,
			"systemctl on %s does not tell the state (exit status %d): %s",
			"%s 上的 systemctl 未给出状态（退出码 %d）：%s", s.host.route.addr, ended.ExitCode, complaint)
	}
	return state, nil
}

// lost makes the result of an operation that came to no end. What may be done
// twice is failed and may be tried again.
func (s *service) lost(err error) action.Result {
	f := asFault(err)
	idempotent := s.args.Operation != opRestart && s.args.Operation != opReload
	if f.outcome == hostler.OutcomeUnknown && idempotent && f.kind == hostler.ErrKindConnLost {
		f.outcome = hostler.OutcomeFailed
	}
	return f.result()
}

// lookPause is the time between two looks at a service.
const lookPause = 300 * time.Millisecond

// verify waits until the service is in the state that the operation means, and
// looks again when it has had time to fall over.
func (s *service) verify(ctx context.Context) action.Result {
	deadline := time.Now().Add(seconds(s.args.WaitS, 30))
	settle := seconds(s.args.SettleS, 1)
	var since time.Time // in the state, without a break
	for {
		after, err := s.look(ctx)
		if err != nil {
			return s.unsure(err)
		}
		s.state.After = after
		now := time.Now()
		switch {
		case !meets(s.args.Operation, after):
			since = time.Time{}
			if after == "failed" || now.After(deadline) {
				return s.wrongState()
			}
		case since.IsZero() && settle > 0:
			since = now
		case now.Sub(since) >= settle:
			s.state.Verified = true
			return action.Succeeded(nil)
		}
		if err := pause(ctx, lookPause); err != nil {
			return s.unsure(err)
		}
	}
}

// unsure makes the result of an operation that was done, but whose effect could
// not be seen.
func (s *service) unsure(err error) action.Result {
	f := asFault(err)
	f.text = hostler.Text{
		EN: "systemctl did it, but the state could not be verified: " + f.text.EN,
		ZH: "systemctl 已执行，但无法校验状态：" + f.text.ZH,
	}
	return f.result()
}

func (s *service) wrongState() action.Result {
	return action.Failed(nil, KindServiceState,
		"systemctl %s succeeded, but %s is %s", "systemctl %s 已成功，但 %s 的状态为 %s",
		s.args.Operation, s.args.Name, s.state.After)
}

// meets says whether a state is what an operation aims at. A service that
// stopped with an error is stopped.
func meets(operation, state string) bool {
	if operation == opStop {
		return state == "inactive" || state == "failed" || state == "unknown"
	}
	return state == "active"
}

func seconds(s *float64, def float64) time.Duration {
	if s != nil {
		def = *s
	}
	return time.Duration(def * float64(time.Second))
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return stopped(ctx, "while it verified the state", "正在校验状态")
	}
}
