package storetest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/schema"
	"hostler.dev/hostler/internal/store/storetest"
)

// laterSchema returns this program's migrations and a later one, which declares a floor
// unless that is 0.
func laterSchema(t *testing.T, floor int64) fstest.MapFS {
	t.Helper()
	later := nextSchema(t).(fstest.MapFS)
	text := addNote
	if floor != 0 {
		text = fmt.Sprintf("-- floor: %d\n%s", floor, addNote)
	}
	later["main/90000_note.sql"] = &fstest.MapFile{Data: []byte(text)}
	return later
}

// TestOlderProgramRefusesNewerData is a regression test: an older program started on data
// that a newer one had migrated, and worked on it.
func TestOlderProgramRefusesNewerData(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		if err := ds.Open(t).Close(); err != nil {
			t.Fatal(err)
		}
		ds.Schema, ds.Version = laterSchema(t, 0), "2.0"
		if err := ds.Open(t).Close(); err != nil {
			t.Fatal(err)
		}
		ds.Schema, ds.Version = nil, "1.9"
		d, err := ds.Try()
		if err == nil {
			_ = d.Close()
		}
		text := fmt.Sprint(err)
		for _, word := range []string{"1.9", "2.0", "90000", "restore a backup"} {
			if hostler.CodeOf(err) != hostler.CodeConflict || !strings.Contains(text, word) {
				t.Fatalf("%v does not mention %s", err, word)
			}
		}
	})
}

// TestNeighboursShareData checks that a program works on data whose later migrations
// declare that it may.
func TestNeighboursShareData(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		for _, files := range []fstest.MapFS{laterSchema(t, schema.Current().Known), nil} {
			ds.Schema = nil
			if files != nil {
				ds.Schema = files
			}
			d := ds.Open(t)
			wantStrings(t, d, nil, `SELECT note FROM job`)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestEarlierProgramsCannotReadTheData checks that programs without a check of the level
// fail when they start: the table from which they read the applied migrations has a text
// in the place of a number, which their error then quotes.
func TestEarlierProgramsCannotReadTheData(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		d := ds.Open(t)
		var got []string
		mustTx(t, d, func(_ context.Context, c sqldb.Conn) (err error) {
			got, err = strs(t.Context(), c, `SELECT CAST(version_id AS TEXT) FROM goose_db_version ORDER BY id DESC`)
			return err
		})
		if len(got) == 0 || !strings.Contains(got[0], "newer Hostler") {
			t.Errorf("earlier programs read %q", got)
		}
	})
}
