package schedule_test

import (
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/schedule"
)

func closures(t interface{ Fatal(...any) }, in hostler.CalendarInput) *schedule.Closures {
	var fields check.Fields
	c := schedule.ParseCalendar(&fields, in)
	if err := fields.Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestWorkdaysOfChina reads the sample file: holidays are closed, weekends that are worked
// instead are open.
func TestWorkdaysOfChina(t *testing.T) {
	text, err := os.ReadFile("../../examples/calendars/china-2026.csv")
	if err != nil {
		t.Fatal(err)
	}
	days, _, err := schedule.ReadCalendar(string(text))
	if err != nil {
		t.Fatal(err)
	}
	c := closures(t, hostler.CalendarInput{
		Zone: "Asia/Shanghai", Weekly: []hostler.WeeklyPeriod{{Days: []string{"SAT", "sun"}}}, Days: days,
	})
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	for day, want := range map[string]string{
		"2026-01-04": "",           // a Sunday that is worked
		"2026-01-05": "",           // Monday
		"2026-01-10": "2026-01-12", // a weekend
		"2026-02-14": "",
		"2026-02-15": "2026-02-24",
		"2026-05-05": "2026-05-06",
		"2026-09-25": "2026-09-28",
		"2026-10-01": "2026-10-08",
		"2026-10-10": "",
	} {
		at, err := time.ParseInLocation(time.DateOnly, day, zone)
		if err != nil {
			t.Fatal(err)
		}
		closed, _, until := c.At(at.Add(9 * time.Hour))
		got := ""
		if closed {
			got = until.In(zone).Format(time.DateOnly)
		}
		if got != want {
			t.Errorf("%s is closed until %q, want %q", day, got, want)
		}
	}
	workdays := 0
	for at := time.Date(2026, 1, 1, 12, 0, 0, 0, zone); at.Year() == 2026; at = at.AddDate(0, 0, 1) {
		if closed, _ := c.Closed(at); !closed {
			workdays++
		}
	}
	if workdays != 248 {
		t.Errorf("%d workdays, want 248", workdays)
	}
}

// TestCalendarFiles reads days, times and folded lines of iCalendar, and refuses what would
// be misread.
func TestCalendarFiles(t *testing.T) {
	file := "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261001\r\nDTEND;VALUE=DATE:20261008\r\nSUMMARY:National\r\n  Day\r\nEND:VEVENT\r\n" +
		"BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261010\r\nSUMMARY:国庆节（班）\r\nEND:VEVENT\r\n" +
		"BEGIN:VEVENT\r\nDTSTART;TZID=Europe/Berlin:20261224T220000\r\nDTEND:20261225T050000Z\r\nSUMMARY:freeze\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	days, periods, err := schedule.ReadCalendar(file)
	if err != nil || len(days) != 2 || len(periods) != 1 {
		t.Fatal(days, periods, err)
	}
	if d := days[0]; d.From != "2026-10-01" || d.To != "2026-10-07" || d.Open || d.Title != "National Day" {
		t.Errorf("%+v", d)
	}
	if d := days[1]; d.From != "2026-10-10" || d.To != "" || !d.Open {
		t.Errorf("%+v", d)
	}
	if p := periods[0]; !p.From.Equal(time.Date(2026, 12, 24, 21, 0, 0, 0, time.UTC)) || p.To.Sub(p.From) != 8*time.Hour {
		t.Errorf("%+v", p)
	}
	for _, bad := range []string{
		"BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261001\nRRULE:FREQ=YEARLY\nEND:VEVENT\n",
		"BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT\n",
		"2026-10-01,,holiday,x\n", "tomorrow,,closed,x\n", "\"", ",,,\n",
	} {
		if _, _, err := schedule.ReadCalendar(bad); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestCalendarChanges compares when a calendar changes with a look at each minute.
func TestCalendarChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := rapid.SampledFrom([]string{"", "00:00", "01:30", "02:30", "22:00"})
		day := rapid.SampledFrom([]string{"MON", "TUE", "FRI", "SAT", "SUN"})
		// Before changes of the clock.
		begin := time.Date(2026, rapid.SampledFrom([]time.Month{3, 10}).Draw(t, "month"), 22, 0, 0, 0, 0, time.UTC)
		date := func(label string) time.Time {
			return begin.Add(time.Duration(rapid.IntRange(0, 8*24*60).Draw(t, label)) * time.Minute)
		}
		in := hostler.CalendarInput{Zone: rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/Havana", "Asia/Shanghai"}).Draw(t, "zone")}
		for range rapid.IntRange(0, 2).Draw(t, "weekly") {
			in.Weekly = append(in.Weekly, hostler.WeeklyPeriod{
				Days: []string{day.Draw(t, "day")}, From: clock.Draw(t, "from"), To: clock.Draw(t, "to"),
			})
		}
		for range rapid.IntRange(0, 2).Draw(t, "days") {
			in.Days = append(in.Days, hostler.CalendarDays{
				From: date("date").Format(time.DateOnly), Open: rapid.Bool().Draw(t, "open"),
			})
		}
		if rapid.Bool().Draw(t, "period") {
			from := date("begin")
			in.Periods = append(in.Periods, hostler.ClosedPeriod{From: from, To: from.Add(100 * time.Minute)})
		}
		c := closures(t, in)
		at := date("at")
		closed, _, until := c.At(at)
		for m := at; m.Before(begin.AddDate(0, 0, 9)); m = m.Add(time.Minute) {
			now, _ := c.Closed(m)
			if changed := !until.IsZero() && !m.Before(until); changed {
				if now == closed {
					t.Fatalf("%+v: at %s it has not changed at %s", in, at, until)
				}
				return
			}
			if now != closed {
				t.Fatalf("%+v: at %s it changes at %s, and not at %s", in, at, m, until)
			}
		}
	})
}

// TestCalendarOverTheRepeatedHour: what is closed until 02:30 does not open in between when
// the clock shows that time twice, and opens at the leap when it shows it never.
func TestCalendarOverTheRepeatedHour(t *testing.T) {
	c := closures(t, hostler.CalendarInput{
		Zone: "Europe/Berlin", Weekly: []hostler.WeeklyPeriod{{Days: []string{"SAT"}, From: "22:00", To: "02:30"}},
	})
	for from, want := range map[time.Time]time.Time{
		time.Date(2026, 10, 24, 21, 0, 0, 0, time.UTC): time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC),
		time.Date(2026, 3, 28, 21, 30, 0, 0, time.UTC): time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC),
		time.Date(2026, 7, 11, 21, 0, 0, 0, time.UTC):  time.Date(2026, 7, 12, 0, 30, 0, 0, time.UTC),
	} {
		if closed, _, until := c.At(from); !closed || !until.Equal(want) {
			t.Errorf("at %s closed %v until %s, want %s", from, closed, until, want)
		}
	}
}
