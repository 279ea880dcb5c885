package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/clicontext"
	"hostler.dev/hostler/internal/wait"
)

// announce creates what a first start requires, and publishes the address of the
// server: to the command line's context file and to the terminal.
func (s *server) announce(ctx context.Context, addr net.Addr) error {
	secret, first, err := s.app.Bootstrap(ctx, s.cfg.AdminKey.Reveal())
	if err != nil {
		return err
	}
	err = s.app.ConfigureWebhook(ctx, app.WebhookConfig{
		URL: s.cfg.WebhookURL.Reveal(), Token: s.cfg.WebhookToken.Reveal(), Secret: s.cfg.WebhookSecret.Reveal(),
		Format: s.cfg.WebhookFormat, Lang: s.cfg.Lang,
	})
	if err != nil {
		return err
	}
	if s.cfg.SeedSample {
		if err := s.app.SeedSample(ctx, addr.(*net.TCPAddr).Port); err != nil {
			return err
		}
	}
	self := clicontext.Context{URL: s.url(addr)}
	if s.cfg.TLS() {
		if self.CAFile, err = filepath.Abs(s.cfg.TLSCert); err != nil {
			return fmt.Errorf("tls certificate: %w", err)
		}
	}
	s.self = self
	s.publishContext(ctx)
	return s.greet(self.URL, secret, first)
}

// contextPoll is how often a server looks whether its local key is to be renewed.
const contextPoll = time.Hour

// keepContext renews the key of the context file until ctx is done.
func (s *server) keepContext(ctx context.Context) error {
	for wait.Sleep(ctx, contextPoll) == nil {
		s.publishContext(ctx)
	}
	return nil
}

// publishContext writes the context file with a local key, which expires unless a server
// renews it. The first admin key is not stored. Without the file the server works as well.
func (s *server) publishContext(ctx context.Context) {
	key, err := s.app.LocalContextKey(ctx, clicontext.LocalKey(s.cfg.Data))
	if err == nil {
		self := s.self
		self.Key = key
		err = clicontext.Publish(s.cfg.Data, s.proc.ContextFile, self)
	}
	if err != nil {
		s.log.WarnContext(ctx, "cannot write the context file; name the server with --url", "err", err)
	}
}

// greet prints the address, and the first admin key once.
func (s *server) greet(url, secret string, first bool) error {
	in := func(en, zh string, args ...any) string { return hostler.Textf(en, zh, args...).In(s.cfg.Lang) }
	text := in("Hostler %s is at %s\n", "Hostler %s 已启动：%s\n", s.proc.Version, url)
	switch {
	case first && s.cfg.AdminKey == "":
		text += in("First admin key, shown only now: %s\n",
			"首个管理员密钥（仅显示这一次）：%s\n", secret)
	case first:
		text += in("The first admin key is the one in HOSTLER_ADMIN_KEY.\n",
			"首个管理员密钥为 HOSTLER_ADMIN_KEY 中的密钥。\n")
	}
	_, err := io.WriteString(s.proc.Out, text)
	return err
}

// url returns the URL of the server for programs on this machine.
func (s *server) url(addr net.Addr) string {
	scheme := "http"
	if s.cfg.TLS() {
		scheme = "https"
	}
	host, _, err := net.SplitHostPort(s.cfg.Listen)
	ip := net.ParseIP(host)
	if err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(addr.(*net.TCPAddr).Port))
}
