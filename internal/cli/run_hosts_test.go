package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestACommandKeepsItsFlags: a flag behind a command is the command's, which would otherwise
// read a local script, run elsewhere or run as somebody else.
func TestACommandKeepsItsFlags(t *testing.T) {
	tests := map[string]struct {
		hosts, selector, action, script string
		sudo                            bool
		command                         string // words, joined by |
		fails                           bool
	}{
		"web01 tail -f x":                {hosts: "web01", command: "tail|-f|x"},
		"app=web rm -f /etc/old.conf":    {hosts: "app=web", command: "rm|-f|/etc/old.conf"},
		"web01 docker compose up -d":     {hosts: "web01", command: "docker|compose|up|-d"},
		"web01 ls -a web02":              {hosts: "web01", command: "ls|-a|web02"},
		"web01 --sudo ls -la":            {hosts: "web01", sudo: true, command: "ls|-la"},
		"-b web01 -- -odd -b":            {hosts: "web01", sudo: true, command: "-odd|-b"},
		"-l app=web -- ls -b":            {selector: "app=web", command: "ls|-b"},
		"-l app=web ls -b -- x":          {selector: "app=web", command: "ls|-b|--|x"},
		"uptime -l app=web":              {selector: "app=web", command: "uptime"},
		"-f x.sh web01 a --sudo b":       {hosts: "web01", script: "x.sh", sudo: true, command: "a|b"},
		"web01 -f x.sh a -- --sudo":      {hosts: "web01", script: "x.sh", command: "a|--sudo"},
		"-l app=web -f x.sh -- -b":       {selector: "app=web", script: "x.sh", command: "-b"},
		"web01 --action service --sudo":  {hosts: "web01", action: "service", sudo: true},
		"web01 -l app=web uptime":        {fails: true},
		"web01 --nonsense uptime":        {fails: true},
		"web01 -f x.sh --action service": {fails: true},
		"web01 -f x.sh a --nonsense":     {fails: true},
	}
	for line, want := range tests {
		t.Run(line, func(t *testing.T) {
			a := &app{}
			f := &hostFlags{}
			cmd := &cobra.Command{Use: "run"}
			a.hostFlags(cmd, f)
			if err := cmd.ParseFlags(strings.Fields(line)); err != nil {
				t.Fatal(err)
			}
			w, err := f.words(cmd, cmd.Flags().Args())
			if want.fails {
				if err == nil {
					t.Fatalf("read as %+v", w)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(w.command, "|"); w.hosts != want.hosts || got != want.command ||
				f.req.Selector != want.selector || f.req.Action != want.action || f.script != want.script || f.sudo != want.sudo {
				t.Errorf("hosts %q, command %q, selector %q, action %q, script %q, sudo %t",
					w.hosts, got, f.req.Selector, f.req.Action, f.script, f.sudo)
			}
		})
	}
}

func TestOnlyLooks(t *testing.T) {
	for command, want := range map[string]bool{
		"uptime": true, "cat /etc/hosts": true, "df -h": true,
		"": false, "date -s 2020-01-01": false, "hostname x": false, "dmesg -c": false, "rm x": false,
		"cat x > y": false, "uptime; reboot": false, "ls $(reboot)": false, "ls\nreboot": false, "ls `x`": false,
	} {
		if got := onlyLooks(command); got != want {
			t.Errorf("%q only looks: %v", command, got)
		}
	}
}
