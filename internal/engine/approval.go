package engine

import (
	"context"
	"errors"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// This file describes approvals, so that people can decide on them.

// approvalsAtOnce is how many approvals one round describes.
const approvalsAtOnce = 20

// describeApprovals describes the approvals that were asked for, so that people can decide.
func (e *Engine) describeApprovals(ctx context.Context) error {
	var open []store.ApprovalRow
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		open, err = tx.PreparingApprovals(approvalsAtOnce)
		return err
	})
	var errs []error
	for _, a := range open {
		if err := e.describe(ctx, a); err != nil {
			errs = append(errs, fmt.Errorf("approval %v: %w", a.ID, err))
		}
	}
	return errors.Join(append(errs, err)...)
}

func (e *Engine) describe(ctx context.Context, a store.ApprovalRow) error {
	p, err := e.cfg.Plan(ctx, a)
	if err != nil {
		return err
	}
	for _, part := range p.Parts {
		err := e.store.InTx(ctx, func(tx *store.Tx) error {
			return tx.SetBindings(a.Run, part.Set, part.From, part.Hosts)
		})
		if err != nil {
			return err
		}
	}
	return e.store.InTx(ctx, func(tx *store.Tx) error {
		done, err := tx.SetPlan(a.ID, p.Digest, string(p.Text))
		if err != nil || !done {
			return err
		}
		tx.Emit(a.Project, hostler.EventApprovalRequested, hostler.ObjectEvent{Object: a.ID.String()})
		return nil
	})
}
