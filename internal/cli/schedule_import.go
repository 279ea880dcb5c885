package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// cronLine is a line of a crontab.
type cronLine struct {
	Line    int    `json:"line"`
	Name    string `json:"name,omitempty"`
	Cron    string `json:"cron,omitempty"`
	Zone    string `json:"zone,omitempty"`
	Command string `json:"command,omitempty"`
	// Skipped is why the line is not imported.
	Skipped *hostler.Text `json:"skipped,omitempty"`
}

// readCrontab reads the lines of a crontab that are not comments. system: each line has a
// user before its command. zone is used until a line sets CRON_TZ.
func readCrontab(text string, system bool, zone string) []cronLine {
	var out []cronLine
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		l := cronLine{Line: i + 1, Zone: zone}
		if name, value, ok := assignment(line); ok {
			if name == "CRON_TZ" || name == "TZ" {
				zone = value
				continue
			}
			l.skip("sets the variable %s: set it in the command, or in args.env of an ssh_script",
				"设置了变量 %s：请写入命令，或在 ssh_script 的 args.env 中设置", name)
			out = append(out, l)
			continue
		}
		l.parse(line, system)
		out = append(out, l)
	}
	return out
}

// assignment parses NAME=value, which no line with times begins with.
func assignment(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, "=")
	name = strings.TrimSpace(name)
	if !ok || name == "" || strings.ContainsAny(name, " \t*/,@") || name[0] >= '0' && name[0] <= '9' {
		return "", "", false
	}
	return name, strings.Trim(strings.TrimSpace(value), `"'`), true
}

func (l *cronLine) skip(en, zh string, args ...any) {
	why := hostler.Textf(en, zh, args...)
	l.Skipped = &why
}

func (l *cronLine) parse(line string, system bool) {
	times := 5
	if line[0] == '@' {
		times = 1
	}
	words := times
	if system {
		words++
	}
	rest := line
	var fields []string
	for range words {
		word, after, _ := strings.Cut(strings.ReplaceAll(rest, "\t", " "), " ")
		fields, rest = append(fields, word), strings.TrimSpace(after)
	}
	l.Cron, l.Command = strings.Join(fields[:times], " "), rest
	switch {
	case rest == "":
		l.skip("has no command", "没有命令")
		return
	case l.Cron == "@reboot":
		l.skip("@reboot has no time: use the service manager of the host", "@reboot 没有时间：请使用主机的服务管理器")
		return
	case strings.Contains(strings.ReplaceAll(rest, `\%`, ""), "%"):
		l.skip("has a percent sign without a backslash, which is standard input: use an ssh_script",
			"含未转义的百分号（表示标准输入）：请改用 ssh_script")
		return
	}
	if l.Cron == "@midnight" {
		l.Cron = "@daily"
	}
	l.Command = strings.ReplaceAll(rest, `\%`, "%")
	l.Name = cronName(l.Cron, l.Command)
}

// cronName is the name of an imported schedule: the same for the same line, so that a
// crontab can be imported again.
func cronName(cron, command string) string {
	word, _, _ := strings.Cut(command, " ")
	word = word[strings.LastIndexByte(word, '/')+1:]
	word = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return -1
	}, word)
	sum := sha256.Sum256([]byte(cron + "\n" + command))
	return "cron-" + word[:min(len(word), 40)] + "-" + hex.EncodeToString(sum[:4])
}

// importFlags are the flags of 'schedule import'.
type importFlags struct {
	file, zone, action string
	system, dryRun     bool
	paused             bool
	target             hostler.StepTarget
}

// scheduleImport is 'hostler schedule import'.
func (a *app) scheduleImport() *cobra.Command {
	var f importFlags
	cmd := a.cmd("import [flags]", doc{
		short: txt("create schedules from a crontab", "由 crontab 创建计划"),
		long: txt(`Create a schedule for each line of a crontab, which runs the command on the assets
that you name. A line gets the same name again, so that the file may be imported again.
Lines that cannot be imported are listed with the reason. Remove the lines from the
crontab afterwards, or they run twice.`,
			`为 crontab 的每一行创建计划，在指定的资产上执行其命令。同一行的名称不变，因此可重复导入。
不能导入的行会列出原因。导入后请从 crontab 中删除这些行，否则会重复执行。`),
		example: `crontab -l | hostler schedule import --asset web1 --dry-run
hostler schedule import --crontab /etc/crontab --system --asset web1`,
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		text, err := a.readSmallFile(f.file)
		if err != nil {
			return err
		}
		lines := readCrontab(string(text), f.system, f.zone)
		if err := a.importLines(ctx, c, lines, f); err != nil {
			return err
		}
		return list(a, lines, a.cronColumns())
	})
	fs := cmd.Flags()
	fs.StringVar(&f.file, "crontab", "-", a.t("file; - is standard input", "文件；- 表示标准输入"))
	fs.BoolVar(&f.system, "system", false, a.t("lines have a user, as in /etc/crontab, who is ignored",
		"各行含用户（如 /etc/crontab），将被忽略"))
	fs.StringVar(&f.zone, "zone", "", a.t("time zone of the host (default: UTC)", "主机的时区（默认 UTC）"))
	fs.StringVar(&f.action, "action", "ssh_command", a.t("action that takes the command", "执行命令的动作"))
	fs.StringSliceVar(&f.target.Assets, "asset", nil, a.t("assets to run on; may be repeated", "执行的资产；可重复"))
	a.selectorFlag(cmd, &f.target.Selector)
	fs.BoolVar(&f.dryRun, "dry-run", false, a.t("only show what would be created", "只显示将创建的内容"))
	a.complete(cmd, "asset", assetNames())
	a.complete(cmd, "action", fixed("ssh_command", "local_command"))
	return cmd
}

// importLines creates the schedules, and notes the lines that the server refuses.
func (a *app) importLines(ctx context.Context, c *client.Client, lines []cronLine, f importFlags) error {
	for i := range lines {
		l := &lines[i]
		if l.Skipped != nil {
			continue
		}
		in := hostler.ScheduleInput{
			Title: fmt.Sprintf("crontab: %.180s", l.Command), Trigger: hostler.Trigger{Cron: l.Cron, Zone: l.Zone},
			Task: hostler.ScheduleTask{Action: f.action},
		}
		if len(f.target.Assets) > 0 || f.target.Selector != "" {
			in.Task.Target = &f.target
		}
		if f.paused {
			in.Enabled = new(bool)
		}
		var err error
		if in.Task.Args, err = json.Marshal(map[string]string{"command": l.Command}); err != nil {
			return err
		}
		if f.dryRun {
			_, err = c.NextFires(ctx, hostler.NextRequest{Trigger: in.Trigger, Count: 1})
		} else {
			_, err = c.PutSchedule(ctx, l.Name, in)
		}
		switch hostler.CodeOf(err) {
		case "":
		case hostler.CodeInvalid:
			l.skip("%v", "%v", err)
		default:
			return err
		}
	}
	return nil
}

func (a *app) cronColumns() []column[cronLine] {
	return []column[cronLine]{
		col("line", "行", func(l cronLine) string { return fmt.Sprint(l.Line) }),
		col("name", "名称", func(l cronLine) string { return dash(l.Name) }),
		col("cron", "cron", func(l cronLine) string { return dash(l.Cron) }),
		col("zone", "时区", func(l cronLine) string { return dash(l.Zone) }),
		col("command", "命令", func(l cronLine) string { return dash(l.Command) }),
		col("not imported because", "未导入的原因", func(l cronLine) string { return a.textOf(l.Skipped) }),
	}
}
