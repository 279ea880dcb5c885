package app

import "hostler.dev/hostler"

// CountAssetRows reads a file of assets and counts its rows.
func CountAssetRows(text string) (int, error) {
	records, err := readAssets(text, hostler.ImportOptions{})
	return len(records), err
}
