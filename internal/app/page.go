package app

import (
	"encoding/base64"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// Limits of a page.
const (
	pageDefault = 100
	pageMost    = 1000
)

// pageOf checks the request for a page and returns the key to go on from ("" for
// the first) and how many items are wanted.
func pageOf(p hostler.Page) (after string, limit int, err error) {
	limit = p.Limit
	if limit == 0 {
		limit = pageDefault
	}
	if limit < 1 || limit > pageMost {
		return "", 0, hostler.Invalid("limit", "must be between 1 and %d", "必须在 1 到 %d 之间", pageMost)
	}
	raw, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil || !check.Storable(string(raw)) {
		return "", 0, errCursor()
	}
	return string(raw), limit, nil
}

func errCursor() error {
	return hostler.Invalid("cursor", "is not one that an earlier page gave", "不是之前分页返回的游标")
}

func cursor(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

// cut makes a page of one item more than wanted: that there is one more says that
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
