package schedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// expression is a cron expression that the oracle understands without a parser.
type expression struct {
	text                       string
	second, minute, hour       []int
	day, month, weekday        []int // nil: any
	lastDay                    bool
	nthWeekday, nth            int // nth 0: none, -1: the last
	anyDay, anyWeekday, sixFed bool
}

// drawField draws the values of a field: any, a list, a range or a step.
func drawField(t *rapid.T, name string, low, high int) (text string, values []int, anyValue bool) {
	switch rapid.IntRange(0, 3).Draw(t, name+" form") {
	case 0:
		return "*", span(low, high, 1), true
	case 1:
		list := rapid.SliceOfNDistinct(rapid.IntRange(low, high), 1, 3, rapid.ID).Draw(t, name)
		var parts []string
		for _, v := range list {
			parts = append(parts, strconv.Itoa(v))
		}
		return strings.Join(parts, ","), list, false
	case 2:
		from := rapid.IntRange(low, high).Draw(t, name+" from")
		to := rapid.IntRange(from, high).Draw(t, name+" to")
		return fmt.Sprintf("%d-%d", from, to), span(from, to, 1), false
	default:
		from := rapid.IntRange(low, high-2).Draw(t, name+" from")
		step := rapid.IntRange(1, high-from).Draw(t, name+" step") // no larger than the range
		return fmt.Sprintf("%d-%d/%d", from, high, step), span(from, high, step), false
	}
}

func span(from, to, step int) (out []int) {
	for v := from; v <= to; v += step {
		out = append(out, v)
	}
	return out
}

func drawExpression(t *rapid.T) expression {
	var e expression
	minute, hour, day, month, weekday := "", "", "", "", ""
	e.second = []int{0}
	second := ""
	if e.sixFed = rapid.IntRange(0, 5).Draw(t, "seconds") == 0; e.sixFed {
		e.second = []int{rapid.IntRange(0, 59).Draw(t, "second")}
		second = strconv.Itoa(e.second[0]) + " "
	}
	minute, e.minute, _ = drawField(t, "minute", 0, 59)
	hour, e.hour, _ = drawField(t, "hour", 0, 23)
	day, e.day, e.anyDay = drawField(t, "day", 1, 31)
	month, e.month, _ = drawField(t, "month", 1, 12)
	weekday, e.weekday, e.anyWeekday = drawField(t, "weekday", 0, 6)
	if rapid.IntRange(0, 5).Draw(t, "last day") == 0 {
		day, e.day, e.anyDay, e.lastDay = "L", nil, false, true
	}
	if rapid.IntRange(0, 5).Draw(t, "nth") == 0 {
		e.nthWeekday, e.nth = rapid.IntRange(0, 6).Draw(t, "nth weekday"), rapid.IntRange(1, 5).Draw(t, "n")
		weekday, e.weekday, e.anyWeekday = fmt.Sprintf("%d#%d", e.nthWeekday, e.nth), nil, false
	}
	e.text = second + strings.Join([]string{minute, hour, day, month, weekday}, " ")
	return e
}

// matches reports whether a wall time is one of the expression.
func (e expression) matches(w time.Time) bool {
	if !slices.Contains(e.second, w.Second()) || !slices.Contains(e.minute, w.Minute()) ||
		!slices.Contains(e.hour, w.Hour()) || !slices.Contains(e.month, int(w.Month())) {
		return false
	}
	day := slices.Contains(e.day, w.Day()) || e.lastDay && w.AddDate(0, 0, 1).Day() == 1
	weekday := slices.Contains(e.weekday, int(w.Weekday())) ||
		e.nth > 0 && int(w.Weekday()) == e.nthWeekday && (w.Day()-1)/7+1 == e.nth
	if e.anyDay || e.anyWeekday {
		return day && weekday
	}
	return day || weekday
}

// bruteForce looks at every second, or every minute, from begin to end: an instant fires
// if the clock shows there, for the first time, a time of the expression, or has leapt
// over one.
func bruteForce(e expression, zone *time.Location, begin, end time.Time) (out []time.Time) {
	step := time.Minute
	if e.sixFed {
		step = time.Second
	}
	shown := time.Time{}
	for u := begin.Add(-30 * time.Hour); u.Before(end); u = u.Add(step) {
		local := u.In(zone)
		wall := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), local.Second(), 0, time.UTC)
		if shown.IsZero() {
			shown = wall
			continue
		}
		fires := false
		for w := shown.Add(step); !w.After(wall) && !fires; w = w.Add(step) {
			fires = e.matches(w)
		}
		if wall.After(shown) {
			shown = wall
		}
		if fires && !u.Before(begin) {
			out = append(out, u)
		}
	}
	return out
}

// zones are those of every kind of change of a clock: an hour, half an hour, a day, at
// midnight, in the south, several in a year, and none.
var zones = []string{
	"Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo",
	"Africa/Casablanca", "Asia/Tehran", "America/Havana", "Asia/Gaza", "Antarctica/Troll", "Asia/Kathmandu",
	"Pacific/Kwajalein", "America/Caracas", "Europe/London", "Asia/Pyongyang", "Africa/Monrovia", "UTC",
}

// TestAfterAgainstBruteForce compares the instants of expressions with those that a walk
// over all seconds finds, mostly around the changes of clocks.
func TestAfterAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawExpression(t)
		name := rapid.SampledFrom(zones).Draw(t, "zone")
		zone, ok := location(name)
		if !ok {
			t.Fatalf("no zone %s", name)
		}
		days := 12
		if e.sixFed {
			days = 1
		}
		begin := time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 10*365*24).Draw(t, "hour")) * time.Hour)
		if _, change := begin.In(zone).ZoneBounds(); !change.IsZero() && rapid.IntRange(0, 3).Draw(t, "near a change") > 0 {
			begin = change.Add(-time.Duration(rapid.IntRange(0, 47).Draw(t, "before")) * time.Hour)
			days = min(days, 4)
		}
		begin = begin.UTC().Truncate(time.Minute)
		end := begin.AddDate(0, 0, days)
		var fields check.Fields
		times := Parse(&fields, "trigger", hostler.Trigger{Cron: e.text, Zone: name, End: &end}, begin)
		if times == nil {
			if neverFires(e) {
				return
			}
			t.Fatalf("%q: %v", e.text, fields.Err())
		}
		want := bruteForce(e, zone, begin, end)
		var got []time.Time
		for at := begin.Add(-time.Second); ; {
			if at = times.After(at); at.IsZero() {
				break
			}
			got = append(got, at.UTC())
		}
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Fatalf("%q in %s from %v:\ngot  %v\nwant %v", e.text, name, begin, head(got), head(want))
		}
		if len(got) > 0 {
			from := rapid.IntRange(0, len(got)-1).Draw(t, "from")
			until := begin.Add(time.Duration(rapid.IntRange(0, days*86400).Draw(t, "until")) * time.Second)
			if !until.Before(got[from]) {
				i, found := slices.BinarySearchFunc(got, until, time.Time.Compare)
				if !found {
					i--
				}
				if last := times.last(got[from], until); !last.Equal(got[i]) {
					t.Fatalf("%q in %s: the last in [%v, %v] is %v, want %v", e.text, name, got[from], until, last, got[i])
				}
			}
		}
	})
}

func head(all []time.Time) []time.Time { return all[:min(len(all), 40)] }

// neverFires reports whether no day of 45 years matches.
func neverFires(e expression) bool {
	for d := time.Date(2000, 1, 1, e.hour[0], e.minute[0], e.second[0], 0, time.UTC); d.Year() < 2045; d = d.AddDate(0, 0, 1) {
		if e.matches(d) {
			return false
		}
	}
	return true
}
