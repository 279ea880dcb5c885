package hostler

import "time"

// CalendarEffect is what becomes of what would begin while a calendar is closed.
type CalendarEffect string

// The effects.
const (
	ClosedSkip CalendarEffect = "skip" // default: fires are recorded as skipped, runs are refused
	ClosedWait CalendarEffect = "wait" // until it opens
)

// WeeklyPeriod is closed each week, on days that begin in it.
type WeeklyPeriod struct {
	Days []string `json:"days" minItems:"1" maxItems:"7" doc:"such as SAT and SUN"`
	From string   `json:"from,omitempty" maxLength:"5" doc:"such as 22:00; default: the begin of the day"`
	To   string   `json:"to,omitempty" maxLength:"5" doc:"such as 06:00 of the next day; default: the end of the day"`
}

// CalendarDays are whole days that are closed, or open although they would be closed each
// week. Of several that have a day, the last one counts.
type CalendarDays struct {
	From  string `json:"from" maxLength:"10" doc:"such as 2026-10-01"`
	To    string `json:"to,omitempty" maxLength:"10" doc:"the last day; default: from"`
	Open  bool   `json:"open,omitempty" doc:"a workday, such as a Sunday that is worked instead of another day"`
	Title string `json:"title,omitempty" maxLength:"200"`
}

// ClosedPeriod is closed from a time to another, whatever the day is.
type ClosedPeriod struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Title string    `json:"title,omitempty" maxLength:"200"`
}

// CalendarScope is what is held to a calendar without naming it: everything in the project,
// or what runs on an asset that has all the labels.
type CalendarScope struct {
	Project bool              `json:"project,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
}

// CalendarInput describes when a calendar is closed.
type CalendarInput struct {
	Title   string         `json:"title,omitempty" maxLength:"200"`
	Zone    string         `json:"zone,omitempty" maxLength:"64" doc:"time zone of weekly and days; default UTC"`
	Weekly  []WeeklyPeriod `json:"weekly,omitempty" maxItems:"50"`
	Days    []CalendarDays `json:"days,omitempty" maxItems:"1000" doc:"over weekly"`
	Periods []ClosedPeriod `json:"periods,omitempty" maxItems:"500" doc:"over days"`
	Closed  CalendarEffect `json:"closed,omitempty" enum:"skip,wait" doc:"what becomes of fires and runs; default skip"`
	Applies *CalendarScope `json:"applies,omitempty" doc:"without it, only schedules that name the calendar are held to it"`
}

// Calendar says when fires and runs may not begin: blackout windows, or days without work.
type Calendar struct {
	Name string `json:"name"`
	CalendarInput
	ClosedNow bool       `json:"closed_now"`
	Until     *time.Time `json:"until,omitempty" doc:"when that changes; none within 400 days if missing"`
	UpdatedAt time.Time  `json:"updated_at"`
	UpdatedBy string     `json:"updated_by"`
}

// CalendarFile has days to add to a calendar.
type CalendarFile struct {
	Text   string `json:"text" maxLength:"1000000" doc:"iCalendar, or CSV with the columns from, to, kind (closed or open), title"`
	DryRun bool   `json:"dry_run,omitempty" doc:"return the calendar as it would be"`
}

// CalendarOverride lets an admin begin something while a calendar is closed.
type CalendarOverride struct {
	Reason string `json:"reason" minLength:"1" maxLength:"1000"`
}
