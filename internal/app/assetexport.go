package app

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// exportPage is how many assets an export reads at a time.
const exportPage = 200

// ExportAssets writes the assets that have all the labels as CSV that a spreadsheet
// can open and that ImportAssets reads back without a change. It reads page by
// page: an asset that changes meanwhile is written as it was or as it is.
func (a *App) ExportAssets(ctx context.Context, c auth.Caller, labels map[string]string, w io.Writer) error {
	var cursor string
	for n := 0; n == 0 || cursor != ""; n++ {
		page, err := a.Assets(ctx, c, labels, hostler.Page{Limit: exportPage, Cursor: cursor})
		if err != nil {
			return err
		}
		if err := writeAssets(w, page.Items, n == 0); err != nil {
			return fmt.Errorf("write assets: %w", err)
		}
		cursor = page.Next
	}
	return nil
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
