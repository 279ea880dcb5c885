package app

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// idempotencyKey returns the key under which the answer to a request is stored; nil
// when the caller gave none.
func (g grant) idempotencyKey(route, key string, request any) (*store.IdemKey, error) {
	if key == "" {
		return nil, nil
	}
	var fields check.Fields
	fields.Line("Idempotency-Key", key, 255)
	if err := fields.Err(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, hostler.Errorf(hostler.CodeMalformed, "the request is not valid JSON", "请求不是合法的 JSON")
	}
	// The digest is keyed: the request may contain a password, which a reader of the
	// database could otherwise guess by its plain hash.
	k := &store.IdemKey{Project: g.project, Route: route, Key: key}
	for _, sum := range g.app.cfg.Box.Digests("idempotency", body) {
		k.Hashes = append(k.Hashes, hex.EncodeToString(sum))
	}
	return k, nil
}

// idempotent does the work, unless a request with the same key did it before: then it
// returns the answer of that one. The answer is stored in the transaction of the
// work. Without a key it just does the work.
func idempotent[T any](s *scope, key *store.IdemKey, work func() (T, error)) (T, error) {
	var out T
	if key == nil {
		return work()
	}
	fresh, stored, err := s.ClaimIdem(*key)
	if err != nil {
		return out, err
	}
	if !fresh {
		s.unchanged()
		if err := json.Unmarshal([]byte(stored), &out); err != nil {
			return out, fmt.Errorf("decode a stored answer: %w", err)
		}
		return out, nil
	}
	if out, err = work(); err != nil {
		return out, err
	}
	answer, err := json.Marshal(out)
	if err != nil {
		return out, fmt.Errorf("encode an answer: %w", err)
	}
	return out, s.SaveIdem(*key, string(answer))
}

// answeredBefore returns the stored answer of a request that was made before. Requests
// whose work selects from what there is look here first: the same selection may be
// another one by now.
func answeredBefore[T any](ctx context.Context, g grant, key *store.IdemKey) (out T, found bool, err error) {
	if key == nil {
		return out, false, nil
	}
	stored, err := view(ctx, g, func(s *scope) (stored string, err error) {
		stored, found, err = s.StoredIdem(*key)
		return stored, err
	})
	if err != nil || !found {
		return out, false, err
	}
	if err := json.Unmarshal([]byte(stored), &out); err != nil {
		return out, false, fmt.Errorf("decode a stored answer: %w", err)
	}
	return out, true, nil
}
