package cli

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/cli/term"
)

var update = flag.Bool("update", false, "write the screens")

// openTerminal returns both ends of a pseudo-terminal that has some columns.
func openTerminal(t *testing.T, columns uint16) (screen, terminal *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(screen.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: columns}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	return screen, terminal
}

// shown is what draw writes to a terminal of some columns.
func shown(t *testing.T, columns uint16, lang hostler.Lang, draw func(a *app)) string {
	t.Helper()
	screen, terminal := openTerminal(t, columns)
	got := make(chan string)
	go func() {
		var b strings.Builder
		_, _ = io.Copy(&b, screen) // ends with an error when the terminal is closed
		got <- b.String()
	}()
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	a := &app{in: term.NewInput(terminal, nil), out: terminal, err: terminal, lang: lang, output: "table", now: func() time.Time { return now }}
	draw(a)
	_ = terminal.Close()
	return strings.ReplaceAll(<-got, "\r\n", "\n")
}

// TestScreens compares what 'hostler run' and lists show on terminals with testdata/screens.
func TestScreens(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	for _, columns := range []uint16{80, 200} {
		for _, lang := range []hostler.Lang{hostler.LangEN, hostler.LangZH} {
			name := filepath.Join("testdata", "screens", fmt.Sprintf("%s-%d.txt", lang, columns))
			got := shown(t, columns, lang, func(a *app) { drawAll(t, a) })
			for line := range strings.SplitSeq(got, "\n") {
				if !strings.HasPrefix(line, "  ") && term.Width(line) > int(columns) {
					t.Errorf("%s: %d cells: %s", name, term.Width(line), line)
				}
			}
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

// drawAll draws a live view, folded output and a list.
func drawAll(t *testing.T, a *app) {
	t.Helper()
	broken := &hostler.JobError{Kind: "command_failed", Text: txt(
		"exit status 3: the configuration file /etc/nginx/conf.d/site-with-a-long-name.conf is not valid", "退出码 3：配置文件无效")}
	v := live{took: 7 * time.Second, counts: hostler.RunSummary{Total: 30, States: map[hostler.State]int{
		hostler.StateSucceeded: 18, hostler.StateFailed: 1, hostler.StateRunning: 6, hostler.StateQueued: 5,
	}}}
	for i := range 6 {
		v.running = append(v.running, hostler.Job{AssetName: fmt.Sprintf("web%02d.example.com", i+20)})
	}
	v.failed = []hostler.Job{{AssetName: "web07.example.com", State: hostler.StateFailed, Error: broken}}
	for _, line := range a.liveLines(v, term.Columns(a.out)-1) {
		fmt.Fprintln(a.out, line)
	}
	fmt.Fprintln(a.out)
	f := newFolder(t.Context(), a, nil)
	for i := range 22 {
		o := hostler.JobOutput{
			Host: fmt.Sprintf("web%d", i+1), Action: "ssh_command", State: hostler.StateSucceeded,
			Stdout: "worker_processes 4;\nkeepalive 65;\nserver {\n}\n",
		}
		switch i {
		case 3, 11:
			o.Stdout = "worker_processes 4;\nkeepalive 30;\nserver {\n}\n"
		case 6:
			o.State, o.Error, o.Stderr = hostler.StateFailed, broken, "nginx: not valid\x1b[2J\n"
		}
		if err := f.add(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.end(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(a.out)
	at := a.now().Add(-2 * time.Hour)
	jobs := []hostler.Job{{
		ID: 1 << 40, Action: "ssh_command", AssetName: "web07.example.com", State: hostler.StateFailed, CreatedBy: "li",
		Args: []byte(`{"command":"nginx -t && systemctl reload nginx"}`), CreatedAt: at, Error: broken, Queue: "default", MaxAttempts: 1,
	}}
	if err := list(a, jobs, a.jobColumns()); err != nil {
		t.Fatal(err)
	}
}

func TestFoldSingleLines(t *testing.T) {
	a, out, _ := newApp(hostler.LangEN)
	f := newFolder(t.Context(), a, nil)
	for _, host := range []string{"web10", "web2"} {
		_ = f.add(hostler.JobOutput{Host: host, Action: "ssh_command", State: hostler.StateSucceeded, Stdout: "up " + host + "\n"})
	}
	_ = f.end()
	if want := "web2 | up web2\nweb10 | up web10\n"; out.String() != want {
		t.Errorf("folded %q, want %q", out, want)
	}
}

func TestNear(t *testing.T) {
	for word, want := range map[string]string{"lst": "list", "lits": "list", "sh": "show", "zzz": ""} {
		if got := strings.Join(near(word, []string{"list", "show", "delete"}), " "); got != want {
			t.Errorf("near %q is %q, want %q", word, got, want)
		}
	}
}

func TestTimesOfPeople(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.Local)
	for text, want := range map[string]string{
		"today": "2026-01-31 00:00", "yesterday": "2026-01-30 00:00", "09:00": "2026-01-31 09:00", "2h": "2026-01-31 10:00",
	} {
		var got *time.Time
		err := timeFlag{&got, func() time.Time { return now }}.Set(text)
		if err != nil || got.Format("2006-01-02 15:04") != want {
			t.Errorf("%s is %v, want %s: %v", text, got, want, err)
		}
	}
	var at *time.Time
	var d hostler.Duration
	if (timeFlag{&at, time.Now}).Set("5") == nil || (durationFlag{&d}).Set("10") == nil {
		t.Error("a number without a unit is accepted")
	}
}

func TestCommandLine(t *testing.T) {
	for want, words := range map[string][]string{
		"df -h | tail -1":   {"df -h | tail -1"},
		"grep 'a b' /etc/x": {"grep", "a b", "/etc/x"},
		`echo 'it'\''s' ''`: {"echo", "it's", ""},
	} {
		if got := commandLine(words); got != want {
			t.Errorf("%q is %s, want %s", words, got, want)
		}
	}
}
