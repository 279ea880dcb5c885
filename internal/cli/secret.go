package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/cli/term"
)

// maxSecret bounds what is read as a secret.
const maxSecret = 1 << 20

// secretFlags say where a secret comes from: never from the argument list, which
// every user of the machine can read.
type secretFlags struct {
	file, passphraseFile string
	stdin, passphrase    bool
}

func (a *app) secretFlags(cmd *cobra.Command) *secretFlags {
	var s secretFlags
	f := cmd.Flags()
	f.StringVar(&s.file, "file", "", a.t("read the secret from this file", "从文件读取内容"))
	f.BoolVar(&s.stdin, "stdin", false, a.t("read the secret from standard input", "从标准输入读取内容"))
	f.BoolVar(&s.passphrase, "passphrase", false, a.t("ask for the passphrase of the private key", "询问私钥口令"))
	f.StringVar(&s.passphraseFile, "passphrase-file", "", a.t("read the private key's passphrase from this file", "从文件读取私钥口令"))
	cmd.MarkFlagsMutuallyExclusive("file", "stdin")
	cmd.MarkFlagsMutuallyExclusive("passphrase", "passphrase-file")
	return &s
}

// secret reads one secret from the file, from standard input, or else by asking
// for it without echo. A line drops its line end.
func (a *app) secret(file string, stdin bool, en, zh string, line bool) (string, error) {
	text, err := a.readSecret(file, stdin, en, zh)
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		return "", e
	}
	if err != nil {
		return "", hostler.Errorf(hostler.CodeInvalid, "the %[1]s cannot be read: %[3]v", "无法读取%[2]s：%[3]v", en, zh, err)
	}
	if line {
		text = strings.TrimRight(text, "\r\n")
	}
	if text == "" {
		return "", hostler.Errorf(hostler.CodeInvalid, "the %[1]s is empty", "%[2]s为空", en, zh)
	}
	return text, nil
}

func (a *app) readSecret(file string, stdin bool, en, zh string) (string, error) {
	switch {
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		return readAll(f)
	case stdin:
		return readAll(a.in)
	}
	if !a.askable() {
		return "", hostler.Errorf(hostler.CodeInvalid,
			"standard input is no terminal; use --file or --stdin", "标准输入不是终端；请用 --file 或 --stdin")
	}
	fmt.Fprintf(a.err, "%s: ", txt(en, zh).In(a.lang))
	text, err := a.in.ReadPassword()
	fmt.Fprintln(a.err)
	return text, err
}

func readAll(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	if err == nil && len(b) > maxSecret {
		err = hostler.Errorf(hostler.CodeTooLarge, "a secret may have at most 1 MiB", "凭据内容不得超过 1 MiB")
	}
	return string(b), err
}

// askable reports whether a person can be asked.
func (a *app) askable() bool { return term.IsTerminal(a.in) }

// secretFrom reads one line from a file, - being standard input, or asks for it
// when no file is named.
func (a *app) secretFrom(file string, word hostler.Text) (string, error) {
	if file == "" && !a.askable() {
		return "", hostler.Errorf(hostler.CodeInvalid,
			"standard input is no terminal: give the %[1]s in a file, or as - on standard input; see --help",
			"标准输入不是终端：请用文件提供%[2]s，或用 - 从标准输入读取；参见 --help", word.EN, word.ZH)
	}
	if file == "-" {
		return a.secret("", true, word.EN, word.ZH, true)
	}
	return a.secret(file, false, word.EN, word.ZH, true)
}
