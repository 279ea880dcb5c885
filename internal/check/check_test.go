package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
)

// paths lists the paths of faults.
func paths(faults []hostler.FieldError) []string {
	var all []string
	for _, f := range faults {
		all = append(all, f.Path)
	}
	return all
}

func TestFieldsNameEveryFault(t *testing.T) {
	var part, f Fields
	part.Given("url", "")
	f.Name("name", "-x", 64)
	f.Nest("webhook.", part.Faults()...)
	f.Merge(hostler.Invalid("args.port", "is required", "必填"))
	f.Merge(errors.New("of no field"))
	OneOf(&f, "kind", "c", "", "a", "b")
	Between(&f, "port", 70000, 0, 65535)
	f.Duration("ttl", -1, time.Hour)
	early := time.Unix(-1, 0)
	f.Time("since", &early)
	f.Time("until", nil)
	want := []string{"name", "webhook.url", "args.port", "kind", "port", "ttl", "since"}
	if diff := cmp.Diff(want, paths(f.Faults())); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if got := f.Faults()[3].Text.EN; got != "must be one of a, b" {
		t.Errorf("oneOf says %q", got)
	}
	if hostler.CodeOf(f.Err()) != hostler.CodeInvalid {
		t.Errorf("Err is %v", f.Err())
	}
	if err := new(Fields).Err(); err != nil {
		t.Errorf("no fault is %v", err)
	}
}

func TestFieldsAreBounded(t *testing.T) {
	var f Fields
	for range 10 * MaxFaults {
		f.Add("x", "is wrong", "错误")
	}
	if n := len(f.Faults()); n != MaxFaults {
		t.Errorf("%d faults are held", n)
	}
}

func TestTextRules(t *testing.T) {
	for _, tc := range []struct {
		s              string
		storable, line bool
	}{
		{"", true, true},
		{"web 1, 数据库", true, true},
		{"a\tb", true, false},
		{"a\nb", true, false},
		{"a\x1b[31m", true, false},
		{"a\u0085b", true, false},
		{"a\u2028b", true, false},
		{"a\u202eb", true, false}, // right-to-left override
		{"a\u200db", true, true},  // zero-width joiner: scripts and emoji need it
		{"a\x00b", false, false},
		{"a\xffb", false, false},
	} {
		if got := Storable(tc.s); got != tc.storable {
			t.Errorf("Storable(%q) = %v", tc.s, got)
		}
		if got := SingleLine(tc.s); got != tc.line {
			t.Errorf("SingleLine(%q) = %v", tc.s, got)
		}
	}
}

func TestNames(t *testing.T) {
	for s, good := range map[string]bool{
		"web-1.example": true, "数据库": true, "a@b:c+d_e": true, "9": true,
		"": false, "-x": false, ".x": false, "a b": false, "a/b": false, "a\xff": false,
		strings.Repeat("名", 64): true, strings.Repeat("名", 65): false,
	} {
		var f Fields
		if f.Name("name", s, 64); (f.Err() == nil) != good {
			t.Errorf("name %q: %v", s, f.Err())
		}
	}
}

func TestKeyIsPrintableAndShort(t *testing.T) {
	for s, want := range map[string]string{
		"env": "env", "a\nb": `a\nb`, "a\u202eb": `a\u202eb`,
		strings.Repeat("x", 100): strings.Repeat("x", 80) + "…",
	} {
		if got := Key(s); got != want {
			t.Errorf("Key(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	limits := JSONLimits{Root: "args", Depth: 3, Number: 10}
	for _, tc := range []struct {
		raw  string
		want []string
	}{
		{`{"a":1,"b":[true,null,"x"]}`, nil},
		{`{"a":1,"a":2}`, []string{"args.a"}},
		{`{"a":1,"\u0061":2}`, []string{"args.a"}},
		{`{"deep":{"x":1,"x":2},"n":1e3}`, []string{"args.deep.x", "args.n"}},
		{`{"a":["x","\u0000"]}`, []string{"args.a[1]"}},
		{`{"\u0000":1}`, []string{"args"}},
		{`[12345678901]`, []string{"args[0]"}},
		{`[1e999]`, []string{"args[0]"}},
		{`{"2":[1e1]}`, []string{"args.2[0]"}},
	} {
		faults, err := JSON([]byte(tc.raw), limits)
		if err != nil {
			t.Errorf("%s: %v", tc.raw, err)
		}
		if diff := cmp.Diff(tc.want, paths(faults)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.raw, diff)
		}
	}
}

func TestJSONRefusesTheWhole(t *testing.T) {
	limits := JSONLimits{Depth: 2}
	_, err := JSON([]byte(`{"a":[[1]]}`), limits)
	if deep, ok := errors.AsType[*DepthError](err); !ok || deep.Path != "a[0]" || deep.Max != 2 {
		t.Errorf("too deep: %v", err)
	}
	if _, err := JSON([]byte(`{"a":1,}`), limits); err == nil {
		t.Error("a syntax error passes")
	} else if _, ok := errors.AsType[*json.SyntaxError](err); !ok {
		t.Errorf("a syntax error is %T", err)
	}
	for _, raw := range []string{``, `1 2`, `{}x`} {
		if _, err := JSON([]byte(raw), limits); err == nil {
			t.Errorf("%q passes", raw)
		}
	}
	if faults, err := JSON([]byte(`[1e3, 123456789012345]`), limits); err != nil || faults != nil {
		t.Errorf("without a limit of numbers: %v, %v", faults, err)
	}
}

// FuzzAddress: an address that passes fits into a command line, a URL and a
// host:port, and passes again in the form that is stored.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"web1", "192.0.2.1", "::1", "fe80::1%eth0", "fe80::1%a b", "-x", "a b", "a\x00", "A.example.", "a.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var fields Fields
		out := fields.Address("address", s)
		if fields.Err() != nil {
			return
		}
		bad := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
		if out == "" || Option(out) || strings.ContainsFunc(out, bad) {
			t.Errorf("%q passes as %q", s, out)
		}
		if host, _, err := net.SplitHostPort(net.JoinHostPort(out, "22")); err != nil || host != out {
			t.Errorf("%q comes back as %q: %v", out, host, err)
		}
		var again Fields
		if again.Address("address", out) != out || again.Err() != nil {
			t.Errorf("%q is not its own form", out)
		}
	})
}

func ExampleFields() {
	var f Fields
	f.Name("name", "db 1", 64)
	address := f.Address("address", "DB1.example.")
	Between(&f, "port", 70_000, 1, 65_535)

	fmt.Println(address)
	for _, fault := range f.Faults() {
		fmt.Println(fault.Path+":", fault.Text.EN)
	}
	// Output:
	// db1.example
	// name: must be 1 to 64 letters, digits and . _ - @ : + and begin with a letter or a digit
	// port: must be between 1 and 65535
}

func ExampleJSON() {
	faults, err := JSON([]byte(`{"port": 22, "timeout": "5s", "port": 23}`), JSONLimits{Root: "args", Depth: 32})
	fmt.Println(err)
	for _, fault := range faults {
		fmt.Println(fault.Path, fault.Text.EN)
	}
	// Output:
	// <nil>
	// args.port is given twice
}
