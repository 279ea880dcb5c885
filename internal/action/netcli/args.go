package netcli

import (
	_ "embed" // the schemas
	"encoding/json"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/risk"
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

// questionMark returns the first line with a question mark, or "".
func (a cliArgs) questionMark() string {
	for _, l := range slices.Concat(a.Commands, a.Config) {
		if strings.Contains(l, "?") {
			return l
		}
	}
	return ""
}

func (a cliArgs) stopsOnError() bool { return a.StopOnError == nil || *a.StopOnError }

// limit returns how long one command may take.
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
			EN: "Runs commands on a network device, or sets configuration lines; give commands or config. " +
				"Platforms: " + list + ".",
			ZH: "在网络设备上执行命令或下发配置；commands 与 config 二选一。支持的平台：" + list + "。",
		},
		Schema: cliSchema, Asset: action.AssetRequired, LogsIn: true, Enabled: true,
		Traits: cliTraits, Check: checkArgs, Credentials: enableCredential, Commands: commandsOf,
		Run: f.runCLI,
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
		Schema: checkSchema, Asset: action.AssetRequired, LogsIn: true, Enabled: true,
		Traits: func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Check:  checkArgs, Credentials: enableCredential, Run: f.runCheck,
	}
}

// commandsOf lists the lines that a job enters.
func commandsOf(raw json.RawMessage) []risk.Command {
	var a cliArgs
	if json.Unmarshal(raw, &a) != nil {
		return nil
	}
	name, _ := Platform(a.Platform)
	var out []risk.Command
	for field, lines := range map[string][]string{"commands": a.Commands, "config": a.Config} {
		for i, l := range lines {
			out = append(out, risk.Command{Path: check.Item(field, i), Kind: risk.Device, Text: l, Platform: name})
		}
	}
	return out
}

// cliTraits: commands that only display something are idempotent and need no lane;
// everything else may change the device.
func cliTraits(raw json.RawMessage) action.Traits {
	var a cliArgs
	if json.Unmarshal(raw, &a) != nil || len(a.Commands) == 0 || slices.ContainsFunc(a.Commands, changes) {
		return action.Traits{Changes: true}
	}
	return action.Traits{Idempotent: true}
}

// changes reports whether a command may do more than display something. A display command
// may when its output goes into a file or to something other than a filter, and when it
// contains a second command, as NX-OS and platforms with a shell allow.
func changes(command string) bool {
	command = strings.ToLower(command)
	words := strings.Fields(command)
	display := []string{"show", "display", "ping", "traceroute", "tracert", "dir", "more"}
	if len(words) == 0 || !slices.Contains(display, words[0]) ||
		strings.ContainsAny(command, "<>;&`") || strings.Contains(command, "$(") {
		return true
	}
	return slices.ContainsFunc(strings.Split(command, "|")[1:], func(s string) bool { return !filters(s) })
}

// filters reports whether the part after a pipe only filters. Devices accept
// abbreviations; one that could also write a file does not count as a filter.
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

func enableCredential(raw json.RawMessage) []action.CredentialUse {
	var a cliArgs
	if json.Unmarshal(raw, &a) != nil || a.Enable == "" {
		return nil
	}
	return []action.CredentialUse{{Name: a.Enable, Use: hostler.UseEnable}}
}

func checkArgs(raw json.RawMessage) []hostler.FieldError {
	var a cliArgs
	if errs := action.Decode(raw, &a); errs != nil {
		return errs
	}
	var f check.Fields
	checkLines(&f, "commands", a.Commands)
	checkLines(&f, "config", a.Config)
	if a.Platform != "" {
		if _, ok := Platform(a.Platform); !ok {
			f.AddText("platform", check.MustBeOneOf(Platforms()...))
		}
	}
	f.Require(!a.Save || len(a.Config) > 0, "save", "goes with config only", "只能与 config 同时使用")
	return f.Faults()
}

// checkLines refuses what is not one line: a device would take the rest for the next
// command.
func checkLines(f *check.Fields, field string, lines []string) {
	for i, l := range lines {
		path := check.Item(field, i)
		if strings.TrimSpace(l) == "" {
			f.Add(path, "must not be blank", "不得为空白")
			continue
		}
		f.Require(check.SingleLine(l), path,
			"must be one line without control characters", "必须是一行，且不含控制字符")
	}
}
