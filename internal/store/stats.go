package store

import (
	"cmp"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/stats"
)

// This file holds the statistics of ended jobs, which stay when the jobs are deleted.
//
// The transaction that ends a job knows nothing of them: a cursor of their own follows the
// events, and each step adds those of some thousand jobs to the rows and moves the cursor,
// in one transaction. So each job is counted once, whichever server takes the next step.
// Jobs that ended before the statistics were kept are read from the history, behind the
// same cursor.

const (
	// statsJobs and statsRows bound one step: the jobs that it counts, about, and the rows
	// that it changes.
	statsJobs = 10_000
	statsRows = 2000
	// statsPast is how many jobs of the history one step reads.
	statsPast = 2000
)

// The spans of the rows of statistics.
const (
	AllTime = time.Duration(0)
	Hourly  = time.Hour
	Daily   = 24 * time.Hour
)

// How long the rows of hours and days are kept; those of all jobs stay.
const (
	HoursKept = 35 * 24 * time.Hour
	DaysKept  = 400 * 24 * time.Hour
)

// spansOf are the spans that a kind is added up in. There may be many assets and users.
var spansOf = map[hostler.StatsBy][]time.Duration{
	hostler.StatsByAction: {AllTime, Hourly, Daily}, hostler.StatsByQueue: {AllTime, Hourly, Daily},
	hostler.StatsBySchedule: {AllTime, Hourly, Daily}, hostler.StatsByTask: {AllTime, Hourly, Daily},
	hostler.StatsByUser: {Hourly, Daily}, hostler.StatsByAsset: {Daily},
}

// HasSpan reports whether a kind is added up in a span.
func HasSpan(by hostler.StatsBy, span time.Duration) bool { return slices.Contains(spansOf[by], span) }

// StatsKey identifies a row of statistics.
type StatsKey struct {
	Project hostler.ProjectID
	By      hostler.StatsBy
	Span    time.Duration
	Name    string
	At      int64 // in microseconds
}

// statsCursor is the row of table stats_cursor.
type statsCursor struct {
	Pos      int64 `db:"pos"`
	Before   int64 `db:"before"`
	LastPart int64 `db:"last_part"`
	Part     int64 `db:"part"`
	Job      int64 `db:"job"`
}

// StatsStep is what one step adds to the statistics.
type StatsStep struct {
	from, to statsCursor
	rows     map[StatsKey]*stats.Figures
	past     bool // the jobs ended before those of the rows
	Jobs     int
	Missed   int64 // events that were deleted or damaged before they were read
	More     bool  // there may be more to do
}

// Idle reports whether the step found nothing.
func (s *StatsStep) Idle() bool { return s.from == s.to }

// endedRow is a job that ended, as statistics count it.
type endedRow struct {
	ID        hostler.JobID     `db:"id"`
	Project   hostler.ProjectID `db:"project"`
	Run       hostler.RunID     `db:"run"`
	Action    string            `db:"action"`
	Queue     string            `db:"queue"`
	AssetName string            `db:"asset_name"`
	CreatedBy string            `db:"created_by"`
	State     hostler.State     `db:"state"`
	QueuedAt  int64             `db:"queued_at"`
	StartedAt int64             `db:"started_at"`
	EndedAt   time.Time         `db:"ended_at"`
}

// spans are how long a job waited and ran; started is false when it did neither.
func spans(queued, started, ended int64) (waited, ran time.Duration, ok bool) {
	if started == 0 {
		return 0, 0, false
	}
	if queued == 0 {
		queued = started
	}
	return time.Duration(max(0, started-queued)) * time.Microsecond,
		time.Duration(max(0, ended-started)) * time.Microsecond, true
}

func (r *endedRow) job() stats.Job {
	j := stats.Job{State: r.State, At: r.EndedAt}
	j.Wait, j.Run, j.Started = spans(r.QueuedAt, r.StartedAt, r.EndedAt.UnixMicro())
	return j
}

// EndedEvents reads the next jobs that ended from the events.
func (tx *Tx) EndedEvents() (*StatsStep, error) {
	s, err := tx.statsStep()
	if err != nil || s == nil {
		return s, err
	}
	last, err := tx.LastEvent()
	if err != nil {
		return nil, err
	}
	s.to.Pos = min(s.to.Pos, last) // a fail-over may have lost events
	for s.More = true; s.More && s.Jobs < statsJobs && len(s.rows) < statsRows; {
		page, err := tx.EventsAfter(s.to.Pos, 64, statsJobs, counted)
		if err != nil {
			return nil, err
		}
		ended := make([]countedJob, 0, len(page.Events))
		for i := range page.Events {
			e := &page.Events[i]
			if !e.OfJob() {
				s.addMissed(e)
				continue
			}
			ended = append(ended, countedJob{
				endedRow{
					Project: e.Project, Run: e.Job.Run, Action: e.Job.Action, Queue: e.Job.Queue,
					AssetName: e.Job.AssetName, CreatedBy: e.Job.CreatedBy,
				},
				stats.Job{State: e.Job.State, At: e.At, Started: e.Started, Wait: e.Waited, Run: e.Ran},
			})
		}
		if err := tx.countEnded(s, ended); err != nil {
			return nil, err
		}
		s.Missed += page.Missed
		s.More, s.to.Pos = page.Last > s.to.Pos, page.Last
	}
	return s, nil
}

// counted reports whether statistics count an event.
func counted(e *Event) bool {
	return e.OfJob() && e.Job.State.Terminal() || e.Type == hostler.EventScheduleMissed
}

// addMissed counts a fire that did not run.
func (s *StatsStep) addMissed(e *Event) {
	for _, span := range spansOf[hostler.StatsBySchedule] {
		k := StatsKey{Project: e.Project, By: hostler.StatsBySchedule, Span: span, Name: e.Object.Object}
		s.figures(k, e.At).Missed++
	}
}

// EndedPast reads the next jobs that ended before statistics were kept; nil when all are
// counted.
func (tx *Tx) EndedPast() (*StatsStep, error) {
	s, err := tx.statsStep()
	if err != nil || s == nil {
		return nil, err
	}
	s.past = true
	if s.from.LastPart < 0 {
		_, err := tx.one(`SELECT COALESCE(max(since), 0) FROM history_part`, nil, &s.to.LastPart)
		s.More = true
		return s, err
	}
	if s.from.Part > s.from.LastPart {
		return nil, nil
	}
	type historyPart struct {
		Name  string `db:"name"`
		Since int64  `db:"since"`
	}
	part, err := queryOne[historyPart](tx, `SELECT @cols FROM history_part WHERE since >= ? AND since <= ?
ORDER BY since LIMIT 1`, s.from.Part, s.from.LastPart)
	if err != nil {
		return nil, err
	}
	if s.More = part != nil; part == nil {
		s.to.Part = s.from.LastPart + 1
		return s, nil
	}
	if s.to.Part != part.Since {
		s.to.Part, s.to.Job = part.Since, 0
	}
	rows, err := query[endedRow](tx, `SELECT @cols FROM `+part.Name+` WHERE id > ? ORDER BY id LIMIT ?`, s.to.Job, statsPast)
	if err != nil {
		return nil, err
	}
	ended := make([]countedJob, 0, len(rows))
	for i := range rows {
		s.to.Job = int64(rows[i].ID)
		if rows[i].EndedAt.UnixMicro() <= s.from.Before {
			ended = append(ended, countedJob{rows[i], rows[i].job()})
		}
	}
	if len(rows) < statsPast {
		s.to.Part, s.to.Job = part.Since+1, 0
	}
	return s, tx.countEnded(s, ended)
}

func (tx *Tx) statsStep() (*StatsStep, error) {
	c, err := queryOne[statsCursor](tx, `SELECT @cols FROM stats_cursor WHERE id = 1`)
	if err != nil || c == nil {
		return nil, err
	}
	return &StatsStep{from: *c, to: *c, rows: map[StatsKey]*stats.Figures{}}, nil
}

type countedJob struct {
	endedRow
	stats.Job
}

// countEnded adds jobs to the rows of a step.
func (tx *Tx) countEnded(s *StatsStep, ended []countedJob) error {
	names, err := tx.runNames(ended)
	if err != nil {
		return err
	}
	for i := range ended {
		r := &ended[i]
		of := names[r.endedRow.Run]
		for by, name := range map[hostler.StatsBy]string{
			hostler.StatsByAction: r.Action, hostler.StatsByQueue: r.Queue, hostler.StatsByUser: r.CreatedBy,
			hostler.StatsByAsset: r.AssetName, hostler.StatsBySchedule: of.schedule, hostler.StatsByTask: of.task,
		} {
			if name == "" {
				continue
			}
			for _, span := range spansOf[by] {
				s.figures(StatsKey{Project: r.Project, By: by, Span: span, Name: name}, r.Job.At).Add(r.Job)
			}
		}
		s.Jobs++
	}
	return nil
}

// figures are those of a step for the span of a time.
func (s *StatsStep) figures(k StatsKey, at time.Time) *stats.Figures {
	if k.Span > 0 {
		k.At = at.Truncate(k.Span).UnixMicro()
	}
	f := s.rows[k]
	if f == nil {
		f = &stats.Figures{}
		s.rows[k] = f
	}
	return f
}

// runNames are the schedule and the task or template of a run.
type runNames struct{ schedule, task string }

// runNames looks up the runs that have a row, or were made by a schedule; see NewRunID.
func (tx *Tx) runNames(ended []countedJob) (map[hostler.RunID]runNames, error) {
	seen := map[hostler.RunID]bool{}
	for i := range ended {
		if recorded(ended[i].endedRow.Run) {
			seen[ended[i].endedRow.Run] = true
		}
	}
	if len(seen) == 0 {
		return nil, nil
	}
	runs := make([]hostler.RunID, 0, len(seen))
	for id := range seen {
		runs = append(runs, id)
	}
	type named struct {
		Run  hostler.RunID `db:"run"`
		Name string        `db:"name"`
	}
	names := make(map[hostler.RunID]runNames, len(seen))
	fires, err := query[named](tx, `SELECT @cols FROM schedule_fire WHERE run IN ?* AND run <> 0`, runs)
	if err != nil {
		return nil, err
	}
	for _, f := range fires {
		names[f.Run] = runNames{schedule: f.Name}
	}
	tasks, err := query[named](tx, `SELECT r.id AS run, r.name AS name FROM run r WHERE r.id IN ?* AND r.source <> 'adhoc'`, runs)
	for _, t := range tasks {
		names[t.Run] = runNames{schedule: names[t.Run].schedule, task: t.Name}
	}
	return names, err
}

// statsRow is a row of table stats.
type statsRow struct {
	Project   hostler.ProjectID `db:"project"`
	Kind      hostler.StatsBy   `db:"kind"`
	Span      int64             `db:"span"`
	Name      string            `db:"name"`
	At        int64             `db:"at"`
	Succeeded int64             `db:"succeeded"`
	Failed    int64             `db:"failed"`
	Cancelled int64             `db:"cancelled"`
	LastAt    time.Time         `db:"last_at"`
	Started   int64             `db:"started"`
	RunTotal  int64             `db:"run_total"`
	WaitTotal int64             `db:"wait_total"`
	RunTimes  []byte            `db:"run_times"`
	WaitTimes []byte            `db:"wait_times"`
	Streak    int64             `db:"streak"`
	Missed    int64             `db:"missed"`
}

func (r *statsRow) figures() stats.Figures {
	return stats.Figures{
		Succeeded: r.Succeeded, Failed: r.Failed, Cancelled: r.Cancelled, Last: r.LastAt, Started: r.Started,
		RunTotal: time.Duration(r.RunTotal) * time.Microsecond, WaitTotal: time.Duration(r.WaitTotal) * time.Microsecond,
		RunTimes: stats.Decode(r.RunTimes), WaitFor: stats.Decode(r.WaitTimes), Streak: r.Streak, Missed: r.Missed,
	}
}

// AddStats adds a step to the statistics; false when another server has done so.
func (tx *Tx) AddStats(s *StatsStep) (bool, error) {
	now, err := queryOne[statsCursor](tx, `SELECT @cols FROM stats_cursor WHERE id = 1 FOR UPDATE`)
	if err != nil || now == nil || *now != s.from {
		return false, err
	}
	keys := make([]StatsKey, 0, len(s.rows))
	for k := range s.rows {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b StatsKey) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.By, b.By), cmp.Compare(a.Span, b.Span),
			cmp.Compare(a.At, b.At), cmp.Compare(a.Name, b.Name))
	})
	for len(keys) > 0 {
		n := 1 // those that differ in their names only
		for k := keys[0]; n < len(keys) && keys[n] == (StatsKey{k.Project, k.By, k.Span, keys[n].Name, k.At}); {
			n++
		}
		if err := tx.addStats(keys[:n], s); err != nil {
			return false, err
		}
		keys = keys[n:]
	}
	_, err = tx.Exec(`UPDATE stats_cursor SET pos = ?, last_part = ?, part = ?, job = ? WHERE id = 1`,
		s.to.Pos, s.to.LastPart, s.to.Part, s.to.Job)
	return err == nil, err
}

func (tx *Tx) addStats(keys []StatsKey, s *StatsStep) error {
	k := keys[0]
	names := make([]string, len(keys))
	for i := range keys {
		names[i] = keys[i].Name
	}
	sums := make(map[string]*stats.Figures, len(keys))
	err := queryEach(tx, `SELECT @cols FROM stats WHERE project = ? AND kind = ? AND span = ? AND name IN ?* AND at = ?`,
		[]any{k.Project, string(k.By), seconds(k.Span), names, k.At}, func(r *statsRow) error {
			f := r.figures()
			sums[r.Name] = &f
			return nil
		})
	if err != nil {
		return err
	}
	rows := make([]statsRow, len(keys))
	for i, k := range keys {
		f := s.rows[k]
		if was := sums[k.Name]; was != nil && s.past {
			sum := stats.Figures{} // a transaction may run again
			sum.Merge(f)
			sum.Merge(was)
			f = &sum
		} else if was != nil {
			was.Merge(f)
			f = was
		}
		rows[i] = statsRow{
			Project: k.Project, Kind: k.By, Span: seconds(k.Span), Name: k.Name, At: k.At, Succeeded: f.Succeeded,
			Failed: f.Failed, Cancelled: f.Cancelled, LastAt: f.Last, Started: f.Started,
			RunTotal: f.RunTotal.Microseconds(), WaitTotal: f.WaitTotal.Microseconds(),
			RunTimes: f.RunTimes.Encode(), WaitTimes: f.WaitFor.Encode(),
			Streak: f.Streak, Missed: f.Missed,
		}
	}
	_, err = execRows(tx, upsertStats, rows)
	return err
}

const upsertStats = `INSERT INTO stats (project, kind, span, name, at, succeeded, failed, cancelled, last_at, started,
run_total, wait_total, run_times, wait_times, streak, missed)
SELECT v.project, v.kind, v.span, v.name, v.at, v.succeeded, v.failed, v.cancelled, v.last_at, v.started,
v.run_total, v.wait_total, v.run_times, v.wait_times, v.streak, v.missed FROM @rows WHERE true
ON CONFLICT (project, kind, span, name, at) DO UPDATE SET succeeded = excluded.succeeded, failed = excluded.failed,
cancelled = excluded.cancelled, last_at = excluded.last_at, started = excluded.started, run_total = excluded.run_total,
wait_total = excluded.wait_total, run_times = excluded.run_times, wait_times = excluded.wait_times,
streak = excluded.streak, missed = excluded.missed`

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// StatsNames lists up to limit names of a kind after one, which have rows of a span.
func (tx *Tx) StatsNames(
	project hostler.ProjectID, by hostler.StatsBy, span time.Duration, after string, limit int,
) ([]string, error) {
	// One step of the index for each name, however many rows it has.
	next := func(name string) string {
		return `(SELECT s.name FROM stats s WHERE s.project = ? AND s.kind = ? AND s.span = ? AND s.name > ` + name +
			` ORDER BY s.name LIMIT 1)`
	}
	key := []any{project, string(by), seconds(span)}
	return column[string](tx, `WITH RECURSIVE n (name, i) AS (SELECT `+next(`?`)+`, 1
UNION ALL SELECT `+next(`n.name`)+`, n.i + 1 FROM n WHERE n.name IS NOT NULL AND n.i < ?)
SELECT name FROM n WHERE name IS NOT NULL ORDER BY i`, slices.Concat(key, []any{after}, key, []any{limit})...)
}

// StatsRow is the figures of a name in a span.
type StatsRow struct {
	Name string
	At   time.Time
	stats.Figures
}

// Stats reads the rows of names in a span, from a time to another (excluded), in the order
// of names and times.
func (tx *Tx) Stats(
	project hostler.ProjectID, by hostler.StatsBy, span time.Duration, names []string, from, to time.Time,
) ([]StatsRow, error) {
	var out []StatsRow
	err := queryEach(tx, `SELECT @cols FROM stats WHERE project = ? AND kind = ? AND span = ? AND name IN ?*
AND at >= ? AND at < ? ORDER BY name, at`,
		[]any{project, string(by), seconds(span), names, from.UnixMicro(), to.UnixMicro()}, func(r *statsRow) error {
			out = append(out, StatsRow{Name: r.Name, At: time.UnixMicro(r.At).UTC(), Figures: r.figures()})
			return nil
		})
	return out, err
}

// ActionTotals returns the figures of all jobs of a project that ever ended, by action.
func (tx *Tx) ActionTotals(project hostler.ProjectID) (map[string]*stats.Figures, error) {
	totals, err := tx.Totals(project, hostler.StatsByAction)
	return totals[hostler.StatsByAction], err
}

// Totals returns the figures of all jobs that ever ended by some kinds that have them: of a
// project, or of all projects together (0). Those of a step that the statistics are behind
// are added.
func (tx *Tx) Totals(
	project hostler.ProjectID, by ...hostler.StatsBy,
) (map[hostler.StatsBy]map[string]*stats.Figures, error) {
	out := map[hostler.StatsBy]map[string]*stats.Figures{}
	add := func(kind hostler.StatsBy, name string, f *stats.Figures) {
		if out[kind][name] == nil {
			out[kind][name] = &stats.Figures{}
		}
		out[kind][name].Merge(f)
	}
	for _, kind := range by {
		out[kind] = map[string]*stats.Figures{}
		sql, args := `SELECT @cols FROM stats WHERE span = 0 AND at = 0 AND kind = ?`, []any{string(kind)}
		if project != 0 {
			sql, args = sql+` AND project = ?`, append(args, project)
		}
		err := queryEach(tx, sql, args, func(r *statsRow) error {
			f := r.figures()
			add(kind, r.Name, &f)
			return nil
		})
		if err != nil {
			return out, err
		}
	}
	s, err := tx.EndedEvents()
	if err != nil || s == nil {
		return out, err
	}
	for k, f := range s.rows {
		if out[k.By] != nil && k.Span == AllTime && (project == 0 || k.Project == project) {
			add(k.By, k.Name, f)
		}
	}
	return out, nil
}

// DeleteStats deletes up to limit rows of a span from before a time.
func (tx *Tx) DeleteStats(span time.Duration, before time.Time, limit int) (int64, error) {
	return tx.Exec(`DELETE FROM stats WHERE (project, kind, span, name, at) IN (SELECT s.project, s.kind, s.span, s.name, s.at
FROM stats s WHERE s.span = ? AND s.at < ? ORDER BY s.at LIMIT ?)`, seconds(span), sqldb.Micros(before), limit)
}
