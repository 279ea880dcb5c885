package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/cli/term"
)

// maxSecret limits the bytes that are read as a secret.
const maxSecret = 1 << 20

// secretSource names where a secret is read from: a file, standard input, or,
// with neither, the terminal without echo. Secrets are never read from the
// argument list, which every user of the machine can see.
type secretSource struct {
	file  string
	stdin bool
	flags string // what to use instead of a terminal, for the error
}

// fileSource returns the source that the value of a flag names; "-" is standard
// input, "" the terminal.
func fileSource(flag, value string) secretSource {
	if value == "-" {
		return secretSource{stdin: true}
	}
	return secretSource{file: value, flags: flag}
}

// secretLine reads a secret of one line; the line end is removed. name is what
// prompts and errors call it.
func (a *app) secretLine(name hostler.Text, from secretSource) (string, error) {
	text, err := a.secretText(name, from)
	if err != nil {
		return "", err
	}
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return "", emptySecret(name)
	}
	return text, nil
}

// secretText reads a secret of several lines, such as a private key.
func (a *app) secretText(name hostler.Text, from secretSource) (string, error) {
	text, err := a.readSecret(name, from)
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		return "", e
	}
	if err != nil {
		return "", hostler.Errorf(hostler.CodeInvalid,
			"cannot read the %[1]s: %[3]v", "无法读取%[2]s：%[3]v", name.EN, name.ZH, err)
	}
	if text == "" {
		return "", emptySecret(name)
	}
	return text, nil
}

func emptySecret(name hostler.Text) error {
	return hostler.Errorf(hostler.CodeInvalid, "the %[1]s is empty", "%[2]s为空", name.EN, name.ZH)
}

func (a *app) readSecret(name hostler.Text, from secretSource) (string, error) {
	switch {
	case from.file != "":
		f, err := os.Open(from.file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		return readLimited(f)
	case from.stdin:
		return readLimited(a.in)
	}
	if !a.interactive() {
		return "", hostler.Errorf(hostler.CodeInvalid,
			"cannot ask for the %[1]s: standard input is not a terminal; use %[3]s",
			"无法询问%[2]s：标准输入不是终端；请用 %[3]s", name.EN, name.ZH, from.flags)
	}
	fmt.Fprintf(a.err, "%s: ", name.In(a.lang))
	text, err := a.in.ReadPassword()
	fmt.Fprintln(a.err)
	return text, err
}

// readLimited reads at most [maxSecret] bytes, and fails when there are more.
func readLimited(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	if err == nil && len(b) > maxSecret {
		err = hostler.Errorf(hostler.CodeTooLarge, "the input exceeds 1 MiB", "输入超过 1 MiB")
	}
	return string(b), err
}

// interactive reports whether standard input is a terminal, so that a question
// can be asked.
func (a *app) interactive() bool { return term.IsTerminal(a.in) }
