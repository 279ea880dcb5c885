package app

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// ApprovalFilter selects approvals.
type ApprovalFilter struct {
	State hostler.ApprovalState
	Run   hostler.RunID
}

// Approvals lists approvals, the newest first.
func (a *App) Approvals(
	ctx context.Context, c auth.Caller, f ApprovalFilter, p hostler.Page,
) (hostler.List[hostler.Approval], error) {
	g, err := a.allow(c, auth.ReadRun)
	if err != nil {
		return hostler.List[hostler.Approval]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Approval]{}, err
	}
	var before hostler.ApprovalID
	if before.UnmarshalText([]byte(after)) != nil {
		return hostler.List[hostler.Approval]{}, errCursor()
	}
	var fields check.Fields
	check.OneOf(&fields, "state", f.State, append(hostler.ApprovalStates(), "")...)
	if err := fields.Err(); err != nil {
		return hostler.List[hostler.Approval]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Approval], error) {
		rows, err := s.Tx.Approvals(s.project, f.State, f.Run, before, limit+1)
		if err != nil {
			return hostler.List[hostler.Approval]{}, err
		}
		all, err := s.approvalsOf(rows)
		for i := range all {
			all[i].Plan = nil
		}
		return cut(all, limit, func(a hostler.Approval) string { return a.ID.String() }), err
	})
}

// Approval reads an approval, with what remains to run.
func (a *App) Approval(ctx context.Context, c auth.Caller, id hostler.ApprovalID) (hostler.Approval, error) {
	g, err := a.allow(c, auth.ReadRun)
	if err != nil {
		return hostler.Approval{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.Approval, error) {
		row, err := s.Tx.Approval(s.project, id)
		if err != nil {
			return hostler.Approval{}, err
		}
		return s.approvalOf(row, id)
	})
}

// approvalOf is a row of an approval as people see it; nil is one that does not exist.
func (s *scope) approvalOf(row *store.ApprovalRow, id hostler.ApprovalID) (hostler.Approval, error) {
	if row == nil {
		return hostler.Approval{}, hostler.NotFound(approvalKind, id.String())
	}
	all, err := s.approvalsOf([]store.ApprovalRow{*row})
	if err != nil {
		return hostler.Approval{}, err
	}
	return all[0], nil
}

func (s *scope) approvalsOf(rows []store.ApprovalRow) ([]hostler.Approval, error) {
	ids := make([]hostler.ApprovalID, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	decisions, err := s.Decisions(ids)
	if err != nil {
		return nil, err
	}
	steps, err := s.ApprovalSteps(ids)
	if err != nil {
		return nil, err
	}
	out := make([]hostler.Approval, len(rows))
	for i, r := range rows {
		at := steps[r.ID]
		out[i] = hostler.Approval{
			ID: r.ID, Run: r.Run, RunName: at.Name, Step: at.Step, Requester: at.Requester, Title: r.Title,
			State: r.State, Quorum: r.Quorum, Self: r.Self, Digest: r.Digest, Plan: json.RawMessage(r.Plan),
			CreatedAt: r.CreatedAt, ExpiresAt: timeOrNil(r.ExpiresAt), DecidedAt: timeOrNil(r.DecidedAt),
			Decisions: []hostler.ApprovalDecision{},
		}
		if err := json.Unmarshal([]byte(r.Approvers), &out[i].Approvers); err != nil {
			return nil, fmt.Errorf("decode approvers: %w", err)
		}
		for _, d := range decisions {
			if d.Approval == r.ID {
				out[i].Decisions = append(out[i].Decisions, hostler.ApprovalDecision{
					User: d.UserName, Decision: d.Decision, Comment: d.Comment, Remote: d.Remote, Digest: d.Digest, At: d.At,
				})
			}
		}
	}
	return out, nil
}

// Approve approves what an approval describes. The caller names the digest of what it was
// shown; anything else is refused.
func (a *App) Approve(
	ctx context.Context, c auth.Caller, id hostler.ApprovalID, in hostler.DecisionInput,
) (hostler.Approval, error) {
	return a.decide(ctx, c, id, in, hostler.ApprovalApproved)
}

// Reject rejects what an approval describes, and ends its run.
func (a *App) Reject(
	ctx context.Context, c auth.Caller, id hostler.ApprovalID, in hostler.DecisionInput,
) (hostler.Approval, error) {
	return a.decide(ctx, c, id, in, hostler.ApprovalRejected)
}

func (a *App) decide(
	ctx context.Context, c auth.Caller, id hostler.ApprovalID, in hostler.DecisionInput, d hostler.ApprovalState,
) (hostler.Approval, error) {
	g, err := a.allow(c, auth.DecideApproval)
	if err != nil {
		return hostler.Approval{}, err
	}
	var fields check.Fields
	fields.Text("comment", in.Comment, 2000)
	if d == hostler.ApprovalRejected {
		fields.Given("comment", in.Comment)
	}
	if err := fields.Err(); err != nil {
		return hostler.Approval{}, err
	}
	row, err := view(ctx, g, func(s *scope) (*store.ApprovalRow, error) {
		row, err := s.Tx.Approval(s.project, id)
		if err == nil && row == nil {
			err = hostler.NotFound(approvalKind, id.String())
		}
		if err != nil {
			return nil, err
		}
		return row, s.mayDecide(row, in)
	})
	if err != nil {
		return hostler.Approval{}, err
	}
	p, err := a.cfg.Plan(ctx, *row)
	if err != nil {
		return hostler.Approval{}, err
	}
	if p.Digest != row.Digest {
		return hostler.Approval{}, a.askAgain(ctx, g, id)
	}
	return change(ctx, g, func(s *scope) (hostler.Approval, error) { return s.decide(id, in, d) })
}

// decide records the decision under the lock of the approval: of many who decide at the
// same time, one ends it.
func (s *scope) decide(
	id hostler.ApprovalID, in hostler.DecisionInput, d hostler.ApprovalState,
) (hostler.Approval, error) {
	row, err := s.LockApproval(s.project, id)
	if err != nil {
		return hostler.Approval{}, err
	}
	if row == nil {
		return hostler.Approval{}, hostler.NotFound(approvalKind, id.String())
	}
	if err := s.mayDecide(row, in); err != nil {
		return hostler.Approval{}, err
	}
	first, err := s.Decide(store.ApprovalDecision{
		Approval: id, UserID: s.caller.UserID, UserName: s.caller.User, Key: s.caller.Key, Remote: s.caller.Remote,
		Decision: d, Comment: in.Comment, Digest: row.Digest,
	})
	if err == nil && !first {
		err = hostler.Errorf(hostler.CodeConflict, "you have decided on it before", "您已作出决定")
	}
	if err != nil {
		return hostler.Approval{}, err
	}
	decisions, err := s.Decisions([]hostler.ApprovalID{id})
	if err != nil {
		return hostler.Approval{}, err
	}
	if d == hostler.ApprovalRejected || len(decisions) >= row.Quorum {
		if err := s.EndApproval(row, d); err != nil {
			return hostler.Approval{}, err
		}
		row.State = d
	}
	verb := map[hostler.ApprovalState]string{
		hostler.ApprovalApproved: "approval.approve", hostler.ApprovalRejected: "approval.reject",
	}[d]
	detail := map[string]any{"run": row.Run, "digest": row.Digest, "comment": in.Comment, "state": row.State}
	if err := s.audit(verb, id.String(), detail); err != nil {
		return hostler.Approval{}, err
	}
	row, err = s.Tx.Approval(s.project, id)
	if err != nil {
		return hostler.Approval{}, err
	}
	return s.approvalOf(row, id)
}

// askAgain voids an approval whose plan has changed, and asks for another one.
func (a *App) askAgain(ctx context.Context, g grant, id hostler.ApprovalID) error {
	_, err := change(ctx, g, func(s *scope) (struct{}, error) {
		row, err := s.LockApproval(s.project, id)
		if err != nil || row == nil || row.State != hostler.ApprovalWaiting {
			s.unchanged()
			return struct{}{}, err
		}
		if err := s.CloseApproval(row.Step, hostler.ApprovalVoid); err != nil {
			return struct{}{}, err
		}
		next := *row
		next.Digest, next.Plan = "", ""
		if err := s.InsertApproval(next); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.audit("approval.void", id.String(), map[string]any{"run": row.Run})
	})
	if err != nil {
		return err
	}
	return hostler.Errorf(hostler.CodeConflict,
		"a host, a credential or a step behind this approval has changed: it is void, and a new one asks again",
		"此审批之后的主机、凭据或步骤已发生变化：审批已作废，将重新请求")
}

// mayDecide refuses a decision on what does not wait for it, and by whom the step does not
// let decide.
func (s *scope) mayDecide(row *store.ApprovalRow, in hostler.DecisionInput) error {
	switch {
	case row.State == hostler.ApprovalPreparing:
		return hostler.Errorf(hostler.CodeConflict, "it is being prepared; try again", "审批正在准备，请重试")
	case row.State != hostler.ApprovalWaiting:
		return hostler.Errorf(hostler.CodeConflict, "it is %s already", "审批已处于 %s 状态", row.State)
	case !row.ExpiresAt.IsZero() && !s.Now().Before(row.ExpiresAt):
		return hostler.Errorf(hostler.CodeConflict, "it has expired", "审批已过期")
	case row.Digest != in.Digest:
		return hostler.Errorf(hostler.CodeConflict,
			"the digest is not that of what would run; look at the approval again: hostler approval show %s",
			"摘要与将要执行的内容不符；请重新查看：hostler approval show %s", row.ID)
	}
	var approvers []string
	if err := json.Unmarshal([]byte(row.Approvers), &approvers); err != nil {
		return fmt.Errorf("decode approvers: %w", err)
	}
	return s.mayGrant(approvers, row.Self, row.Requester)
}

// approversOf are who may decide on an approval.
func approversOf(a *hostler.ApprovalStep) []string {
	if len(a.Approvers) == 0 {
		return []string{"role:" + string(hostler.RoleApprover)}
	}
	return a.Approvers
}

// mayGrant refuses callers whom an approval does not name, and the requester of its run.
func (s *scope) mayGrant(approvers []string, self bool, requester hostler.UserID) error {
	if err := s.namedApprover(approvers); err != nil || self {
		return err
	}
	// Who can create keys for others must not approve with them what he requested.
	users, err := s.KeyUsers(s.caller.Key)
	if err != nil {
		return err
	}
	if s.caller.UserID == requester || slices.Contains(users, requester) {
		return hostler.Errorf(hostler.CodeForbidden,
			"the requester of the run may not decide on it, nor a key that the requester created; "+
				"ask another person, or let the template allow it (approval.self)",
			"执行的发起人及其创建的密钥不得审批该执行；请由他人审批，或在模板中允许（approval.self）")
	}
	return nil
}

// namedApprover refuses callers whom the step does not name, by role or by name.
func (s *scope) namedApprover(approvers []string) error {
	for _, who := range approvers {
		kind, name, _ := strings.Cut(who, ":")
		if kind == "user" && name == s.caller.User {
			return nil
		}
		role := s.caller.RoleIn(s.project)
		if kind == "role" && (role.Includes(hostler.Role(name)) || s.caller.RoleNameIn(s.project) == hostler.Role(name)) {
			return nil
		}
	}
	return hostler.Errorf(hostler.CodeForbidden, "only %s may decide on it", "只有 %s 可以审批", strings.Join(approvers, ", "))
}
