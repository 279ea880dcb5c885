package server

import (
	"bytes"
	"testing"

	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// TestMain lets the tests open PostgreSQL.
func TestMain(m *testing.M) { storetest.Main(m) }

// TestEarlierKeyWaitsForTheAudit: an earlier master key is needed until the current one
// has signed the end of the audit, which the servers could not trust otherwise.
func TestEarlierKeyWaitsForTheAudit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		box, err := secret.NewBox(bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
		if err != nil {
			t.Fatal(err)
		}
		keys, err := auditKeys(box)
		if err != nil || len(keys.Older) != 1 {
			t.Fatalf("%d older keys, %v", len(keys.Older), err)
		}
		ids := box.KeyIDs()
		for seq, signer := range []string{keys.Older[0].ID, keys.Current.ID} {
			var signed bool
			err := h.Store.InTx(t.Context(), func(tx *store.Tx) error {
				c := store.AuditCheckpoint{Seq: int64(seq) + 1, Hash: []byte{0}, BaseHash: []byte{0}, Key: signer, Signature: []byte{0}}
				if err := tx.AppendAuditChain(nil, c); err != nil {
					return err
				}
				signed, err = auditSigned(tx, box, ids[0])
				return err
			})
			if want := signer == keys.Current.ID; err != nil || signed != want {
				t.Errorf("signed by %s: %v, %v; want %v", signer, signed, err, want)
			}
		}
	})
}
