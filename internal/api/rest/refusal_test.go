package rest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// TestFailingKeysAreLimitedByAddress tries keys from one address until it is limited:
// another address, and a key that was valid before, are not.
func TestFailingKeysAreLimitedByAddress(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	f := newRefusals(func() time.Time { return now }, nil)
	f.tried("192.0.2.1", "good", true)
	admitted := 0
	for n := range 100 {
		key := fmt.Sprint("bad", n)
		if f.admit(t.Context(), "192.0.2.1", key) == nil {
			admitted++
			f.tried("192.0.2.1", key, false)
		}
	}
	if admitted != keyTries {
		t.Errorf("%d keys were looked up, want %d", admitted, keyTries)
	}
	if err := f.admit(t.Context(), "192.0.2.1", "bad"); hostler.CodeOf(err) != hostler.CodeRateLimited {
		t.Errorf("got %v", err)
	}
	if f.admit(t.Context(), "192.0.2.2", "bad") != nil || f.admit(t.Context(), "192.0.2.1", "good") != nil {
		t.Error("another address or a valid key is limited too")
	}
	now = now.Add(keyTryEvery)
	if f.admit(t.Context(), "192.0.2.1", "bad") != nil {
		t.Error("no further try after a while")
	}
	f.tried("192.0.2.1", "good", false) // revoked
	if f.admit(t.Context(), "192.0.2.1", "good") == nil {
		t.Error("a revoked key is still exempt")
	}
	for n := range 3 * keyTries { // addresses of one network
		f.tried(fmt.Sprintf("2001:db8::%x", n+1), "bad", false)
	}
	if f.admit(t.Context(), "2001:db8::ffff", "bad") == nil || f.admit(t.Context(), "2001:db8:0:1::1", "bad") != nil {
		t.Error("an IPv6 network is not one client, or two are")
	}
}

// TestAValidKeyIsNeverLimited: whoever shares an address with a client that tries keys goes on
// working, also with a key that was not used before. However many keys come in, few questions
// reach the database.
func TestAValidKeyIsNeverLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		valid, questions, asked := auth.NewKey(), 0, 0
		f := newRefusals(time.Now, func(_ context.Context, keys []string) (map[string]bool, error) {
			questions, asked = questions+1, asked+len(keys)
			return map[string]bool{valid: true}, nil
		})
		for range keyTries {
			f.tried("192.0.2.1", auth.NewKey(), false)
		}
		const clients, requests = 50, 20
		start := time.Now()
		var g sync.WaitGroup
		for range clients {
			g.Go(func() {
				for range requests {
					err := f.admit(t.Context(), "192.0.2.1", auth.NewKey())
					if hostler.CodeOf(err) != hostler.CodeRateLimited {
						t.Errorf("an unknown key: %v", err)
					}
				}
			})
		}
		g.Go(func() {
			if err := f.admit(t.Context(), "192.0.2.1", valid); err != nil {
				t.Errorf("a valid key: %v", err)
			}
			if took := time.Since(start); took > 2*screenEvery {
				t.Errorf("a valid key waited %v", took)
			}
		})
		g.Wait()
		if most := int(time.Since(start)/screenEvery) + 1; questions > most || asked != clients*requests+1 {
			t.Errorf("%d questions about %d keys in %v", questions, asked, time.Since(start))
		}
		before := questions
		if err := f.admit(t.Context(), "192.0.2.1", "no key"); hostler.CodeOf(err) != hostler.CodeRateLimited {
			t.Errorf("what is no key: %v", err)
		}
		if questions != before {
			t.Error("what is no key was looked for")
		}
	})
}

// TestRecordsOfRefusalsAreLimited refuses far more than is recorded; each record counts
// those before it.
func TestRecordsOfRefusalsAreLimited(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	f := newRefusals(func() time.Time { return now }, nil)
	recorded := 0
	for n := range 500 {
		if f.record(hostler.CodeForbidden, fmt.Sprintf("192.0.2.%d", n%250), 1) > 0 {
			recorded++
		}
	}
	if recorded != recordMost {
		t.Errorf("%d records in a minute, want %d", recorded, recordMost)
	}
	now = now.Add(recordEvery)
	if n := f.record(hostler.CodeForbidden, "192.0.2.1", 1); n != 2 {
		t.Errorf("the record stands for %d refusals, want 2", n)
	}
	for n := range maxRefusals + 10 {
		f.record(hostler.CodeForbidden, fmt.Sprintf("10.%d.%d.1", n/250, n%250), 1)
		f.tried(fmt.Sprintf("10.%d.%d.1", n/250, n%250), "bad", false)
	}
	if len(f.kinds) > maxRefusals || len(f.tries) > maxRefusals {
		t.Errorf("%d kinds and %d addresses in memory", len(f.kinds), len(f.tries))
	}
}
