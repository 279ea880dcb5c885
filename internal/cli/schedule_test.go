package cli

import (
	"fmt"
	"strings"
	"testing"
)

func TestReadCrontab(t *testing.T) {
	const text = `# m h dom mon dow command
SHELL=/bin/bash
CRON_TZ=Asia/Shanghai
30 2 * * 1-5	/usr/local/bin/backup.sh --full
*/5 * * * * PATH=/opt/bin run
@midnight rotate
@reboot start
0 0 * * * date +\%F
0 1 * * * mail%Hello
0 2 * * *
`
	var got []string
	for _, l := range readCrontab(text, false, "UTC") {
		why := ""
		if l.Skipped != nil {
			why = " !" + strings.SplitN(l.Skipped.EN, ":", 2)[0]
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%d %s|%s|%s%s", l.Line, l.Zone, l.Cron, l.Command, why)))
	}
	want := []string{
		"2 UTC|| !sets the variable SHELL",
		"4 Asia/Shanghai|30 2 * * 1-5|/usr/local/bin/backup.sh --full",
		"5 Asia/Shanghai|*/5 * * * *|PATH=/opt/bin run",
		"6 Asia/Shanghai|@daily|rotate",
		"7 Asia/Shanghai|@reboot|start !@reboot has no time",
		"8 Asia/Shanghai|0 0 * * *|date +%F",
		"9 Asia/Shanghai|0 1 * * *|mail%Hello !has a percent sign without a backslash, which is standard input",
		"10 Asia/Shanghai|0 2 * * *| !has no command",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	system := readCrontab("0 0 * * *  root  /bin/true", true, "")
	if len(system) != 1 || system[0].Command != "/bin/true" || !strings.HasPrefix(system[0].Name, "cron-true-") {
		t.Errorf("a system crontab: %+v", system)
	}
}
