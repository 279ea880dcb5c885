package store

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"hostler.dev/hostler"
)

// This file chooses the lanes of ad-hoc hosts (see jobtarget.go). A job with an ad-hoc host
// runs in the lane of the device at its address, and assets say which device that is: so
// it does not run beside a job of an asset that is the same device under another key. When
// an asset at the address is created, changed or deleted, the live jobs follow.
//
// The key of the lane may be that of another project's asset. So lane_key of such a job,
// which people see, is always the key that its address alone gives.

// hostLock is the advisory lock on which devices ad-hoc hosts are: enqueueing jobs of such
// hosts shares it, and the end of a transaction that changed assets holds it exclusively.
// It is taken before queueLock. So most changes of assets, at whose address no such job
// lives, do without queueLock.
const hostLock = 4

// FreezeHosts makes sure that no ad-hoc host becomes another device until the transaction
// ends. It comes before [Tx.FreezeLanes].
func (tx *Tx) FreezeHosts() error { return tx.c.Lock(tx.ctx, hostLock, true) }

// adhocHost is where a job of an ad-hoc host connects to.
type adhocHost struct {
	Project hostler.ProjectID `db:"j.project"`
	Address string            `db:"t.address"`
	Port    int               `db:"t.port"`
}

// adhocJob is a live job of an ad-hoc host, in the lane of a device.
type adhocJob struct {
	ID      hostler.JobID `db:"t.job"`
	Lane    laneID        `db:"j.lane"`
	LaneKey string        `db:"j.lane_key"`
	adhocHost
}

// selectAdhoc reads adhocJob.
const selectAdhoc = `SELECT @cols FROM job_target t JOIN job j ON j.id = t.job WHERE t.on_device = 1 `

// onDevice reports whether a job of an ad-hoc host runs in the lane of a device.
func onDevice(s *hostler.JobSpec) bool {
	return s.Target != nil && strings.HasPrefix(s.LaneKey, hostler.AssetLaneKey(""))
}

// deviceLanes finds the keys of the lanes of ad-hoc hosts that are assets too. If several
// assets are at the address, those of the project of the job come first, so that another
// project cannot lead its jobs away; then those with the port; then the oldest.
func (tx *Tx) deviceLanes(hosts map[adhocHost]bool) (map[adhocHost]string, error) {
	type place struct {
		ID        hostler.AssetID   `db:"id"`
		Project   hostler.ProjectID `db:"project"`
		Address   string            `db:"address"`
		Port      int               `db:"port"`
		DeviceKey string            `db:"device_key"`
	}
	at := map[string][]adhocHost{}
	var addresses []string
	for h := range hosts {
		if at[h.Address] == nil {
			addresses = append(addresses, h.Address)
		}
		at[h.Address] = append(at[h.Address], h)
	}
	if len(addresses) == 0 {
		return nil, nil
	}
	order := func(h adhocHost, p *place) int {
		n := 0
		if p.Project != h.Project {
			n += 2
		}
		if cmp.Or(p.Port, sshPort) != cmp.Or(h.Port, sshPort) {
			n++
		}
		return n
	}
	best := map[adhocHost]place{}
	err := queryEach(tx, `SELECT @cols FROM asset WHERE address IN ?*`, []any{addresses}, func(p *place) error {
		for _, h := range at[p.Address] {
			was, found := best[h]
			if !found || cmp.Or(order(h, p)-order(h, &was), cmp.Compare(p.ID, was.ID)) < 0 {
				best[h] = *p
			}
		}
		return nil
	})
	keys := make(map[adhocHost]string, len(best))
	for h, p := range best {
		keys[h] = hostler.AssetLaneKey(p.DeviceKey)
	}
	return keys, err
}

// laneKeys returns the keys of the lanes of new jobs. Those of ad-hoc hosts hold from here
// on until the transaction ends.
func (tx *Tx) laneKeys(specs []hostler.JobSpec) ([]string, error) {
	keys := make([]string, len(specs))
	hosts := map[adhocHost]bool{}
	for i := range specs {
		s := &specs[i]
		if keys[i] = s.LaneKey; onDevice(s) {
			hosts[adhocHost{s.Project, s.Target.Address, s.Target.Port}] = true
		}
	}
	if len(hosts) == 0 {
		return keys, nil
	}
	if err := tx.FreezeHosts(); err != nil {
		return nil, err
	}
	devices, err := tx.deviceLanes(hosts)
	for i := range specs {
		if s := &specs[i]; onDevice(s) {
			keys[i] = cmp.Or(devices[adhocHost{s.Project, s.Target.Address, s.Target.Port}], s.LaneKey)
		}
	}
	return keys, err
}

// placeChange is a change of an asset that may change the lanes of ad-hoc hosts.
type placeChange struct {
	address string
	was     string // the device key of an asset that was there, or ""
}

// placeChanged notes that an asset at an address appeared, changed or went away: what it
// was and what it is now, nil for none.
func (tx *Tx) placeChanged(was, now *assetPlace) {
	if was != nil && now != nil && *was == *now {
		return
	}
	if was != nil {
		tx.placeChanges = append(tx.placeChanges, placeChange{was.Address, was.DeviceKey})
	}
	if now != nil {
		tx.placeChanges = append(tx.placeChanges, placeChange{now.Address, ""})
	}
}

// moveJobs moves the jobs whose lanes follow from the assets that the transaction has
// changed. It is the last step of a transaction.
func (tx *Tx) moveJobs() error {
	changes, err := tx.changesOfHosts()
	if err != nil {
		return err
	}
	if err := tx.relane(tx.keyChanges); err != nil {
		return err
	}
	if err := tx.endHoldsOf(tx.deleted); err != nil {
		return err
	}
	if len(changes) == 0 {
		return nil
	}
	return tx.relaneHosts(changes)
}

// changesOfHosts returns those of the changes at whose address jobs of ad-hoc hosts live.
func (tx *Tx) changesOfHosts() ([]placeChange, error) {
	if len(tx.placeChanges) == 0 {
		return nil, nil
	}
	if err := tx.c.Lock(tx.ctx, hostLock, false); err != nil {
		return nil, err
	}
	live := map[string]bool{}
	for some := range slices.Chunk(addressesOf(tx.placeChanges), placesStep) {
		found, err := column[string](tx, liveHostsText(len(some)), anys(some)...)
		if err != nil {
			return nil, err
		}
		for _, address := range found {
			live[address] = true
		}
	}
	return slices.DeleteFunc(tx.placeChanges, func(c placeChange) bool { return !live[c.address] }), nil
}

// placesStep is how many addresses one statement looks up.
const placesStep = 64

// liveHostsText returns the statement that finds those of n addresses at which jobs of
// ad-hoc hosts live: one step of the index for each, however many jobs and hosts there are.
func liveHostsText(n int) string {
	const one = `SELECT (SELECT t.address FROM job_target t WHERE t.on_device = 1 AND t.address = ? LIMIT 1) AS at`
	return `SELECT at FROM (` + strings.Repeat(one+"\nUNION ALL ", n-1) + one + `) x WHERE at IS NOT NULL`
}

func anys(values []string) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}

func addressesOf(changes []placeChange) []string {
	out := make([]string, len(changes))
	for i, c := range changes {
		out[i] = c.address
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// relaneHosts moves the live jobs of ad-hoc hosts at addresses whose assets have changed,
// at once, or in steps if there are many.
func (tx *Tx) relaneHosts(changes []placeChange) error {
	c, err := tx.changeQueueAlone()
	if err != nil {
		return err
	}
	addresses := addressesOf(changes)
	jobs, err := query[adhocJob](tx, selectAdhoc+`AND t.address IN ?* LIMIT ?`, addresses, relaneStep+1)
	if err != nil {
		return err
	}
	pending, err := tx.exists(`SELECT asset FROM lane_move WHERE asset = 0 AND address IN ?* LIMIT 1`, addresses)
	if err != nil {
		return err
	}
	if pending || len(jobs) > relaneStep {
		return c.relaneHostsLater(changes)
	}
	moves, err := c.hostMoves(jobs)
	if err != nil {
		return err
	}
	if err := c.moveEach(moves); err != nil {
		return err
	}
	return c.flushMoves(movesOf(moves))
}

// hostMoves locks the lanes of jobs of ad-hoc hosts, and returns the moves of those that
// are not in the lane of their device. It must be the first that locks lanes.
func (c *queueChange) hostMoves(jobs []adhocJob) ([]jobMove, error) {
	hosts := map[adhocHost]bool{}
	for _, j := range jobs {
		hosts[j.adhocHost] = true
	}
	devices, err := c.tx.deviceLanes(hosts)
	if err != nil {
		return nil, err
	}
	want := map[string]int64{}
	var from []laneID
	for _, j := range jobs {
		want[cmp.Or(devices[j.adhocHost], j.LaneKey)] = 1
		from = append(from, j.Lane)
	}
	lanes, err := c.ensureLanes(want)
	if err != nil {
		return nil, err
	}
	if err := c.lockLanes(from); err != nil {
		return nil, err
	}
	var moves []jobMove
	for _, j := range jobs {
		to := lanes[cmp.Or(devices[j.adhocHost], j.LaneKey)]
		c.lanes[to].use(j.Project)
		if to != j.Lane {
			c.lanes[to].adopt(c.lanes[j.Lane].ArrivedAt)
			moves = append(moves, jobMove{j.ID, laneMove{From: j.Lane, To: to, ToKey: j.LaneKey}})
		}
	}
	return moves, nil
}

// relaneHostsLater moves the jobs that hold a lane, closes all lanes in which jobs of the
// hosts may be or will be, and leaves the other jobs to FollowRelanes.
func (c *queueChange) relaneHostsLater(changes []placeChange) error {
	keys, err := c.keysAt(changes)
	if err != nil {
		return err
	}
	want := map[string]int64{}
	for _, at := range keys {
		for _, key := range at {
			want[key] = 1
		}
	}
	ids, err := c.ensureLanes(want)
	if err != nil {
		return err
	}
	lanes := slices.Collect(maps.Values(ids))
	var arrived int64
	for _, id := range lanes {
		arrived = max(arrived, c.lanes[id].ArrivedAt)
	}
	holders, err := c.holdersOf(lanes)
	if err != nil {
		return err
	}
	addresses := addressesOf(changes)
	jobs, err := query[adhocJob](c.tx, selectAdhoc+`AND t.job IN ?* AND t.address IN ?*`, holders, addresses)
	if err != nil {
		return err
	}
	moves, err := c.hostMoves(jobs)
	if err != nil {
		return err
	}
	if err := c.noteMoves(keys, ids); err != nil {
		return err
	}
	if err := c.setClosed(lanes); err != nil {
		return err
	}
	for _, id := range lanes {
		// A job that arrives from now on is behind all that move.
		c.lanes[id].adopt(arrived)
	}
	if err := c.moveEach(moves); err != nil {
		return err
	}
	return c.flushMoves(append(movesOf(moves), selfMoves(lanes)...))
}

// keysAt returns the keys of the lanes in which jobs of ad-hoc hosts are, or will be, by
// address.
func (c *queueChange) keysAt(changes []placeChange) (map[string][]string, error) {
	type device struct {
		Address string `db:"address"`
		Key     string `db:"device_key"`
	}
	keys := map[string][]string{}
	for _, ch := range changes {
		keys[ch.address] = append(keys[ch.address], hostler.AssetLaneKey(cmp.Or(ch.was, ch.address)))
	}
	err := queryEach(c.tx, `SELECT DISTINCT @cols FROM asset WHERE address IN ?*`, []any{addressesOf(changes)},
		func(d *device) error {
			keys[d.Address] = append(keys[d.Address], hostler.AssetLaneKey(d.Key))
			return nil
		})
	for at := range keys {
		all := append(keys[at], hostler.AssetLaneKey(at))
		slices.Sort(all)
		keys[at] = slices.Compact(all)
	}
	return keys, err
}

// noteMoves stores that jobs of ad-hoc hosts have to move from lanes. Moves that are under
// way begin again: the jobs that have moved may have to move on.
func (c *queueChange) noteMoves(keys map[string][]string, lanes map[string]laneID) error {
	var rows []laneMove
	for _, at := range slices.Sorted(maps.Keys(keys)) {
		for _, key := range keys[at] {
			rows = append(rows, laneMove{Address: at, From: lanes[key], To: lanes[key]})
		}
	}
	_, err := execRows(c.tx, `DELETE FROM lane_move WHERE asset = 0
AND (address, from_lane) IN (SELECT v.address, v.from_lane FROM @rows)`, rows)
	if err != nil {
		return err
	}
	return insert(c.tx, "lane_move", rows)
}

// selfMoves are moves that name lanes, but move no job.
func selfMoves(lanes []laneID) []laneMove {
	moves := make([]laneMove, len(lanes))
	for i, id := range lanes {
		moves[i] = laneMove{From: id, To: id}
	}
	return moves
}
