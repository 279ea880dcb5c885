package schedule

import (
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // for machines without a zone database

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// Limits of a trigger.
const (
	minInterval = time.Second
	maxInterval = 10 * 366 * 24 * time.Hour
	maxJitter   = time.Hour
	maxCron     = 200 // bytes
)

// Parse checks a trigger; path goes before the names of the fields at fault. Intervals
// without a start are counted from anchor. It returns nil if there are faults.
func Parse(fields *check.Fields, path string, in hostler.Trigger, anchor time.Time) *Times {
	var own check.Fields
	t := &Times{zone: time.UTC, jitter: in.Jitter.D()}
	own.Require(kinds(in) == 1, "", "needs exactly one of cron, interval and date", "须且只能指定 cron、interval、date 之一")
	if in.Zone != "" {
		zone, ok := location(in.Zone)
		own.Require(ok, "zone", "is not a time zone: use a name such as Europe/Berlin, Asia/Shanghai or UTC",
			"不是时区：请使用 Europe/Berlin、Asia/Shanghai、UTC 等名称")
		if ok {
			t.zone = zone
		}
	}
	own.Duration("jitter", in.Jitter, maxJitter)
	own.Time("start", in.Start)
	own.Time("end", in.End)
	own.Time("date", in.Date)
	if in.Start != nil {
		t.start = *in.Start
	}
	if in.End != nil {
		t.end = *in.End
		own.Require(in.Start == nil || in.End.After(*in.Start), "end", "must be after start", "必须晚于 start")
	}
	t.parseKind(&own, in, anchor)
	for _, f := range own.Faults() {
		fields.AddText(strings.TrimSuffix(path+"."+f.Path, "."), f.Text)
	}
	if len(own.Faults()) > 0 {
		return nil
	}
	return t
}

// kinds counts what the trigger fires by.
func kinds(in hostler.Trigger) (n int) {
	for _, given := range []bool{in.Cron != "", in.Interval != 0, in.Date != nil} {
		if given {
			n++
		}
	}
	return n
}

func (t *Times) parseKind(fields *check.Fields, in hostler.Trigger, anchor time.Time) {
	switch {
	case in.Cron != "":
		if len(in.Cron) > maxCron {
			fields.Add("cron", "must be at most %d bytes", "最多 %d 字节", maxCron)
			return
		}
		spec, wrong := parseCron(in.Cron)
		if wrong != nil {
			fields.AddText("cron", *wrong)
			return
		}
		fields.Require(!spec.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero(), "cron",
			"never fires: no month has that day; use L for the last day of the month",
			"永不触发：没有任何月份有该日期；每月最后一天请用 L")
		t.next = clock{wall: spec, zone: t.zone}
	case in.Interval != 0:
		fields.Require(in.Interval.D() >= minInterval && in.Interval.D() <= maxInterval, "interval",
			"must be between %v and %v", "必须在 %v 到 %v 之间", hostler.Duration(minInterval), hostler.Duration(maxInterval))
		start := anchor
		if in.Start != nil {
			start = *in.Start
		}
		// Instants are stored in microseconds.
		t.next = every{start: start.Truncate(time.Microsecond), span: in.Interval.D().Truncate(time.Microsecond)}
	case in.Date != nil:
		t.next = once(in.Date.Truncate(time.Microsecond))
	}
}

// locations caches the zones that were loaded; there are some hundreds.
var locations sync.Map

// location loads a time zone by its name in the IANA database.
func location(name string) (*time.Location, bool) {
	if zone, ok := locations.Load(name); ok {
		return zone.(*time.Location), true
	}
	// "right" zones count leap seconds; Local is another zone on each server.
	if name == "Local" || strings.HasPrefix(name, "right/") || strings.HasPrefix(name, "posix") {
		return nil, false
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, false
	}
	locations.Store(name, zone)
	return zone, true
}
