package secret

import (
	"bytes"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"hostler.dev/hostler"
)

func newBox(t *testing.T, fill byte) *Box {
	t.Helper()
	b, err := NewBox(bytes.Repeat([]byte{fill}, keyBytes))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBoxOpensOnlyWhatItSealed(t *testing.T) {
	box := newBox(t, 1)
	plain, row := []byte("canary-7f3a"), CredentialOwner(7, 42)
	sealed, err := box.Seal(plain, row)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, plain) {
		t.Error("the sealed value holds the plaintext")
	}
	got, err := box.Open(sealed, row)
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("opened %q, %v", got, err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := box.Open(bad, row); err == nil {
			t.Fatalf("a change of byte %d went unnoticed", i)
		}
	}
	for what, open := range map[string]func() ([]byte, error){
		"another row":     func() ([]byte, error) { return box.Open(sealed, CredentialOwner(7, 43)) },
		"another project": func() ([]byte, error) { return box.Open(sealed, CredentialOwner(8, 42)) },
		"another purpose": func() ([]byte, error) { return box.Open(sealed, WebhookOwner(7, 42)) },
		"another key":     func() ([]byte, error) { return newBox(t, 2).Open(sealed, row) },
		"cut short":       func() ([]byte, error) { return box.Open(sealed[:3], row) },
		"nothing":         func() ([]byte, error) { return box.Open(nil, row) },
	} {
		if got, err := open(); err == nil || got != nil {
			t.Errorf("%s: opened", what)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error contains the secret: %v", what, err)
		}
	}
}

// sealOld seals as before the project was bound.
func sealOld(t *testing.T, b *Box, plain []byte, o Owner) []byte {
	t.Helper()
	sealed, err := b.current.env.Encrypt(plain, []byte(o.row))
	if err != nil {
		t.Fatal(err)
	}
	return append(append([]byte{versionOld}, b.current.id...), sealed...)
}

// TestOldSealsOpenUntilTheyAreRefused: a value of the old layout opens, is sealed again,
// and is refused once all values are.
func TestOldSealsOpenUntilTheyAreRefused(t *testing.T) {
	box, row := newBox(t, 1), CredentialOwner(7, 42)
	old := sealOld(t, box, []byte("canary"), row)
	if got, err := box.Open(old, row); err != nil || string(got) != "canary" {
		t.Fatalf("opened %q, %v", got, err)
	}
	fresh, ok, err := box.Reseal(old, row)
	if err != nil || !ok || !bytes.HasPrefix(fresh, box.Prefix()) {
		t.Fatalf("sealed again: %v, %v", ok, err)
	}
	if _, ok, err := box.Reseal(fresh, row); ok || err != nil {
		t.Errorf("sealed a second time: %v, %v", ok, err)
	}
	relabelled := bytes.Clone(fresh)
	relabelled[0] = versionOld
	if _, err := box.Open(relabelled, row); err == nil {
		t.Error("a new value opens as an old one")
	}
	box.RefuseOld()
	if _, err := box.Open(old, row); err == nil {
		t.Error("an old value opens after all were sealed again")
	}
	if got, err := box.Open(fresh, row); err != nil || string(got) != "canary" {
		t.Errorf("opened %q, %v", got, err)
	}
}

// TestSeveralMasterKeys: the current key seals, every key opens.
func TestSeveralMasterKeys(t *testing.T) {
	row := CredentialOwner(7, 42)
	key := func(fill byte) []byte { return bytes.Repeat([]byte{fill}, keyBytes) }
	box := newBox(t, 1)
	sealed, err := box.Seal([]byte("canary"), row)
	if err != nil {
		t.Fatal(err)
	}
	digest := box.Digests("p", []byte("x"))[0]
	if err := box.SetKeys(key(2)); err == nil {
		t.Error("the key in use was dropped")
	}
	if err := box.SetKeys(key(2), key(1)); err != nil || box.KeyID() != newBox(t, 1).KeyID() {
		t.Fatalf("a new key was used before it was agreed on: %v", err)
	}
	if box.Use("00000000") || !box.Use(box.KeyIDs()[0]) {
		t.Error("used a key that is not there, or not the new one")
	}
	fresh, ok, err := box.Reseal(sealed, row)
	if err != nil || !ok {
		t.Fatal(err)
	}
	if _, err := newBox(t, 1).Open(fresh, row); err == nil {
		t.Error("opens with the old key alone")
	}
	if got, err := newBox(t, 2).Open(fresh, row); err != nil || string(got) != "canary" {
		t.Errorf("opened %q, %v", got, err)
	}
	if digests := box.Digests("p", []byte("x")); len(digests) != 2 || !bytes.Equal(digests[1], digest) {
		t.Error("the digest under the old key is missing")
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hostler.key")
	if _, err := KeyFile(path, false); hostler.CodeOf(err) != hostler.CodeUnavailable {
		t.Errorf("missing, mayCreate false: %v", err)
	}
	made, err := KeyFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	read, err := KeyFile(path, false)
	if err != nil || !SameKeys(made, read) {
		t.Errorf("read back %v", err)
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := KeyFile(path, true); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v, want the remedy", err)
	}
}

// stream writes text in chunks of these sizes, repeatedly.
func stream(r *Redactor, text string, sizes []int) string {
	var out bytes.Buffer
	w := r.Writer(&out)
	for i := 0; text != ""; i++ {
		n := min(len(text), sizes[i%len(sizes)])
		if _, err := w.Write([]byte(text[:n])); err != nil {
			panic(err)
		}
		text = text[n:]
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.String()
}

func TestFormsOfSecretsAreMasked(t *testing.T) {
	const secret = "p@ss w/rd\"<ü>&+=%"
	js, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for what, form := range map[string]string{
		"plain": secret, "query": url.QueryEscape(secret), "path": url.PathEscape(secret), "json": string(js[1 : len(js)-1]),
		"hex": fmt.Sprintf("%x", secret), "HEX": fmt.Sprintf("%X", secret),
		"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "url64": base64.RawURLEncoding.EncodeToString([]byte(secret)),
	} {
		for size := 1; size < 8; size++ {
			if got, want := stream(NewRedactor(secret), "a "+form+" z", []int{size}), "a "+Mask+" z"; got != want {
				t.Errorf("%s in chunks of %d: got %q, want %q", what, size, got, want)
			}
		}
	}
}

// TestEscapedFormsAreMasked writes a secret as programs of many languages do, in chunks of
// every size: it never passes, and what is around it does.
func TestEscapedFormsAreMasked(t *testing.T) {
	const secret = `a/b&c"é<d>'\` + "\t😀 z"
	percent := func(format string, skip string) string {
		var b strings.Builder
		for _, c := range []byte(secret) {
			if strings.IndexByte(skip, c) >= 0 {
				b.WriteByte(c)
				continue
			}
			fmt.Fprintf(&b, format, c)
		}
		return b.String()
	}
	units := func(format string) string {
		var b strings.Builder
		for _, u := range utf16.Encode([]rune(secret)) {
			fmt.Fprintf(&b, format, u)
		}
		return b.String()
	}
	entities := func(format string) string {
		var b strings.Builder
		for _, c := range secret {
			fmt.Fprintf(&b, format, c)
		}
		return b.String()
	}
	js, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	goJSON := string(js[1 : len(js)-1])
	for what, form := range map[string]string{
		"percent, upper case": percent("%%%02X", ""), "percent, lower case": percent("%%%02x", ""),
		"percent, with slashes": percent("%%%02X", "/abcdz"), "percent, lower, with slashes": percent("%%%02x", "/abcdz"),
		"a query": url.QueryEscape(secret), "a path": url.PathEscape(secret),
		"JSON of Go": goJSON, "JSON of PHP": strings.ReplaceAll(goJSON, "/", `\/`),
		"JSON in ASCII": units(`\u%04x`), "JSON in ASCII, upper case": units(`\u%04X`),
		"HTML": html.EscapeString(secret), "HTML, decimal": entities("&#%d;"), "HTML, hexadecimal": entities("&#x%X;"),
		"XML": strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace(secret),
	} {
		for _, size := range []int{1, 2, 3, 7, 64, 4096} {
			if got, want := stream(NewRedactor(secret), "<p>"+form+"</p>", []int{size}), "<p>"+Mask+"</p>"; got != want {
				t.Errorf("%s in chunks of %d: %q", what, size, got)
			}
		}
	}
}

// TestHeldBackIsBounded: a stream that could be a secret for ever holds no more than the
// longest form of one.
func TestHeldBackIsBounded(t *testing.T) {
	secret := strings.Repeat("a", 1000) + "b"
	w := NewRedactor(secret).Writer(io.Discard).(*redacting)
	for range 200 {
		if _, err := io.WriteString(w, strings.Repeat("a", 100)); err != nil {
			t.Fatal(err)
		}
		if len(w.held) > 12*len(secret) {
			t.Fatalf("%d bytes are held back", len(w.held))
		}
	}
}

func TestSecretInsideLongerBase64(t *testing.T) {
	const secret = "correct-horse-battery"
	for _, user := range []string{"a", "ab", "abc", "root"} {
		text := base64.StdEncoding.EncodeToString([]byte(user + ":" + secret + ":tail"))
		got := NewRedactor(secret).String(text)
		if !strings.Contains(got, Mask) {
			t.Errorf("user %q: %q passed", user, got)
		}
	}
}

func TestLinesOfKeysAreMasked(t *testing.T) {
	key := "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\nAAAAB3NzaC1yc2EAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
	got := NewRedactor(key).String("grep: AAAAB3NzaC1yc2EAAAA")
	if want := "grep: " + Mask; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// For any secrets and chunks: no secret passes, other text passes unchanged, and the chunks
// make no difference.
func TestRedactorProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secrets := rapid.SliceOfN(rapid.StringMatching(`[abc+/ ]{4,12}`), 1, 4).Draw(t, "secrets")
		var forms []string
		var patterns []*regexp.Regexp
		for _, s := range secrets {
			forms = append(forms, formsOf(s)...)
			patterns = append(patterns, patternOf(s))
		}
		var text strings.Builder
		for range rapid.IntRange(0, 12).Draw(t, "parts") {
			text.WriteString(
				rapid.OneOf(rapid.StringMatching(`[abcd\n]{0,20}`), rapid.SampledFrom(forms)).Draw(t, "part"),
			)
		}
		sizes := rapid.SliceOfN(rapid.IntRange(1, 9), 1, 5).Draw(t, "sizes")
		r := NewRedactor(secrets...)
		got := stream(r, text.String(), sizes)
		for _, f := range forms {
			if strings.Contains(got, f) {
				t.Fatalf("%q passed in %q", f, got)
			}
		}
		if want := naive(text.String(), patterns); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		if whole := r.String(text.String()); got != whole {
			t.Fatalf("in chunks %q, whole %q", got, whole)
		}
		if plain := strings.Map(func(r rune) rune {
			if r == 'd' {
				return 'd'
			}
			return 'e'
		}, text.String()); stream(r, plain, sizes) != plain {
			t.Fatalf("text without secrets was changed: %q", plain)
		}
	})
}

// formsOf lists forms of a secret as programs write them.
func formsOf(v string) []string {
	lower := regexp.MustCompile(`%[0-9A-F]{2}`).ReplaceAllStringFunc(url.QueryEscape(v), strings.ToLower)
	js, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	inJSON := string(js[1 : len(js)-1])
	return append(fixedForms(v), v, url.QueryEscape(v), url.PathEscape(v), lower, strings.ReplaceAll(lower, "%2f", "/"),
		strings.ReplaceAll(url.QueryEscape(v), "+", "%20"), inJSON, strings.ReplaceAll(inJSON, "/", `\/`),
		html.EscapeString(v))
}

// patternOf is an expression for all forms of a secret of ASCII.
func patternOf(v string) *regexp.Regexp {
	var all []string
	for _, f := range fixedForms(v) {
		all = append(all, regexp.QuoteMeta(f))
	}
	var chars strings.Builder
	for _, c := range v {
		one := []string{regexp.QuoteMeta(string(c))}
		for _, form := range []string{"%%%02x", `\\u%04x`, "&#x%x;", "&#%d;", "&#0%d;"} {
			one = append(one, "(?i:"+fmt.Sprintf(form, c)+")")
		}
		switch c {
		case ' ':
			one = append(one, `\+`)
		case '/':
			one = append(one, `\\/`)
		}
		chars.WriteString("(?:" + strings.Join(one, "|") + ")")
	}
	re := regexp.MustCompile("^(?:" + strings.Join(append(all, chars.String()), "|") + ")")
	re.Longest()
	return re
}

// naive masks every byte of every form, one by one.
func naive(text string, patterns []*regexp.Regexp) string {
	covered := make([]bool, len(text)) // is part of a form
	joined := make([]bool, len(text))  // and of the same one as the byte before, or of one that overlaps it
	for _, re := range patterns {
		for i := range text {
			at := re.FindStringIndex(text[i:])
			if at == nil {
				continue
			}
			for j := range at[1] {
				covered[i+j] = true
				joined[i+j] = joined[i+j] || j > 0
			}
		}
	}
	var out strings.Builder
	for i := range text {
		switch {
		case !covered[i]:
			out.WriteByte(text[i])
		case !joined[i]:
			out.WriteString(Mask)
		}
	}
	return out.String()
}

func TestSecretsAreAddedDuringOutput(t *testing.T) {
	r := NewRedactor()
	var out bytes.Buffer
	w := r.Writer(&out)
	var adding sync.WaitGroup
	adding.Go(func() {
		for i := range 100 {
			r.Add(fmt.Sprintf("secret-%d", i))
		}
	})
	for range 1000 {
		if _, err := io.WriteString(w, "ordinary "); err != nil {
			t.Fatal(err)
		}
	}
	adding.Wait()
	if _, err := io.WriteString(w, "secret-42"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat("ordinary ", 1000) + Mask; out.String() != want {
		t.Errorf("got …%q", out.String()[max(0, out.Len()-40):])
	}
}

func TestShortValuesAreIgnored(t *testing.T) {
	if got := NewRedactor("", "a", "abc").String("abcabc"); got != "abcabc" {
		t.Errorf("got %q", got)
	}
}

func FuzzRedactor(f *testing.F) {
	f.Add("secret", "a secret b", 3)
	f.Add("aaaa", "aaaaaaaaa", 1)
	f.Fuzz(func(t *testing.T, secret, text string, size int) {
		if len(secret) < minForm || size < 1 {
			return
		}
		r := NewRedactor(secret)
		got := stream(r, text, []int{size})
		if strings.Contains(strings.ReplaceAll(got, Mask, "\x00"), secret) && !strings.Contains(Mask, secret) {
			t.Errorf("%q passed in %q", secret, got)
		}
		if got != r.String(text) {
			t.Errorf("chunks of %d make a difference", size)
		}
	})
}

func BenchmarkRedactor(b *testing.B) {
	var key strings.Builder // of the size of an RSA key
	for i := range 30 {
		sum := sha512.Sum512([]byte{byte(i)})
		key.WriteString(base64.StdEncoding.EncodeToString(sum[:]) + "\n")
	}
	for name, secrets := range map[string][]string{"passwords": {"correct-horse-battery", "another-secret-value"}, "key": {key.String()}} {
		b.Run(name, func(b *testing.B) {
			r := NewRedactor(secrets...)
			line := []byte(strings.Repeat("ordinary output of a command, nothing to see here\n", 80))
			w := r.Writer(discard{})
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				if _, err := w.Write(line); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// TestDigestIsKeyed: the digest depends on master key, purpose and text.
func TestDigestIsKeyed(t *testing.T) {
	digest := func(key byte, purpose, text string) string {
		return string(newBox(t, key).Digests(purpose, []byte(text))[0])
	}
	const one, other = 1, 2
	want := digest(one, "a", "text")
	if len(want) != 32 || want != digest(one, "a", "text") {
		t.Errorf("the digest %x of the same data differs", want)
	}
	for _, got := range []string{digest(other, "a", "text"), digest(one, "b", "text"), digest(one, "a", "texts"), digest(one, "at", "ext")} {
		if got == want {
			t.Error("the digest of other data is the same")
		}
	}
}
