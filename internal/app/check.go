package app

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"hostler.dev/hostler"
)

// checker collects the fields at fault, so that one answer names them all.
type checker struct{ fields []hostler.FieldError }

func (k *checker) fail(path, en, zh string, args ...any) {
	k.fields = append(k.fields, hostler.FieldError{Path: path, Text: hostler.Textf(en, zh, args...)})
}

// ok fails the field unless the rule holds.
func (k *checker) ok(rule bool, path, en, zh string, args ...any) {
	if !rule {
		k.fail(path, en, zh, args...)
	}
}

func (k *checker) err() error {
	if len(k.fields) == 0 {
		return nil
	}
	return hostler.InvalidFields(k.fields...)
}

// oneOf fails the field unless it is one of the values.
func oneOf[T ~string](k *checker, path string, v T, allowed ...T) {
	names := make([]string, 0, len(allowed))
	for _, a := range allowed {
		if a == v {
			return
		}
		if a != "" {
			names = append(names, string(a))
		}
	}
	list := strings.Join(names, ", ")
	k.fail(path, "must be one of %s", "必须是以下之一：%s", list)
}

// between fails the field unless it is in the range.
func between[T ~int | ~int64](k *checker, path string, v, low, high T) {
	k.ok(v >= low && v <= high, path, "must be between %v and %v", "必须在 %v 到 %v 之间", low, high)
}

// name checks a name that people type and that stands in addresses of the API:
// 1 to most letters, digits and the marks . _ - @ : +, beginning with a letter or
// a digit.
func (k *checker) name(path, s string, most int) {
	n := utf8.RuneCountInString(s)
	good := utf8.ValidString(s) && n >= 1 && n <= most
	for i, r := range s {
		alnum := unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
		good = good && (alnum || i > 0 && strings.ContainsRune("._-@:+", r))
	}
	k.ok(good, path,
		"must be 1 to %d letters, digits and . _ - @ : + and begin with a letter or a digit",
		"须为 1 到 %d 个字母、数字或 . _ - @ : +，且以字母或数字开头", most)
}

// text checks free text of one line.
func (k *checker) text(path, s string, most int) {
	good := utf8.ValidString(s) && utf8.RuneCountInString(s) <= most &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) })
	k.ok(good, path, "must be at most %d characters without control characters", "最多 %d 个字符，且不含控制字符", most)
}

// prose checks free text of several lines.
func (k *checker) prose(path, s string, most int) {
	k.ok(clean(s) && utf8.RuneCountInString(s) <= most, path,
		"must be at most %d characters of valid UTF-8 without NUL", "最多 %d 个字符，须为合法 UTF-8 且不含 NUL", most)
}

// clean reports whether a text can be stored at all: PostgreSQL takes neither
// invalid UTF-8 nor NUL.
func clean(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// address checks where an asset is and returns it in one form: an IP address as
// netip prints it, IPv4 never as IPv6, and a host name in lower case without the dot
// at its end: a host in two forms would have two lanes and two host keys.
func (k *checker) address(path, s string) string {
	// A zone is the name of an interface; netip takes any text for one.
	if ip, err := netip.ParseAddr(s); err == nil && (ip.Zone() == "" || isHostName(strings.ToLower(ip.Zone()))) {
		return ip.Unmap().String()
	}
	s = strings.ToLower(s)
	k.ok(isHostName(s), path,
		"must be an IP address or a host name: letters, digits, '-', '_' and '.', no part beginning with '-'",
		"必须是 IP 地址或主机名：字母、数字、“-”、“_”和“.”，每一段不得以“-”开头")
	return strings.TrimSuffix(s, ".")
}

// isHostName follows RFC 1123 §2.1, with the underscore that real networks use.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if len(part) == 0 || len(part) > 63 || part[0] == '-' || part[len(part)-1] == '-' {
			return false
		}
		for _, c := range []byte(part) {
			letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
			if !letter && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
