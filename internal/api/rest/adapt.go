package rest

import (
	"context"
	"net/url"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// The functions below make an operation of a use case: a function that takes a
// context, a caller, and what the request names. Together with method values they
// make a table of routes of the methods of an application:
//
//	rest.Paged(app.Assets)         // GET  /assets?cursor=&limit=
//	rest.Body(app.CreateAsset)     // POST /assets
//	rest.At[AssetRef](app.Asset)   // GET  /assets/{asset}

// Read calls a use case without an input.
func Read[O any](use func(context.Context, auth.Caller) (O, error)) Operation {
	return Do(func(ctx context.Context, c *Call, _ *None) (O, error) { return use(ctx, c.Caller) })
}

// All calls a use case that lists everything at once.
func All[T any](use func(context.Context, auth.Caller) ([]T, error)) Operation {
	return List(Do(func(ctx context.Context, c *Call, _ *None) (hostler.List[T], error) {
		return ListOf(use(ctx, c.Caller))
	}))
}

// Paged calls a use case that lists page by page.
func Paged[T any](use func(context.Context, auth.Caller, hostler.Page) (hostler.List[T], error)) Operation {
	return List(Do(func(ctx context.Context, c *Call, in *PageQuery) (hostler.List[T], error) {
		return use(ctx, c.Caller, in.Page())
	}))
}

// Search calls a use case that lists page by page what a filter selects. The query I
// embeds [PageQuery] and makes the filter.
func Search[I any, P interface {
	*I
	Filter() (F, error)
	Page() hostler.Page
}, F, T any](use func(context.Context, auth.Caller, F, hostler.Page) (hostler.List[T], error)) Operation {
	return List(Do(func(ctx context.Context, c *Call, in *I) (hostler.List[T], error) {
		f, err := P(in).Filter()
		if err != nil {
			return hostler.List[T]{}, err
		}
		return use(ctx, c.Caller, f, P(in).Page())
	}))
}

// Body calls a use case with the JSON body.
func Body[B, O any](use func(context.Context, auth.Caller, B) (O, error)) Operation {
	return Do(func(ctx context.Context, c *Call, in *Payload[B]) (O, error) {
		return use(ctx, c.Caller, in.Body)
	})
}

// BodyOnce calls a use case with the JSON body and the Idempotency-Key.
func BodyOnce[B, O any](use func(ctx context.Context, c auth.Caller, b B, key string) (O, error)) Operation {
	type input struct {
		Idempotent
		Payload[B]
	}
	return Do(func(ctx context.Context, c *Call, in *input) (O, error) {
		return use(ctx, c.Caller, in.Body, in.Key)
	})
}

// At calls a use case with the object that the path names. The input I has the
// parameter of the path.
func At[I any, P interface {
	*I
	Ref() K
}, K, O any](use func(context.Context, auth.Caller, K) (O, error)) Operation {
	return Do(func(ctx context.Context, c *Call, in *I) (O, error) { return use(ctx, c.Caller, P(in).Ref()) })
}

// AtAll is At for a use case that lists everything at once.
func AtAll[I any, P interface {
	*I
	Ref() K
}, K, T any](use func(context.Context, auth.Caller, K) ([]T, error)) Operation {
	return List(Do(func(ctx context.Context, c *Call, in *I) (hostler.List[T], error) {
		return ListOf(use(ctx, c.Caller, P(in).Ref()))
	}))
}

// AtEmpty is At for a use case that returns nothing.
func AtEmpty[I any, P interface {
	*I
	Ref() K
}, K any](use func(context.Context, auth.Caller, K) error) Operation {
	return DoEmpty(func(ctx context.Context, c *Call, in *I) error { return use(ctx, c.Caller, P(in).Ref()) })
}

// AtBody calls a use case with the object that the path names and the JSON body. The
// input I embeds [Payload].
func AtBody[I any, P interface {
	*I
	Ref() K
	Content() B
}, K, B, O any](use func(context.Context, auth.Caller, K, B) (O, error)) Operation {
	return Do(func(ctx context.Context, c *Call, in *I) (O, error) {
		return use(ctx, c.Caller, P(in).Ref(), P(in).Content())
	})
}

// AtOnce calls a use case with the object that the path names and the
// Idempotency-Key. The input I embeds [Idempotent].
func AtOnce[I any, P interface {
	*I
	Ref() K
	IdempotencyKey() string
}, K, O any](use func(ctx context.Context, c auth.Caller, ref K, key string) (O, error)) Operation {
	return Do(func(ctx context.Context, c *Call, in *I) (O, error) {
		return use(ctx, c.Caller, P(in).Ref(), P(in).IdempotencyKey())
	})
}

// ListOf makes a listing of one page of everything.
func ListOf[T any](items []T, err error) (hostler.List[T], error) {
	if items == nil {
		items = []T{}
	}
	return hostler.List[T]{Items: items}, err
}

// NextLink returns the values of the header Link, which leads to the next page after the
// cursor (RFC 8288); none at the end.
func NextLink(u url.URL, cursor string) []string {
	if cursor == "" {
		return nil
	}
	q := u.Query()
	q.Set("cursor", cursor)
	u.RawQuery = q.Encode()
	return []string{"<" + u.RequestURI() + `>; rel="next"`}
}
