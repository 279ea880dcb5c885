package netcli_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action/netcli"
	"hostler.dev/hostler/internal/action/netcli/devicetest"
)

// The output of a device whose pager cannot be disabled is read page by page, without the
// pager's marks.
func TestPager(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect, KeepPaging: true})
		got := newEnv(t, netcli.Options{}).cli(asset(d, w.dialect, ""), m{"commands": []string{w.page, w.show}})
		got.MustEnd(t, hostler.OutcomeSucceeded, "")
		if diff := cmp.Diff(strings.Join(devicetest.Interfaces(), "\n"), got.report.Results[w.page]); diff != "" {
			t.Errorf("paged output (-want +got):\n%s", diff)
		}
		if strings.Contains(strings.ToLower(got.Stdout.String()), "more") {
			t.Errorf("stdout shows the pager: %q", got.Stdout.String())
		}
	})
}

// A line that the network splits where it looks like a prompt is one line, and the next
// command gets its own reply.
func TestLineThatLooksLikeAPrompt(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect})
		verb, _, _ := strings.Cut(w.show, " ")
		got := newEnv(t, netcli.Options{}).
			cli(asset(d, w.dialect, ""), m{"commands": []string{verb + " broken", w.show}})
		got.MustEnd(t, hostler.OutcomeSucceeded, "")
		want := map[devicetest.Dialect]string{devicetest.IOSXE: "server#1 is up", devicetest.VRP: "<server> is up"}[w.dialect]
		if got.report.Results[verb+" broken"] != want || got.report.Prompt != w.before {
			t.Errorf("report %+v", got.report)
		}
	})
}

// A slow device may pause in a line that looks like a question; the rest of it follows.
func TestLineThatLooksLikeAQuestion(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{Replies: map[string]string{
		"show a": "Destination filename [startup\x00]? is what copy asks\r\n", "show b": "password: \x00hidden\r\n",
	}})
	e := newEnv(t, netcli.Options{})
	for command, want := range map[string]string{"show a": "Destination filename [startup]? is what copy asks", "show b": "password: hidden"} {
		got := e.cli(asset(d, devicetest.IOSXE, ""), m{"commands": []string{command}})
		got.MustEnd(t, hostler.OutcomeSucceeded, "")
		if got.report.Results[command] != want {
			t.Errorf("got %q, want %q", got.report.Results[command], want)
		}
	}
}

// The error names the platform when the device has another one, and nothing is typed.
func TestWrongPlatform(t *testing.T) {
	for have, want := range map[devicetest.Dialect]devicetest.Dialect{devicetest.IOSXE: devicetest.VRP, devicetest.VRP: devicetest.IOSXE} {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: have})
		e := newEnv(t, netcli.Options{OpenTimeout: 300 * time.Millisecond})
		got := e.cli(asset(d, want, ""), m{"config": []string{"vlan 7"}})
		got.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindConnTimeout)
		if !strings.Contains(got.Error.Text.EN, "check the asset's platform") || len(d.Typed()) != 0 ||
			len(e.family.Sessions()) != 0 {
			t.Errorf("error %q, typed %q", got.Error.Text.EN, d.Typed())
		}
	}
}

// VRP may ask at the login whether to change the password; the answer is no.
func TestQuestionAtLogin(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{Dialect: devicetest.VRP, AskAtLogin: true})
	got := newEnv(t, netcli.Options{}).
		cli(asset(d, devicetest.VRP, ""), m{"commands": []string{"display version"}})
	got.MustEnd(t, hostler.OutcomeSucceeded, "")
}

// Output in GBK is converted; output in no known encoding is not changed.
func TestEncodings(t *testing.T) {
	d := device(t, "127.0.2.1", devicetest.Options{Dialect: devicetest.VRP, Replies: map[string]string{
		"display gbk":  "description \xbd\xd3\xbf\xda\xc3\xe8\xca\xf6\r\n",
		"display utf8": "description 接口描述\r\n",
		"display rest": "description \xff\r\n",
	}})
	e := newEnv(t, netcli.Options{})
	for command, want := range map[string]string{
		"display gbk": "description 接口描述", "display utf8": "description 接口描述", "display rest": "description \xff",
	} {
		got := e.cli(asset(d, devicetest.VRP, ""), m{"commands": []string{command}})
		got.MustEnd(t, hostler.OutcomeSucceeded, "")
		if got.report.Results[command] != want || !strings.Contains(got.Stdout.String(), want) {
			t.Errorf("%s: got %q, stdout %q, want %q", command, got.report.Results[command], got.Stdout.String(), want)
		}
	}
}

// Most devices answer a question mark at once with help, and would run the line without it:
// nothing is sent.
func TestQuestionMark(t *testing.T) {
	eachDialect(t, func(t *testing.T, w words) {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: w.dialect})
		e := newEnv(t, netcli.Options{})
		for _, args := range []m{{"commands": []string{w.show, w.show + " ?"}}, {"config": []string{"description why?"}}} {
			got := e.cli(asset(d, w.dialect, ""), args)
			got.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindBadArgs)
			if !got.NoRetry || d.Logins() != 0 {
				t.Errorf("retry %v, %d logins", !got.NoRetry, d.Logins())
			}
		}
	})
}

// Chinese text is typed unchanged, also into a device that echoes only ASCII.
func TestChineseIsTyped(t *testing.T) {
	for _, ascii := range []bool{false, true} {
		d := device(t, "127.0.2.1", devicetest.Options{Dialect: devicetest.VRP, EchoASCII: ascii})
		got := newEnv(t, netcli.Options{}).
			cli(asset(d, devicetest.VRP, ""), m{"config": []string{"description 核心 uplink 接口"}, "timeout": 5})
		got.MustEnd(t, hostler.OutcomeSucceeded, "")
		if diff := cmp.Diff([]string{"description 核心 uplink 接口"}, d.Running()); diff != "" {
			t.Errorf("running (-want +got):\n%s", diff)
		}
		if got.report.Outputs[0].Output != "" {
			t.Errorf("output %q", got.report.Outputs[0].Output)
		}
	}
}
