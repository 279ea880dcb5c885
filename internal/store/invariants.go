package store

import "fmt"

// Invariant names a property of the queue that holds after every transaction; see the
// package comment.
type Invariant string

// The invariants. InvariantFencedWrite holds for statements, not for rows: it is tested,
// not checked.
const (
	InvariantNoIdleLane    Invariant = "I1 NoIdleLane"
	InvariantInflightExact Invariant = "I2 InflightExact"
	InvariantFencedWrite   Invariant = "I3 FencedWrite"
	InvariantOnePlace      Invariant = "I4 OnePlace"
	InvariantTargetLives   Invariant = "I5 TargetLives"
	InvariantArgsLive      Invariant = "I6 ArgsLive"
	InvariantCountsExact   Invariant = "I7 CountsExact"
	InvariantLaneShared    Invariant = "I8 LaneShared"
	InvariantRunsExact     Invariant = "I9 RunsExact"
	InvariantDeviceKnown   Invariant = "I10 DeviceKnown"
)

// invariantChecks select the ids that break an invariant.
var invariantChecks = []struct {
	invariant Invariant
	broken    string // about the id
	sql       string
}{
	{
		InvariantNoIdleLane, "lane %d has capacity and waiting jobs",
		`SELECT l.id FROM lane l WHERE l.inflight < l.lim AND l.closed = 0 AND EXISTS
(SELECT 1 FROM wait w JOIN queue q ON q.name = w.queue WHERE w.lane = l.id AND q.paused = 0 AND q.lanes_pending = 0)`,
	},
	{
		InvariantInflightExact, "lane %d counts its jobs in flight wrong",
		`SELECT l.id FROM lane l WHERE l.inflight <>
(SELECT count(*) FROM ready r WHERE r.lane = l.id) + (SELECT count(*) FROM running u WHERE u.lane = l.id)
+ (SELECT count(*) FROM sched s WHERE s.lane = l.id AND s.lane_held = 1)
+ (SELECT count(*) FROM parked p WHERE p.lane = l.id AND p.lane_held = 1)`,
	},
	{
		InvariantOnePlace, "live job %d is in no table of the queue, or in several",
		`SELECT j.id FROM job j WHERE 1 <>
(SELECT count(*) FROM ready r WHERE r.id = j.id) + (SELECT count(*) FROM wait w WHERE w.id = j.id)
+ (SELECT count(*) FROM sched s WHERE s.id = j.id) + (SELECT count(*) FROM running u WHERE u.id = j.id)
+ (SELECT count(*) FROM parked p WHERE p.id = j.id)`,
	},
	{
		InvariantOnePlace, "job %d is in the queue without a row in job",
		`SELECT x.id FROM (SELECT id FROM ready UNION ALL SELECT id FROM wait UNION ALL SELECT id FROM sched
UNION ALL SELECT id FROM running UNION ALL SELECT id FROM parked) x
WHERE NOT EXISTS (SELECT 1 FROM job j WHERE j.id = x.id)`,
	},
	{
		InvariantOnePlace, "job %d is both live and ended",
		`SELECT j.id FROM job j WHERE EXISTS (SELECT 1 FROM done d WHERE d.id = j.id)`,
	},
	{
		InvariantOnePlace, "job %d ended twice",
		`SELECT id FROM done GROUP BY id HAVING count(*) > 1`,
	},
	{
		InvariantTargetLives, "job %d brought a host, which is missing",
		`SELECT j.id FROM job j WHERE j.asset < 0 AND NOT EXISTS (SELECT 1 FROM job_target t WHERE t.job = j.id)`,
	},
	{
		InvariantTargetLives, "the host that job %d brought outlives the job",
		`SELECT t.job FROM job_target t WHERE NOT EXISTS (SELECT 1 FROM job j WHERE j.id = t.job AND j.asset < 0)`,
	},
	{
		InvariantArgsLive, "the args of job %d, which it shares with its run, are missing",
		`SELECT x.id FROM (SELECT id, run, shared_args FROM job UNION ALL SELECT id, run, shared_args FROM done) x
WHERE x.shared_args <> 0 AND NOT EXISTS (SELECT 1 FROM run_args a WHERE a.id = x.shared_args AND a.run = x.run)`,
	},
	{
		InvariantCountsExact, "the waiting jobs of project %d are counted wrong",
		`SELECT DISTINCT x.project FROM (SELECT queue, project, queued, scheduled FROM ` + allCounts + ` c
UNION ALL SELECT queue, project, -1, 0 FROM ready UNION ALL SELECT queue, project, -1, 0 FROM wait
UNION ALL SELECT j.queue, j.project, 0, -1 FROM sched s JOIN job j ON j.id = s.id) x
GROUP BY x.queue, x.project HAVING sum(x.queued) <> 0 OR sum(x.scheduled) <> 0`,
	},
	{
		InvariantLaneShared, "lane %d has jobs of a project that it does not know of",
		`SELECT DISTINCT l.id FROM job j JOIN lane l ON l.id = j.lane WHERE l.project <> -1 AND j.project <> l.project`,
	},
	{
		InvariantLaneShared, "lane %d, which several projects use, is held by a job that backs off",
		`SELECT DISTINCT l.id FROM sched s JOIN lane l ON l.id = s.lane WHERE l.project = -1 AND s.lane_held = 1`,
	},
	{
		InvariantRunsExact, "the hosts of step %d of a run are counted wrong",
		`SELECT s.id FROM run_step s LEFT JOIN run_host h ON h.step = s.id AND h.round = s.round GROUP BY s.id
HAVING s.started <> count(h.step)
OR s.succeeded <> sum(CASE WHEN h.state = 'succeeded' THEN 1 ELSE 0 END)
OR s.failed <> sum(CASE WHEN h.state IN ('failed', 'missing') THEN 1 ELSE 0 END)
OR s.cancelled <> sum(CASE WHEN h.state = 'cancelled' THEN 1 ELSE 0 END)
OR s.unknown <> sum(CASE WHEN h.state = 'unknown' THEN 1 ELSE 0 END)`,
	},
	{
		InvariantRunsExact, "job %d of a run has ended, and its host is not counted",
		`SELECT h.job FROM run_host h WHERE h.state IN ('queued', 'unknown')
AND NOT EXISTS (SELECT 1 FROM job j WHERE j.id = h.job)`,
	},
	{
		InvariantDeviceKnown, "job %d with an ad-hoc host is not in the lane of the device at its address",
		`SELECT t.job FROM job_target t JOIN job j ON j.id = t.job JOIN lane l ON l.id = j.lane WHERE t.on_device = 1
AND NOT EXISTS (SELECT 1 FROM lane_move m WHERE m.asset = 0 AND m.address = t.address)
AND l.key <> COALESCE((SELECT 'device:' || a.device_key FROM asset a WHERE a.address = t.address
ORDER BY CASE a.project WHEN j.project THEN 0 ELSE 1 END, CASE CASE a.port WHEN 0 THEN 22 ELSE a.port END
WHEN CASE t.port WHEN 0 THEN 22 ELSE t.port END THEN 0 ELSE 1 END, a.id LIMIT 1), j.lane_key)`,
	},
}

// CheckInvariants looks for broken invariants on one snapshot and describes each that
// it finds, for example "I1 NoIdleLane: lane 12 has capacity and waiting jobs". It
// reads whole tables: it is for tests and for hostler doctor.
func (tx *Tx) CheckInvariants() ([]string, error) {
	var broken []string
	for _, c := range invariantChecks {
		ids, err := column[int64](tx, c.sql)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			broken = append(broken, fmt.Sprintf("%s: "+c.broken, c.invariant, id))
		}
	}
	return broken, nil
}
