package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"hostler.dev/hostler"
)

// readTable reads a file, or standard input as -. How large it may be is for the
// server to say.
func (a *app) readTable(name string) ([]byte, error) {
	var file []byte
	var err error
	if name == "-" {
		file, err = io.ReadAll(a.in)
	} else {
		file, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, badFile(err)
	}
	return file, nil
}

func (a *app) readFile(name string) ([]byte, error) {
	if name == "-" {
		s, err := readAll(a.in)
		return []byte(s), err
	}
	return os.ReadFile(name)
}

func badFile(err error) error {
	return hostler.Errorf(hostler.CodeInvalid, "the file cannot be used: %v", "无法使用该文件：%v", err)
}

// writeFile writes a file as a whole, or leaves what was there. Pipes and devices,
// such as /dev/stdout, are written to as they are.
func writeFile(name string, write func(w io.Writer) error) error {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real // a link stays one
	}
	mode := os.FileMode(0o600)
	if info, err := os.Stat(name); err == nil {
		if !info.Mode().IsRegular() {
			return writeThrough(name, write)
		}
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".hostler-export-*")
	if err != nil {
		return badFile(err)
	}
	err = write(f)
	if cerr := errors.Join(f.Chmod(mode), f.Close()); err == nil && cerr != nil {
		err = badFile(cerr)
	}
	if err == nil {
		if rerr := os.Rename(f.Name(), name); rerr != nil {
			err = badFile(rerr)
		}
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func writeThrough(name string, write func(w io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return badFile(err)
	}
	err = write(f)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = badFile(cerr)
	}
	return err
}
