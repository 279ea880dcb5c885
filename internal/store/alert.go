package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file holds alert rules, and what they found.
//
// The rules of all projects are evaluated in steps, by any of the servers: a step reads the
// figures of some targets of one rule apart from the transaction that stores what it found,
// and moves a cursor. A server that finds the cursor moved drops its step, so that each
// change is made, and notified of, once.

const (
	// maxFiring is how many alerts of a rule fire at most; further ones are left out.
	maxFiring = 1000
	// noticeListed is how many alerts a notification lists of each state.
	noticeListed = 20
	// valueScale is of values as they are stored.
	valueScale = 1e6
)

// AlertRow is a row of table alert.
type AlertRow struct {
	Project hostler.ProjectID  `db:"project"`
	Rule    string             `db:"rule"`
	Target  string             `db:"target"`
	State   hostler.AlertState `db:"state"`
	Micros  int64              `db:"value"`
	Since   time.Time          `db:"since"`
	Changed time.Time          `db:"changed_at"`
	Told    hostler.AlertState `db:"told"`
	ToldAt  time.Time          `db:"told_at"`
}

// Value is the value in the unit of the rule's threshold.
func (r *AlertRow) Value() float64 { return float64(r.Micros) / valueScale }

// AlertRuleRow is an alert rule as stored.
type AlertRuleRow struct {
	Project   hostler.ProjectID
	Name      string
	Input     hostler.AlertRuleInput
	UpdatedBy string
	UpdatedAt time.Time
	ToldAt    time.Time
}

// alertRuleColumns are the columns of table alert_rule.
type alertRuleColumns struct {
	Project   hostler.ProjectID `db:"project"`
	Name      string            `db:"name"`
	Spec      string            `db:"spec"` // JSON
	UpdatedBy string            `db:"updated_by"`
	UpdatedAt time.Time         `db:"updated_at"`
	ToldAt    time.Time         `db:"told_at"`
}

func (tx *Tx) alertRules(sql string, args ...any) ([]AlertRuleRow, error) {
	var out []AlertRuleRow
	err := queryEach(tx, `SELECT @cols FROM alert_rule WHERE `+sql, args, func(c *alertRuleColumns) error {
		r := AlertRuleRow{
			Project: c.Project, Name: c.Name, UpdatedBy: c.UpdatedBy, UpdatedAt: c.UpdatedAt, ToldAt: c.ToldAt,
		}
		if err := json.Unmarshal([]byte(c.Spec), &r.Input); err != nil {
			return fmt.Errorf("decode the alert rule %q: %w", c.Name, err)
		}
		out = append(out, r)
		return nil
	})
	return out, err
}

// AlertRules lists the alert rules of a project by name.
func (tx *Tx) AlertRules(project hostler.ProjectID) ([]AlertRuleRow, error) {
	return tx.alertRules(`project = ? ORDER BY name`, project)
}

// PutAlertRule creates or replaces an alert rule. The alerts of one that is disabled, or of
// another kind than before, are deleted.
func (tx *Tx) PutAlertRule(r AlertRuleRow, forget bool) error {
	spec, err := json.Marshal(r.Input)
	if err != nil {
		return fmt.Errorf("encode an alert rule: %w", err)
	}
	_, err = execRows(tx, `INSERT INTO alert_rule (project, name, spec, updated_by, updated_at, told_at)
SELECT v.project, v.name, v.spec, v.updated_by, v.updated_at, v.told_at FROM @rows WHERE true
ON CONFLICT (project, name) DO UPDATE SET spec = excluded.spec, updated_by = excluded.updated_by,
updated_at = excluded.updated_at`, []alertRuleColumns{{Project: r.Project, Name: r.Name, Spec: string(spec), UpdatedBy: r.UpdatedBy, UpdatedAt: tx.now}})
	if err == nil && forget {
		_, err = tx.Exec(`DELETE FROM alert WHERE project = ? AND rule = ?`, r.Project, r.Name)
	}
	return err
}

// DeleteAlertRule deletes a rule with its alerts and silences, and reports whether there
// was one.
func (tx *Tx) DeleteAlertRule(project hostler.ProjectID, name string) (bool, error) {
	n, err := tx.Exec(`DELETE FROM alert_rule WHERE project = ? AND name = ?`, project, name)
	return n > 0, err
}

// FiringAlerts counts the alerts of each rule of a project that are firing.
func (tx *Tx) FiringAlerts(project hostler.ProjectID) (map[string]int, error) {
	type count struct {
		Rule string `db:"rule"`
		N    int    `db:"count(*)"`
	}
	rows, err := query[count](tx, `SELECT @cols FROM alert WHERE project = ? AND state = 'firing' GROUP BY rule`, project)
	out := make(map[string]int, len(rows))
	for _, r := range rows {
		out[r.Rule] = r.N
	}
	return out, err
}

// CountFiring counts the alerts of all projects that are firing.
func (tx *Tx) CountFiring() (n int, err error) {
	_, err = tx.one(`SELECT count(*) FROM alert WHERE state = 'firing'`, nil, &n)
	return n, err
}

// Alerts lists up to limit alerts of a project after one, by rule and target.
func (tx *Tx) Alerts(
	project hostler.ProjectID, f hostler.AlertFilter, rule, target string, limit int,
) ([]AlertRow, error) {
	return query[AlertRow](tx, `SELECT @cols FROM alert WHERE project = ? AND (rule, target) > (?, ?)
AND (rule = ? OR ? = '') AND (state = ? OR ? = '') ORDER BY rule, target LIMIT ?`,
		project, rule, target, f.Rule, f.Rule, string(f.State), string(f.State), limit)
}

// AlertSilenceRow is a row of table alert_silence.
type AlertSilenceRow struct {
	Project   hostler.ProjectID `db:"project"`
	Rule      string            `db:"rule"`
	Target    string            `db:"target"`
	Reason    string            `db:"reason"`
	CreatedBy string            `db:"created_by"`
	CreatedAt time.Time         `db:"created_at"`
	Until     time.Time         `db:"until"`
}

// AlertSilences lists the silences of a project, or of one rule of it, that have not ended.
func (tx *Tx) AlertSilences(project hostler.ProjectID, rule string) ([]AlertSilenceRow, error) {
	return query[AlertSilenceRow](tx, `SELECT @cols FROM alert_silence WHERE project = ? AND (rule = ? OR ? = '')
AND until > ? ORDER BY rule, target`, project, rule, rule, sqldb.Micros(tx.now))
}

// SilenceOf finds the silence of an alert among those of its project; nil: there is none.
func SilenceOf(all []AlertSilenceRow, rule, target string) *AlertSilenceRow {
	for i := range all {
		if s := &all[i]; s.Rule == rule && (s.Target == "" || s.Target == target) {
			return s
		}
	}
	return nil
}

// PutAlertSilence creates a silence, or replaces that of the same rule and target.
func (tx *Tx) PutAlertSilence(s AlertSilenceRow) (AlertSilenceRow, error) {
	s.CreatedAt = tx.now
	_, err := execRows(tx, `INSERT INTO alert_silence (project, rule, target, reason, created_by, created_at, until)
SELECT v.project, v.rule, v.target, v.reason, v.created_by, v.created_at, v.until FROM @rows WHERE true
ON CONFLICT (project, rule, target) DO UPDATE SET reason = excluded.reason, created_by = excluded.created_by,
created_at = excluded.created_at, until = excluded.until`, []AlertSilenceRow{s})
	return s, err
}

// DeleteAlertSilence ends a silence, and reports whether there was one.
func (tx *Tx) DeleteAlertSilence(project hostler.ProjectID, rule, target string) (bool, error) {
	n, err := tx.Exec(`DELETE FROM alert_silence WHERE project = ? AND rule = ? AND target = ? AND until > ?`,
		project, rule, target, sqldb.Micros(tx.now))
	return n > 0, err
}

// DeleteOldAlerts deletes up to limit alerts that were resolved before a time, and silences
// that have ended.
func (tx *Tx) DeleteOldAlerts(before time.Time, limit int) (int64, error) {
	_, err := tx.Exec(`DELETE FROM alert_silence WHERE until <= ?`, sqldb.Micros(tx.now))
	if err != nil {
		return 0, err
	}
	return tx.Exec(`DELETE FROM alert WHERE (project, rule, target) IN (SELECT a.project, a.rule, a.target FROM alert a
WHERE a.state = 'resolved' AND a.changed_at < ? ORDER BY a.changed_at LIMIT ?)`, sqldb.Micros(before), limit)
}

// alertCursor is the row of table alert_cursor.
type alertCursor struct {
	Step    int64             `db:"step"`
	RoundAt time.Time         `db:"round_at"`
	Project hostler.ProjectID `db:"project"`
	Rule    string            `db:"rule"`
	Target  string            `db:"target"`
}

// AlertStep is a step of the evaluation: some targets of a rule, after one, or the end of a
// round.
type AlertStep struct {
	cursor alertCursor
	Rule   *AlertRuleRow // nil: all rules are evaluated
	After  string        // the target of the step before

	// What the step found: the targets for which the rule fires, of those after After up to
	// Last; all those after it if Last is empty.
	Firing map[string]float64
	Last   string
}

// NextAlertStep returns what is to be evaluated next; nil if the last round began less than
// an interval ago, or there is no rule.
func (tx *Tx) NextAlertStep(interval time.Duration) (*AlertStep, error) {
	c, err := queryOne[alertCursor](tx, `SELECT @cols FROM alert_cursor WHERE id = 1`)
	if err != nil || c == nil {
		return nil, err
	}
	first := c.Project == 0
	if first && tx.now.Sub(c.RoundAt) < interval && !tx.now.Before(c.RoundAt) {
		return nil, nil
	}
	s := &AlertStep{cursor: *c, After: c.Target, Firing: map[string]float64{}}
	var rules []AlertRuleRow
	if c.Target != "" {
		rules, err = tx.alertRules(`project = ? AND name = ?`, c.Project, c.Rule)
	}
	if err == nil && len(rules) == 0 {
		s.After = ""
		rules, err = tx.alertRules(`(project, name) > (?, ?) ORDER BY project, name LIMIT 1`, c.Project, c.Rule)
	}
	if err != nil || len(rules) == 0 && first {
		return nil, err
	}
	if len(rules) > 0 {
		s.Rule = &rules[0]
	}
	return s, nil
}

// StoreAlerts stores what a step found, and notifies of it; stored is false when another server has
// taken the step, or the rule was changed meanwhile. text describes a value. It returns what
// it notified of.
func (tx *Tx) StoreAlerts(
	s *AlertStep, text func(value float64) hostler.Text,
) (stored bool, told *hostler.AlertNotice, err error) {
	now, err := queryOne[alertCursor](tx, `SELECT @cols FROM alert_cursor WHERE id = 1 FOR UPDATE`)
	if err != nil || now == nil || *now != s.cursor {
		return false, nil, err
	}
	next := alertCursor{Step: now.Step + 1, RoundAt: now.RoundAt}
	if now.Project == 0 {
		next.RoundAt = tx.now
	}
	if r := s.Rule; r != nil {
		next.Project, next.Rule, next.Target = r.Project, r.Name, s.Last
		locked, err := tx.alertRules(`project = ? AND name = ? FOR UPDATE`, r.Project, r.Name)
		if err != nil || len(locked) == 0 || !locked[0].UpdatedAt.Equal(r.UpdatedAt) {
			return false, nil, err
		}
		if *r.Input.Enabled {
			if err := tx.storeAlerts(s); err != nil {
				return false, nil, err
			}
			if s.Last == "" {
				if told, err = tx.notifyAlerts(&locked[0], text); err != nil {
					return false, nil, err
				}
			}
		}
	}
	_, err = tx.Exec(`UPDATE alert_cursor SET step = ?, round_at = ?, project = ?, rule = ?, target = ? WHERE id = 1`,
		next.Step, sqldb.Micros(next.RoundAt), next.Project, next.Rule, next.Target)
	return err == nil, told, err
}

// storeAlerts stores the alerts of a step.
func (tx *Tx) storeAlerts(s *AlertStep) error {
	r := s.Rule
	known, err := query[AlertRow](tx, `SELECT @cols FROM alert WHERE project = ? AND rule = ?
AND (target > ? OR ? = '') AND (target <= ? OR ? = '')`, r.Project, r.Name, s.After, s.After, s.Last, s.Last)
	if err != nil {
		return err
	}
	var changed []AlertRow
	fresh := maps.Clone(s.Firing) // a transaction may run again
	for i := range known {
		a := known[i]
		value, fires := s.Firing[a.Target]
		delete(fresh, a.Target)
		switch {
		case fires && a.State == hostler.AlertResolved:
			a.State, a.Since, a.Changed = hostler.AlertFiring, tx.now, tx.now
		case !fires && a.State == hostler.AlertFiring:
			a.State, a.Changed = hostler.AlertResolved, tx.now
		}
		if fires {
			a.Micros = valueMicros(value)
		}
		if a != known[i] {
			changed = append(changed, a)
		}
	}
	var firing int
	if _, err := tx.one(`SELECT count(*) FROM alert WHERE project = ? AND rule = ? AND state = 'firing'`,
		[]any{r.Project, r.Name}, &firing); err != nil {
		return err
	}
	for _, target := range slices.Sorted(maps.Keys(fresh)) {
		if firing++; firing > maxFiring {
			break
		}
		changed = append(changed, AlertRow{
			Project: r.Project, Rule: r.Name, Target: target, State: hostler.AlertFiring, Micros: valueMicros(fresh[target]),
			Since: tx.now, Changed: tx.now,
		})
	}
	return tx.writeAlerts(changed)
}

func valueMicros(v float64) int64 { return int64(min(v*valueScale, math.MaxInt64/2)) }

func (tx *Tx) writeAlerts(rows []AlertRow) error {
	if len(rows) == 0 {
		return nil
	}
	slices.SortFunc(rows, func(a, b AlertRow) int { return cmp.Compare(a.Target, b.Target) })
	_, err := execRows(tx, `INSERT INTO alert (project, rule, target, state, value, since, changed_at, told, told_at)
SELECT v.project, v.rule, v.target, v.state, v.value, v.since, v.changed_at, v.told, v.told_at FROM @rows WHERE true
ON CONFLICT (project, rule, target) DO UPDATE SET state = excluded.state, value = excluded.value, since = excluded.since,
changed_at = excluded.changed_at, told = excluded.told, told_at = excluded.told_at`, rows)
	return err
}

// notifyAlerts emits an event of the alerts of a rule that changed since the last one, if
// that is long enough ago. What a silence is about is not in it: it is told when the
// silence ends, if it still fires.
func (tx *Tx) notifyAlerts(r *AlertRuleRow, text func(value float64) hostler.Text) (*hostler.AlertNotice, error) {
	repeat := int64(math.MinInt64)
	if d := r.Input.Repeat.D(); d > 0 {
		repeat = sqldb.Micros(tx.now.Add(-d))
	}
	if tx.now.Sub(r.ToldAt) < r.Input.Every.D() {
		return nil, nil
	}
	rows, err := query[AlertRow](tx, `SELECT @cols FROM alert WHERE project = ? AND rule = ?
AND (told <> state OR state = 'firing' AND told_at <= ?) ORDER BY target LIMIT ?`, r.Project, r.Name, repeat, maxFiring)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	silences, err := tx.AlertSilences(r.Project, r.Name)
	if err != nil {
		return nil, err
	}
	notice := hostler.AlertNotice{Kind: r.Input.Kind, Channels: r.Input.Channels, Note: r.Input.Note}
	var told []AlertRow
	list := func(to *[]hostler.AlertChange, a *AlertRow) {
		if len(*to) == noticeListed {
			notice.More++
			return
		}
		*to = append(*to, hostler.AlertChange{Target: a.Target, Text: text(a.Value()), Since: a.Since})
	}
	for i := range rows {
		a := &rows[i]
		silent := SilenceOf(silences, r.Name, a.Target) != nil
		if silent && a.State == hostler.AlertFiring {
			continue
		}
		if a.Told = a.State; !silent {
			a.ToldAt = tx.now
			if a.State == hostler.AlertFiring {
				list(&notice.Firing, a)
			} else {
				list(&notice.Resolved, a)
			}
		}
		told = append(told, *a)
	}
	if err := tx.writeAlerts(told); err != nil || len(notice.Firing)+len(notice.Resolved) == 0 {
		return nil, err
	}
	tx.EmitAlert(r, notice)
	_, err = tx.Exec(`UPDATE alert_rule SET told_at = ? WHERE project = ? AND name = ?`, sqldb.Micros(tx.now), r.Project, r.Name)
	return &notice, err
}

// EmitAlert emits the event of a notification.
func (tx *Tx) EmitAlert(r *AlertRuleRow, n hostler.AlertNotice) {
	t := hostler.EventAlertResolved
	if len(n.Firing) > 0 {
		t = hostler.EventAlertFiring
	}
	tx.Emit(r.Project, t, hostler.ObjectEvent{Object: r.Name, Alert: &n})
}

// OldestReady returns since when the oldest ready job of a project waits, by queue.
func (tx *Tx) OldestReady(project hostler.ProjectID) (map[string]time.Time, error) {
	return tx.oldestReady(project)
}

// CountUnresolved counts the jobs of a project with an unknown outcome, up to a limit.
func (tx *Tx) CountUnresolved(project hostler.ProjectID, limit int) (n int, err error) {
	_, err = tx.one(`SELECT count(*) FROM (SELECT k.id FROM parked k JOIN job j ON j.id = k.id WHERE j.project = ? LIMIT ?) u`,
		[]any{project, limit}, &n)
	return n, err
}

// runningColumns are the columns of jobs by which [Tx.LongestRunning] tells them apart.
var runningColumns = map[hostler.StatsBy]string{
	hostler.StatsByAction: "action", hostler.StatsByQueue: "queue", hostler.StatsByUser: "created_by",
	hostler.StatsByAsset: "asset_name",
}

// LongestRunning returns since when the longest running job of a project runs, by action,
// queue, user or asset.
func (tx *Tx) LongestRunning(project hostler.ProjectID, by hostler.StatsBy, names []string) (map[string]time.Time, error) {
	type longest struct {
		Name  string    `db:"name"`
		Since time.Time `db:"since"`
	}
	col, ok := runningColumns[by]
	if !ok {
		return nil, nil
	}
	rows, err := query[longest](tx, `SELECT j.`+col+` AS name, min(r.started_at) AS since FROM running r JOIN job j ON j.id = r.id
WHERE j.project = ? AND r.started_at > 0 AND j.`+col+` IN ?* GROUP BY j.`+col, project, names)
	out := make(map[string]time.Time, len(rows))
	for _, r := range rows {
		out[r.Name] = r.Since
	}
	return out, err
}
