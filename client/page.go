package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"

	"hostler.dev/hostler"
)

// Lister fetches one page of a listing; see [All].
type Lister[T any] func(ctx context.Context, p hostler.Page) (hostler.List[T], error)

// All walks a listing page by page, in the server's order. It stops at the first error,
// which it yields with a zero item.
func All[T any](ctx context.Context, list Lister[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		p := hostler.Page{Limit: 1000}
		for {
			l, err := list(ctx, p)
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for _, item := range l.Items {
				if !yield(item, nil) {
					return
				}
			}
			if l.Next == "" {
				return
			}
			p.Cursor = l.Next
		}
	}
}

func pageQuery(p hostler.Page) url.Values {
	q := url.Values{}
	if p.Cursor != "" {
		q.Set("cursor", p.Cursor)
	}
	if p.Limit > 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	return q
}
