package app

import (
	"cmp"
	"encoding/base64"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// Limits of a page.
const (
	defaultPage = 100
	maxPage     = 1000
)

// pageOf checks the request for a page. It returns the key after which the page
// begins ("" for the first page) and the number of items.
func pageOf(p hostler.Page) (after string, limit int, err error) {
	limit = cmp.Or(p.Limit, defaultPage)
	var fields check.Fields
	check.Between(&fields, "limit", limit, 1, maxPage)
	if err := fields.Err(); err != nil {
		return "", 0, err
	}
	key, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil || !check.Storable(string(key)) {
		return "", 0, errCursor()
	}
	return string(key), limit, nil
}

func errCursor() error {
	return hostler.Invalid("cursor", "is not the cursor of an earlier page", "不是之前分页返回的游标")
}

// cursor encodes the key after which a page begins.
func cursor(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

// pageBytes is the size of the texts of a page, such as args, results and variables,
// beyond which it ends early: its next page continues. The first read has pageFirst
// rows, and no read has more than pageRead, so that a page exceeds the limit by little
// even when every row is as large as rows may be.
const (
	pageBytes = 4 << 20
	pageFirst = 4
	pageRead  = 64
)

// readPage reads a page of limit rows, which begins after the key after, in steps that
// are small while rows are large.
func readPage[T any](
	after string, limit int, read func(after string, n int) ([]T, error), key func(T) string, size func(T) int,
) (hostler.List[T], error) {
	l := hostler.List[T]{Items: []T{}}
	bytes := 0
	for step := pageFirst; ; {
		n := min(step, limit-len(l.Items)+1) // one more tells if there is a next page
		rows, err := read(after, n)
		if err != nil {
			return l, err
		}
		for _, row := range rows {
			if len(l.Items) == limit || bytes > pageBytes {
				l.Next = cursor(key(l.Items[len(l.Items)-1]))
				return l, nil
			}
			bytes += size(row)
			l.Items = append(l.Items, row)
		}
		if len(rows) < n {
			return l, nil
		}
		after = key(l.Items[len(l.Items)-1])
		step = stepFor(bytes, len(l.Items))
	}
}

// stepFor is how many rows to read next, after rows of that size. It is at most as many
// as were read before: small rows say little about the size of those that follow.
func stepFor(bytes, rows int) int {
	mean := bytes/max(rows, 1) + 1
	return min(max((pageBytes-bytes)/mean, 1), max(rows, pageFirst), pageRead)
}

// cut makes a page of limit items from a query for limit+1: one item more means that
// there is a next page.
func cut[T any](items []T, limit int, key func(T) string) hostler.List[T] {
	l := hostler.List[T]{Items: items}
	if len(items) > limit {
		l.Items = items[:limit]
		l.Next = cursor(key(items[limit-1]))
	}
	if l.Items == nil {
		l.Items = []T{}
	}
	return l
}
