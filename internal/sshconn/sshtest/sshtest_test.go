package sshtest_test

import (
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler/internal/sshconn/sshtest"
)

func TestStart(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{AnyAddress: true, Env: map[string]string{"GREETING": "good day"}})
	if got := output(t, s, s.Addr, `printf %s "$GREETING"`); got != "good day" {
		t.Errorf("got %q", got)
	}
	if got := s.Connections(); got != 1 {
		t.Errorf("connections: got %d, want 1\n%s", got, s.Log())
	}
	if got := output(t, s, s.Addr, `ls -A "$HOME"`); got != "" {
		t.Errorf("the home folder has %q, want nothing: its startup files slow sessions down", got)
	}
	s.RotateHostKeys()
	if got := output(t, s, s.Addr, "echo again"); got != "again\n" {
		t.Errorf("after a restart: got %q", got)
	}
}

func output(t *testing.T, s *sshtest.Server, addr, command string) string {
	t.Helper()
	signer, err := gossh.ParsePrivateKey([]byte(s.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	hostKey, _, _, _, err := gossh.ParseAuthorizedKey([]byte(s.HostKey("")))
	if err != nil {
		t.Fatal(err)
	}
	client, err := gossh.Dial("tcp", addr, &gossh.ClientConfig{
		User: s.User, Auth: []gossh.AuthMethod{gossh.PublicKeys(signer)},
		HostKeyCallback: gossh.FixedHostKey(hostKey),
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.Log())
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.Output(command)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
