package app

import (
	"context"
	"strconv"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// setAsideShown is how many events set aside are listed, and counted.
const setAsideShown = 1000

// SetAside lists the events that could not be made into deliveries, oldest first.
func (a *App) SetAside(ctx context.Context, c auth.Caller) ([]hostler.SetAside, error) {
	g, err := a.allow(c, auth.ManageSetAside)
	if err != nil {
		return nil, err
	}
	return view(ctx, g, func(s *scope) ([]hostler.SetAside, error) {
		rows, err := s.EventsAside(0, setAsideShown)
		out := make([]hostler.SetAside, len(rows))
		for i, r := range rows {
			out[i] = hostler.SetAside{
				First: r.First, Last: r.Last, Webhook: r.Webhook, At: r.At, Error: r.Error, Retrying: r.Retry,
			}
		}
		return out, err
	})
}

// RetrySetAside asks for another attempt to deliver the events that were set aside up to
// a position.
func (a *App) RetrySetAside(ctx context.Context, c auth.Caller, last int64) error {
	return a.changeSetAside(ctx, c, "delivery.aside.retry", last, func(s *scope) (bool, error) {
		return s.Tx.RetryAside(last)
	})
}

// DeleteSetAside deletes the events that were set aside up to a position: they are not
// delivered.
func (a *App) DeleteSetAside(ctx context.Context, c auth.Caller, last int64) error {
	return a.changeSetAside(ctx, c, "delivery.aside.delete", last, func(s *scope) (bool, error) {
		return s.Tx.DropAside(last)
	})
}

func (a *App) changeSetAside(
	ctx context.Context, c auth.Caller, verb string, last int64, fn func(s *scope) (found bool, err error),
) error {
	g, err := a.allow(c, auth.ManageSetAside)
	if err != nil {
		return err
	}
	name := strconv.FormatInt(last, 10)
	_, err = change(ctx, g, func(s *scope) (struct{}, error) {
		found, err := fn(s)
		if err == nil && !found {
			err = hostler.NotFound(setAsideKind, name)
		}
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.audit(verb, name, nil)
	})
	return err
}
