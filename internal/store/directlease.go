package store

import (
	"slices"

	"hostler.dev/hostler"
)

// This file leases jobs in the transaction that makes them ready. The reports of a worker
// free lanes, and the jobs that are next there become ready; where the worker waits for
// jobs, it gets its next ones in the same transaction, by the rules of every claim. Those
// that were never in ready cost no row there, and no commit of their own.

// directLease is a claim that may be made as part of a change.
type directLease struct {
	worker hostler.WorkerID
	// slots returns how many jobs the worker waits for; 0: none. It is called at most
	// once, when there are jobs.
	slots   func() int
	claimed Claimed
}

// FinishAndClaim is [Tx.Finish], and then a claim for the same worker if the reports made
// jobs ready. slots is called at most once, and returns how many jobs the worker waits
// for. The claim is left out where it would have to wait for locks, or to look at more
// groups of jobs than one claim does: what is ready stays for [Tx.ClaimAfter].
func (tx *Tx) FinishAndClaim(w hostler.WorkerID, reports []hostler.Report, slots func() int) ([]error, Claimed, error) {
	d := &directLease{worker: w, slots: slots}
	acks, err := tx.finish(w, reports, d)
	return acks, d.claimed, err
}

// leaseDirectly leases ready jobs, of those in the table and those that the change is
// about to add to it.
func (c *queueChange) leaseDirectly() error {
	d := c.direct
	if d == nil || len(c.ready) == 0 {
		return nil
	}
	c.direct = nil
	n := d.slots()
	if n <= 0 {
		return nil
	}
	// The lock comes after those on lanes, so it must not wait. Another transaction holds
	// the row only for a moment: to renew the lease, or to end it.
	by, err := c.tx.claimant(d.worker, `FOR SHARE SKIP LOCKED`)
	if err != nil || by == nil || by.Dead || by.Hold != "" || by.Limits {
		return err
	}
	k := by.claim(c.tx, d.worker, n)
	if err := k.readClosed(by.queues); err != nil || len(k.limited) > 0 {
		return err
	}
	if err := c.setAffinity(c.ready); err != nil {
		return err
	}
	if err := c.tx.endReservations(); err != nil {
		return err
	}
	groups, err := k.readyGroups(Group{})
	if err != nil || len(groups) == claimGroups {
		return err
	}
	k.becoming = c.ready
	found, err := k.choose(k.withBecoming(groups))
	if err != nil || len(found) == 0 {
		return err
	}
	if d.claimed, err = c.tx.lease(d.worker, by, found); err != nil {
		return err
	}
	d.claimed.Withheld = k.withheld
	c.dropLeased(d.claimed.Leases)
	return nil
}

// dropLeased takes the leased jobs out of those that become ready. They count as queued
// until here: the lease has counted them out.
func (c *queueChange) dropLeased(leases []hostler.Lease) {
	leased := make(map[hostler.JobID]bool, len(leases))
	for i := range leases {
		leased[leases[i].Job] = true
	}
	c.ready = slices.DeleteFunc(c.ready, func(r readyRow) bool {
		if leased[r.ID] {
			c.tx.count(&r.entry, 1, 0)
		}
		return leased[r.ID]
	})
}

// withBecoming adds the groups of the jobs that become ready.
func (c *claim) withBecoming(groups []groupHead) []groupHead {
	at := make(map[Group]int, len(groups))
	for i := range groups {
		at[groups[i].Group] = i
	}
	for i := range c.becoming {
		r := &c.becoming[i]
		key := Group{r.Queue, r.Project}
		k, known := at[key]
		if !known {
			k = len(groups)
			at[key] = k
			groups = append(groups, groupHead{Group: key, Owner: r.Owner, Rank: r.Rank, OwnRank: noRank})
		}
		g := &groups[k]
		switch {
		case r.Owner == c.worker:
			g.OwnRank = min(g.OwnRank, r.Rank)
		case r.Owner == 0 && g.Owner == 0:
			g.Rank = min(g.Rank, r.Rank)
		case r.Owner == 0:
			g.Owner, g.Rank = 0, r.Rank
		}
	}
	return groups
}

// becomingOf returns the jobs that become ready and that the worker may claim, of some
// groups.
func (c *claim) becomingOf(groups []groupHead) []candidate {
	var out []candidate
	for i := range c.becoming {
		r := &c.becoming[i]
		if (r.Owner == 0 || r.Owner == c.worker) && slices.ContainsFunc(groups, func(g groupHead) bool {
			return g.Group == Group{r.Queue, r.Project}
		}) {
			out = append(out, candidate{entry: r.entry, Rank: r.Rank, becoming: true})
		}
	}
	return out
}
