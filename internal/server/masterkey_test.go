package server

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// keyServer is what a server of a database has to do with its master keys.
type keyServer struct {
	*keyKeeper
	t *testing.T
}

func newKeyServer(t *testing.T, st *store.Store, keys [][]byte, sole bool, now func() time.Time) *keyServer {
	t.Helper()
	cfg := config.Config{Data: t.TempDir()}
	s := &keyServer{t: t}
	s.write(cfg, keys)
	box, err := openBox(t.Context(), cfg, st)
	if err != nil {
		t.Fatal(err)
	}
	s.keyKeeper = newKeyKeeper(cfg, st, box, sole, slog.New(slog.DiscardHandler))
	s.keyKeeper.now = now
	return s
}

func (s *keyServer) write(cfg config.Config, keys [][]byte) {
	s.t.Helper()
	if err := secret.WriteKeys(keyPath(cfg), keys); err != nil {
		s.t.Fatal(err)
	}
}

func (s *keyServer) tick() {
	s.t.Helper()
	if err := s.runOnce(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// seal stores a credential that this server seals.
func (s *keyServer) seal(project hostler.ProjectID, name string) hostler.CredentialID {
	s.t.Helper()
	var id hostler.CredentialID
	inTx(s.t, s.store, func(tx *store.Tx) (err error) {
		id, err = tx.InsertCredential(project, hostler.Credential{Name: name, Kind: hostler.CredentialPassword},
			func(id hostler.CredentialID) ([]byte, error) {
				return s.box.SealSecret(secret.CredentialOwner(project, id), hostler.Secret{Password: name})
			})
		return err
	})
	return id
}

// opens reports whether a box opens every credential of the project.
func opens(t *testing.T, st *store.Store, box *secret.Box, project hostler.ProjectID, ids ...hostler.CredentialID) bool {
	t.Helper()
	all := true
	inTx(t, st, func(tx *store.Tx) error {
		rows, err := tx.SealedCredentials(ids, nil, nil)
		if len(rows) != len(ids) {
			t.Fatalf("%d credentials, want %d", len(rows), len(ids))
		}
		for _, r := range rows {
			got, err := box.OpenSecret(secret.CredentialOwner(project, r.ID), r.Sealed)
			all = all && err == nil && got.Password == r.Name
		}
		return err
	})
	return all
}

func inTx(t *testing.T, st *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := st.InTx(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func boxOf(t *testing.T, keys ...[]byte) *secret.Box {
	t.Helper()
	b, err := secret.NewBox(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var oldKey, newKey = bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)

// TestMasterKeyIsReplaced: servers of one database use a new key when all of them have it,
// and seal what is stored again; a server that stops in between goes on when it starts.
func TestMasterKeyIsReplaced(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		st, clock := h.Store, time.Unix(1e9, 0)
		now := func() time.Time { return clock }
		var project hostler.ProjectID
		inTx(t, st, func(tx *store.Tx) error {
			p, err := tx.InsertProject("p")
			project = p.ID
			return err
		})
		a, b := newKeyServer(t, st, [][]byte{oldKey}, false, now), newKeyServer(t, st, [][]byte{oldKey}, false, now)
		a.tick()
		b.tick()
		var ids []hostler.CredentialID
		for name := range strings.FieldsSeq("one two three") {
			ids = append(ids, a.seal(project, name))
		}
		both := [][]byte{newKey, oldKey}
		a.write(a.cfg, both)
		a.tick()
		if got, want := a.box.KeyID(), boxOf(t, oldKey).KeyID(); got != want {
			t.Fatal("a key is used that another server does not have")
		}
		b.write(b.cfg, both)
		b.tick()                                   // reports the new key, and makes it the current one
		ids = append(ids, a.seal(project, "late")) // a has not noticed yet
		if opens(t, st, boxOf(t, newKey), project, ids...) {
			t.Fatal("the late value is sealed with the new key already")
		}
		if !opens(t, st, b.box, project, ids...) || !opens(t, st, a.box, project, ids...) {
			t.Error("a value does not open during the rotation")
		}
		// The server stops, and another process takes its place.
		b = newKeyServer(t, st, both, false, now)
		for range 3 {
			a.tick()
			b.tick()
		}
		if !opens(t, st, boxOf(t, newKey), project, ids...) {
			t.Error("a value is still sealed under the old key")
		}
		var resealed string
		read := func() {
			inTx(t, st, func(tx *store.Tx) (err error) { resealed, err = tx.Resealed(); return err })
		}
		if read(); resealed == a.box.KeyID() {
			t.Error("finished while another server may still seal with the old key")
		}
		clock = clock.Add(resealSettle)
		a.tick()
		if read(); resealed != boxOf(t, newKey).KeyID() {
			t.Errorf("resealed under %q", resealed)
		}
		a.write(a.cfg, [][]byte{newKey})
		a.tick()
		if !opens(t, st, a.box, project, ids...) {
			t.Error("a value does not open without the old key")
		}
		_, err := openBox(t.Context(), oldOnly(t), st)
		if err == nil || !strings.Contains(err.Error(), "copy the key file") {
			t.Errorf("a server with the old key only: %v", err)
		}
	})
}

// oldOnly is the configuration of a machine with the old key file.
func oldOnly(t *testing.T) config.Config {
	t.Helper()
	cfg := config.Config{Data: t.TempDir()}
	if err := secret.WriteKeys(keyPath(cfg), [][]byte{oldKey}); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestAMovedRowDoesNotOpen: a sealed value that SQL moves to another project, or to another
// purpose, does not open, and is not sealed again there.
func TestAMovedRowDoesNotOpen(t *testing.T) {
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		st := h.Store
		var mine, theirs hostler.ProjectID
		inTx(t, st, func(tx *store.Tx) error {
			p, err := tx.InsertProject("mine")
			if err != nil {
				return err
			}
			q, err := tx.InsertProject("theirs")
			mine, theirs = p.ID, q.ID
			return err
		})
		s := newKeyServer(t, st, [][]byte{oldKey}, true, time.Now)
		id := s.seal(mine, "one")
		inTx(t, st, func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE credential SET project = ? WHERE id = ?`, theirs, id)
			return err
		})
		s.write(s.cfg, [][]byte{newKey, oldKey})
		for range 3 {
			s.tick()
		}
		if opens(t, st, s.box, theirs, id) {
			t.Error("the value opens in another project")
		}
	})
}

// TestRotateMasterCommands goes through a rotation as the command line does.
func TestRotateMasterCommands(t *testing.T) {
	ctx := context.WithoutCancel(t.Context())
	cfg := testConfig(t, nil)
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	st, _, err := openStore(ctx, cfg, opening{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	box, err := openBox(ctx, cfg, st)
	if err != nil {
		t.Fatal(err)
	}
	before := box.KeyID()
	if _, err := RetireMasterKeys(ctx, cfg); hostler.CodeOf(err) != hostler.CodeConflict {
		t.Errorf("retired before anything was sealed again: %v", err)
	}
	status, err := RotateMasterKey(ctx, cfg)
	if err != nil || len(status.Keys) != 2 || !status.Waiting() || status.Current != before {
		t.Fatalf("rotated: %+v, %v", status, err)
	}
	if _, err := RotateMasterKey(ctx, cfg); hostler.CodeOf(err) != hostler.CodeConflict {
		t.Errorf("a second rotation before the first has finished: %v", err)
	}
	keeper := newKeyKeeper(cfg, st, box, true, slog.New(slog.DiscardHandler))
	for range 2 {
		if err := keeper.runOnce(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if status, err = MasterKey(ctx, cfg); err != nil || status.Waiting() || !status.Resealed {
		t.Fatalf("after the server has run: %+v, %v", status, err)
	}
	if status, err = RetireMasterKeys(ctx, cfg); err != nil || len(status.Keys) != 1 || status.Keys[0] == before {
		t.Fatalf("retired: %+v, %v", status, err)
	}
	if err := keeper.runOnce(ctx); err != nil {
		t.Error(err)
	}
}

// TestBackupsOfARotation restores backups that were taken before, during and after a rotation,
// with each key file that there was: one opens with the keys of its time, or with a later file
// that still has them, and otherwise says which file is needed.
func TestBackupsOfARotation(t *testing.T) {
	ctx, clock := t.Context(), time.Unix(1e9, 0)
	log := slog.New(slog.DiscardHandler)
	cfg := dataIn(t)
	both := [][]byte{newKey, oldKey}
	backups := map[string]string{}
	var ids []hostler.CredentialID
	var project hostler.ProjectID
	func() {
		write(t, cfg, [][]byte{oldKey})
		st, _, err := openStore(ctx, cfg, opening{server: true}, log)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = st.Close() }()
		inTx(t, st, func(tx *store.Tx) error {
			p, err := tx.InsertProject("p")
			project = p.ID
			return err
		})
		box, err := openBox(ctx, cfg, st)
		if err != nil {
			t.Fatal(err)
		}
		s := &keyServer{t: t, keyKeeper: newKeyKeeper(cfg, st, box, true, log)}
		s.now = func() time.Time { return clock }
		backup := func(name string) {
			backups[name] = filepath.Join(t.TempDir(), "copy")
			if err := Backup(ctx, cfg, backups[name]); err != nil {
				t.Fatal(err)
			}
		}
		s.tick()
		ids = append(ids, s.seal(project, "one"))
		backup("before")
		late := &keyServer{t: t, keyKeeper: newKeyKeeper(cfg, st, boxOf(t, oldKey), true, log)}
		s.write(cfg, both)
		s.tick()
		ids = append(ids, late.seal(project, "late"))
		backup("during")
		for range 3 {
			s.tick()
		}
		clock = clock.Add(resealSettle)
		s.tick()
		s.write(cfg, [][]byte{newKey})
		s.tick()
		backup("after")
	}()
	for name, want := range map[string][3]bool{"before": {true, true, false}, "during": {false, true, false}, "after": {false, true, true}} {
		for i, keys := range [][][]byte{{oldKey}, both, {newKey}} {
			to := dataIn(t)
			if err := Restore(ctx, to, backups[name]); err != nil {
				t.Fatal(err)
			}
			write(t, to, keys)
			st, _, err := openStore(ctx, to, opening{server: true}, log)
			if err != nil {
				t.Fatal(err)
			}
			stored := ids
			if name == "before" {
				stored = ids[:1]
			}
			box, err := openBox(ctx, to, st)
			got := err == nil && opens(t, st, box, project, stored...)
			if got != want[i] || err != nil && !strings.Contains(err.Error(), "copy the key file") {
				t.Errorf("the backup from %s the rotation, key file %d: opens %v, %v", name, i, got, err)
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func dataIn(t *testing.T) config.Config {
	t.Helper()
	cfg, err := config.Load(config.Source{Environ: []string{"HOSTLER_DATA=" + filepath.Join(t.TempDir(), "data")}})
	if err == nil {
		err = os.MkdirAll(cfg.Data, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func write(t *testing.T, cfg config.Config, keys [][]byte) {
	t.Helper()
	if err := secret.WriteKeys(keyPath(cfg), keys); err != nil {
		t.Fatal(err)
	}
}
