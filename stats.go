package hostler

import "time"

// StatsBy is what statistics are counted by.
type StatsBy string

// What statistics are counted by.
const (
	StatsByAction   StatsBy = "action"
	StatsByQueue    StatsBy = "queue"
	StatsByUser     StatsBy = "user"
	StatsByAsset    StatsBy = "asset"
	StatsBySchedule StatsBy = "schedule"
	StatsByTask     StatsBy = "task" // of templates and tasks, by the name of the task, or else of the template
)

// StatsStep divides the time of statistics into a series.
type StatsStep string

// The steps of a series.
const (
	StatsHour StatsStep = "hour"
	StatsDay  StatsStep = "day"
)

// StatsQuery selects statistics.
type StatsQuery struct {
	By   StatsBy
	Name string     // empty: all
	From *time.Time // default: 7 days before To
	To   *time.Time // default: now
	Step StatsStep  // empty: no series
	Page
}

// Stats are the figures of the jobs that ended in a range of time.
type Stats struct {
	By    StatsBy     `json:"by"`
	From  time.Time   `json:"from" doc:"included; the begin of an hour or a day (UTC)"`
	To    time.Time   `json:"to" doc:"excluded"`
	Step  StatsStep   `json:"step,omitempty"`
	Items []StatsItem `json:"items" doc:"by name; those without a job in the range are left out"`
	Next  string      `json:"next,omitempty" doc:"cursor of the next page"`
}

// StatsItem are the figures of one name.
type StatsItem struct {
	Name string `json:"name"`
	Figures
	WeekBefore Figures      `json:"week_before" doc:"the same range a week earlier"`
	Trend      Trend        `json:"trend" doc:"changes since then"`
	Series     []StatsPoint `json:"series,omitempty"`
}

// StatsPoint are the figures of an hour or a day.
type StatsPoint struct {
	At time.Time `json:"at"`
	Figures
}

// Figures tell what became of jobs, and how long they waited and ran.
type Figures struct {
	Count       int64      `json:"count" doc:"jobs that ended"`
	Success     int64      `json:"success"`
	Failure     int64      `json:"failure" doc:"failed or expired"`
	Cancelled   int64      `json:"cancelled"`
	SuccessRate *float64   `json:"success_rate,omitempty" doc:"of those that succeeded or failed, 0 to 1"`
	Run         Times      `json:"run" doc:"of the last attempt"`
	Wait        Times      `json:"wait" doc:"in the queue, before the last attempt"`
	Last        *time.Time `json:"last,omitempty" doc:"the latest end"`
	Streak      int64      `json:"failures_in_row,omitempty" doc:"failures since the last success"`
	Missed      int64      `json:"missed,omitempty" doc:"of schedules: fires that did not run"`
}

// Times describe spans of time, in seconds. Quantiles are at most 5 % off.
type Times struct {
	Total   float64 `json:"total"`
	Average float64 `json:"avg"`
	P50     float64 `json:"p50"`
	P95     float64 `json:"p95"`
}

// Trend has changes: 0.1 is 10 % more. What cannot be compared is left out.
type Trend struct {
	Count       *float64 `json:"count,omitempty"`
	SuccessRate *float64 `json:"success_rate,omitempty" doc:"a difference, such as -0.02 for two points less"`
	RunP95      *float64 `json:"run_p95,omitempty"`
	WaitP95     *float64 `json:"wait_p95,omitempty"`
}
