package store

import (
	"encoding/json"
	"fmt"
	"time"

	"hostler.dev/hostler"
)

// CommandRuleRow is a command rule as a project has set it: a change of a built-in rule, or
// a rule of its own.
type CommandRuleRow struct {
	Project   hostler.ProjectID
	Name      string
	Input     hostler.CommandRuleInput
	UpdatedBy string
	UpdatedAt time.Time
}

// commandRuleColumns are the columns of table command_rule.
type commandRuleColumns struct {
	Project   hostler.ProjectID `db:"project"`
	Name      string            `db:"name"`
	Spec      string            `db:"spec"` // JSON
	UpdatedBy string            `db:"updated_by"`
	UpdatedAt time.Time         `db:"updated_at"`
}

// PutCommandRule creates or replaces a rule.
func (tx *Tx) PutCommandRule(r CommandRuleRow) error {
	spec, err := json.Marshal(r.Input)
	if err != nil {
		return fmt.Errorf("encode a command rule: %w", err)
	}
	cols := commandRuleColumns{r.Project, r.Name, string(spec), r.UpdatedBy, tx.now}
	_, err = execRows(tx, `INSERT INTO command_rule (project, name, spec, updated_by, updated_at)
SELECT v.project, v.name, v.spec, v.updated_by, v.updated_at FROM @rows WHERE true
ON CONFLICT (project, name) DO UPDATE SET spec = excluded.spec, updated_by = excluded.updated_by,
updated_at = excluded.updated_at`, []commandRuleColumns{cols})
	return err
}

// DeleteCommandRule deletes a rule, and reports whether there was one.
func (tx *Tx) DeleteCommandRule(project hostler.ProjectID, name string) (bool, error) {
	n, err := tx.Exec(`DELETE FROM command_rule WHERE project = ? AND name = ?`, project, name)
	return n > 0, err
}

// CommandRules lists the rules that a project has set, by name.
func (tx *Tx) CommandRules(project hostler.ProjectID) ([]CommandRuleRow, error) {
	var out []CommandRuleRow
	err := queryEach(tx, `SELECT @cols FROM command_rule WHERE project = ? ORDER BY name`, []any{project},
		func(c *commandRuleColumns) error {
			r := CommandRuleRow{Project: c.Project, Name: c.Name, UpdatedBy: c.UpdatedBy, UpdatedAt: c.UpdatedAt}
			if err := json.Unmarshal([]byte(c.Spec), &r.Input); err != nil {
				return fmt.Errorf("decode the command rule %q: %w", c.Name, err)
			}
			out = append(out, r)
			return nil
		})
	return out, err
}
