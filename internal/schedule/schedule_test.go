package schedule

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func mustParse(t testing.TB, in hostler.Trigger) *Times {
	t.Helper()
	var fields check.Fields
	times := Parse(&fields, "trigger", in, at("2026-01-01T00:00:00Z"))
	if err := fields.Err(); err != nil {
		t.Fatal(err)
	}
	return times
}

func TestInstants(t *testing.T) {
	start, date := at("2026-03-01T10:00:00Z"), at("2027-01-01T00:00:00+08:00")
	for _, c := range []struct {
		name  string
		in    hostler.Trigger
		after string
		want  string
	}{
		{
			"leapt over",
			hostler.Trigger{Cron: "30 2 * * *", Zone: "Europe/Berlin"},
			"2026-03-28T12:00:00+01:00",
			"2026-03-29T01:00:00Z 2026-03-30T00:30:00Z",
		},
		{
			"shown twice",
			hostler.Trigger{Cron: "30 2 * * *", Zone: "Europe/Berlin"},
			"2026-10-24T12:00:00+02:00",
			"2026-10-25T00:30:00Z 2026-10-26T01:30:00Z",
		},
		{
			"every half hour when an hour is repeated",
			hostler.Trigger{Cron: "*/30 * * * *", Zone: "Europe/Berlin"},
			"2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z 2026-10-25T02:00:00Z",
		},
		{
			"a day that did not exist",
			hostler.Trigger{Cron: "0 12 * * *", Zone: "Pacific/Apia"},
			"2011-12-29T23:00:00Z",
			"2011-12-30T10:00:00Z 2011-12-30T22:00:00Z",
		},
		{
			"29 February",
			hostler.Trigger{Cron: "0 0 29 2 *"},
			"2096-03-01T00:00:00Z",
			"2104-02-29T00:00:00Z 2108-02-29T00:00:00Z",
		},
		{
			"either of the day fields",
			hostler.Trigger{Cron: "0 0 13 * FRI"},
			"2026-02-09T00:00:00Z",
			"2026-02-13T00:00:00Z 2026-02-20T00:00:00Z",
		},
		{
			"@daily",
			hostler.Trigger{Cron: "@daily", Zone: "Asia/Shanghai"},
			"2026-02-09T00:00:00Z",
			"2026-02-09T16:00:00Z 2026-02-10T16:00:00Z",
		},
		{
			"interval",
			hostler.Trigger{Interval: hostler.Duration(90 * time.Minute), Start: &start},
			"2026-03-01T10:00:00Z",
			"2026-03-01T11:30:00Z 2026-03-01T13:00:00Z",
		},
		{
			"interval before its start",
			hostler.Trigger{Interval: hostler.Duration(time.Hour), Start: &start},
			"2026-01-01T00:00:00Z", "2026-03-01T10:00:00Z 2026-03-01T11:00:00Z",
		},
		{"date", hostler.Trigger{Date: &date}, "2026-01-01T00:00:00Z", "2026-12-31T16:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, f := range mustParse(t, c.in).Next(at(c.after), 2) {
				got = append(got, f.UTC().Format(time.RFC3339))
			}
			if g := strings.Join(got, " "); g != c.want {
				t.Errorf("got %s\nwant %s", g, c.want)
			}
		})
	}
}

// TestFaultsNameTheFieldAndTheRemedy.
func TestFaultsNameTheFieldAndTheRemedy(t *testing.T) {
	start, end := at("2026-03-01T10:00:00Z"), at("2026-02-01T10:00:00Z")
	for _, c := range []struct {
		in         hostler.Trigger
		path, text string
	}{
		{hostler.Trigger{}, "trigger", "exactly one of"},
		{hostler.Trigger{Cron: "* * * * *", Interval: 1e9}, "trigger", "exactly one of"},
		{hostler.Trigger{Cron: "61 * * * *"}, "trigger.cron", "field 1, the minute"},
		{hostler.Trigger{Cron: "0 25 * * *"}, "trigger.cron", "field 2, the hour"},
		{hostler.Trigger{Cron: "0 0 0 1 13 *"}, "trigger.cron", "field 5, the month"},
		{hostler.Trigger{Cron: "* * * *"}, "trigger.cron", "has 4 fields"},
		{hostler.Trigger{Cron: "0 0 30 2 *"}, "trigger.cron", "never fires"},
		{hostler.Trigger{Cron: "TZ=Asia/Tokyo * * * * *"}, "trigger.cron", "use the field zone"},
		{hostler.Trigger{Cron: "CRON_TZ="}, "trigger.cron", "use the field zone"},
		{hostler.Trigger{Cron: "@every 1h"}, "trigger.cron", "use interval"},
		{hostler.Trigger{Cron: "@reboot"}, "trigger.cron", "@daily"},
		{hostler.Trigger{Cron: strings.Repeat("1,", 200) + "1 * * * *"}, "trigger.cron", "at most 200"},
		{hostler.Trigger{Cron: "* * * * *", Zone: "Mars/Base"}, "trigger.zone", "Europe/Berlin"},
		{hostler.Trigger{Cron: "* * * * *", Zone: "Local"}, "trigger.zone", "Europe/Berlin"},
		{hostler.Trigger{Cron: "* * * * *", Zone: "../../etc/passwd"}, "trigger.zone", "Europe/Berlin"},
		{hostler.Trigger{Interval: 5}, "trigger.interval", "between 1s"},
		{hostler.Trigger{Interval: -5}, "trigger.interval", "between 1s"},
		{hostler.Trigger{Cron: "* * * * *", Jitter: hostler.Duration(2 * time.Hour)}, "trigger.jitter", "between 0 and"},
		{hostler.Trigger{Cron: "* * * * *", Start: &start, End: &end}, "trigger.end", "after start"},
	} {
		var fields check.Fields
		if Parse(&fields, "trigger", c.in, time.Time{}) != nil || len(fields.Faults()) == 0 {
			t.Errorf("%+v is accepted", c.in)
			continue
		}
		f := fields.Faults()[0]
		if f.Path != c.path || !strings.Contains(f.Text.EN, c.text) || f.Text.ZH == "" {
			t.Errorf("%+v: %s: %v", c.in, f.Path, f.Text)
		}
	}
}

func TestDecide(t *testing.T) {
	hourly := hostler.Trigger{Interval: hostler.Duration(time.Hour)}
	next, week := at("2026-01-05T00:00:00Z"), at("2026-01-12T00:00:30Z")
	for _, c := range []struct {
		name              string
		policy            Policy
		now               time.Time
		fire, from, until string
		count             int
		state             hostler.FireState
		left              string
	}{
		{"early", Policy{Grace: time.Minute}, next.Add(-1), "", "", "", 0, "", "2026-01-05T00:00:00Z"},
		{"on time", Policy{Grace: time.Minute, Coalesce: true}, next, "2026-01-05T00:00:00Z", "", "", 0, "", "2026-01-05T01:00:00Z"},
		{"at the end of the grace", Policy{Grace: time.Minute}, next.Add(time.Minute), "2026-01-05T00:00:00Z", "", "", 0, "", "2026-01-05T01:00:00Z"},
		{
			"too late",
			Policy{Grace: time.Minute},
			next.Add(time.Minute + 1), "",
			"2026-01-05T00:00:00Z", "2026-01-05T00:00:00Z", 1, hostler.FireMissed, "2026-01-05T01:00:00Z",
		},
		{
			"a stopped week, merged",
			Policy{Grace: time.Minute, Coalesce: true},
			week, "2026-01-12T00:00:00Z",
			"2026-01-05T00:00:00Z", "2026-01-11T23:00:00Z", 168, hostler.FireMerged, "2026-01-12T01:00:00Z",
		},
		{
			"a stopped week, merged, too late",
			Policy{Grace: time.Minute, Coalesce: true},
			week.Add(time.Minute), "",
			"2026-01-05T00:00:00Z", "2026-01-12T00:00:00Z", 169, hostler.FireMissed, "2026-01-12T01:00:00Z",
		},
		{
			"a stopped week, each for itself",
			Policy{Grace: 90 * time.Minute},
			week, "",
			"2026-01-05T00:00:00Z", "2026-01-11T22:00:00Z", 167, hostler.FireMissed, "2026-01-11T23:00:00Z",
		},
		{
			"a stopped week, all of it",
			Policy{Grace: 8 * 24 * time.Hour},
			week, "2026-01-05T00:00:00Z",
			"", "", 0, "", "2026-01-05T01:00:00Z",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := mustParse(t, hourly).Decide(1, next, c.now, c.policy)
			m := Missed{}
			if d.Missed != nil {
				m = *d.Missed
			}
			if g := show(d.Fire); g != c.fire || show(m.From) != c.from || show(m.Until) != c.until || m.Count != c.count ||
				m.State != c.state || show(d.Next) != c.left {
				t.Errorf("fire %q, missed %+v, next %v", g, m, d.Next)
			}
		})
	}
}

func show(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// TestEachInstantIsDecidedOnce: whatever the trigger, the policy, and when servers look,
// every instant runs or is recorded once, in its order, and none runs that is too late.
func TestEachInstantIsDecidedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		begin := at("2026-03-28T20:00:00Z")
		in := hostler.Trigger{
			Zone: "Europe/Berlin", Jitter: hostler.Duration(rapid.SampledFrom([]time.Duration{0, 7 * time.Second, time.Hour}).Draw(t, "jitter")),
		}
		if rapid.Bool().Draw(t, "cron") {
			in.Cron = rapid.SampledFrom([]string{"* * * * *", "*/7 1-4 * * *", "15 30 * * * *"}).Draw(t, "expression")
		} else {
			in.Interval = hostler.Duration(rapid.SampledFrom([]time.Duration{90 * time.Second, 17 * time.Minute}).Draw(t, "interval"))
		}
		end := begin.Add(8 * time.Hour)
		in.End = &end
		var fields check.Fields
		times := Parse(&fields, "", in, begin)
		p := Policy{
			Grace:    rapid.SampledFrom([]time.Duration{0, time.Minute, 3 * time.Hour}).Draw(t, "grace"),
			Coalesce: rapid.Bool().Draw(t, "coalesce"),
		}
		decided := 0
		next, now := times.After(begin.Add(-1)), begin
		for !next.IsZero() {
			now = now.Add(time.Duration(rapid.IntRange(1, 5000).Draw(t, "pause")) * time.Second)
			for !next.IsZero() {
				d := times.Decide(7, next, now, p)
				if d.Next.Equal(next) {
					break
				}
				if m := d.Missed; m != nil {
					if !m.From.Equal(next) {
						t.Fatalf("missed from %v, want %v", m.From, next)
					}
					decided += m.Count
					next = times.After(m.Until)
				}
				if !d.Fire.IsZero() {
					if late := now.Sub(times.Due(7, d.Fire)); late < 0 || late > p.Grace {
						t.Fatalf("fired %v late", late)
					}
					if !d.Fire.Equal(next) {
						t.Fatalf("fired %v, want %v", d.Fire, next)
					}
					decided++
				}
				next = d.Next
			}
		}
		if want := len(times.Next(begin.Add(-1), 1<<20)); decided != want {
			t.Fatalf("decided %d of %d instants", decided, want)
		}
	})
}

func TestJitterIsStable(t *testing.T) {
	times := mustParse(t, hostler.Trigger{Cron: "* * * * *", Jitter: hostler.Duration(30 * time.Second)})
	same := mustParse(t, hostler.Trigger{Cron: "* * * * *", Jitter: hostler.Duration(30 * time.Second)})
	parts := map[time.Duration]bool{}
	for i, instant := range times.Next(at("2026-01-01T00:00:00Z"), 100) {
		late := times.Due(9, instant).Sub(instant)
		if late < 0 || late >= 30*time.Second || !times.Due(9, instant).Equal(same.Due(9, instant)) {
			t.Fatalf("instant %d is delayed by %v", i, late)
		}
		parts[late.Truncate(time.Second)] = true
	}
	if len(parts) < 20 {
		t.Errorf("100 instants have only %d delays", len(parts))
	}
}

func TestAdmit(t *testing.T) {
	for _, c := range []struct {
		overlap        hostler.Overlap
		active, queued int
		want           Admission
	}{
		{hostler.OverlapSkip, 1, 0, Start},
		{hostler.OverlapSkip, 2, 0, Skip},
		{hostler.OverlapQueue, 2, 0, Queue},
		{hostler.OverlapQueue, 1, 1, Queue},
		{hostler.OverlapQueue, 2, MaxQueued, Skip},
		{hostler.OverlapReplace, 2, 0, Replace},
	} {
		if got := (Policy{MaxInstances: 2, Overlap: c.overlap}).Admit(c.active, c.queued); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// FuzzCron: whatever the expression and the zone, a trigger is refused, or its instants
// increase.
func FuzzCron(f *testing.F) {
	for _, s := range []string{"* * * * *", "0 0 L * FRI#2", "TZ= * * * * *", "0 0 15W,LW 2 7", "@daily", "5-1/2 22-2 L-3 NOV-FEB FRI#L", "H * * * *"} {
		f.Add(s, "Europe/Berlin")
	}
	f.Fuzz(func(t *testing.T, expr, zone string) {
		var fields check.Fields
		times := Parse(&fields, "trigger", hostler.Trigger{Cron: expr, Zone: zone}, time.Time{})
		if times == nil {
			return
		}
		before := at("2026-10-24T00:00:00Z")
		for _, next := range times.Next(before, 5) {
			if !next.After(before) {
				t.Fatalf("%v is not after %v", next, before)
			}
			before = next
		}
	})
}

func BenchmarkAfter(b *testing.B) {
	times := mustParse(b, hostler.Trigger{Cron: "30 2 * * *", Zone: "Europe/Berlin"})
	for b.Loop() {
		times.After(at("2026-01-01T00:00:00Z"))
	}
}
