package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/alert"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
)

const (
	maxAlertRules = 100 // of a project
	maxSilence    = 90 * 24 * time.Hour
	maxSilences   = 200 // of a project
)

// AlertRules lists the alert rules of the acting project.
func (a *App) AlertRules(ctx context.Context, c auth.Caller) ([]hostler.AlertRule, error) {
	g, err := a.allow(c, auth.ReadAlert)
	if err != nil {
		return nil, err
	}
	return list(ctx, g, (*scope).alertRules)
}

func (s *scope) alertRules() ([]hostler.AlertRule, error) {
	rows, err := s.Tx.AlertRules(s.project)
	if err != nil {
		return nil, err
	}
	firing, err := s.FiringAlerts(s.project)
	out := make([]hostler.AlertRule, len(rows))
	for i, r := range rows {
		out[i] = hostler.AlertRule{
			Name: r.Name, AlertRuleInput: r.Input, Firing: firing[r.Name], UpdatedAt: r.UpdatedAt, UpdatedBy: r.UpdatedBy,
		}
	}
	return out, err
}

// AlertRule reads one alert rule.
func (a *App) AlertRule(ctx context.Context, c auth.Caller, name string) (hostler.AlertRule, error) {
	g, err := a.allow(c, auth.ReadAlert)
	if err != nil {
		return hostler.AlertRule{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.AlertRule, error) { return s.alertRule(name) })
}

func (s *scope) alertRule(name string) (hostler.AlertRule, error) {
	all, err := s.alertRules()
	for i := range all {
		if all[i].Name == name {
			return all[i], err
		}
	}
	if err == nil {
		err = hostler.NotFound(alertRuleKind, check.Key(name))
	}
	return hostler.AlertRule{}, err
}

// PutAlertRule creates or replaces an alert rule.
func (a *App) PutAlertRule(
	ctx context.Context, c auth.Caller, name string, in hostler.AlertRuleInput,
) (hostler.AlertRule, error) {
	g, err := a.allow(c, auth.WriteAlert)
	if err != nil {
		return hostler.AlertRule{}, err
	}
	var fields check.Fields
	fields.Name("name", name, 64)
	alert.Check(&fields, in)
	if err := fields.Err(); err != nil {
		return hostler.AlertRule{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.AlertRule, error) { return s.putAlertRule(name, alert.Complete(in)) })
}

func (s *scope) putAlertRule(name string, in hostler.AlertRuleInput) (hostler.AlertRule, error) {
	if err := s.LockProject(s.project); err != nil {
		return hostler.AlertRule{}, err
	}
	all, err := s.alertRules()
	if err != nil {
		return hostler.AlertRule{}, err
	}
	var was *hostler.AlertRule
	for i := range all {
		if all[i].Name == name {
			was = &all[i]
		}
	}
	if was == nil && len(all) >= maxAlertRules {
		return hostler.AlertRule{}, hostler.Errorf(hostler.CodeConflict,
			"the project has %d alert rules, which is the most; delete one first",
			"项目已有 %d 条告警规则，达到上限；请先删除", maxAlertRules)
	}
	for i, ch := range in.Channels {
		if _, err := s.channel(s.Tx.Channel, ch); err != nil {
			if hostler.CodeOf(err) != hostler.CodeNotFound {
				return hostler.AlertRule{}, err
			}
			return hostler.AlertRule{}, hostler.Invalid(check.Item("channels", i),
				"is not a notification channel; see: hostler channel list", "不是通知渠道；请查看：hostler channel list")
		}
	}
	forget := !*in.Enabled || was != nil && (was.Kind != in.Kind || was.By != in.By)
	row := store.AlertRuleRow{Project: s.project, Name: name, Input: in, UpdatedBy: s.caller.User}
	if err := s.Tx.PutAlertRule(row, forget); err != nil {
		return hostler.AlertRule{}, err
	}
	if err := s.audit("alert.rule_set", name, in); err != nil {
		return hostler.AlertRule{}, err
	}
	return s.alertRule(name)
}

// applyAlertRule publishes a document of an alert rule.
func (s *scope) applyAlertRule(d *flow.Document) (hostler.Applied, error) {
	out := hostler.Applied{Kind: "AlertRule", Name: d.Name(), Result: "created"}
	var fields, watch check.Fields
	fields.Name("name", out.Name, 64)
	alert.Check(&watch, d.Alert.Watch)
	fields.Nest("watch.", watch.Faults()...)
	if faults := fields.Faults(); len(faults) > 0 {
		return out, hostler.InvalidFields(d.Locate(faults)...)
	}
	in := alert.Complete(d.Alert.Watch)
	was, err := s.alertRule(out.Name)
	if err != nil && hostler.CodeOf(err) != hostler.CodeNotFound {
		return out, err
	}
	if err == nil {
		out.Result = "changed"
		if same, err := sameJSON(was.AlertRuleInput, in); err != nil || same {
			out.Result = "unchanged"
			return out, err
		}
	}
	if s.planning {
		return out, nil
	}
	_, err = s.putAlertRule(out.Name, in)
	return out, err
}

func sameJSON(a, b any) (bool, error) {
	x, err := json.Marshal(a)
	if err != nil {
		return false, fmt.Errorf("compare: %w", err)
	}
	y, err := json.Marshal(b)
	return string(x) == string(y), err
}

// DeleteAlertRule deletes an alert rule with its alerts and silences.
func (a *App) DeleteAlertRule(ctx context.Context, c auth.Caller, name string) error {
	g, err := a.allow(c, auth.WriteAlert)
	if err != nil {
		return err
	}
	_, err = change(ctx, g, func(s *scope) (none struct{}, err error) {
		found, err := s.Tx.DeleteAlertRule(s.project, name)
		if err == nil && !found {
			err = hostler.NotFound(alertRuleKind, check.Key(name))
		}
		if err != nil {
			return none, err
		}
		return none, s.audit("alert.rule_delete", name, nil)
	})
	return err
}

// TestAlertRule sends a test to the channels of a rule.
func (a *App) TestAlertRule(ctx context.Context, c auth.Caller, name string) (hostler.AlertRule, error) {
	g, err := a.allow(c, auth.WriteAlert)
	if err != nil {
		return hostler.AlertRule{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.AlertRule, error) {
		r, err := s.alertRule(name)
		if err != nil {
			return r, err
		}
		s.EmitAlert(&store.AlertRuleRow{Project: s.project, Name: name}, hostler.AlertNotice{
			Kind: r.Kind, Channels: r.Channels, Note: r.Note, Test: true,
			Firing: []hostler.AlertChange{{Text: alert.Text(r.AlertRuleInput, *r.Threshold), Since: s.Now()}},
		})
		return r, s.audit("alert.test", name, nil)
	})
}

// Alerts lists the alerts of the acting project, by rule and target.
func (a *App) Alerts(
	ctx context.Context, c auth.Caller, f hostler.AlertFilter, p hostler.Page,
) (hostler.List[hostler.Alert], error) {
	g, err := a.allow(c, auth.ReadAlert)
	if err != nil {
		return hostler.List[hostler.Alert]{}, err
	}
	var fields check.Fields
	check.OneOf(&fields, "state", f.State, "", hostler.AlertFiring, hostler.AlertResolved)
	fields.Line("rule", f.Rule, 128)
	if err := fields.Err(); err != nil {
		return hostler.List[hostler.Alert]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Alert]{}, err
	}
	rule, target, _ := strings.Cut(after, "\n") // which neither has
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Alert], error) {
		rows, err := s.Tx.Alerts(s.project, f, rule, target, limit+1)
		if err != nil {
			return hostler.List[hostler.Alert]{}, err
		}
		items, err := s.alertsOf(rows)
		return cut(items, limit, func(x hostler.Alert) string { return x.Rule + "\n" + x.Target }), err
	})
}

// alertsOf describes rows with their rules and silences.
func (s *scope) alertsOf(rows []store.AlertRow) ([]hostler.Alert, error) {
	rules, err := s.alertRules()
	if err != nil {
		return nil, err
	}
	inputs := map[string]hostler.AlertRuleInput{}
	for i := range rules {
		inputs[rules[i].Name] = rules[i].AlertRuleInput
	}
	silences, err := s.Tx.AlertSilences(s.project, "")
	items := make([]hostler.Alert, 0, len(rows))
	for i := range rows {
		r := &rows[i]
		in, known := inputs[r.Rule]
		if !known {
			continue
		}
		x := hostler.Alert{
			Rule: r.Rule, Kind: in.Kind, Target: r.Target, State: r.State, Value: r.Value(), Text: alert.Text(in, r.Value()),
			Since: r.Since, Changed: r.Changed, Notified: timeOrNil(r.ToldAt),
		}
		if q := store.SilenceOf(silences, r.Rule, r.Target); q != nil {
			text := hostler.Textf("until %s by %s: %s", "至 %s，由 %s 设置：%s", q.Until.UTC().Format(time.RFC3339), q.CreatedBy, q.Reason)
			x.Silenced = &text
		}
		items = append(items, x)
	}
	return items, err
}

// AlertSilences lists the silences of the acting project that have not ended.
func (a *App) AlertSilences(ctx context.Context, c auth.Caller) ([]hostler.AlertSilence, error) {
	g, err := a.allow(c, auth.ReadAlert)
	if err != nil {
		return nil, err
	}
	return list(ctx, g, func(s *scope) ([]hostler.AlertSilence, error) {
		rows, err := s.Tx.AlertSilences(s.project, "")
		out := make([]hostler.AlertSilence, len(rows))
		for i := range rows {
			out[i] = silenceOf(&rows[i])
		}
		return out, err
	})
}

func silenceOf(r *store.AlertSilenceRow) hostler.AlertSilence {
	return hostler.AlertSilence{
		Rule: r.Rule, Target: r.Target, Reason: r.Reason, By: r.CreatedBy, Since: r.CreatedAt, Until: r.Until,
	}
}

// SilenceAlerts stops the notifications of a rule for a time. What still fires then is
// notified of.
func (a *App) SilenceAlerts(
	ctx context.Context, c auth.Caller, rule string, in hostler.AlertSilenceInput,
) (hostler.AlertSilence, error) {
	g, err := a.allow(c, auth.WriteAlert)
	if err != nil {
		return hostler.AlertSilence{}, err
	}
	var fields check.Fields
	fields.Given("reason", in.Reason)
	fields.Line("target", in.Target, 300)
	checkTerms(&fields, hostler.HoldTerms{Reason: in.Reason, Until: in.Until, For: in.For})
	fields.Require(in.Until != nil || in.For > 0, "for", "or until is required: a silence ends by itself", "必须指定 for 或 until：静默须自动结束")
	if err := fields.Err(); err != nil {
		return hostler.AlertSilence{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.AlertSilence, error) {
		if _, err := s.alertRule(rule); err != nil {
			return hostler.AlertSilence{}, err
		}
		until, err := s.until(hostler.HoldTerms{Until: in.Until, For: in.For})
		if err == nil && until.Sub(s.Now()) > maxSilence {
			err = hostler.Invalid("until", "must be within 90 days", "须在 90 天内")
		}
		if err != nil {
			return hostler.AlertSilence{}, err
		}
		if err := s.LockProject(s.project); err != nil {
			return hostler.AlertSilence{}, err
		}
		all, err := s.Tx.AlertSilences(s.project, "")
		if err == nil && len(all) >= maxSilences {
			err = hostler.Errorf(hostler.CodeConflict, "the project has %d silences, which is the most; end one first",
				"项目已有 %d 个静默，达到上限；请先结束一个", maxSilences)
		}
		if err != nil {
			return hostler.AlertSilence{}, err
		}
		row, err := s.PutAlertSilence(store.AlertSilenceRow{
			Project: s.project, Rule: rule, Target: in.Target, Reason: in.Reason, CreatedBy: s.caller.User, Until: until,
		})
		if err != nil {
			return hostler.AlertSilence{}, err
		}
		out := silenceOf(&row)
		return out, s.audit("alert.silence", rule, out)
	})
}

// UnsilenceAlerts ends a silence.
func (a *App) UnsilenceAlerts(ctx context.Context, c auth.Caller, rule string, in hostler.AlertTarget) error {
	g, err := a.allow(c, auth.WriteAlert)
	if err != nil {
		return err
	}
	_, err = change(ctx, g, func(s *scope) (none struct{}, err error) {
		found, err := s.DeleteAlertSilence(s.project, rule, in.Target)
		if err == nil && !found {
			err = hostler.NotFound(silenceKind, check.Key(strings.TrimSpace(rule+" "+in.Target)))
		}
		if err != nil {
			return none, err
		}
		return none, s.audit("alert.unsilence", rule, in)
	})
	return err
}
