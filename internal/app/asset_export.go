package app

import (
	"context"
	"io"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/assetfile"
	"hostler.dev/hostler/internal/auth"
)

// exportPage is how many assets an export reads in one transaction.
const exportPage = 200

// Export writes an answer of any length, page by page.
type Export func(w io.Writer, renew Renewal) error

// Renewal returns the caller as it is now: its key may have been revoked, or its role may
// have changed. It is called before each page but the first.
type Renewal func() (auth.Caller, error)

// ExportAssets returns a function that writes the assets whose labels a selector matches,
// as CSV that a spreadsheet can open and that [App.ImportAssets] reads back without
// a change. The caller's mistakes are errors of ExportAssets itself, before anything
// is written. The assets are read page by page: one that changes meanwhile is
// written either as it was or as it is.
func (a *App) ExportAssets(ctx context.Context, c auth.Caller, labels string) (Export, error) {
	page, err := a.Assets(ctx, c, labels, hostler.Page{Limit: exportPage})
	if err != nil {
		return nil, err
	}
	return func(w io.Writer, renew Renewal) error {
		if err := assetfile.Write(w, page.Items, true); err != nil {
			return err
		}
		for page.Next != "" {
			if c, err = renew(); err != nil {
				return err
			}
			next := hostler.Page{Limit: exportPage, Cursor: page.Next}
			if page, err = a.Assets(ctx, c, labels, next); err != nil {
				return err
			}
			if err := assetfile.Write(w, page.Items, false); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
