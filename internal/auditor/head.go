package auditor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"hostler.dev/hostler/internal/auditchain"
)

// headFile is the file in which a server remembers the newest checkpoint that it saw, on
// a disk that whoever writes the database does not write.
type headFile string

// load returns the checkpoint; nil when there is none.
func (f headFile) load() (*auditchain.Checkpoint, error) {
	if f == "" {
		return nil, nil
	}
	text, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var c auditchain.Checkpoint
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		return nil, fmt.Errorf("the remembered end of the audit: %w", err)
	}
	return &c, nil
}

// save replaces the checkpoint. Without the sync a crash could leave an empty file.
func (f headFile) save(c auditchain.Checkpoint) error {
	if f == "" {
		return nil
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(string(f)), ".audit-head-*")
	if err != nil {
		return fmt.Errorf("remember the end of the audit: %w", err)
	}
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), string(f))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("remember the end of the audit: %w", err), os.Remove(tmp.Name()))
	}
	return nil
}
