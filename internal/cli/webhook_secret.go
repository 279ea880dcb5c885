package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"hostler.dev/hostler"
)

// webhookSecrets names the sources of a webhook's secret parts: files ("-" is
// standard input), or the terminal without echo. They are never read from the
// argument list, which every user of the machine can see.
type webhookSecrets struct {
	url, token, secret, headers string // files
	ask                         []string
}

// askable are the parts that --ask takes.
var askable = []string{"url", "token", "secret"}

// webhookSecretFlags add a --…-file flag for each secret part, and --ask.
func (a *app) webhookSecretFlags(cmd *cobra.Command, s *webhookSecrets) {
	fs := cmd.Flags()
	fs.StringVar(&s.url, "url-file", "", a.t("file with the URL; - is standard input",
		"URL 所在文件；- 表示标准输入"))
	fs.StringVar(&s.token, "token-file", "",
		a.t("file with the bearer token; - is standard input", "Bearer 令牌所在文件；- 表示标准输入"))
	fs.StringVar(&s.secret, "secret-file", "",
		a.t("file with the signing secret; - is standard input", "签名密钥所在文件；- 表示标准输入"))
	fs.StringVar(&s.headers, "headers-file", "",
		a.t("file with additional headers, one 'Name: value' per line; - is standard input",
			"附加请求头所在文件，每行“名称: 值”；- 表示标准输入"))
	fs.StringSliceVar(&s.ask, "ask", nil,
		a.t("ask for it without echo: url, token or secret", "在终端无回显地询问：url、token 或 secret"))
	a.complete(cmd, "ask", fixed(askable...))
}

// check refuses sources that contradict each other.
func (s webhookSecrets) check() error {
	for _, part := range s.ask {
		if !slices.Contains(askable, part) {
			return hostler.Errorf(hostler.CodeInvalid,
				"--ask takes url, token or secret", "--ask 只能是 url、token 或 secret")
		}
	}
	stdin := 0
	for _, file := range []string{s.url, s.token, s.secret, s.headers} {
		if file == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return hostler.Errorf(hostler.CodeInvalid,
			"only one file can be standard input (-)", "只有一个文件可以是标准输入（-）")
	}
	return nil
}

// readWebhookSecrets reads the URL and the secret parts into in. A new webhook
// needs a URL.
func (a *app) readWebhookSecrets(in *hostler.WebhookInput, s webhookSecrets, args []string, isNew bool) error {
	if err := s.check(); err != nil {
		return err
	}
	var err error
	if in.URL, err = a.webhookURL(s, args, isNew); err != nil {
		return err
	}
	for _, part := range []struct {
		name  string
		file  string
		label hostler.Text
		to    **string
	}{
		{"token", s.token, txt("token", "令牌"), &in.Token},
		{"secret", s.secret, signingSecret, &in.Secret},
	} {
		if part.file == "" && !slices.Contains(s.ask, part.name) {
			continue
		}
		value, err := a.secretLine(part.label, fileSource("--"+part.name+"-file", part.file))
		if err != nil {
			return err
		}
		*part.to = &value
	}
	if s.headers != "" {
		in.Headers, err = a.readHeaders(s.headers)
	}
	return err
}

var signingSecret = txt("signing secret", "签名密钥")

// webhookURL returns the URL of a webhook. One with a secret in it is refused as
// an argument: see [visibleURL].
func (a *app) webhookURL(s webhookSecrets, args []string, needed bool) (string, error) {
	switch {
	case len(args) > 0:
		return args[0], visibleURL(args[0])
	case s.url != "" || slices.Contains(s.ask, "url"):
		return a.secretLine(txt("URL", "URL"), fileSource("--url-file", s.url))
	case needed:
		return "", hostler.Errorf(hostler.CodeInvalid,
			"give the URL as an argument, or use --url-file or --ask url",
			"请以参数给出 URL，或用 --url-file、--ask url 提供")
	}
	return "", nil
}

// visibleURL refuses a URL with parts that may be secret.
func visibleURL(raw string) error {
	if mayHoldSecret(raw) {
		return hostler.Errorf(hostler.CodeInvalid,
			"this URL may contain a secret, which other users can see on a command line: use --url-file or --ask url",
			"此 URL 可能含有机密，他人可从命令行看到：请用 --url-file 或 --ask url 提供")
	}
	return nil
}

// mayHoldSecret reports whether the server would mask a part of the URL.
func mayHoldSecret(url string) bool {
	if strings.HasPrefix(url, "smtp") && !strings.Contains(url, "?") {
		return false // the server takes no password in it
	}
	masked := hostler.MaskURL(url)
	return masked != url && masked != hostler.Masked
}

// readHeaders reads lines of "Name: value". Empty lines and lines that start with
// # are skipped.
func (a *app) readHeaders(file string) (map[string]string, error) {
	text, err := a.readSmallFile(file)
	if err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid, "cannot read the headers: %v",
			"无法读取请求头：%v", err)
	}
	headers := map[string]string{}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, hostler.Errorf(hostler.CodeInvalid,
				"line %d of the headers is not of the form 'Name: value'",
				"请求头第 %d 行不是“名称: 值”的形式", n)
		}
		headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return headers, nil
}

// jobWebhook makes the webhook of a job from a URL without secrets, or from a
// file.
func (a *app) jobWebhook(url, file string) (*hostler.JobWebhook, error) {
	switch {
	case url != "" && file != "":
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"use --webhook or --webhook-file, not both", "--webhook 与 --webhook-file 只能二选一")
	case url != "":
		if mayHoldSecret(url) {
			return nil, hostler.Errorf(hostler.CodeInvalid,
				"this URL may contain a secret, which other users can see on a command line: use --webhook-file",
				"此 URL 可能含有机密，他人可从命令行看到：请用 --webhook-file 提供")
		}
		return &hostler.JobWebhook{URL: url}, nil
	case file == "":
		return nil, nil
	}
	text, err := a.readSmallFile(file)
	if err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid, "cannot read the webhook: %v", "无法读取回调：%v", err)
	}
	w, err := decodeJobWebhook(text)
	if err != nil {
		// The decoder's error may repeat a secret: it is not shown.
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"%s is not a webhook in JSON or YAML: give url and, if needed, method, headers, token, secret, format, timeout",
			"%s 不是 JSON 或 YAML 形式的回调：须有 url，可有 method、headers、token、secret、format、timeout", file)
	}
	return w, nil
}

// decodeJobWebhook decodes JSON or YAML. Unknown fields are errors, so that a misspelled
// secret is not left out silently.
func decodeJobWebhook(text []byte) (*hostler.JobWebhook, error) {
	var raw map[string]any
	if err := yaml.Unmarshal(text, &raw); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	asJSON, err := json.Marshal(raw)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(asJSON))
	dec.DisallowUnknownFields()
	var w hostler.JobWebhook
	if err := dec.Decode(&w); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return &w, nil
}
