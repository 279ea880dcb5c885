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
