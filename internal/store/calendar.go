package store

import (
	"encoding/json"
	"fmt"
	"time"

	"hostler.dev/hostler"
)

// CalendarRow is a calendar as stored.
type CalendarRow struct {
	Project   hostler.ProjectID
	Name      string
	Input     hostler.CalendarInput
	UpdatedBy string
	UpdatedAt time.Time
}

// calendarColumns are the columns of table calendar.
type calendarColumns struct {
	Project   hostler.ProjectID `db:"project"`
	Name      string            `db:"name"`
	Spec      string            `db:"spec"` // JSON
	UpdatedBy string            `db:"updated_by"`
	UpdatedAt time.Time         `db:"updated_at"`
}

// PutCalendar creates or replaces a calendar.
func (tx *Tx) PutCalendar(r CalendarRow) error {
	spec, err := json.Marshal(r.Input)
	if err != nil {
		return fmt.Errorf("encode a calendar: %w", err)
	}
	_, err = execRows(tx, `INSERT INTO calendar (project, name, spec, updated_by, updated_at)
SELECT v.project, v.name, v.spec, v.updated_by, v.updated_at FROM @rows WHERE true
ON CONFLICT (project, name) DO UPDATE SET spec = excluded.spec, updated_by = excluded.updated_by,
updated_at = excluded.updated_at`, []calendarColumns{{r.Project, r.Name, string(spec), r.UpdatedBy, tx.now}})
	return err
}

// DeleteCalendar deletes a calendar, and reports whether there was one.
func (tx *Tx) DeleteCalendar(project hostler.ProjectID, name string) (bool, error) {
	n, err := tx.Exec(`DELETE FROM calendar WHERE project = ? AND name = ?`, project, name)
	return n > 0, err
}

// Calendars lists the calendars of a project by name.
func (tx *Tx) Calendars(project hostler.ProjectID) ([]CalendarRow, error) {
	var out []CalendarRow
	err := queryEach(tx, `SELECT @cols FROM calendar WHERE project = ? ORDER BY name`, []any{project},
		func(c *calendarColumns) error {
			r := CalendarRow{Project: c.Project, Name: c.Name, UpdatedBy: c.UpdatedBy, UpdatedAt: c.UpdatedAt}
			if err := json.Unmarshal([]byte(c.Spec), &r.Input); err != nil {
				return fmt.Errorf("decode the calendar %q: %w", c.Name, err)
			}
			out = append(out, r)
			return nil
		})
	return out, err
}

// AnyHasLabels reports whether one of the assets, or one with the address, has all the labels.
func (tx *Tx) AnyHasLabels(
	project hostler.ProjectID, assets []hostler.AssetID, address string, labels map[string]string,
) (bool, error) {
	pairs := make([]string, 0, len(labels))
	for k, v := range labels {
		pairs = append(pairs, k+"="+v)
	}
	return tx.exists(`SELECT l.asset FROM asset_label l WHERE l.project = ? AND l.key || '=' || l.value IN ?*
AND (l.asset IN ?* OR l.asset IN (SELECT a.id FROM asset a WHERE a.project = ? AND a.address = ? AND a.address <> ''))
GROUP BY l.asset HAVING count(*) = ? LIMIT 1`, project, pairs, assets, project, address, len(pairs))
}
