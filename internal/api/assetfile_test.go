package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
)

// csv makes a request with a file.
func (w *env) csv(t *testing.T, as, query, file string) *http.Request {
	t.Helper()
	req := w.request(t, as, "POST", "/api/v1/assets/import", file)
	req.URL.RawQuery = query
	req.Header.Set("Content-Type", "text/csv")
	return req
}

// badFiles are files that a route for CSV must refuse as a whole.
func badFiles(t *testing.T, w *env, try func(what string, req *http.Request), method, path string) {
	t.Helper()
	for what, file := range map[string]string{
		"no file":              "",
		"only space":           " \n ",
		"JSON":                 `{"name":"x"}`,
		"not UTF-8":            "name,address\n\xb7\xfe\xce\xf1,192.0.2.1\n",
		"a bare quote":         "name,address\nx\"y,192.0.2.1\n",
		"an open quote":        "name,address\n\"x,192.0.2.1\n",
		"no name":              "address\n192.0.2.1\n",
		"an unknown column":    "name,adress\nx,192.0.2.1\n",
		"a column twice":       "name,address,ip\nx,192.0.2.1,192.0.2.2\n",
		"too many columns":     "name" + strings.Repeat(",label.x", 100_000) + "\nx\n",
		"a header of 1 MB":     strings.Repeat("n", 1<<20) + "\nx\n",
		"too many rows":        "name,address\n" + strings.Repeat("x,192.0.2.1\n", 10_001),
		"NUL in the header":    "name,addr\x00ess\nx,192.0.2.1\n",
		"a secret as a column": "name,address,password\nx,192.0.2.1,canary\n",
	} {
		req := w.request(t, admin, method, path, file)
		req.Header.Set("Content-Type", "text/csv")
		try(what, req)
	}
	for _, ct := range []string{"", "application/json", "text/plain", "text/csv; charset", "multipart/form-data; boundary=x"} {
		req := w.request(t, admin, method, path, "name,address\nx,192.0.2.1\n")
		req.Header.Set("Content-Type", ct)
		try("as "+ct, req)
	}
}

func TestImportAndExport(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		file := "\ufeff名称;地址;端口;标签.role;备注\r\nweb1;192.0.2.1;22;web;'=1+1\r\n核心;192.0.2.2;;core;\r\n"
		a := w.send(t, w.csv(t, operator, "map=备注:var.note&dry_run=true", file))
		var got hostler.AssetImport
		if err := json.Unmarshal([]byte(a.Body), &got); err != nil || a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		want := hostler.AssetImport{DryRun: true, Created: 2, Rows: []hostler.ImportedRow{
			{Line: 2, Name: "web1", Result: "create"}, {Line: 3, Name: "核心", Result: "create"},
		}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("dry run (-want +got):\n%s", diff)
		}
		var none hostler.List[hostler.Asset]
		if w.mustDo(t, viewer, "GET", "/api/v1/assets", "", &none); len(none.Items) != 0 {
			t.Errorf("a dry run made %v", none.Items)
		}
		w.send(t, w.csv(t, operator, "map=备注:var.note", file))
		var web1 hostler.Asset
		w.mustDo(t, viewer, "GET", "/api/v1/assets/web1", "", &web1)
		if web1.Port != 22 || web1.Labels["role"] != "web" || web1.Vars["note"] != "=1+1" {
			t.Errorf("imported as %+v", web1)
		}
		a = w.do(t, viewer, "GET", "/api/v1/assets.csv?label=role=web", "")
		if a.Header.Get("Content-Type") != "text/csv; charset=utf-8" || !strings.HasPrefix(a.Body, "\ufeffname,") || strings.Contains(a.Body, "核心") {
			t.Errorf("exported %v %s", a.Header, a.Body)
		}
		for line := range strings.SplitSeq(a.Body, "\n") {
			for cell := range strings.SplitSeq(line, ",") {
				if c := strings.TrimLeft(strings.Trim(cell, `"`), " "); c != "" && strings.ContainsRune("=+-@", rune(c[0])) {
					t.Errorf("the cell %q is a formula", cell)
				}
			}
		}
		// Excel in China writes GBK.
		req := w.csv(t, operator, "dry_run=true", "name,ip\n\xcb\xfe,192.0.2.9\n")
		req.Header.Set("Content-Type", "text/csv; charset=gbk")
		if a := w.send(t, req); !strings.Contains(a.Body, `"name":"塔","fate":"create"`) {
			t.Errorf("GBK: %d %s", a.Status, a.Body)
		}
		// Another project sees nothing of it, and cannot connect through it.
		if a := w.do(t, stranger, "GET", "/api/v1/assets.csv", ""); strings.Contains(a.Body, "web1") {
			t.Errorf("a stranger exports %s", a.Body)
		}
		a = w.send(t, w.csv(t, stranger, "", "name,address,jump\nmine,192.0.2.3,web1\n"))
		if err := json.Unmarshal([]byte(a.Body), &got); err != nil || got.Failed != 1 || got.Applied || got.Rows[0].Errors[0].Path != "jump" {
			t.Errorf("through a foreign asset: %d %s", a.Status, a.Body)
		}
	})
}

// The bound on bodies holds for files.
func TestHugeFile(t *testing.T) {
	w := newEnv(t)
	req := w.csv(t, operator, "", "x")
	req.Body, req.ContentLength = http.NoBody, -1
	req.Body = readCloser{bytes.NewReader(bytes.Repeat([]byte("name,address\n"), 1<<20))}
	if a := w.send(t, req); a.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %.200s", a.Status, a.Body)
	}
	for i, query := range []string{"on_conflict=replace", "map=x", "map=:name", "map=x:", "dry_run=maybe"} {
		if a := w.send(t, w.csv(t, operator, query, fmt.Sprintf("name,address\nx%d,192.0.2.1\n", i))); a.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", query, a.Status, a.Body)
		}
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }
