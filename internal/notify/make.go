package notify

import (
	"context"
	"maps"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/wait"
)

const (
	// makeRows and makeBytes bound the deliveries that one transaction makes, makeHooks the
	// webhooks that it reads.
	makeRows  = 1000
	makeBytes = 1 << 20
	makeHooks = 1000
	// After a transaction that took longer than makeTime the next one is half as large,
	// down to makeLeast; after one that failed or took makeLimit, down to one delivery.
	makeLeast = 50
	makeTime  = 250 * time.Millisecond
	makeLimit = 10 * time.Second
	// makePoll is how often the loop looks without a notification.
	makePoll  = time.Second
	makeRetry = time.Second
	// skipInterval is how often the cursor follows the events while no webhook is enabled.
	skipInterval = 5 * time.Second
)

// maker makes the deliveries of published events, behind a durable cursor. One server at
// a time does so; the others look on.
type maker struct {
	*Notifier
	rows    int       // of the next transaction
	skipped time.Time // when the cursor followed the events last
}

// makeLoop makes deliveries until ctx is done.
func (n *Notifier) makeLoop(ctx context.Context) {
	notified, stop := n.store.Subscribe(store.TopicEvents)
	defer stop()
	m := &maker{Notifier: n, rows: makeRows}
	poll := time.NewTicker(makePoll)
	defer poll.Stop()
	for {
		if err := m.runOnce(ctx); err != nil && ctx.Err() == nil {
			n.log.ErrorContext(ctx, "make deliveries; will retry", "rows", m.rows, "err", err)
			if wait.Sleep(ctx, makeRetry) != nil {
				return
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-notified:
		case <-poll.C:
		}
	}
}

// runOnce makes the deliveries of all events that are published. Between two
// transactions it waits as long as one took, so that on SQLite the others get half of
// the writer's time.
func (m *maker) runOnce(ctx context.Context) error {
	for {
		var unmade int64
		var retry, some bool
		err := m.work.View(ctx, func(tx *store.Tx) (err error) {
			if unmade, retry, err = tx.UnmadeEvents(); err == nil && unmade > 0 {
				some, err = tx.AnyWebhook()
			}
			return err
		})
		switch {
		case err != nil || unmade == 0 && !retry:
			return err
		case !some && !retry:
			return m.skip(ctx)
		}
		began := time.Now()
		more, err := m.makeOnce(ctx)
		if err != nil || !more {
			return err
		}
		if wait.Sleep(ctx, time.Since(began)) != nil {
			return nil
		}
	}
}

// skip lets the cursor follow the events while there is no webhook, now and then.
func (m *maker) skip(ctx context.Context) error {
	if time.Since(m.skipped) < skipInterval {
		return nil
	}
	return m.work.InTx(ctx, func(tx *store.Tx) error {
		done, err := tx.SkipEvents()
		if done && err == nil {
			m.skipped = time.Now()
		}
		return err
	})
}

// makeOnce makes one transaction of deliveries, and decides how large the next one is.
// more is false when there was nothing to do.
func (m *maker) makeOnce(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, makeLimit)
	defer cancel()
	began := time.Now()
	var w *store.Window
	var next deliveries
	err = m.work.InTx(ctx, func(tx *store.Tx) (err error) {
		next = deliveries{}
		if w, err = tx.OpenWindow(m.rows); err != nil || w == nil {
			return err
		}
		next, err = m.makeWindow(tx, w)
		return err
	})
	took := time.Since(began)
	switch {
	case err != nil && m.rows == 1 && len(next.list) == 1 && isFault(err):
		return true, m.setAside(ctx, next.list[0], err)
	case err != nil:
		m.rows = max(1, m.rows/2)
		return false, err
	case took > makeTime:
		m.rows = max(min(m.rows, makeLeast), m.rows/2)
	default:
		m.rows = min(makeRows, 2*m.rows)
	}
	if w != nil && w.Damaged != nil {
		first, last := w.Range()
		m.log.ErrorContext(ctx, "events cannot be read and were set aside: 'hostler delivery set-aside' lists them",
			"first", first, "last", last, "err", w.Damaged)
	}
	return w != nil, nil
}

// isFault reports whether an error is of the rows, not of a database that is away, busy
// or full.
func isFault(err error) bool {
	passing := []hostler.Code{hostler.CodeUnavailable, hostler.CodeTimeout, hostler.CodeDiskFull}
	return !slices.Contains(passing, hostler.CodeOf(err))
}

// makeWindow makes deliveries of a window: as many as one transaction may. It returns them,
// also when they cannot be made.
func (m *maker) makeWindow(tx *store.Tx, w *store.Window) (next deliveries, err error) {
	if w.Damaged != nil {
		return next, tx.SetAside(w, w.Damaged)
	}
	if next, err = nextDeliveries(tx, w, m.rows); err != nil {
		return next, err
	}
	if _, err := tx.QueueDeliveries(next.list); err != nil {
		return next, err
	}
	if next.all {
		return next, tx.CloseWindow(w)
	}
	return next, tx.AdvanceWindow(w, next.webhook, next.event)
}

// setAside sets a delivery aside that cannot be made, if it is still the next one: another
// server may have made it meanwhile.
func (m *maker) setAside(ctx context.Context, failed store.NewDelivery, why error) error {
	var d store.NewDelivery
	err := m.work.InTx(ctx, func(tx *store.Tx) error {
		d = store.NewDelivery{}
		w, err := tx.OpenWindow(1)
		if err != nil || w == nil {
			return err
		}
		next, err := nextDeliveries(tx, w, 1)
		if err != nil || len(next.list) == 0 || next.list[0].Webhook != failed.Webhook ||
			next.list[0].Event.Pos != failed.Event.Pos {
			return err
		}
		d = next.list[0]
		return tx.SetAsideFor(w, d.Webhook, d.Event.Pos, why)
	})
	if err == nil && d.Event != nil {
		m.log.ErrorContext(ctx, "a delivery cannot be made and was set aside: 'hostler delivery set-aside' lists it",
			"webhook", d.Webhook, "pos", d.Event.Pos, "err", why)
	}
	return err
}

// deliveries are those that come next in a window.
type deliveries struct {
	list []store.NewDelivery
	all  bool // the window has no more
	// They are made for the webhooks before this one, and for it up to the event.
	webhook hostler.WebhookID
	event   int64
}

// nextDeliveries returns up to limit deliveries of a window, of up to makeBytes together,
// webhook by webhook.
func nextDeliveries(tx *store.Tx, w *store.Window, limit int) (d deliveries, err error) {
	runs := map[hostler.RunID]bool{} // of the jobs that ended: a run may have a webhook
	for i := range w.Events {
		if e := &w.Events[i]; e.OfJob() && e.Job.Run != 0 && e.Type.SettlesJob() {
			runs[e.Job.Run] = true
		}
	}
	d.webhook, d.event = w.Progress()
	hooks, more, err := tx.Subscribers(d.webhook, slices.Sorted(maps.Keys(runs)), makeHooks)
	if err != nil {
		return d, err
	}
	_, last := w.Range()
	size := 0 // of the list, and the delivery after it
	for i := range hooks {
		h := &hooks[i]
		if h.ID != d.webhook {
			d.webhook, d.event = h.ID, 0
		}
		for j := range w.Events {
			e := &w.Events[j]
			if !h.Enabled || e.Pos <= d.event || w.Only != 0 && w.Only != h.ID || !subscribes(h, e) {
				continue
			}
			size += e.Size()
			if len(d.list) == limit || len(d.list) > 0 && size > makeBytes {
				return d, nil
			}
			d.list = append(d.list, store.NewDelivery{Webhook: h.ID, Project: h.ProjectID, Event: e})
			d.event = e.Pos
		}
		d.event = last
	}
	d.all = !more
	return d, nil
}
