package hostler

import "time"

// AlertKind is what an alert rule watches.
type AlertKind string

// The kinds of alert rule, with the meaning of the threshold.
const (
	AlertFailures    AlertKind = "failures"     // so many failures in a row
	AlertSuccessRate AlertKind = "success_rate" // a lower part succeeded, 0 to 1
	AlertSlow        AlertKind = "slow"         // ran longer than so many times the usual p95
	AlertMissed      AlertKind = "missed"       // so many fires of a schedule did not run
	AlertQueueAge    AlertKind = "queue_age"    // the oldest ready job waits for so many seconds
	AlertWorkerLost  AlertKind = "worker_lost"  // a worker is lost for so many seconds
	AlertUnknown     AlertKind = "unknown"      // so many jobs wait for a person to resolve them
)

// AlertKinds lists the kinds.
func AlertKinds() []AlertKind {
	return []AlertKind{
		AlertFailures, AlertSuccessRate, AlertSlow, AlertMissed, AlertQueueAge, AlertWorkerLost, AlertUnknown,
	}
}

// AlertState is whether what a rule watches for is so.
type AlertState string

// The states of an alert.
const (
	AlertFiring   AlertState = "firing"
	AlertResolved AlertState = "resolved"
)

// AlertRuleInput is a rule to create, or to put in place of an existing one.
type AlertRuleInput struct {
	Kind      AlertKind `json:"kind" enum:"failures,success_rate,slow,missed,queue_age,worker_lost,unknown"`
	Threshold *float64  `json:"threshold,omitempty" minimum:"0" doc:"failures, missed, unknown: a number (3, 1, 1); success_rate: 0 to 1 (0.9); slow: times the p95 (3); queue_age, worker_lost: seconds (600, 0)"`
	By        StatsBy   `json:"by,omitempty" enum:"action,queue,user,asset,schedule,task" doc:"failures, success_rate, slow: an alert for each of these; default: action"`
	Target    string    `json:"target,omitempty" maxLength:"300" doc:"only this action, queue, schedule, …"`
	Window    Duration  `json:"window,omitempty" doc:"failures, success_rate, slow, missed: in the last whole hours (default 1h, failures 24h) or days, at most 30d"`
	Min       int       `json:"min,omitempty" minimum:"0" maximum:"1000000" doc:"success_rate: jobs in the window at least (5); slow: jobs in the week before at least (20)"`
	Channels  []string  `json:"channels,omitempty" maxItems:"20" doc:"names of notification channels; default: those that subscribe to alert.firing and alert.resolved"`
	Every     *Duration `json:"every,omitempty" doc:"one notification at most in this time, of all that changed meanwhile; default 5m"`
	Repeat    Duration  `json:"repeat,omitempty" doc:"notify again while it is firing, after this time; default: never"`
	Note      string    `json:"note,omitempty" maxLength:"1000" doc:"shown in the notifications: what to do"`
	Enabled   *bool     `json:"enabled,omitempty" doc:"default: true"`
}

// AlertRuleSpec is a document of kind AlertRule: an alert rule with its name.
type AlertRuleSpec struct {
	Name  string         `json:"name"`
	Watch AlertRuleInput `json:"watch"`
}

// AlertRule watches for something that a person should look at.
type AlertRule struct {
	Name string `json:"name"`
	AlertRuleInput
	Firing    int       `json:"firing" doc:"alerts that are firing"`
	UpdatedAt time.Time `json:"updated_at"`
	UpdatedBy string    `json:"updated_by"`
}

// Alert is what a rule found about one target. Resolved ones are kept for 30 days.
type Alert struct {
	Rule     string     `json:"rule"`
	Kind     AlertKind  `json:"kind"`
	Target   string     `json:"target,omitempty" doc:"the action, queue, schedule, worker, …"`
	State    AlertState `json:"state" enum:"firing,resolved"`
	Value    float64    `json:"value" doc:"in the unit of the threshold"`
	Text     Text       `json:"text"`
	Since    time.Time  `json:"since" doc:"when it began to fire"`
	Changed  time.Time  `json:"changed_at" doc:"when it was resolved, or began to fire"`
	Notified *time.Time `json:"notified_at,omitempty"`
	Silenced *Text      `json:"silenced,omitempty" doc:"by whom, why and until when nobody is notified"`
}

// AlertFilter selects alerts; an empty field selects all.
type AlertFilter struct {
	Rule  string
	State AlertState
}

// AlertSilenceInput stops the notifications of a rule for a time.
type AlertSilenceInput struct {
	Target string     `json:"target,omitempty" maxLength:"300" doc:"of this target only"`
	Reason string     `json:"reason" minLength:"1" maxLength:"500"`
	Until  *time.Time `json:"until,omitempty"`
	For    Duration   `json:"for,omitempty" doc:"instead of until, such as 2h; at most 90d"`
}

// AlertSilence says that nobody is notified of alerts of a rule.
type AlertSilence struct {
	Rule   string    `json:"rule"`
	Target string    `json:"target,omitempty" doc:"empty: all targets"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// AlertTarget names the alerts of a rule whose silence ends.
type AlertTarget struct {
	Target string `json:"target,omitempty" maxLength:"300" doc:"empty: the silence of all targets"`
}

// AlertNotice is what a notification tells: the alerts of a rule that changed since the one
// before.
type AlertNotice struct {
	Kind     AlertKind     `json:"kind"`
	Channels []string      `json:"channels,omitempty" doc:"that it is sent to; empty: those that subscribe to it"`
	Firing   []AlertChange `json:"firing,omitempty" doc:"at most 20"`
	Resolved []AlertChange `json:"resolved,omitempty" doc:"at most 20"`
	More     int           `json:"more,omitempty" doc:"alerts that are not listed"`
	Note     string        `json:"note,omitempty"`
	Test     bool          `json:"test,omitempty" doc:"a person tests the rule's channels"`
}

// AlertChange is an alert in a notification.
type AlertChange struct {
	Target string    `json:"target,omitempty"`
	Text   Text      `json:"text"`
	Since  time.Time `json:"since"`
}
