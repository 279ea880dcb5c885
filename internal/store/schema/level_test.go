package schema_test

import (
	"testing"
	"testing/fstest"

	"hostler.dev/hostler/internal/store/schema"
)

func TestLevelOf(t *testing.T) {
	const declared = "-- +goose Up\n-- floor: 2\nSELECT 1;\n"
	for name, tt := range map[string]struct {
		files map[string]string
		want  schema.Level
	}{
		"a migration is its own floor": {map[string]string{"00001_a.sql": "", "00002_b.sql": ""}, schema.Level{Known: 2, Floor: 2}},
		"unless it declares an older one": {
			map[string]string{"00002_b.sql": "", "00003_c.sql": declared, "00004_d.sql": declared},
			schema.Level{Known: 4, Floor: 2},
		},
		"the highest floor counts": {
			map[string]string{"00003_c.sql": "", "00004_d.sql": declared},
			schema.Level{Known: 4, Floor: 3},
		},
	} {
		files := fstest.MapFS{}
		for file, text := range tt.files {
			files["main/"+file] = &fstest.MapFile{Data: []byte(text)}
		}
		if got, err := schema.LevelOf(files); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tt.want)
		}
	}
	future := fstest.MapFS{"main/00001_a.sql": {Data: []byte(declared)}}
	if got, err := schema.LevelOf(future); err == nil {
		t.Errorf("a floor above the migration itself: %+v", got)
	}
	if l := schema.Current(); l.Known < 10 || l.Floor > l.Known {
		t.Errorf("this program: %+v", l)
	}
}
