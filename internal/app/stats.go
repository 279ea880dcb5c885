package app

import (
	"context"
	"errors"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// Vitals are the figures of a server that monitoring reads. They reveal nothing of a
// project: queues and workers belong to none.
type Vitals struct {
	Store   StoreVitals
	Queues  []hostler.Queue
	Workers []hostler.Worker
	Events  EventVitals
	Firing  int // alerts, of all projects
	// Refuses says why the store takes no new work; empty when it does.
	Refuses hostler.Text
	// Held says why dispatch is held; empty while it is not.
	Held hostler.Text
}

// EventVitals tells how far events have come on their way to webhooks.
type EventVitals struct {
	Unmade   int64 // published events whose deliveries are not made yet
	SetAside int   // rows of events that could not be made into deliveries, at most 1,000
}

// StoreVitals describes the database.
type StoreVitals struct {
	Kind      string
	Version   string
	Latency   time.Duration
	PoolInUse int
	PoolMax   int
	SizeBytes int64
	DiskFree  float64 // share of the disk that is free, 0 to 1
}

// Vitals reads the figures of the server. There is no Caller: the configuration
// decides who may read /health and /metrics. It does not use the connections of
// requests: slow requests, however many, must not make the store look unreachable.
func (a *App) Vitals(ctx context.Context) (Vitals, error) {
	st, err := a.work.Stats(ctx)
	if err != nil {
		return Vitals{}, err
	}
	v := Vitals{Refuses: a.refuses(ctx), Store: StoreVitals{
		Kind: st.Kind, Version: st.Version, Latency: st.Latency,
		PoolInUse: st.PoolInUse, PoolMax: st.PoolMax, SizeBytes: st.SizeBytes, DiskFree: st.DiskFree,
	}}
	err = a.work.View(ctx, func(tx *store.Tx) error {
		if v.Queues, err = tx.Queues(); err != nil {
			return err
		}
		if v.Workers, err = tx.Workers(); err != nil {
			return err
		}
		h, err := tx.Hold()
		if h != nil {
			v.Held = store.HoldText(*h)
		}
		if err != nil {
			return err
		}
		if v.Firing, err = tx.CountFiring(); err != nil {
			return err
		}
		if v.Events.Unmade, _, err = tx.UnmadeEvents(); err != nil {
			return err
		}
		v.Events.SetAside, err = tx.CountAside(setAsideShown)
		return err
	})
	return v, err
}

// refuses writes to the store, and returns why it takes no new work.
func (a *App) refuses(ctx context.Context) hostler.Text {
	err := a.work.Probe(ctx)
	if err == nil {
		return hostler.Text{}
	}
	if e, is := errors.AsType[*hostler.Error](err); is {
		return e.Text
	}
	return hostler.Textf("the store cannot be written", "无法写入存储")
}

// StoreKind is "sqlite" or "postgres".
func (a *App) StoreKind() string { return a.store.Kind() }
