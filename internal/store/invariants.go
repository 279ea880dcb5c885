package store

import "fmt"

// CheckInvariants looks for broken invariants (I1, I2, I4, I5; see the package
// comment) on one snapshot and describes each that it finds. It reads whole
// tables: it is for tests and for hostler doctor.
func (tx *Tx) CheckInvariants() ([]string, error) {
	var broken []string
	for _, c := range []struct{ what, sql string }{
		{"I1: lane %d has capacity and waiting jobs", `SELECT l.id FROM lane l WHERE l.inflight < l.lim AND EXISTS
(SELECT 1 FROM wait w JOIN queue q ON q.name = w.queue WHERE w.lane = l.id AND q.paused = 0)`},
		{"I2: lane %d counts its jobs in flight wrongly", `SELECT l.id FROM lane l WHERE l.inflight <>
(SELECT count(*) FROM ready r WHERE r.lane = l.id) + (SELECT count(*) FROM running u WHERE u.lane = l.id)
+ (SELECT count(*) FROM sched s WHERE s.lane = l.id AND s.lane_held = 1) + (SELECT count(*) FROM parked p WHERE p.lane = l.id AND p.lane_held = 1)`},
		{"I4: live job %d is in no table of the queue, or in several", `SELECT j.id FROM job j WHERE 1 <>
(SELECT count(*) FROM ready r WHERE r.id = j.id) + (SELECT count(*) FROM wait w WHERE w.id = j.id) + (SELECT count(*) FROM sched s WHERE s.id = j.id)
+ (SELECT count(*) FROM running u WHERE u.id = j.id) + (SELECT count(*) FROM parked p WHERE p.id = j.id)`},
		{"I4: job %d is in the queue without a row in job", `SELECT x.id FROM (SELECT id FROM ready UNION ALL SELECT id FROM wait UNION ALL SELECT id FROM sched
UNION ALL SELECT id FROM running UNION ALL SELECT id FROM parked) x WHERE NOT EXISTS (SELECT 1 FROM job j WHERE j.id = x.id)`},
		{"I4: job %d is both live and ended", `SELECT j.id FROM job j WHERE EXISTS (SELECT 1 FROM done d WHERE d.id = j.id)`},
		{"I4: job %d has ended twice", `SELECT id FROM done GROUP BY id HAVING count(*) > 1`},
		{"I5: job %d brought a host, which is not there", `SELECT j.id FROM job j WHERE j.asset < 0 AND NOT EXISTS (SELECT 1 FROM job_target t WHERE t.job = j.id)`},
		{"I5: the login that job %d brought outlives it", `SELECT t.job FROM job_target t WHERE NOT EXISTS (SELECT 1 FROM job j WHERE j.id = t.job AND j.asset < 0)`},
	} {
		ids, err := tx.ints(c.sql)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			broken = append(broken, fmt.Sprintf(c.what, id))
		}
	}
	return broken, nil
}
