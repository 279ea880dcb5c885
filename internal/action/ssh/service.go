package ssh

import (
	"cmp"
	"context"
	_ "embed" // the schemas
	"encoding/json"
	"io"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/risk"
	"hostler.dev/hostler/internal/wait"
)

//go:embed schema/service.json
var serviceSchema []byte

//go:embed schema/restart_service.json
var restartSchema []byte

// The operations of systemctl.
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

// ServiceState is the result of an operation on a service. Before and After are states of
// systemctl is-active, such as active, inactive or failed.
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
			EN: "Starts, stops, restarts, reloads or shows a systemd service over SSH, and verifies its state.",
			ZH: "通过 SSH 启动、停止、重启、重载或查看 systemd 服务，并校验其状态。",
		},
		Schema: serviceSchema, Asset: action.AssetRequired, LogsIn: true, Enabled: true,
		Traits: serviceTraits, Credentials: sudoCredential, Commands: serviceCommands, Run: f.runService,
	}
}

// restartAction is the service action under the name that people search for. It is an
// action of its own because its operation has a default, which service must not have: a
// forgotten field must not restart anything.
func (f *Family) restartAction() action.Action {
	a := f.serviceAction()
	a.Name = "restart_service"
	a.Title = hostler.Text{EN: "Restart service", ZH: "重启服务"}
	a.Help = hostler.Text{
		EN: "Restarts a systemd service over SSH and verifies that it is active; " +
			"same as service with operation restart.",
		ZH: "通过 SSH 重启 systemd 服务并校验其已运行；等同于 operation 为 restart 的 service。",
	}
	a.Schema = restartSchema
	return a
}

// serviceTraits: starting a running service and stopping a stopped one changes nothing, so
// they are idempotent; a second restart interrupts the service once more.
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

// serviceCommands is the command of systemctl that a job runs.
func serviceCommands(raw json.RawMessage) []risk.Command {
	var args serviceArgs
	if json.Unmarshal(raw, &args) != nil {
		return nil
	}
	argv := []string{"systemctl", cmp.Or(args.Operation, opRestart), args.Name}
	return []risk.Command{{Path: "operation", Kind: risk.Argv, Argv: argv}}
}

func (f *Family) runService(ctx context.Context, c *action.Call) action.Result {
	var args serviceArgs
	if err := decode(c, &args); err != nil {
		return action.ResultOf(err)
	}
	args.Operation = cmp.Or(args.Operation, opRestart)
	h, err := f.hostOf(c)
	if err != nil {
		return action.ResultOf(err)
	}
	s := &service{host: h, args: args, state: ServiceState{Service: args.Name, Operation: args.Operation}}
	if s.runAs, s.password, err = h.sudo(args.RunAs, args.SudoCredential); err != nil {
		return action.ResultOf(err)
	}
	began := time.Now()
	result := s.run(ctx)
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

func (s *service) run(ctx context.Context) action.Result {
	before, err := s.query(ctx)
	if err != nil {
		return s.interrupted(err)
	}
	s.state.Before, s.state.After = before, before
	if s.args.Operation == opStatus {
		return s.status(ctx)
	}
	argv := []string{"systemctl", "--no-ask-password", s.args.Operation, "--", s.args.Name}
	ended, lastErrLine, err := s.systemctl(ctx, argv, s.runAs)
	if err != nil {
		return s.interrupted(err)
	}
	s.state.ExitCode = ended.ExitCode
	if ended.ExitCode != 0 {
		if after, err := s.query(ctx); err == nil {
			s.state.After = after
		}
		return exitFailure(nil, ended, lastErrLine)
	}
	if s.args.Verify != nil && !*s.args.Verify {
		return action.Succeeded(nil)
	}
	return s.verify(ctx)
}

// status runs systemctl status. Its exit code describes the service's state, not its own
// success; 4 is "no such unit".
func (s *service) status(ctx context.Context) action.Result {
	argv := []string{"systemctl", "--no-pager", "--full", opStatus, "--", s.args.Name}
	ended, lastErrLine, err := s.systemctl(ctx, argv, s.runAs)
	if err != nil {
		return s.interrupted(err)
	}
	s.state.ExitCode = ended.ExitCode
	if ended.ExitCode == 4 || ended.ExitCode > 100 {
		return exitFailure(nil, ended, lastErrLine)
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

// query returns the service's state. Any user may query it, so it runs as the user of the
// login. It is the first command, and fails on a host without systemctl.
func (s *service) query(ctx context.Context) (string, error) {
	var out tail
	argv := []string{"systemctl", "is-active", "--", s.args.Name}
	ended, lastErrLine, err := s.host.runTimed(ctx, program{argv: argv}, &out, io.Discard)
	if err != nil {
		f := action.AsFault(err)
		if f.Outcome == hostler.OutcomeUnknown {
			f.Outcome = hostler.OutcomeFailed // a query changes nothing
		}
		return "", f
	}
	if ended.ExitCode == 126 || ended.ExitCode == 127 {
		return "", action.NewFault(hostler.ErrKindCommand,
			"%s has no systemctl: %s", "%s 上没有 systemctl：%s", s.host.HostPort(), lastErrLine).Final()
	}
	state := action.LastLine([]byte(out.String()))
	if state == "" {
		return "", action.NewFault(hostler.ErrKindCommand,
			"systemctl on %s printed no state (exit status %d): %s",
			"%s 上的 systemctl 未给出状态（退出码 %d）：%s", s.host.HostPort(), ended.ExitCode, lastErrLine)
	}
	return state, nil
}

// interrupted returns the result of an operation that did not run to its end. An
// idempotent operation is failed, not unknown, and may be tried again.
func (s *service) interrupted(err error) action.Result {
	f := action.AsFault(err)
	idempotent := s.args.Operation != opRestart && s.args.Operation != opReload
	lost := f.Kind == hostler.ErrKindConnLost || f.Kind == KindShellKilled
	if f.Outcome == hostler.OutcomeUnknown && idempotent && lost {
		f.Outcome = hostler.OutcomeFailed
	}
	return f.Result()
}

// queryInterval is the pause between two queries of a service's state.
const queryInterval = 300 * time.Millisecond

// verify waits until the service is in the state that the operation leads to, and stays in
// it for settle_s: a service may start and crash a moment later.
func (s *service) verify(ctx context.Context) action.Result {
	deadline := time.Now().Add(seconds(s.args.WaitS, 30))
	stable := seconds(s.args.SettleS, 1)
	var since time.Time // in the state without interruption
	for {
		after, err := s.query(ctx)
		if err != nil {
			return s.unverifiedState(err)
		}
		s.state.After = after
		now := time.Now()
		switch {
		case !reached(s.args.Operation, after):
			since = time.Time{}
			if after == "failed" || now.After(deadline) {
				return s.wrongState()
			}
		case since.IsZero() && stable > 0:
			since = now
		case now.Sub(since) >= stable:
			s.state.Verified = true
			return action.Succeeded(nil)
		}
		if wait.Sleep(ctx, queryInterval) != nil {
			return s.unverifiedState(action.StoppedFault(ctx, "while it verified the state", "正在校验状态"))
		}
	}
}

// unverifiedState returns the result of an operation that systemctl completed, but whose
// state could not be queried.
func (s *service) unverifiedState(err error) action.Result {
	f := action.AsFault(err)
	f.Text = hostler.Text{
		EN: "systemctl succeeded, but the state could not be verified: " + f.Text.EN,
		ZH: "systemctl 已执行，但无法校验状态：" + f.Text.ZH,
	}
	return f.Result()
}

func (s *service) wrongState() action.Result {
	return action.Failed(nil, KindServiceState,
		"systemctl %s succeeded, but %s is %s", "systemctl %s 已成功，但 %s 的状态为 %s",
		s.args.Operation, s.args.Name, s.state.After)
}

// reached reports whether a state is the one that an operation leads to. A service that
// stopped with an error is stopped.
func reached(operation, state string) bool {
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
