package app_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

func (w *env) export(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	write, err := w.ExportAssets(t.Context(), w.viewer, "")
	if err == nil {
		err = write(&b, func() (auth.Caller, error) { return w.viewer, nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (w *env) importFile(t testing.TB, file string, o hostler.ImportOptions) hostler.AssetImport {
	t.Helper()
	got, err := w.ImportAssets(t.Context(), w.operator, file, o)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// results writes the rows in a line each.
func results(r hostler.AssetImport) string {
	var lines []string
	for _, row := range r.Rows {
		line := fmt.Sprintf("%d %s %s", row.Line, row.Name, row.Result)
		for _, e := range row.Errors {
			line += " " + e.Path
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestImportAssets(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.password(t, "root-pw", "canary")
		w.allow(t, "root-pw", hostler.CredentialRuleInput{
			Uses: []string{hostler.UseSSH}, Addresses: []string{"192.0.2.0/24"},
		})
		w.asset(t, hostler.AssetInput{
			Name: "old", Address: "192.0.2.1", Port: 22, Credential: "root-pw",
			Labels: map[string]string{"a": "1", "b": "2"}, Vars: map[string]string{"v": "x"},
		})
		w.asset(t, hostler.AssetInput{Name: "same", Address: "192.0.2.2"})
		for _, c := range []struct {
			name, file string
			o          hostler.ImportOptions
			want       string
			applied    bool
		}{
			{
				"a jump host on a later line", "name,address,jump\nweb,192.0.2.10,bastion\nbastion,192.0.2.11,\n",
				hostler.ImportOptions{},
				"2 web create\n3 bastion create", true,
			},
			{
				"nothing changes", "name,address,jump\nweb,192.0.2.10,bastion\nbastion,192.0.2.11,\n",
				hostler.ImportOptions{},
				"2 web unchanged\n3 bastion unchanged", true,
			},
			{"absent columns", "name,platform\nold,linux\n", hostler.ImportOptions{}, "2 old update", true},
			{
				"one bad row rolls back all", "name,address,port\nnew1,192.0.2.12,22\nnew2,not a host,99999\n",
				hostler.ImportOptions{},
				"2 new1 create\n3 new2 fail address port", false,
			},
			{
				"duplicate name", "name,address\ntwice,192.0.2.12\ntwice,192.0.2.13\n",
				hostler.ImportOptions{},
				"2 twice create\n3 twice fail name", false,
			},
			{
				"skip", "name,address\nold,192.0.2.99\n",
				hostler.ImportOptions{OnConflict: "skip"},
				"2 old skip", true,
			},
			{
				"fail", "name,address\nold,192.0.2.99\n",
				hostler.ImportOptions{OnConflict: "fail"},
				"2 old fail name", false,
			},
			{
				"a credential at a new address", "name,address\nold,192.0.2.99\n",
				hostler.ImportOptions{},
				"2 old fail credential", false,
			},
			{
				"a credential that is named", "name,address,credential\nold,192.0.2.98,root-pw\n",
				hostler.ImportOptions{},
				"2 old update", true,
			},
			{
				"unknown credential", "name,address,credential\nx,192.0.2.1,nope\n",
				hostler.ImportOptions{},
				"2 x fail credential", false,
			},
			{
				"jump hosts in a cycle", "name,address,jump\np,192.0.2.20,q\nq,192.0.2.21,p\n",
				hostler.ImportOptions{},
				"2 p fail jump\n3 q fail jump", false,
			},
			{
				"more cells than columns", "name,address\nx,192.0.2.1,22\n",
				hostler.ImportOptions{},
				"2 x fail row", false,
			},
			{
				"bad pairs", "name,address,labels,port\nx,192.0.2.1,abc,ten\n",
				hostler.ImportOptions{},
				"2 x fail port labels", false,
			},
			{
				"a pair without a key", "name,address,labels\nx,192.0.2.1,=1\n",
				hostler.ImportOptions{},
				"2 x fail labels.", false,
			},
			{"pairs with semicolons", "name,labels\nsame,x=1;y=2\n", hostler.ImportOptions{}, "2 same update", true},
			{
				"headers as people write them", "NAME , IP ,标签.角色,备注\nsame,192.0.2.2,web,whatever\n,,,\n",
				hostler.ImportOptions{Mapping: map[string]string{"备注": "-"}},
				"2 same update", true,
			},
		} {
			dry := c.o
			dry.DryRun = true
			got := w.importFile(t, c.file, dry)
			if got.Applied || results(got) != c.want {
				t.Errorf("%s, dry: applied %v\n%s\nwant\n%s", c.name, got.Applied, results(got), c.want)
			}
			before := w.export(t)
			got = w.importFile(t, c.file, c.o)
			if got.Applied != c.applied || results(got) != c.want {
				t.Errorf("%s: applied %v\n%s\nwant\n%s", c.name, got.Applied, results(got), c.want)
			}
			if after := w.export(t); !c.applied && after != before {
				t.Errorf("%s: changed by half (-before +after):\n%s", c.name, cmp.Diff(before, after))
			}
		}
		old := must(w.Asset(t.Context(), w.viewer, "old"))(t)
		if old.Address != "192.0.2.98" || old.DeviceKey != "192.0.2.98" || old.Port != 22 ||
			old.Credential != "root-pw" || old.Platform != "linux" || old.Labels["b"] != "2" {
			t.Errorf("old is %+v", old)
		}
		if same := must(w.Asset(t.Context(), w.viewer, "same"))(t); same.Labels["角色"] != "web" {
			t.Errorf("same is %+v", same)
		}
		// An empty cell clears.
		w.importFile(t, "name,labels,vars,label.z\nold,a=9,,\n", hostler.ImportOptions{})
		old = must(w.Asset(t.Context(), w.viewer, "old"))(t)
		if diff := cmp.Diff(map[string]string{"a": "9"}, old.Labels); diff != "" || len(old.Vars) != 0 {
			t.Errorf("labels (-want +got):\n%s vars %v", diff, old.Vars)
		}
		audits := must(w.Audit(t.Context(), w.admin, hostler.AuditFilter{}, hostler.Page{Limit: 1}))(t)
		if a := audits.Items[0]; a.Verb != "asset.import" {
			t.Errorf("the audit row is %+v", a)
		}
	})
}

func TestImportManyAssets(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		var file strings.Builder
		file.WriteString("name,address,labels\n")
		const n = 2000
		for i := range n {
			fmt.Fprintf(&file, "host%d,10.0.%d.%d,role=web\n", i, i/250, i%250)
		}
		if got := w.importFile(t, file.String(), hostler.ImportOptions{}); got.Created != n || !got.Applied {
			t.Errorf("created %d, applied %v", got.Created, got.Applied)
		}
		if got := w.importFile(t, w.export(t), hostler.ImportOptions{}); got.Unchanged != n {
			t.Errorf("unchanged %d", got.Unchanged)
		}
	})
}

// TestExportReadsBack: importing an export changes nothing, whatever the assets are.
func TestExportReadsBack(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		n := 0
		rapid.Check(t, func(rt *rapid.T) {
			n++
			in := hostler.AssetInput{Name: fmt.Sprint("asset", n), Address: "192.0.2.1"}
			text := rapid.OneOf(rapid.String(), rapid.StringMatching(`['=+@\-, ={}"a]{0,6}`))
			in.Platform = text.Draw(rt, "platform")
			in.DeviceKey = text.Draw(rt, "device key")
			in.Labels = rapid.MapOfN(rapid.StringMatching(`[a-z][a-z./]{0,3}`), text, 0, 4).Draw(rt, "labels")
			in.Vars = rapid.MapOfN(rapid.StringMatching(`_?[a-z][a-z.]{0,3}`), text, 0, 4).Draw(rt, "vars")
			if _, err := w.CreateAsset(t.Context(), w.operator, in); err != nil {
				if hostler.CodeOf(err) != hostler.CodeInvalid {
					rt.Fatal(err)
				}
				return // no asset can hold it
			}
			file := w.export(t)
			got := w.importFile(t, file, hostler.ImportOptions{DryRun: true})
			if got.Unchanged != len(got.Rows) {
				rt.Fatalf("an import of the export changes %+v", got.Rows[len(got.Rows)-1])
			}
			must(w.DeleteAsset(t.Context(), w.operator, in.Name))(t)
		})
	})
}

// TestDryRunKeepsNoWriterWaiting plans an import while another transaction writes: with
// jump hosts that the file itself creates, and with a fault.
func TestDryRunKeepsNoWriterWaiting(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "old", Address: "192.0.2.9"})
		const file = "name,address,jump\nweb,192.0.2.1,gate\ngate,192.0.2.2,old\nold,192.0.2.10,\n"
		w.tx(t, func(tx *store.Tx) error {
			if err := tx.LockAssetNames(w.operator.Project); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
			defer cancel()
			out, err := w.ImportAssets(ctx, w.operator, file, hostler.ImportOptions{DryRun: true})
			if err != nil || out.Applied || out.Created != 2 || out.Updated != 1 {
				t.Errorf("dry run: %+v, %v", out, err)
			}
			out, err = w.ImportAssets(ctx, w.operator, file+"bad,not an address,\n", hostler.ImportOptions{})
			if err != nil || out.Applied || out.Failed != 1 {
				t.Errorf("a faulty file: %+v, %v", out, err)
			}
			return nil
		})
		out := must(w.ImportAssets(t.Context(), w.operator, file, hostler.ImportOptions{}))(t)
		if !out.Applied || out.Created != 2 || out.Updated != 1 {
			t.Errorf("the import: %+v", out)
		}
		if a := must(w.Asset(t.Context(), w.viewer, "web"))(t); a.Jump != "gate" {
			t.Errorf("web is reached through %q", a.Jump)
		}
	})
}

// TestImportsAtOnce imports three files of 2 MB into one project at once, over its assets:
// each import is made, and a project that shares nothing with it goes on meanwhile.
func TestImportsAtOnce(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		const rows = 3000
		file := func(network int) string {
			var b strings.Builder
			b.WriteString("name,address,labels,vars\n")
			for i := range rows {
				fmt.Fprintf(&b, "host%d,10.%d.%d.%d,role=web;team=a,note=%s\n", i, network, i/250, i%250, strings.Repeat("x", 640))
			}
			return b.String()
		}
		if n := len(file(1)); n < 2_000_000 {
			t.Fatalf("%d bytes", n)
		}
		w.importFile(t, file(0), hostler.ImportOptions{})
		var g errgroup.Group
		for i := range 3 {
			g.Go(func() error {
				out, err := w.ImportAssets(t.Context(), w.operator, file(i+1), hostler.ImportOptions{})
				if err == nil && (!out.Applied || out.Updated != rows) {
					err = fmt.Errorf("%d were updated, applied: %t", out.Updated, out.Applied)
				}
				return err
			})
		}
		g.Go(func() error {
			for i := range 20 {
				in := hostler.AssetInput{Name: fmt.Sprint("other", i), Address: fmt.Sprintf("192.0.2.%d", i)}
				if _, err := w.CreateAsset(t.Context(), w.stranger, in); err != nil {
					return fmt.Errorf("another project: %w", err)
				}
			}
			return nil
		})
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestAnImportDoesNotKeepOtherProjectsWaiting stops an import in the middle of its
// transaction: another project goes on writing assets.
func TestAnImportDoesNotKeepOtherProjectsWaiting(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		if w.h.Kind == "sqlite" {
			return // has one writer at a time
		}
		imported := make(chan error)
		w.tx(t, func(tx *store.Tx) error {
			if err := tx.LockAssetNames(w.operator.Project); err != nil {
				return err
			}
			go func() {
				_, err := w.ImportAssets(t.Context(), w.operator, "name,address\nweb,192.0.2.1\n", hostler.ImportOptions{})
				imported <- err
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second) // below the limit on locks
			defer cancel()
			for i := range 200 { // the import gets to its transaction meanwhile
				in := hostler.AssetInput{Name: fmt.Sprint("other", i), Address: fmt.Sprintf("198.51.100.%d", i)}
				if _, err := w.CreateAsset(ctx, w.stranger, in); err != nil {
					t.Errorf("another project waits: %v", err)
					return nil
				}
			}
			return nil
		})
		if err := <-imported; err != nil {
			t.Error(err)
		}
	})
}

// TestProjectsRaceForADevice gives one device to two projects at once, again and again: one
// of them gets it.
func TestProjectsRaceForADevice(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		for i := range 30 {
			in := hostler.AssetInput{Name: fmt.Sprint("sw", i), Address: fmt.Sprintf("192.0.2.%d", i)}
			var g errgroup.Group
			var refused atomic.Int32
			for _, c := range []auth.Caller{w.operator, w.stranger} {
				g.Go(func() error {
					_, err := w.CreateAsset(t.Context(), c, in)
					if hostler.CodeOf(err) == hostler.CodeForbidden || hostler.CodeOf(err) == hostler.CodeInvalid {
						refused.Add(1)
						return nil
					}
					return err
				})
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			if refused.Load() != 1 {
				t.Fatalf("round %d: %d were refused, want 1", i, refused.Load())
			}
		}
	})
}
