package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"hostler.dev/hostler"
)

// readInput reads the whole file, or with "-" standard input. It has no size
// limit: the server has one.
func (a *app) readInput(name string) ([]byte, error) {
	var data []byte
	var err error
	if name == "-" {
		data, err = io.ReadAll(a.in)
	} else {
		data, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, badFile(err)
	}
	return data, nil
}

// readSmallFile is [app.readInput] with the size limit of a secret on standard
// input, and with errors for the caller to wrap.
func (a *app) readSmallFile(name string) ([]byte, error) {
	if name == "-" {
		s, err := readLimited(a.in)
		return []byte(s), err
	}
	return os.ReadFile(name)
}

func badFile(err error) error {
	return hostler.Errorf(hostler.CodeInvalid, "cannot use the file: %v", "无法使用该文件：%v", err)
}

// writeFile replaces a file atomically: when write fails, the old content stays.
// It follows symbolic links and keeps the file's mode. Pipes and devices, such as
// /dev/stdout, are written to directly.
func writeFile(name string, write func(w io.Writer) error) error {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	mode := os.FileMode(0o600)
	if info, err := os.Stat(name); err == nil {
		if !info.Mode().IsRegular() {
			return writeDirectly(name, write)
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

func writeDirectly(name string, write func(w io.Writer) error) error {
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
