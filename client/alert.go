package client

import (
	"context"

	"hostler.dev/hostler"
)

// AlertRules fetches the alert rules of the project.
func (c *Client) AlertRules(ctx context.Context) ([]hostler.AlertRule, error) {
	l, err := get[hostler.List[hostler.AlertRule]](ctx, c, nil, "alert-rules")
	return l.Items, err
}

// AlertRule fetches one alert rule.
func (c *Client) AlertRule(ctx context.Context, name string) (hostler.AlertRule, error) {
	return get[hostler.AlertRule](ctx, c, nil, "alert-rules", name)
}

// PutAlertRule creates or replaces an alert rule.
func (c *Client) PutAlertRule(ctx context.Context, name string, in hostler.AlertRuleInput) (hostler.AlertRule, error) {
	return fetch[hostler.AlertRule](ctx, c, put(in, "alert-rules", name))
}

// DeleteAlertRule deletes an alert rule with its alerts.
func (c *Client) DeleteAlertRule(ctx context.Context, name string) error {
	return c.do(ctx, del("alert-rules", name), nil)
}

// TestAlertRule notifies the channels of a rule, as a test.
func (c *Client) TestAlertRule(ctx context.Context, name string) (hostler.AlertRule, error) {
	return fetch[hostler.AlertRule](ctx, c, post(nil, "alert-rules", name, "test"))
}

// Alerts fetches a page of alerts.
func (c *Client) Alerts(ctx context.Context, f hostler.AlertFilter, p hostler.Page) (hostler.List[hostler.Alert], error) {
	q := pageQuery(p)
	if f.Rule != "" {
		q.Set("rule", f.Rule)
	}
	if f.State != "" {
		q.Set("state", string(f.State))
	}
	return get[hostler.List[hostler.Alert]](ctx, c, q, "alerts")
}

// AlertSilences fetches the silences of the project.
func (c *Client) AlertSilences(ctx context.Context) ([]hostler.AlertSilence, error) {
	l, err := get[hostler.List[hostler.AlertSilence]](ctx, c, nil, "alert-silences")
	return l.Items, err
}

// SilenceAlerts stops the notifications of a rule for a time.
func (c *Client) SilenceAlerts(
	ctx context.Context, rule string, in hostler.AlertSilenceInput,
) (hostler.AlertSilence, error) {
	return fetch[hostler.AlertSilence](ctx, c, post(in, "alert-rules", rule, "silence"))
}

// UnsilenceAlerts ends a silence.
func (c *Client) UnsilenceAlerts(ctx context.Context, rule string, in hostler.AlertTarget) error {
	return c.do(ctx, post(in, "alert-rules", rule, "unsilence"), nil)
}
