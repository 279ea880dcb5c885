// Package clicontext reads and writes the file in which the command line finds its
// servers.
//
// # Model
//
// A [File] holds contexts by name, each the URL of a server with a key for it; one is
// current. A server that starts adds itself as the context "local" ([Publish]), so
// that the command line on the same machine works without any set-up.
//
// # Invariants
//
// The file holds keys: it is created with mode 0600 and replaced as a whole, so that a
// reader reads either the old file or the new one.
package clicontext

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v4"

	"hostler.dev/hostler"
)

// Local is the name of the context of a server on this machine.
const Local = "local"

// fileName is the file's name in the user's folder and in a data folder.
const fileName = "context.yaml"

// Context is a server and how to reach it.
type Context struct {
	URL     string `yaml:"url"`
	Key     string `yaml:"key,omitempty"`
	Project string `yaml:"project,omitempty"` // "" is the key's own
	CAFile  string `yaml:"ca_file,omitempty"` // PEM certificates to trust besides the system's
}

// String hides the key.
func (c Context) String() string { return c.URL }

// GoString hides the key from %#v.
func (c Context) GoString() string { return c.URL }

// File is the content of the file.
type File struct {
	Current  string             `yaml:"current,omitempty"`
	Contexts map[string]Context `yaml:"contexts,omitempty"`
}

// Path is where the user's file is: $HOSTLER_CONTEXT_FILE, or
// hostler/context.yaml in the user's configuration folder.
func Path() (string, error) {
	if p := os.Getenv("HOSTLER_CONTEXT_FILE"); p != "" {
		return p, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", hostler.Errorf(hostler.CodeInvalid,
			"there is no configuration folder; set HOME or HOSTLER_CONTEXT_FILE",
			"找不到配置目录；请设置 HOME 或 HOSTLER_CONTEXT_FILE")
	}
	return filepath.Join(dir, "hostler", fileName), nil
}

// Load reads a file; one that does not exist is empty.
func Load(path string) (File, error) {
	f := File{Contexts: map[string]Context{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, unusable(path, err)
	}
	if err := yaml.Unmarshal(text, &f); err != nil {
		return f, unusable(path, err)
	}
	if f.Contexts == nil {
		f.Contexts = map[string]Context{}
	}
	return f, nil
}

// Save replaces the file.
func Save(path string, f File) error {
	text, err := yaml.Marshal(f)
	if err != nil {
		return unusable(path, err)
	}
	if err := replace(path, text); err != nil {
		return unusable(path, err)
	}
	return nil
}

// replace writes a temporary file of mode 0600 and renames it.
func replace(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, fileName+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // renamed already, unless something failed
	_, err = tmp.Write(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// LocalKey is the key of the context "local" in a data folder; "" when there is none.
func LocalKey(dataDir string) string {
	stored, err := Load(filepath.Join(dataDir, fileName))
	if err != nil {
		return ""
	}
	return stored.Contexts[Local].Key
}

// Publish writes the context "local" into the data folder and into the user's file: a
// server with the data folder is at c.URL, and has the key c.Key. Without a key, or with
// userFile "", only the file in the data folder is written.
func Publish(dataDir, userFile string, c Context) error {
	own := filepath.Join(dataDir, fileName)
	if err := Save(own, File{Current: Local, Contexts: map[string]Context{Local: c}}); err != nil {
		return err
	}
	if userFile == "" || c.Key == "" {
		return nil
	}
	f, err := Load(userFile)
	if err != nil {
		return err
	}
	f.Contexts[Local] = c
	if _, ok := f.Contexts[f.Current]; !ok {
		f.Current = Local
	}
	return Save(userFile, f)
}

func unusable(path string, err error) error {
	e := hostler.Errorf(hostler.CodeInvalid,
		"the context file %s cannot be used: %v", "无法使用上下文文件 %s：%v", path, err)
	e.Cause = err
	return e
}
