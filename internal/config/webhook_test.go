package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/config"
)

func TestWebhookSettings(t *testing.T) {
	file := writeFile(t, "webhook_url: https://hooks.example.com/in?key=canary\nwebhook_retry: [1s, 2m]\n")
	c := mustLoad(t, config.Source{File: file, Environ: []string{
		"HOSTLER_WEBHOOK_TOKEN=canary", "HOSTLER_WEBHOOK_SECRET=canary", "HOSTLER_WEBHOOK_FORMAT=standard",
	}})
	if c.WebhookURL.Reveal() != "https://hooks.example.com/in?key=canary" || c.WebhookToken.Reveal() != "canary" ||
		c.WebhookSecret.Reveal() != "canary" || c.WebhookFormat != hostler.FormatStandard {
		t.Errorf(
			"got %q %q %q %q",
			c.WebhookURL.Reveal(),
			c.WebhookToken.Reveal(),
			c.WebhookSecret.Reveal(),
			c.WebhookFormat,
		)
	}
	if diff := cmp.Diff([]time.Duration{time.Second, 2 * time.Minute}, c.WebhookRetry); diff != "" {
		t.Errorf("webhook_retry (-want +got):\n%s", diff)
	}
	if s := c.String(); strings.Contains(s, "canary") || !strings.Contains(s, "https://hooks.example.com/in?***") {
		t.Errorf("shown as %s", s)
	}
	once := mustLoad(t, config.Source{Environ: []string{"HOSTLER_WEBHOOK_RETRY="}})
	if len(once.WebhookRetry) != 0 {
		t.Errorf("an empty list gives %v", once.WebhookRetry)
	}
}

func TestBadWebhookSettings(t *testing.T) {
	file := writeFile(t, "webhook_token: canary\n")
	for name, src := range map[string]config.Source{
		"a token in the file":  {File: file},
		"no scheme":            {Environ: []string{"HOSTLER_WEBHOOK_URL=canary.example.com"}},
		"another scheme":       {Environ: []string{"HOSTLER_WEBHOOK_URL=file:///canary"}},
		"a token without URL":  {Environ: []string{"HOSTLER_WEBHOOK_TOKEN=canary"}},
		"an unknown format":    {Environ: []string{"HOSTLER_WEBHOOK_URL=https://h", "HOSTLER_WEBHOOK_FORMAT=slack"}},
		"a bad pause":          {Environ: []string{"HOSTLER_WEBHOOK_RETRY=5s,soon"}},
		"no pause":             {Environ: []string{"HOSTLER_WEBHOOK_RETRY=0s"}},
		"a flag with a secret": {Flags: map[string]string{"webhook-url": "https://canary"}},
	} {
		_, err := config.Load(src)
		if hostler.CodeOf(err) != hostler.CodeInvalid || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want CodeInvalid without the value", name, err)
		}
	}
}
