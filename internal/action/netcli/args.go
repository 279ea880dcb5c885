package netcli

import (
	_ "embed" // the schemas
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

//go:embed schema/net_cli.json
var cliSchema []byte

//go:embed schema/check_cli.json
var checkSchema []byte

type cliArgs struct {
	Commands    []string `json:"commands"`
	Config      []string `json:"config"`
	Save        bool     `json:"save"`
	Platform    string   `json:"platform"`
	Enable      string   `json:"enable"`
	Confirm     bool     `json:"confirm"`
	StopOnError *bool    `json:"stop_on_error"`
	TimeoutS    float64  `json:"timeout"`
}

// question is the first line with a question mark.
func (a cliArgs) question() string {
	for _, l := range slices.Concat(a.Commands, a.Config) {
		if strings.Contains(l, "?") {
			return l
		}
	}
	return ""
}

func (a cliArgs) stops() bool { return a.StopOnError == nil || *a.StopOnError }

// limit is how long one command may take.
func (a cliArgs) limit() time.Duration {
	if a.TimeoutS == 0 {
		return time.Minute
	}
	return time.Duration(a.TimeoutS * float64(time.Second))
}

func (f *Family) cliAction() action.Action {
	list := strings.Join(Platforms(), ", ")
	return action.Action{
		Name:  "net_cli",
		Title: hostler.Text{EN: "Network device CLI", ZH: "网络设备命令行"},
		Help: hostler.Text{
			EN: "Runs commands on a network device, or sets configuration lines; give commands or config. Platforms: " + list + ".",
			ZH: "在网络设备上执行命令或下发配置；commands 与 config 二选一。支持的平台：" + list + "。",
		},
		Schema: cliSchema, Asset: action.AssetRequired, Enabled: true,
		Traits: cliTraits, Check: checkArgs, Credentials: enableCredential, Run: f.runCLI,
	}
}

func (f *Family) checkAction() action.Action {
	list := strings.Join(Platforms(), ", ")
	return action.Action{
		Name:  "check_cli",
		Title: hostler.Text{EN: "Check device CLI", ZH: "检查设备命令行"},
		Help: hostler.Text{
			EN: "Logs in to a network device and waits for its prompt; it changes nothing. Platforms: " + list + ".",
			ZH: "登录网络设备并等待提示符；不做任何更改。支持的平台：" + list + "。",
		},
		Schema: checkSchema, Asset: action.AssetRequired, Enabled: true,
		Traits: func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Check:  checkArgs, Credentials: enableCredential, Run: f.runCheck,
	}
}

// cliTraits: commands that only look may run beside others and again; anything
// else can be typed as well, so it takes its turn.
func cliTraits(raw json.RawMessage) action.Traits {
	var a cliArgs
	if json.Unmarshal(raw, &a) != nil || len(a.Commands) == 0 || slices.ContainsFunc(a.Commands, changes) {
		return action.Traits{Changes: true}
	}
	return action.Traits{Idempotent: true}
}

// changes says whether a command may do more than look. A looking one does when
// its output goes into a file or to something that is no filter, and when a second
// command hangs on it, as NX-OS and platforms with a shell allow.
func changes(command string) bool {
	command = strings.ToLower(command)
	words := strings.Fields(command)
	looks := []string{"show", "display", "ping", "traceroute", "tracert", "dir", "more"}
	if len(words) == 0 || !slices.Contains(looks, words[0]) || strings.ContainsAny(command, "<>;&`") || strings.Contains(command, "$(") {
		return true
	}
	return slices.ContainsFunc(strings.Split(command, "|")[1:], func(s string) bool { return !filters(s) })
}

// filters says whether what stands behind a pipe only filters. Devices understand
// abbreviations: one that could mean a file is none.
func filters(pipe string) bool {
	word, _, _ := strings.Cut(strings.TrimSpace(pipe), " ")
	abbreviates := func(full string) bool { return strings.HasPrefix(full, word) }
	known := []string{
		"include", "exclude", "begin", "section", "count", "match", "except", "find", "last", "until", "grep", "egrep",
		"head", "tail", "no-more", "display", "json", "json-pretty", "xml", "trim", "by-linenum",
	}
	files := []string{"append", "redirect", "save", "tee"}
	return word != "" && slices.ContainsFunc(known, abbreviates) && !slices.ContainsFunc(files, abbreviates)
}

func enableCredential(raw json.RawMessage) []string {
	var a cliArgs
	if json.Unmarshal(raw, &a) != nil || a.Enable == "" {
		return nil
	}
	return []string{a.Enable}
}

func checkArgs(raw json.RawMessage) []hostler.FieldError {
	var a cliArgs
	if errs := action.Decode(raw, &a); errs != nil {
		return errs
	}
	errs := append(checkLines("commands", a.Commands), checkLines("config", a.Config)...)
	if a.Platform != "" {
		if _, ok := Platform(a.Platform); !ok {
			errs = append(errs, hostler.FieldError{Path: "platform", Text: noPlatform()})
		}
	}
	if a.Save && len(a.Config) == 0 {
		errs = append(errs, hostler.FieldError{Path: "save", Text: hostler.Text{EN: "goes with config only", ZH: "只能与 config 同时使用"}})
	}
	return errs
}

func noPlatform() hostler.Text {
	list := strings.Join(Platforms(), ", ")
	return hostler.Textf("must be one of %s", "必须是以下之一：%s", list)
}

// checkLines refuses what is not one line: a device would take the rest for the
// next command.
func checkLines(field string, lines []string) []hostler.FieldError {
	var errs []hostler.FieldError
	for i, l := range lines {
		path := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case strings.TrimSpace(l) == "":
			errs = append(errs, hostler.FieldError{Path: path, Text: hostler.Text{EN: "must not be blank", ZH: "不得为空白"}})
		case strings.ContainsFunc(l, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }):
			errs = append(errs, hostler.FieldError{Path: path, Text: hostler.Text{
				EN: "must be one line without control characters", ZH: "必须是一行，且不含控制字符",
			}})
		}
	}
	return errs
}
