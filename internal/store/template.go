package store

import (
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// TemplateRow is one version of a template; Latest is the number of the newest one.
type TemplateRow struct {
	ID        hostler.TemplateID `db:"t.id"`
	Name      string             `db:"t.name"`
	Latest    int                `db:"t.latest"`
	Version   int                `db:"v.version"`
	Source    string             `db:"v.source"`
	Spec      string             `db:"v.spec"`
	CreatedBy string             `db:"v.created_by"`
	CreatedAt time.Time          `db:"v.created_at"`
	RetiredAt time.Time          `db:"v.retired_at"`
}

const fromTemplate = ` FROM template t JOIN template_version v ON v.template = t.id `

// Template returns a version of a template of a project; 0 is the latest. It is nil when
// there is none.
func (tx *Tx) Template(project hostler.ProjectID, name string, version int) (*TemplateRow, error) {
	if version == 0 {
		return queryOne[TemplateRow](tx, `SELECT @cols`+fromTemplate+
			`WHERE t.project = ? AND t.name = ? AND v.version = t.latest`, project, name)
	}
	return queryOne[TemplateRow](tx, `SELECT @cols`+fromTemplate+
		`WHERE t.project = ? AND t.name = ? AND v.version = ?`, project, name, version)
}

// Templates lists the latest versions of the templates after a name, in the order of their
// names.
func (tx *Tx) Templates(project hostler.ProjectID, after string, limit int) ([]TemplateRow, error) {
	return query[TemplateRow](tx, `SELECT @cols`+fromTemplate+
		`WHERE t.project = ? AND t.name > ? AND v.version = t.latest ORDER BY t.name LIMIT ?`, project, after, limit)
}

// TemplateVersions lists the versions of a template below a number, the newest first.
func (tx *Tx) TemplateVersions(project hostler.ProjectID, name string, below, limit int) ([]TemplateRow, error) {
	return query[TemplateRow](tx, `SELECT @cols`+fromTemplate+
		`WHERE t.project = ? AND t.name = ? AND v.version < ? ORDER BY v.version DESC LIMIT ?`,
		project, name, below, limit)
}

// PublishTemplate adds a version to a template, or creates it, and returns the number.
func (tx *Tx) PublishTemplate(project hostler.ProjectID, name, source, spec, by string) (int, error) {
	type templateColumns struct {
		ID        int64             `db:"id"`
		Project   hostler.ProjectID `db:"project"`
		Name      string            `db:"name"`
		Latest    int               `db:"latest"`
		CreatedAt time.Time         `db:"created_at"`
		UpdatedAt time.Time         `db:"updated_at"`
	}
	type versionColumns struct {
		Template  int64     `db:"template"`
		Version   int       `db:"version"`
		Source    string    `db:"source"`
		Spec      string    `db:"spec"`
		CreatedBy string    `db:"created_by"`
		CreatedAt time.Time `db:"created_at"`
	}
	id, err := tx.NewID()
	if err != nil {
		return 0, err
	}
	if _, err := insertNew(tx, "template", "project, name", []templateColumns{
		{id, project, name, 0, tx.now, tx.now},
	}); err != nil {
		return 0, err
	}
	// The update locks the template: two who publish at the same time get two numbers.
	version := 0
	if _, err := tx.one(`UPDATE template SET latest = latest + 1, updated_at = ? WHERE project = ? AND name = ?
RETURNING id, latest`, []any{sqldb.Micros(tx.now), project, name}, &id, &version); err != nil {
		return 0, err
	}
	return version, insert(tx, "template_version", []versionColumns{{id, version, source, spec, by, tx.now}})
}

// RetireTemplate retires a version, or lets it run again. It reports whether there is one.
func (tx *Tx) RetireTemplate(id hostler.TemplateID, version int, retired bool) (bool, error) {
	at := int64(0)
	if retired {
		at = sqldb.Micros(tx.now)
	}
	n, err := tx.Exec(`UPDATE template_version SET retired_at = ? WHERE template = ? AND version = ?`, at, id, version)
	return n > 0, err
}

// TaskRow is a task.
type TaskRow struct {
	ID        hostler.TaskID    `db:"id"`
	Project   hostler.ProjectID `db:"project"`
	Name      string            `db:"name"`
	Source    string            `db:"source"`
	Spec      string            `db:"spec"`
	CreatedBy string            `db:"created_by"`
	CreatedAt time.Time         `db:"created_at"`
	UpdatedAt time.Time         `db:"updated_at"`
}

// Task returns a task of a project; nil when there is none.
func (tx *Tx) Task(project hostler.ProjectID, name string) (*TaskRow, error) {
	return queryOne[TaskRow](tx, `SELECT @cols FROM task WHERE project = ? AND name = ?`, project, name)
}

// Tasks lists the tasks after a name, in the order of their names.
func (tx *Tx) Tasks(project hostler.ProjectID, after string, limit int) ([]TaskRow, error) {
	return query[TaskRow](tx, `SELECT @cols FROM task WHERE project = ? AND name > ? ORDER BY name LIMIT ?`,
		project, after, limit)
}

// PutTask creates or replaces a task.
func (tx *Tx) PutTask(t TaskRow) error {
	id, err := tx.NewID()
	if err != nil {
		return err
	}
	t.ID, t.CreatedAt, t.UpdatedAt = hostler.TaskID(id), tx.now, tx.now
	cols := sqldb.Columns[TaskRow]()
	_, err = execRows(tx, `INSERT INTO task (`+columnList("", cols)+`) SELECT `+columnList("v.", cols)+` FROM @rows
WHERE true ON CONFLICT (project, name) DO UPDATE SET source = excluded.source, spec = excluded.spec,
updated_at = excluded.updated_at`, []TaskRow{t})
	return err
}

// DeleteTask deletes a task, and reports whether there was one.
func (tx *Tx) DeleteTask(project hostler.ProjectID, name string) (bool, error) {
	n, err := tx.Exec(`DELETE FROM task WHERE project = ? AND name = ?`, project, name)
	return n > 0, err
}
