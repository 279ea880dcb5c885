package cli

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"hostler.dev/hostler"
)

// TestArgumentsAreBilingual checks that every argument with an English description
// has a Chinese one.
func TestArgumentsAreBilingual(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("../action", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".json" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var schema struct {
			Properties map[string]argument `json:"properties"`
		}
		if err := json.Unmarshal(text, &schema); err != nil {
			return err
		}
		for name, arg := range schema.Properties {
			seen++
			described := arg.Description == "" || hasHan(arg.DescriptionZH)
			if !described || !hasHan(arg.meaning(hostler.LangZH)) && arg.TitleZH != "URL" {
				t.Errorf("%s: %s means %q in English and %q in Chinese", path, name, arg.Description, arg.DescriptionZH)
			}
		}
		return nil
	})
	if err != nil || seen == 0 {
		t.Errorf("%d arguments, %v", seen, err)
	}
}
