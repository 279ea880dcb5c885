package app

import (
	"context"
	"encoding/csv"
	"io"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// exportPage is how many assets an export reads at a time.
const exportPage = 200

// ExportAssets returns what writes the assets that have all the labels, as CSV that
// a spreadsheet can open and that ImportAssets reads back without a change. What
// the caller may be told to mend fails here, before anything is written. It reads
// page by page: an asset that changes meanwhile is written as it was or as it is.
func (a *App) ExportAssets(ctx context.Context, c auth.Caller, labels map[string]string) (write func(w io.Writer) error, err error) {
	page, err := a.Assets(ctx, c, labels, hostler.Page{Limit: exportPage})
	if err != nil {
		return nil, err
	}
	return func(w io.Writer) error {
		if err := writeAssets(w, page.Items, true); err != nil {
			return err
		}
		for page.Next != "" {
			if page, err = a.Assets(ctx, c, labels, hostler.Page{Limit: exportPage, Cursor: page.Next}); err != nil {
				return err
			}
			if err := writeAssets(w, page.Items, false); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func writeAssets(w io.Writer, assets []hostler.Asset, head bool) error {
	out := csv.NewWriter(w)
	if head {
		if _, err := io.WriteString(w, byteOrderMark); err != nil {
			return err
		}
		if err := out.Write(assetColumns); err != nil {
			return err
		}
	}
	for _, asset := range assets {
		cells, err := assetCells(asset)
		if err != nil {
			return err
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
