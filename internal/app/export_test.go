package app

// CountAssetRows reads a file of assets and counts its rows.
func CountAssetRows(text string) (int, error) {
	records, err := readAssets(text, ImportOptions{})
	return len(records), err
}
