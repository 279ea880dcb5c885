package schedule

import (
	"encoding/csv"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// This file reads the days of calendars from iCalendar and CSV files.

// ReadCalendar reads the days and periods of a file.
func ReadCalendar(text string) (days []hostler.CalendarDays, periods []hostler.ClosedPeriod, err error) {
	text = strings.TrimPrefix(text, "\uFEFF")
	if strings.HasPrefix(strings.ToUpper(strings.TrimSpace(text)), "BEGIN:VCALENDAR") {
		return readICS(text)
	}
	days, err = readDays(text)
	return days, nil, err
}

func errFile(line int, en, zh string) error {
	return hostler.Invalid("text", "line %[1]d: "+en, "第 %[1]d 行："+zh, line)
}

// readDays reads lines of from, to, kind and title. Those that begin with # are comments.
func readDays(text string) ([]hostler.CalendarDays, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace = '#', -1, true
	rows, err := r.ReadAll()
	if err != nil {
		return nil, hostler.Invalid("text", "is not a CSV file: %v", "不是 CSV 文件：%v", err)
	}
	var out []hostler.CalendarDays
	for i, row := range rows {
		if i == 0 && strings.EqualFold(strings.TrimSpace(row[0]), "from") {
			continue
		}
		for len(row) < 4 {
			row = append(row, "")
		}
		d := hostler.CalendarDays{From: strings.TrimSpace(row[0]), To: strings.TrimSpace(row[1]), Title: strings.TrimSpace(row[3])}
		switch strings.ToLower(strings.TrimSpace(row[2])) {
		case "closed", "":
		case "open":
			d.Open = true
		default:
			return nil, errFile(i+1, "the kind must be closed or open", "类型须为 closed 或 open")
		}
		if _, err := time.Parse(time.DateOnly, d.From); err != nil {
			return nil, errFile(i+1, "from must be a date such as 2026-10-01", "from 须为日期，如 2026-10-01")
		}
		out = append(out, d)
	}
	return out, nil
}

// icsEvent is an event of an iCalendar file (RFC 5545).
type icsEvent struct {
	from, to, title  string
	fromZone, toZone string
	repeats          bool
}

// readICS reads the events of an iCalendar file. An event of whole days whose summary says
// that it is worked, as files of Chinese holidays do, is an open day.
func readICS(text string) (days []hostler.CalendarDays, periods []hostler.ClosedPeriod, err error) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.NewReplacer("\n ", "", "\n\t", "").Replace(text) // folded lines
	var e *icsEvent
	for i, line := range strings.Split(text, "\n") {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		name, params, _ := strings.Cut(name, ";")
		zone := ""
		for p := range strings.SplitSeq(params, ";") {
			if z, ok := strings.CutPrefix(p, "TZID="); ok {
				zone = z
			}
		}
		switch name = strings.ToUpper(name); {
		case name == "BEGIN" && value == "VEVENT":
			e = &icsEvent{}
		case e == nil:
		case name == "DTSTART":
			e.from, e.fromZone = value, zone
		case name == "DTEND":
			e.to, e.toZone = value, zone
		case name == "SUMMARY":
			e.title = strings.NewReplacer(`\,`, ",", `\;`, ";", `\n`, " ").Replace(value)
		case name == "RRULE" || name == "RDATE":
			e.repeats = true
		case name == "END" && value == "VEVENT":
			d, p, ok := e.read()
			switch {
			case e.repeats:
				return nil, nil, errFile(i+1, "an event that repeats is not supported: export the single days",
					"不支持重复事件：请导出各个日期")
			case !ok:
				return nil, nil, errFile(i+1, "the event has no readable DTSTART and DTEND", "事件缺少可读的 DTSTART、DTEND")
			case d != nil:
				days = append(days, *d)
			case p != nil:
				periods = append(periods, *p)
			}
			e = nil
		}
	}
	return days, periods, nil
}

const icsDay = "20060102"

func (e *icsEvent) read() (*hostler.CalendarDays, *hostler.ClosedPeriod, bool) {
	if from, err := time.Parse(icsDay, e.from); err == nil {
		last := from
		if e.to != "" {
			end, err := time.Parse(icsDay, e.to)
			if err != nil || !end.After(from) {
				return nil, nil, false
			}
			last = end.AddDate(0, 0, -1) // DTEND is excluded
		}
		d := &hostler.CalendarDays{From: from.Format(time.DateOnly), Title: e.title, Open: worked(e.title)}
		if last.After(from) {
			d.To = last.Format(time.DateOnly)
		}
		return d, nil, true
	}
	from, ok := icsTime(e.from, e.fromZone)
	to, okTo := icsTime(e.to, e.toZone)
	return nil, &hostler.ClosedPeriod{From: from, To: to, Title: e.title}, ok && okTo
}

// worked reports whether the summary of an event says that its days are worked.
func worked(summary string) bool {
	return strings.Contains(summary, "班") || strings.Contains(strings.ToLower(summary), "workday")
}

func icsTime(text, zone string) (time.Time, bool) {
	if t, err := time.Parse("20060102T150405Z", text); err == nil {
		return t, true
	}
	where, ok := location(zone)
	if zone == "" || !ok {
		return time.Time{}, false
	}
	t, err := time.ParseInLocation("20060102T150405", text, where)
	return t, err == nil
}
