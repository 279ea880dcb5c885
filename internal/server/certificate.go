package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// certificateEvery is how often the files of the certificate are looked at, by a
// connection that begins.
const certificateEvery = 10 * time.Second

// certificate is the server's certificate. It follows its files: a renewal needs no
// restart. While the new files cannot be used, such as between two writes, the old
// certificate stays.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex // guards the fields below
	pair    *tls.Certificate
	version [2]time.Time // modification times of the files
	looked  time.Time
}

// loadCertificate reads the files, which must be valid.
func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.load(c.modified()); err != nil {
		return nil, fmt.Errorf("tls certificate: %w", err)
	}
	c.looked = time.Now()
	return c, nil
}

func (c *certificate) modified() (version [2]time.Time) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			version[i] = info.ModTime()
		}
	}
	return version
}

func (c *certificate) load(version [2]time.Time) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err == nil {
		c.pair, c.version = &pair, version
	}
	return err
}

// get is tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) >= certificateEvery {
		c.follow(false)
	}
	return c.pair, nil
}

// follow reads the files again if they have changed, or in any case.
func (c *certificate) follow(always bool) {
	c.looked = time.Now()
	version := c.modified()
	if version == c.version && !always {
		return
	}
	if err := c.load(version); err != nil {
		c.log.Warn("the new TLS certificate cannot be used; the old one stays", "err", err)
		return
	}
	c.log.Info("the TLS certificate was read again", "file", c.certFile, "valid_until", c.pair.Leaf.NotAfter)
}

// reload reads the files now.
func (c *certificate) reload() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.follow(true)
}

// onHangup calls reload for each SIGHUP until ctx is done.
func onHangup(ctx context.Context, reload func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		defer signal.Stop(hangup)
		for {
			select {
			case <-hangup:
				reload()
			case <-ctx.Done():
				return
			}
		}
	}()
}
