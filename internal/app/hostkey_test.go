package app_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// offer is the host key with a number, shown at 192.0.2.1.
func offer(t *testing.T, n byte) hostler.HostKeyOffer {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	key, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed).Public())
	if err != nil {
		t.Fatal(err)
	}
	return hostler.HostKeyOffer{
		Address:   "192.0.2.1:22",
		Type:      key.Type(),
		PublicKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + " a comment",
	}
}

// states maps the keys at an asset to their states, oldest first.
func (w *env) states(t *testing.T, asset string) []string {
	t.Helper()
	var out []string
	for _, k := range must(w.HostKeys(t.Context(), w.viewer, asset))(t) {
		out = append(out, k.State+" "+k.DecidedBy)
	}
	return out
}

func TestFirstHostKeyIsPinnedAndOthersWait(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		a := w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.1"})
		pin := func(n byte) error {
			return w.resolver.PinHostKey(ctx, store.LeasedJob{Project: w.admin.Project, Asset: a.ID}, offer(t, n))
		}

		if err := pin(1); err != nil {
			t.Fatal(err)
		}
		if err := pin(1); err != nil {
			t.Errorf("the pinned key, again: %v", err)
		}
		wantCode(t, pin(2), hostler.CodeConflict)
		wantCode(t, pin(2), hostler.CodeConflict)
		want := []string{"pinned accept-new", "offered "}
		if diff := cmp.Diff(want, w.states(t, "web1")); diff != "" {
			t.Fatalf("keys (-want +got):\n%s", diff)
		}

		wantEvents(t, w, "hostkey.pinned 192.0.2.1:22", "hostkey.offered 192.0.2.1:22")

		keys := must(w.HostKeys(ctx, w.viewer, "web1"))(t)
		if keys[0].Fingerprint[:7] != "SHA256:" || strings.Contains(keys[0].PublicKey, "comment") {
			t.Errorf("stored as %+v", keys[0])
		}
		must(w.AcceptHostKey(ctx, w.admin, "web1", keys[1].ID))(t)
		want = []string{"revoked admin", "pinned admin"}
		if diff := cmp.Diff(want, w.states(t, "web1")); diff != "" {
			t.Errorf("after accepting the new one (-want +got):\n%s", diff)
		}
		if err := pin(2); err != nil {
			t.Errorf("the accepted key: %v", err)
		}
		wantCode(t, pin(1), hostler.CodeConflict)

		must(w.RevokeHostKey(ctx, w.admin, "web1", keys[1].ID))(t)
		wantCode(t, pin(2), hostler.CodeConflict)
		wantCode(t, pin(3), hostler.CodeConflict) // a person took trust away: nothing is pinned by itself
	})
}

// wantEvents compares the events of host keys that a viewer receives.
func wantEvents(t *testing.T, w *env, want ...string) {
	t.Helper()
	if err := w.h.Store.InTx(t.Context(), func(tx *store.Tx) error { _, _, err := tx.Publish(100); return err }); err != nil {
		t.Fatal(err)
	}
	events, _, err := w.Events(t.Context(), w.viewer, hostler.EventFilter{Types: []string{"hostkey.*"}}, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, raw := range events {
		var e hostler.Event
		var o hostler.ObjectEvent
		if err := errors.Join(json.Unmarshal(raw, &e), json.Unmarshal(e.Data, &o)); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(e.Type)+" "+o.Object)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestStrictHostKeysWaitForAPerson(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		a := w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.1", HostKey: hostler.HostKeyStrict})
		wantCode(
			t,
			w.resolver.PinHostKey(t.Context(), store.LeasedJob{Project: w.admin.Project, Asset: a.ID}, offer(t, 1)),
			hostler.CodeConflict,
		)
		if diff := cmp.Diff([]string{"offered "}, w.states(t, "web1")); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
	})
}

// TestOneOfTwoFirstHostKeysIsPinned has many workers see different keys at once.
func TestOneOfTwoFirstHostKeysIsPinned(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		a := w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.1"})
		const n = 8
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			o := offer(t, byte(i))
			wg.Go(func() {
				errs[i] = w.resolver.PinHostKey(
					t.Context(),
					store.LeasedJob{Project: w.admin.Project, Asset: a.ID},
					o,
				)
			})
		}
		wg.Wait()
		trusted := 0
		for _, err := range errs {
			if err == nil {
				trusted++
			} else {
				wantCode(t, err, hostler.CodeConflict)
			}
		}
		pinned := strings.Count(fmt.Sprint(w.states(t, "web1")), "pinned")
		if trusted != 1 || pinned != 1 {
			t.Errorf("%d were trusted and %d pinned, want one of each", trusted, pinned)
		}
	})
}

func TestHostKeysCountOnTheWayToTheAssetOnly(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "door", Address: "192.0.2.1"})
		behind := w.asset(t, hostler.AssetInput{Name: "behind", Address: "10.0.0.1", Jump: "door"})
		if err := w.resolver.PinHostKey(ctx, store.LeasedJob{Project: w.admin.Project, Asset: behind.ID}, offer(t, 1)); err != nil {
			t.Errorf("the key of the jump host: %v", err)
		}
		elsewhere := w.asset(t, hostler.AssetInput{Name: "elsewhere", Address: "10.0.0.2"})
		wantCode(
			t,
			w.resolver.PinHostKey(ctx, store.LeasedJob{Project: w.admin.Project, Asset: elsewhere.ID}, offer(t, 2)),
			hostler.CodeForbidden,
		)
		wantCode(
			t,
			w.resolver.PinHostKey(ctx, store.LeasedJob{Project: w.stranger.Project, Asset: behind.ID}, offer(t, 2)),
			hostler.CodeForbidden,
		)
		bad := offer(t, 3)
		bad.PublicKey = "ssh-ed25519 nonsense"
		wantCode(
			t,
			w.resolver.PinHostKey(ctx, store.LeasedJob{Project: w.admin.Project, Asset: behind.ID}, bad),
			hostler.CodeInvalid,
		)
	})
}
