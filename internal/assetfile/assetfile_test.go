package assetfile_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/assetfile"
)

func TestRead(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"cleared columns and rows", "name,address,,,\r\nx,192.0.2.1,,,\r\n , ,,,\r\n,,,,\r\n", "2 x 192.0.2.1"},
		{"column without a header", "name,,address\nx,y,192.0.2.1\n", "column 2 has no header; add one, or delete the column"},
		{"too few cells", "name,address,port\nx,192.0.2.1\n", "2 x 192.0.2.1 has 2 cells, and the header has 3"},
		{"too many cells", "name,address\nx,192.0.2.1,y\n", "2 x 192.0.2.1 has 3 cells, and the header has 2"},
		{"spaces", " Name ,IP Address , PORT\n x ,\u00a0192.0.2.1\u3000, 22 \n", "2 x 192.0.2.1"},
		{"semicolons", "name;address\nx;192.0.2.1\n", "2 x 192.0.2.1"},
		{
			"two columns of a field", "主机名,名称,ip\nx,y,192.0.2.1\n",
			`column "名称" is a second column for the field name; ignore one of them`,
		},
		{"open quote", "name,ip\nx,192.0.2.1\n\"y,192.0.2.2\nz,192.0.2.3\n", "line 3 is not CSV; check its quotes"},
		{
			"unknown column", "name,机房\nx,y\n",
			`unknown column "机房": keep it as a label with --map 机房:label.机房, ignore it with --map 机房:-, or map it to a field`,
		},
		{"no name", "address\n192.0.2.1\n", `has no column "name"`},
		{"empty", "", "is empty; its first line must name the columns"},
		{"lines in a cell", "name,address,var.note\nx,192.0.2.1,\"a\r\nb\"\ny,192.0.2.2,\n", "2 x 192.0.2.1\n4 y 192.0.2.2"},
		{"bad port", "name,port\nx,ten\n", "2 x  must be a whole number"},
		{
			"too many rows", "name\n" + strings.Repeat("x\n", assetfile.MaxRows+1),
			fmt.Sprintf("has more than %d rows; split it", assetfile.MaxRows),
		},
		{"too many columns", strings.Repeat("name,", assetfile.MaxColumns) + "name\n", "has more than 256 columns"},
	} {
		if got := describe(assetfile.Read(c.file, hostler.ImportOptions{})); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// one reads a file of one row over the asset old.
func one(t *testing.T, file string, old *hostler.Asset) (hostler.AssetInput, error) {
	t.Helper()
	rows, err := assetfile.Read(file, hostler.ImportOptions{})
	if err != nil || len(rows) != 1 {
		t.Fatalf("%q has %d rows, %v", file, len(rows), err)
	}
	return rows[0].Input(old)
}

func TestPairs(t *testing.T) {
	for cell, want := range map[string]string{
		"a=1,b=2":               "a=1 b=2",
		"a = 1; b = 2;":         "a=1 b=2",
		"a=1；b=2":               "a=1 b=2",
		"a=1，b=2":               "a=1 b=2",
		"a=1\r\nb=2":            "a=1 b=2",
		"a=Data Center 1":       "a=Data Center 1",
		`{"a":"x=1","b":"1,2"}`: "a=x=1 b=1,2",
		"":                      "",
		"a=1 b=2":               "refused",
		"a=1|b=2":               "refused",
		"a:1":                   "refused",
		"a":                     "refused",
		"a=1,a=2":               "refused",
		`{"a":1}`:               "refused",
		`{"a":"1"`:              "refused",
	} {
		quoted := strings.ReplaceAll(cell, `"`, `""`)
		in, err := one(t, "name,labels\nx,\""+quoted+"\"\n", nil)
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(in.Labels)) {
			pairs = append(pairs, key+"="+in.Labels[key])
		}
		got := strings.Join(pairs, " ")
		if err != nil {
			got = "refused"
		}
		if got != want {
			t.Errorf("%q: %s, want %s (%v)", cell, got, want, err)
		}
	}
}

func TestInputKeepsWhatTheFileLacks(t *testing.T) {
	old := &hostler.Asset{
		Name: "x", Address: "192.0.2.1", Port: 22, Platform: "linux", Credential: "root",
		Labels: map[string]string{"a": "1", "b": "2"}, Vars: map[string]string{"v": "w"},
	}
	in, err := one(t, "name,platform,label.b,label.c,vars\nx,,,3,\n", old)
	want := hostler.AssetInput{
		Name: "x", Address: "192.0.2.1", Port: 22, Credential: "root",
		Labels: map[string]string{"a": "1", "c": "3"}, Vars: map[string]string{},
	}
	if diff := cmp.Diff(want, in); diff != "" || err != nil {
		t.Errorf("input (-want +got):\n%s%v", diff, err)
	}
	if old.Labels["b"] != "2" || len(old.Labels) != 2 {
		t.Errorf("the old asset has changed: %v", old.Labels)
	}
}

// TestWriteReadsBack: what is written reads back without a change, and no cell is a
// formula.
func TestWriteReadsBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.OneOf(rapid.StringOf(rapid.Rune()), rapid.StringMatching(`['=+@\-, ={}"a]{0,6}`))
		line := rapid.Map(text, func(s string) string { return strings.TrimSpace(oneLine(s)) })
		asset := hostler.Asset{
			Name: "x", Address: "192.0.2.1", Platform: line.Draw(rt, "platform"), DeviceKey: line.Draw(rt, "device key"),
			Labels: rapid.MapOfN(rapid.StringMatching(`[a-z][a-z./]{0,3}`), line, 0, 4).Draw(rt, "labels"),
			Vars:   rapid.MapOfN(rapid.StringMatching(`_?[a-z][a-z.]{0,3}`), line, 0, 4).Draw(rt, "vars"),
		}
		var file strings.Builder
		if err := assetfile.Write(&file, []hostler.Asset{asset}, true); err != nil {
			rt.Fatal(err)
		}
		rows, err := assetfile.Read(file.String(), hostler.ImportOptions{})
		if err != nil || len(rows) != 1 {
			rt.Fatalf("%q has %d rows, %v", file.String(), len(rows), err)
		}
		in, err := rows[0].Input(nil)
		if diff := cmp.Diff(asset.Input(), in); diff != "" || err != nil {
			rt.Fatalf("%q reads back (-want +got):\n%s%v", file.String(), diff, err)
		}
	})
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return -1
		}
		return r
	}, s)
}

func TestFormulasAreEscaped(t *testing.T) {
	var file strings.Builder
	asset := hostler.Asset{Name: "x", Platform: "=cmd()", DeviceKey: "＝1", Labels: map[string]string{"a": "@x"}}
	if err := assetfile.Write(&file, []hostler.Asset{asset}, false); err != nil {
		t.Fatal(err)
	}
	if got, want := file.String(), "x,,,,'=cmd(),,'＝1,,,a=@x,\n"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
}

func TestChanges(t *testing.T) {
	before := hostler.Asset{Name: "x", Port: 22, Labels: map[string]string{"a": "1"}}
	after := hostler.Asset{Name: "x", Port: 2222, Labels: map[string]string{"a": "1", "b": "2"}}
	got, err := assetfile.Changes(before, after)
	want := map[string][2]string{"port": {"22", "2222"}, "labels": {"a=1", "a=1,b=2"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("changes (-want +got):\n%s%v", diff, err)
	}
}

// FuzzRead: every file is either read or refused as invalid.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"name,address\nx,192.0.2.1\n", "\ufeff名称;地址;端口\nx;192.0.2.1;22\n", "name\taddress\tlabel.a\nx\t::1\t'=1\n",
		"name,address,labels\n\"x\",192.0.2.1,\"{\"\"a\"\":\"\"b,c\"\"}\"\n", "name\n\x00\n", "\"", "name,name\n",
		"name,label.\n", "\xc3\xfb\xb3\xc6,ip\n\xcb\xfe,192.0.2.1\n", "\xff\xfen\x00\x00", "name\r\r",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, file string) {
		rows, err := assetfile.Read(file, hostler.ImportOptions{})
		switch {
		case err != nil && hostler.CodeOf(err) != hostler.CodeInvalid:
			t.Fatalf("%v of %q", err, file)
		case err == nil && len(rows) > strings.Count(file, "\n")+strings.Count(file, "\r")+1:
			t.Fatalf("%d rows in %q", len(rows), file)
		}
	})
}

func ExampleRead() {
	rows, err := assetfile.Read("主机名;IP;label.role\nweb-1;192.0.2.10;web\n", hostler.ImportOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, row := range rows {
		in, err := row.Input(nil)
		fmt.Println(row.Line, in.Name, in.Address, in.Labels, err)
	}
	// Output:
	// 2 web-1 192.0.2.10 map[role:web] <nil>
}

func ExampleWrite() {
	err := assetfile.Write(os.Stdout, []hostler.Asset{{
		Name: "web-1", Address: "192.0.2.10", Port: 22, Labels: map[string]string{"role": "web", "note": "=1+1"},
	}}, false)
	fmt.Println(err)
	// Output:
	// web-1,192.0.2.10,22,,,,,,,"{""note"":""=1+1"",""role"":""web""}",
	// <nil>
}
