package app_test

import (
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// TestLocalKeyIsRenewed: the key for the command line of a server's machine expires unless
// the server renews it, does not limit the keys that are created with it, and ends with
// its user.
func TestLocalKeyIsRenewed(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		key := must(w.LocalContextKey(ctx, "hst_not-a-key"))(t)
		if again := must(w.LocalContextKey(ctx, key))(t); again != key {
			t.Error("a fresh key was replaced")
		}
		c := w.login(t, key)
		made := must(w.CreateKey(ctx, c, hostler.KeyInput{Name: "ci"}))(t)
		if made.Key.ExpiresAt != nil || made.Key.Parent != 0 {
			t.Errorf("a key that was created with it expires at %v, parent %v", made.Key.ExpiresAt, made.Key.Parent)
		}
		w.h.Advance(25 * time.Hour)
		next := must(w.LocalContextKey(ctx, key))(t)
		if next == key {
			t.Error("the key was not renewed")
		}
		w.login(t, key) // overlaps
		w.h.Advance(24 * time.Hour)
		_, err := w.Authenticate(ctx, key, "", "")
		wantCode(t, err, hostler.CodeUnauthenticated)
		w.login(t, next)
		w.tx(t, func(tx *store.Tx) error {
			u, err := tx.UserByName("admin")
			if err != nil {
				return err
			}
			return tx.SetUserDisabled(u.ID, true)
		})
		if key := must(w.LocalContextKey(ctx, next))(t); key != "" {
			t.Error("a disabled user got a key")
		}
	})
}

// TestLocalKeyRotatesOthers: the key for the command line rotates keys that last longer
// than it does without a limit, and does not prolong itself.
func TestLocalKeyRotatesOthers(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		c := w.login(t, must(w.LocalContextKey(ctx, ""))(t))
		old := must(w.CreateKey(ctx, c, hostler.KeyInput{Name: "ci"}))(t)
		next := must(w.RotateKey(ctx, c, old.Key.ID))(t)
		if next.Key.ExpiresAt != nil || next.Key.Parent != 0 {
			t.Errorf("the successor expires at %v, parent %v", next.Key.ExpiresAt, next.Key.Parent)
		}
		w.h.Advance(time.Hour)
		itself := must(w.RotateKey(ctx, c, c.Key))(t)
		if e := itself.Key.ExpiresAt; e == nil || e.After(*c.Scope.Expires) {
			t.Errorf("it expired at %v and prolonged itself to %v", c.Scope.Expires, e)
		}
	})
}
