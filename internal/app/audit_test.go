package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// fillAudit adds rows with large details to the audit.
func (w *env) fillAudit(t *testing.T, rows int) {
	t.Helper()
	big := json.RawMessage(`{"text":"` + strings.Repeat("x", 1<<20) + `"}`)
	for range rows {
		w.tx(t, func(tx *store.Tx) error {
			return tx.AppendAudit(w.admin.Project, hostler.Audit{User: "ada", Verb: "test.fill", Detail: big})
		})
	}
}

func TestPagesOfLargeAuditRows(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		const rows = 30
		w.fillAudit(t, rows)
		seen := map[hostler.AuditID]bool{}
		for p := (hostler.Page{Limit: 1000}); ; {
			l := must(w.Audit(t.Context(), w.admin, hostler.AuditFilter{Verb: "test.fill"}, p))(t)
			size := 0
			for _, a := range l.Items {
				seen[a.ID] = true
				size += len(a.Detail)
			}
			if size > 16<<20 {
				t.Errorf("a page has %d MiB", size>>20)
			}
			if p.Cursor = l.Next; p.Cursor == "" {
				break
			}
		}
		if len(seen) != rows {
			t.Errorf("%d rows on all pages, want %d", len(seen), rows)
		}
	})
}

// countLines counts the lines written to it.
type countLines int

func (n *countLines) Write(b []byte) (int, error) {
	*n += countLines(strings.Count(string(b), "\n"))
	return len(b), nil
}

// An export asks for its caller before each page: it ends when the key was revoked or the
// role no longer permits it.
func TestExportsRenewTheirCaller(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		const rows = 30
		w.fillAudit(t, rows)
		for name, c := range map[string]struct {
			renew app.Renewal
			all   bool
			code  hostler.Code
		}{
			"permitted": {func() (auth.Caller, error) { return w.admin, nil }, true, ""},
			"revoked": {func() (auth.Caller, error) {
				return auth.Caller{}, hostler.Errorf(hostler.CodeUnauthenticated, "revoked", "已吊销")
			}, false, hostler.CodeUnauthenticated},
			"no longer an admin": {func() (auth.Caller, error) { return w.viewer, nil }, false, hostler.CodeForbidden},
		} {
			write := must(w.ExportAudit(t.Context(), w.admin, hostler.AuditFilter{Verb: "test.fill"}))(t)
			var got countLines
			err := write(&got, c.renew)
			if hostler.CodeOf(err) != c.code || (got == rows) != c.all || got == 0 {
				t.Errorf("%s: %d lines, error %v", name, got, err)
			}
		}
		for i := range 201 {
			w.asset(t, hostler.AssetInput{Name: fmt.Sprintf("a%d", i), Address: "10.0.0.1"})
		}
		gone := errors.New("revoked")
		var got countLines
		write := must(w.ExportAssets(t.Context(), w.viewer, ""))(t)
		err := write(&got, func() (auth.Caller, error) { return auth.Caller{}, gone })
		if !errors.Is(err, gone) || got != 201 { // a header, and one page
			t.Errorf("assets: %d lines, error %v", got, err)
		}
	})
}
