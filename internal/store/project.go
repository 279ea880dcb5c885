package store

import (
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

var projectWord = hostler.Text{EN: "project", ZH: "项目"}

// InsertProject creates a project. CodeConflict: the name is taken.
func (tx *Tx) InsertProject(name string) (hostler.Project, error) {
	id, err := tx.NewID()
	if err != nil {
		return hostler.Project{}, err
	}
	n, err := tx.Exec(`INSERT INTO project (id, name, created_at) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING`,
		id, name, sqldb.Micros(tx.now))
	if err == nil && n == 0 {
		err = errTaken(projectWord, name)
	}
	p := hostler.Project{ID: hostler.ProjectID(id), Name: name, CreatedAt: tx.now}
	p.Weight = 1
	return p, err
}

// errTaken is the error for a name that another object of the kind has.
func errTaken(kind hostler.Text, name string) error {
	return &hostler.Error{Code: hostler.CodeConflict, Text: hostler.Text{
		EN: kind.EN + " " + quote(name) + " already exists",
		ZH: kind.ZH + " " + quote(name) + " 已存在",
	}}
}

// ProjectByName finds a project; nil when there is none.
func (tx *Tx) ProjectByName(name string) (*hostler.Project, error) {
	return first(tx.projects(`WHERE name = ?`, name))
}

// Projects lists projects by name after a name: those with the ids, or all of
// them when every is set.
func (tx *Tx) Projects(ids []hostler.ProjectID, every bool, after string, limit int) ([]hostler.Project, error) {
	return tx.projects(`WHERE (? = 1 OR id IN ?*) AND name > ? ORDER BY name LIMIT ?`, every, ids, after, limit)
}

// ProjectIDs finds the ids of projects by name; unknown names are left out.
func (tx *Tx) ProjectIDs(names []string) (map[string]hostler.ProjectID, error) {
	all, err := tx.projects(`WHERE name IN ?*`, names)
	out := make(map[string]hostler.ProjectID, len(all))
	for _, p := range all {
		out[p.Name] = p.ID
	}
	return out, err
}

// LockProject locks the project: it serialises the checks of rules that span several
// rows, such as "one admin must stay".
func (tx *Tx) LockProject(id hostler.ProjectID) error {
	_, err := tx.exists(`SELECT id FROM project WHERE id = ? FOR UPDATE`, id)
	return err
}

func (tx *Tx) projects(where string, args ...any) ([]hostler.Project, error) {
	type projectRow struct {
		ID         hostler.ProjectID `db:"id"`
		Name       string            `db:"name"`
		CreatedAt  time.Time         `db:"created_at"`
		Weight     int               `db:"COALESCE(l.weight, 1)"`
		MaxRunning int               `db:"COALESCE(l.max_running, 0)"`
		MaxQueued  int               `db:"COALESCE(l.max_queued, 0)"`
		MaxTimeout int64             `db:"COALESCE(l.max_timeout, 0)"`
		MaxBackoff int64             `db:"COALESCE(l.max_backoff, 0)"`
		FourEyes   bool              `db:"four_eyes"`
	}
	rows, err := query[projectRow](tx, `SELECT @cols FROM project LEFT JOIN project_limit l ON l.project = project.id `+
		where, args...)
	var out []hostler.Project
	for _, r := range rows {
		out = append(out, hostler.Project{
			ID: r.ID, Name: r.Name, CreatedAt: r.CreatedAt, FourEyes: r.FourEyes, ProjectLimits: hostler.ProjectLimits{
				Weight: r.Weight, MaxRunning: r.MaxRunning, MaxQueued: r.MaxQueued,
				MaxTimeout: hostler.Duration(micros(r.MaxTimeout)), MaxBackoff: hostler.Duration(micros(r.MaxBackoff)),
			},
		})
	}
	return out, err
}

// SetFourEyes sets whether another person than its requester resolves an unknown job as
// succeeded.
func (tx *Tx) SetFourEyes(p hostler.ProjectID, on bool) error {
	_, err := tx.Exec(`UPDATE project SET four_eyes = ? WHERE id = ?`, on, p)
	return err
}

// FourEyes reports what SetFourEyes has set.
func (tx *Tx) FourEyes(p hostler.ProjectID) (bool, error) {
	return tx.exists(`SELECT id FROM project WHERE id = ? AND four_eyes = 1`, p)
}
