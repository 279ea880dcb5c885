package hostler

import "time"

// ForecastQuery asks what schedules will do.
type ForecastQuery struct {
	Days     int    // default 7
	Schedule string // by name; empty: all
	Limit    int    // of the fires that are listed
}

// Forecast is what the schedules of a project will do, as far as it can be known: with the
// durations that their runs had, calendars and changes of the clock.
type Forecast struct {
	From       time.Time           `json:"from"`
	To         time.Time           `json:"to" doc:"excluded"`
	Schedules  []ForecastSchedule  `json:"schedules"`
	Fires      []ForecastFire      `json:"fires" doc:"in the order of time"`
	Collisions []ForecastCollision `json:"collisions" doc:"runs of several schedules that want the same lane"`
	Overloads  []ForecastOverload  `json:"overloads" doc:"more jobs at once than the queue's limit or the workers have slots"`
	More       bool                `json:"more,omitempty" doc:"there is more than this shows"`
}

// ForecastSchedule is what one schedule will do.
type ForecastSchedule struct {
	Name    string  `json:"name"`
	Fires   int     `json:"fires"`
	Started int     `json:"started"`
	Skipped int     `json:"skipped" doc:"or merged or replaced"`
	Over    int     `json:"over" doc:"runs that still run when the next fire comes"`
	Run     float64 `json:"run_s" doc:"how long a run takes, in seconds"`
	Learned bool    `json:"learned" doc:"from its earlier runs; else it is assumed"`
	Jobs    int     `json:"jobs" doc:"of each run"`
	Problem *Text   `json:"problem,omitempty" doc:"why its runs would be refused now"`
}

// ForecastFire is a fire to come.
type ForecastFire struct {
	Schedule string     `json:"schedule"`
	At       time.Time  `json:"at" doc:"the instant"`
	State    FireState  `json:"state" doc:"started, queued (beyond the end of the forecast), skipped, merged, or replaced"`
	Start    *time.Time `json:"start,omitempty" doc:"of its run"`
	End      *time.Time `json:"end,omitempty"`
	Over     bool       `json:"over,omitempty" doc:"it still runs when the next fire of the schedule comes"`
}

// ForecastCollision are runs of several schedules that want the same lane: one waits.
type ForecastCollision struct {
	Lane      string    `json:"lane" doc:"an asset, or the key of a lane"`
	Lanes     int       `json:"lanes" doc:"how many lanes have the same"`
	Schedules []string  `json:"schedules"`
	First     time.Time `json:"first"`
	Count     int       `json:"count"`
}

// ForecastOverload is a time at which more jobs want to run than can.
type ForecastOverload struct {
	Queue    string    `json:"queue"`
	At       time.Time `json:"at"`
	Until    time.Time `json:"until"`
	Jobs     int       `json:"jobs" doc:"at most"`
	Capacity int       `json:"capacity"`
}
