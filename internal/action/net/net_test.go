package net

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

func listen(t *testing.T, banner string) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(banner))
			_ = c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// closedPort returns a port on which no service listens.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func check(t *testing.T, ctx context.Context, asset hostler.LeaseAsset, args string) (action.Result, Result) {
	t.Helper()
	r, err := action.NewRegistry(Actions()...)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate("check_port", json.RawMessage(args)); err != nil {
		t.Fatal(err)
	}
	a, _ := r.Lookup("check_port")
	out := a.Run(ctx, &action.Call{Lease: hostler.Lease{Args: json.RawMessage(args), Asset: &asset}})
	res, _ := out.Value.(Result)
	return out, res
}

func TestOpenAndClosed(t *testing.T) {
	open, closed := listen(t, "SSH-2.0-test\r\n\x1b[31m"), closedPort(t)
	host := hostler.LeaseAsset{Name: "a", Address: "127.0.0.1", Port: open}

	out, res := check(t, t.Context(), host, `{"banner":true}`)
	if out.Outcome != hostler.OutcomeSucceeded || res.Text != fmt.Sprintf("port %d open", open) {
		t.Errorf("got %v %q", out.Outcome, res.Text)
	}
	if got := res.Ports[0].Banner; got != "SSH-2.0-test  [31m" && got != "SSH-2.0-test [31m" {
		t.Errorf("banner %q", got)
	}
	out, res = check(t, t.Context(), host, fmt.Sprintf(`{"port":%d}`, closed))
	if want := fmt.Sprintf("port %d closed (errno=111)", closed); out.Outcome != hostler.OutcomeFailed ||
		res.Text != want {
		t.Errorf("got %v %q, want %q", out.Outcome, res.Text, want)
	}
	if out.Error.Kind != hostler.ErrKindRefused || !strings.Contains(out.Error.Text.EN, "connection refused") {
		t.Errorf("error %+v", out.Error)
	}
	out, res = check(t, t.Context(), host, fmt.Sprintf(`{"ports":[%d,%d]}`, open, closed))
	if out.Outcome != hostler.OutcomeFailed || res.Ports[0].State != Open || res.Ports[1].State != Closed {
		t.Errorf("got %v %+v", out.Outcome, res)
	}
}

func TestUnreachableAndNoPort(t *testing.T) {
	out, res := check(t, t.Context(), hostler.LeaseAsset{Address: "no-such-host.invalid", Port: 1}, `{}`)
	if out.Outcome != hostler.OutcomeFailed || out.Error.Kind != hostler.ErrKindUnreachable {
		t.Errorf("got %+v %+v", out.Error, res)
	}
	out, _ = check(t, t.Context(), hostler.LeaseAsset{Name: "x", Address: "127.0.0.1"}, `{}`)
	if out.Outcome != hostler.OutcomeFailed || out.Error.Kind != hostler.ErrKindBadArgs || out.Error.Text.ZH == "" {
		t.Errorf("no port: %+v", out.Error)
	}
}

// A full accept queue drops connection attempts, as a firewall does.
func TestFiltered(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*syscall.SockaddrInet4).Port
	for range 8 { // more than the queue of a listener that accepts nothing holds
		c, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Close(c) })
		if err := syscall.Connect(c, name); err != nil && !errors.Is(err, syscall.EINPROGRESS) {
			t.Fatal(err)
		}
	}
	out, res := check(t, t.Context(), hostler.LeaseAsset{Address: "127.0.0.1"},
		fmt.Sprintf(`{"port":%d,"timeout":"200ms"}`, port))
	if out.Outcome != hostler.OutcomeFailed || res.Text != fmt.Sprintf("port %d filtered", port) ||
		out.Error.Kind != hostler.ErrKindConnTimeout {
		t.Errorf("got %+v %+v", out, out.Error)
	}
}

func TestCancelledAndTimedOut(t *testing.T) {
	for cause, want := range map[error]hostler.Outcome{action.ErrCancelled: hostler.OutcomeCancelled, action.ErrTimeout: hostler.OutcomeFailed} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if out, _ := check(t, ctx, hostler.LeaseAsset{Address: "127.0.0.1", Port: 1}, `{}`); out.Outcome != want {
			t.Errorf("%v: %v, want %v", cause, out.Outcome, want)
		}
	}
}

func TestErrorsAreInBothLanguages(t *testing.T) {
	host := hostler.LeaseAsset{Name: "a", Address: "127.0.0.1"}
	out, _ := check(t, t.Context(), host, fmt.Sprintf(`{"port":%d}`, closedPort(t)))
	if zh := out.Error.Text.ZH; !strings.HasPrefix(zh, "端口 ") || !strings.Contains(zh, "关闭（errno=111）：连接被拒绝") {
		t.Errorf("got %q", zh)
	}
}

func TestManyPorts(t *testing.T) {
	open, closed := listen(t, ""), closedPort(t)
	ports := []int{open, closed}
	for p := 1; len(ports) < 1000; p++ {
		if p != open && p != closed {
			ports = append(ports, p)
		}
	}
	args, err := json.Marshal(map[string]any{"ports": ports})
	if err != nil {
		t.Fatal(err)
	}
	out, res := check(t, t.Context(), hostler.LeaseAsset{Name: "a", Address: "127.0.0.1"}, string(args))
	if out.Outcome != hostler.OutcomeFailed || len(res.Ports) != 1000 || res.Ports[0].State != Open ||
		res.Ports[1].State != Closed {
		t.Fatalf("got %v, %d ports", out.Outcome, len(res.Ports))
	}
	if text := out.Error.Text; !strings.HasSuffix(text.EN, " more") || len(text.EN) > 4096 {
		t.Errorf("the error has %d bytes: …%q", len(text.EN), text.EN[max(0, len(text.EN)-60):])
	}
}

func TestAddresses(t *testing.T) {
	for s, want := range map[string]bool{
		"10.0.0.1": true, "::1": true, "fe80::1%eth0": true, "web1": true, "db_1.example.com.": true, "服务器.example.cn": true,
		"": false, "-oProxyCommand=x": false, ".x": false, "a b": false, "a:80": false, "a/b": false, "[::1]": false, "a\x00": false,
		"a\n": false, "%": false, strings.Repeat("a", 254): false,
	} {
		if got := isAddress(s); got != want {
			t.Errorf("isAddress(%q) = %v", s, got)
		}
	}
	out, _ := check(t, t.Context(), hostler.LeaseAsset{Name: "a", Address: "-x", Port: 22}, `{}`)
	if out.Outcome != hostler.OutcomeFailed || out.Error.Kind != hostler.ErrKindBadArgs || !out.NoRetry {
		t.Errorf("got %+v", out)
	}
}

func TestIPv6AndNames(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatalf("IPv6 on loopback is needed (sysctl net.ipv6.conf.lo.disable_ipv6=0): %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	port := l.Addr().(*net.TCPAddr).Port
	if _, res := check(t, t.Context(), hostler.LeaseAsset{Address: "::1", Port: port}, `{}`); res.Ports[0].State != Open {
		t.Errorf("::1: %+v", res)
	}
	if _, res := check(t, t.Context(), hostler.LeaseAsset{Address: "localhost", Port: listen(t, "")}, `{}`); res.Ports[0].State != Open {
		t.Errorf("localhost: %+v", res)
	}
}

func TestBadArgsNameTheField(t *testing.T) {
	r, err := action.NewRegistry(Actions()...)
	if err != nil {
		t.Fatal(err)
	}
	for args, path := range map[string]string{
		`{"port":0}`: "args.port", `{"ports":[22,70000]}`: "args.ports[1]", `{"prot":22}`: "args.prot",
		`{"port":22,"ports":[1]}`: "args", `{"timeout":"1h"}`: "args.timeout", `{"timeout":"61s"}`: "args.timeout",
		`{"port":22.0}`: "args.port", `{"ports":[22,1e1]}`: "args.ports[1]",
		`{"port":22,"port":23}`: "args.port", `[]`: "args", `{"port":"22"}`: "args.port",
	} {
		var e *hostler.Error
		if err := r.Validate("check_port", json.RawMessage(args)); !errors.As(err, &e) || len(e.Fields) != 1 ||
			e.Fields[0].Path != path {
			t.Errorf("%s: %v, want a problem at %s", args, err, path)
		} else if e.Fields[0].Text.ZH == "" || strings.Contains(err.Error(), "70000") {
			t.Errorf("%s: %+v", args, e.Fields[0])
		}
	}
}

func TestMetadataServicesAreRefused(t *testing.T) {
	for _, address := range []string{"169.254.169.254", "::ffff:169.254.169.254", "100.100.100.200", "fd00:ec2::254"} {
		out, _ := check(t, t.Context(), hostler.LeaseAsset{Address: address, Port: 80}, `{"timeout":"1s"}`)
		if out.Error == nil || !strings.Contains(out.Error.Text.EN, "egress_allow") || !out.NoRetry {
			t.Errorf("%s: %+v", address, out)
		}
	}
}
