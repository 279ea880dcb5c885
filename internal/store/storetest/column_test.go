package storetest_test

import (
	"context"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/schema"
	"hostler.dev/hostler/internal/store/storetest"
)

// addNote is a migration of a hypothetical later version.
const addNote = `-- +goose Up
ALTER TABLE job ADD COLUMN note TEXT NOT NULL DEFAULT 'old';
ALTER TABLE ${HISTORY} ADD COLUMN note TEXT NOT NULL DEFAULT 'old';
CREATE INDEX ${HISTORY}_note ON ${HISTORY} (note, id) WHERE note = 'new';

-- +goose Down
DROP INDEX ${HISTORY}_note;
ALTER TABLE ${HISTORY} DROP COLUMN note;
ALTER TABLE job DROP COLUMN note;
`

// nextSchema returns this version's migrations and addNote.
func nextSchema(t *testing.T) fs.FS {
	t.Helper()
	next := fstest.MapFS{"main/90000_note.sql": {Data: []byte(addNote)}}
	err := fs.WalkDir(schema.Migrations, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := schema.Migrations.ReadFile(path)
		next[path] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// TestAddColumnToJobs adds a column to live and ended jobs by an ordinary migration, in a
// database with several segments or partitions, and in a new one.
func TestAddColumnToJobs(t *testing.T) {
	for name, old := range map[string]bool{"old database": true, "new database": false} {
		t.Run(name, func(t *testing.T) {
			storetest.EachEmptyDriver(t, func(t *testing.T, ds *storetest.Drivers) { addColumn(t, ds, old) })
		})
	}
}

func addColumn(t *testing.T, ds *storetest.Drivers, old bool) {
	const segments = 3
	var want []string
	fill := func(d sqldb.Driver, first int64, note string) {
		t.Helper()
		for i := range int64(segments) {
			doneRow(t, d, first+i, ds.Clock.Now())
			want = append(want, note)
			ds.Clock.Advance(25 * time.Hour) // begins another segment or partition
			if err := d.Maintain(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if old {
		d := ds.Open(t)
		fill(d, 100, "old")
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ds.Schema = nextSchema(t)
	d := ds.Open(t)
	const notes = `SELECT note FROM done ORDER BY id`
	wantStrings(t, d, want, notes)

	// Rows of segments and partitions from before and after have the column.
	fill(d, 200, "old")
	wantStrings(t, d, want, notes)
	doneRow(t, d, 300, ds.Clock.Now())
	mustTx(t, d, func(ctx context.Context, c sqldb.Conn) error {
		_, err := c.Exec(ctx, `UPDATE `+c.InsertTable("done")+` SET note = 'new' WHERE id = 300`)
		return err
	})
	wantStrings(t, d, append(want, "new"), notes)
	wantStrings(t, d, []string{"300"}, `SELECT CAST(id AS TEXT) FROM done WHERE note = 'new'`)
	wantStrings(t, d, nil, `SELECT note FROM job`)
}
