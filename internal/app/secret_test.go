package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/schema"
)

const canary = "kanarienvogel-7f3a"

// TestSecretsStayInside puts a recognisable secret in, uses it, makes mistakes with
// it, and looks for it in every column of every table, every answer, every error
// and the log.
func TestSecretsStayInside(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		var outputs []any
		collect := func(v any, err error) {
			outputs = append(outputs, v)
			if err != nil {
				var e *hostler.Error
				errors.As(err, &e)
				outputs = append(outputs, err.Error(), e, fmt.Sprintf("%+v %#v", err, e))
			}
		}
		put := func(in hostler.CredentialInput) { collect(w.CreateCredential(ctx, w.admin, in)) }
		put(hostler.CredentialInput{Name: "pw", Kind: "password", Username: "root", Password: canary})
		put(hostler.CredentialInput{Name: "pw", Kind: "password", Username: "root", Password: canary}) // taken
		put(
			hostler.CredentialInput{Name: "key", Kind: "ssh_key", PrivateKey: canary, Passphrase: canary},
		) // not a key
		put(
			hostler.CredentialInput{Name: "key", Kind: "token", Password: canary, PrivateKey: canary},
		) // wrong fields
		put(hostler.CredentialInput{Name: "pw2", Kind: "password", Password: canary + "\x00"}) // not text
		collect(
			w.PutCredential(ctx, w.admin, "pw", hostler.CredentialInput{Kind: "password", Password: canary + "2"}),
		)
		collect(w.PutCredential(ctx, w.viewer, "pw", hostler.CredentialInput{Kind: "password", Password: canary}))
		collect(w.Credential(ctx, w.admin, "pw"))
		collect(w.Credentials(ctx, w.admin, hostler.Page{}))
		collect(w.CreateAsset(ctx, w.admin, hostler.AssetInput{Name: "web1", Address: "192.0.2.1", Credential: "pw"}))
		w.allow(t, "pw", hostler.CredentialRuleInput{
			Uses: []string{hostler.UseSudo}, Addresses: []string{"192.0.2.1"},
		})
		collect(
			w.RunJobs(
				ctx,
				w.operator,
				hostler.JobRequest{
					Action: "change",
					Assets: []string{"web1"},
					Args:   json.RawMessage(`{"sudo":"pw"}`),
				},
				"k",
			),
		)
		collect(
			fmt.Sprintf(
				"%v %+v %#v",
				hostler.CredentialInput{Password: canary},
				hostler.CredentialInput{Token: canary},
				hostler.CredentialInput{PrivateKey: canary},
			),
			nil,
		)

		leases := w.worker(t).lease(t, 1)
		if err := w.resolver.Leases(ctx, refs(leases)); err != nil {
			t.Fatal(err)
		}
		if got := leases[0].Asset.Credential.Secret.Password; got != canary+"2" {
			t.Errorf("the lease's password is %q", got)
		}
		if got := leases[0].Credentials["pw"].Secret.Password; got != canary+"2" {
			t.Errorf("the named credential's password is %q", got)
		}
		collect(leases, nil)
		collect(w.Audit(ctx, w.admin, hostler.AuditFilter{}, hostler.Page{}))

		text, err := json.Marshal(outputs)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range forms() {
			if strings.Contains(string(text), form) {
				t.Errorf("an answer or an error holds the secret: %s", text)
			}
			if strings.Contains(string(w.log.text), form) {
				t.Errorf("the log holds the secret: %s", w.log.text)
			}
			w.searchTables(t, form)
		}
	})
}

// TestADumpHoldsNoUsableKey looks for the secrets of API keys in every column.
func TestADumpHoldsNoUsableKey(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		made := must(w.CreateKey(t.Context(), w.viewer, hostler.KeyInput{Name: "k"}))(t)
		next := must(w.RotateKey(t.Context(), w.viewer, made.Key.ID))(t)
		for _, k := range []hostler.KeyCreated{made, next} {
			w.searchTables(t, k.Secret[len(k.Key.Prefix):][:12])
			if k.Key.Prefix != k.Secret[:12] {
				t.Errorf("prefix %q", k.Key.Prefix)
			}
		}
	})
}

func forms() []string {
	return []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))[:20], fmt.Sprintf("%x", canary)}
}

func refs(leases []hostler.Lease) []*hostler.Lease {
	out := make([]*hostler.Lease, len(leases))
	for i := range leases {
		out[i] = &leases[i]
	}
	return out
}

var renameText = regexp.MustCompile(`ALTER TABLE (\w+) RENAME TO (\w+);`)

// renamed is the text of the migrations with the tables under their last names.
func renamed(ddl []byte) []byte {
	for _, m := range renameText.FindAllSubmatch(ddl, -1) {
		ddl = bytes.ReplaceAll(ddl, append([]byte("CREATE TABLE "), m[1]...), append([]byte("CREATE TABLE "), m[2]...))
	}
	return ddl
}

var (
	tableText  = regexp.MustCompile(`(?s)CREATE TABLE (\w+) \(\n(.*?)\n\)`)
	columnText = regexp.MustCompile(`(?m)^  (\w+) (TEXT|\$\{BYTES\})`)
)

// searchTables looks for a text in every text and byte column.
func (w *env) searchTables(t *testing.T, text string) {
	t.Helper()
	files, err := fs.Glob(schema.Migrations, "main/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	var ddl []byte
	for _, name := range files {
		text, err := schema.Migrations.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		ddl = append(ddl, text...)
	}
	if w.h.Kind == "postgres" { // on SQLite it is a view
		ddl = bytes.ReplaceAll(ddl, []byte("${HISTORY}"), []byte("done"))
	}
	searched := 0
	ddl = renamed(ddl)
	for _, table := range tableText.FindAllStringSubmatch(string(ddl), -1) {
		for _, col := range columnText.FindAllStringSubmatch(table[2], -1) {
			searched++
			value := col[1]
			switch {
			case col[2] != "TEXT" && w.h.Kind == "postgres":
				value = "encode(" + value + ", 'escape')"
			case col[2] != "TEXT":
				value = "CAST(" + value + " AS TEXT)"
			}
			var n int64
			w.tx(t, func(tx *store.Tx) (err error) {
				n, err = tx.Exec(
					"UPDATE " + table[1] + " SET " + col[1] + " = " + col[1] + " WHERE " + value + " LIKE '%" + text + "%'",
				)
				return err
			})
			if n > 0 {
				t.Errorf("%s.%s holds the secret", table[1], col[1])
			}
		}
	}
	if searched < 40 {
		t.Errorf("only %d columns were searched", searched)
	}
}
