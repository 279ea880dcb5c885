package rest

import (
	"fmt"
	"testing"
	"time"

	"hostler.dev/hostler"
)

// TestFailingKeysAreLimitedByAddress tries keys from one address until it is limited:
// another address, and a key that was valid before, are not.
func TestFailingKeysAreLimitedByAddress(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	f := newRefusals(func() time.Time { return now })
	f.tried("192.0.2.1", "good", true)
	admitted := 0
	for n := range 100 {
		key := fmt.Sprint("bad", n)
		if f.admit("192.0.2.1", key) == nil {
			admitted++
			f.tried("192.0.2.1", key, false)
		}
	}
	if admitted != keyTries {
		t.Errorf("%d keys were looked up, want %d", admitted, keyTries)
	}
	if err := f.admit("192.0.2.1", "bad"); hostler.CodeOf(err) != hostler.CodeRateLimited {
		t.Errorf("got %v", err)
	}
	if f.admit("192.0.2.2", "bad") != nil || f.admit("192.0.2.1", "good") != nil {
		t.Error("another address or a valid key is limited too")
	}
	now = now.Add(keyTryEvery)
	if f.admit("192.0.2.1", "bad") != nil {
		t.Error("no further try after a while")
	}
	f.tried("192.0.2.1", "good", false) // revoked
	if f.admit("192.0.2.1", "good") == nil {
		t.Error("a revoked key is still exempt")
	}
	for n := range 3 * keyTries { // addresses of one network
		f.tried(fmt.Sprintf("2001:db8::%x", n+1), "bad", false)
	}
	if f.admit("2001:db8::ffff", "bad") == nil || f.admit("2001:db8:0:1::1", "bad") != nil {
		t.Error("an IPv6 network is not one client, or two are")
	}
}

// TestRecordsOfRefusalsAreLimited refuses far more than is recorded; each record counts
// those before it.
func TestRecordsOfRefusalsAreLimited(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	f := newRefusals(func() time.Time { return now })
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
