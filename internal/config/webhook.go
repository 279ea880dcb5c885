package config

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// Limits of webhook_retry.
const (
	maxRetries    = 30
	maxRetryPause = 7 * 24 * time.Hour
)

// setWebhookURL does not repeat the value in its error: it may hold a token.
func setWebhookURL(c *Config, s string) error {
	c.WebhookURL = Secret(s)
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return rule("write a URL like https://host/path", "请写成 https://host/path 形式的 URL")
	}
	return nil
}

func maskedURL(s Secret) string {
	if s == "" {
		return ""
	}
	return hostler.MaskURL(s.Reveal())
}

func setWebhookFormat(c *Config, s string) error {
	f := hostler.WebhookFormat(s)
	if s != "" && !slices.Contains(hostler.WebhookFormats(), f) {
		return rule("must be one of %s", "必须是以下之一：%s", "standard, task, netpulse, dingtalk, wecom, feishu")
	}
	c.WebhookFormat = f
	return nil
}

func setWebhookRetry(c *Config, s string) error {
	var pauses []time.Duration
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		d, err := hostler.ParseDuration(part)
		if err != nil {
			return err
		}
		if d <= 0 || d > maxRetryPause {
			return rule("each must be more than 0 and at most %v", "每一项必须大于 0 且不超过 %v", maxRetryPause)
		}
		pauses = append(pauses, d)
	}
	if len(pauses) > maxRetries {
		return rule("must be at most %d", "最多 %d 项", maxRetries)
	}
	c.WebhookRetry = pauses
	return nil
}

func joinSpans(list []time.Duration) string {
	texts := make([]string, len(list))
	for i, d := range list {
		texts[i] = hostler.Duration(d).String()
	}
	return strings.Join(texts, ",")
}
