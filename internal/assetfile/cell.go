package assetfile

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Escape returns a cell that no spreadsheet evaluates.
func Escape(cell string) string { return escape(cell) }

// escape puts an apostrophe before a cell that a spreadsheet would evaluate as a
// formula, or whose outer spaces unescape would remove.
func escape(cell string) string {
	if needsEscape(cell) {
		return "'" + cell
	}
	return cell
}

// unescape removes what escape added, or else the spaces around a cell. The spaces
// of a variable's value are part of it.
func unescape(field, cell string) string {
	if rest, ok := strings.CutPrefix(cell, "'"); ok && needsEscape(rest) {
		return rest
	}
	if strings.HasPrefix(field, "var.") {
		return cell
	}
	return strings.TrimSpace(cell)
}

// needsEscape reports whether a spreadsheet may evaluate a cell as a formula, also
// one in full-width characters, or the cell has outer spaces. A cell that already
// looks escaped counts too, so that unescape reverses escape for every cell.
func needsEscape(cell string) bool {
	bare := strings.TrimLeft(cell, "'")
	c, _ := utf8.DecodeRuneInString(bare)
	return strings.ContainsRune("=+-@＝＋－＠", c) || strings.TrimSpace(bare) != bare
}

// formatPairs writes k=v,k=v, or a JSON object when a key or a value does not fit
// into that form.
func formatPairs(m map[string]string) (string, error) {
	pairs := make([]string, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !fitsPair(key, m[key]) {
			b, err := json.Marshal(m)
			return string(b), err
		}
		pairs = append(pairs, key+"="+m[key])
	}
	return strings.Join(pairs, ","), nil
}

func fitsPair(key, value string) bool {
	return !strings.HasPrefix(key, "{") && !strings.Contains(value, "=") &&
		!strings.ContainsFunc(value, separatesPairs) && strings.TrimSpace(value) == value
}

// parsePairs reads what formatPairs writes, and what people write: k=v; k=v, in
// lines, with the separators of Chinese keyboards. A value with = is refused: it is
// more often two pairs with another separator than a value.
func parsePairs(cell string) (map[string]string, bool) {
	m := map[string]string{}
	if strings.HasPrefix(cell, "{") {
		return m, json.Unmarshal([]byte(cell), &m) == nil && m != nil
	}
	for pair := range strings.FieldsFuncSeq(cell, separatesPairs) {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		if _, twice := m[key]; !ok || twice || strings.Contains(value, "=") {
			return nil, false
		}
		m[key] = strings.TrimSpace(value)
	}
	return m, true
}

func separatesPairs(c rune) bool { return strings.ContainsRune(",;，；\r\n", c) }
