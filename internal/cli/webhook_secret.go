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

// webhookSecrets say where the secret parts of a webhook come from: never from the
// argument list, which every user of the machine can read.
type webhookSecrets struct {
	url, token, secret, headers string // files; - is standard input
	ask                         []string
}

func (a *app) webhookSecretFlags(cmd *cobra.Command, s *webhookSecrets) {
	f := cmd.Flags()
	f.StringVar(&s.url, "url-file", "", a.t("a file with the URL; - is standard input", "URL 所在文件；- 表示标准输入"))
	f.StringVar(&s.token, "token-file", "", a.t("a file with the bearer token; - is standard input", "Bearer 令牌所在文件；- 表示标准输入"))
	f.StringVar(&s.secret, "secret-file", "", a.t("a file with the signing secret; - is standard input", "签名密钥所在文件；- 表示标准输入"))
	f.StringVar(&s.headers, "headers-file", "", a.t("a file with further headers, as lines of Name: value; - is standard input", "附加请求头所在文件，每行 名称: 值；- 表示标准输入"))
	f.StringSliceVar(&s.ask, "ask", nil, a.t("ask for it without echo: url, token or secret", "无回显地询问：url、token 或 secret"))
	a.complete(cmd, "ask", fixed("url", "token", "secret"))
}

// fillWebhook reads the secret parts; a URL is needed for a new webhook.
func (a *app) fillWebhook(in *hostler.WebhookInput, s webhookSecrets, args []string, isNew bool) error {
	for _, what := range s.ask {
		if !slices.Contains([]string{"url", "token", "secret"}, what) {
			return hostler.Errorf(hostler.CodeInvalid, "--ask takes url, token or secret", "--ask 只能是 url、token 或 secret")
		}
	}
	if n := countStdin(s.url, s.token, s.secret, s.headers); n > 1 {
		return hostler.Errorf(hostler.CodeInvalid, "standard input can be only one of the files", "标准输入只能用作其中一个文件")
	}
	var err error
	if in.URL, err = a.webhookURL(s, args, isNew); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		file string
		word hostler.Text
		to   **string
	}{
		{"token", s.token, txt("token", "令牌"), &in.Token},
		{"secret", s.secret, txt("signing secret", "签名密钥"), &in.Secret},
	} {
		if part.file == "" && !slices.Contains(s.ask, part.name) {
			continue
		}
		value, err := a.secretFrom(part.file, part.word)
		if err != nil {
			return err
		}
		*part.to = &value
	}
	if s.headers != "" {
		in.Headers, err = a.headersFrom(s.headers)
	}
	return err
}

func countStdin(files ...string) int {
	n := 0
	for _, f := range files {
		if f == "-" {
			n++
		}
	}
	return n
}

// webhookURL takes the URL from the arguments only when all of it may be seen.
func (a *app) webhookURL(s webhookSecrets, args []string, needed bool) (string, error) {
	switch {
	case len(args) > 0:
		return args[0], visibleURL(args[0])
	case s.url != "" || slices.Contains(s.ask, "url"):
		return a.secretFrom(s.url, txt("URL", "URL"))
	case needed:
		return "", hostler.Errorf(hostler.CodeInvalid,
			"give the URL, or --url-file, or --ask url", "请给出 URL，或用 --url-file、--ask url 提供")
	}
	return "", nil
}

// visibleURL refuses a URL with parts that may be secret.
func visibleURL(raw string) error {
	if shown := hostler.MaskURL(raw); shown != raw && shown != hostler.Masked {
		return hostler.Errorf(hostler.CodeInvalid,
			"this URL seems to hold a secret, which others can see on a command line: give it with --url-file or --ask url",
			"此 URL 似乎含有机密，他人可从命令行看到：请用 --url-file 或 --ask url 提供")
	}
	return nil
}

// headersFrom reads lines of "Name: value".
func (a *app) headersFrom(file string) (map[string]string, error) {
	text, err := a.readFile(file)
	if err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid, "the headers cannot be read: %v", "无法读取请求头：%v", err)
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
			return nil, hostler.Errorf(hostler.CodeInvalid, "line %d of the headers is no Name: value", "请求头第 %d 行不是 名称: 值", n)
		}
		headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return headers, nil
}

// jobWebhook makes the webhook of a job from a URL that all may see, or from a
// file.
func (a *app) jobWebhook(url, file string) (*hostler.JobWebhook, error) {
	switch {
	case url != "" && file != "":
		return nil, hostler.Errorf(hostler.CodeInvalid, "give --webhook or --webhook-file, not both", "--webhook 与 --webhook-file 只能二选一")
	case url != "":
		if visibleURL(url) != nil {
			return nil, hostler.Errorf(hostler.CodeInvalid,
				"this URL seems to hold a secret, which others can see on a command line: give it with --webhook-file",
				"此 URL 似乎含有机密，他人可从命令行看到：请用 --webhook-file 提供")
		}
		return &hostler.JobWebhook{URL: url}, nil
	case file == "":
		return nil, nil
	}
	text, err := a.readFile(file)
	if err != nil {
		return nil, hostler.Errorf(hostler.CodeInvalid, "the webhook cannot be read: %v", "无法读取回调：%v", err)
	}
	w, err := decodeJobWebhook(text)
	if err != nil {
		// The decoder's error could repeat a secret.
		return nil, hostler.Errorf(hostler.CodeInvalid,
			"%s is not a webhook as JSON or YAML: url, and if needed method, headers, token, secret, format, timeout",
			"%s 不是 JSON 或 YAML 形式的回调：url，以及可选的 method、headers、token、secret、format、timeout", file)
	}
	return w, nil
}

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
