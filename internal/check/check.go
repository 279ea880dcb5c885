// Package check holds the rules that inputs of every kind share: which text is
// allowed, what JSON may look like, and how the fields at fault are reported.
//
// # Model
//
// [Fields] collects the fields of one input that break a rule, so that one error
// names all of them. Its methods are the rules for one field: [Fields.Name],
// [Fields.Line], [Fields.Text], [Fields.Address], and so on. [JSON] walks a JSON
// value and reports what decoding would hide. The predicates below them
// ([Storable], [SingleLine], [HostName]) are for callers that have no field to
// report.
//
// # Invariants
//
// No error repeats a value, because any value may be a secret in the wrong place.
// A path repeats names that the caller chose, but only through [Key], which makes
// them printable and short.
package check

import (
	"cmp"
	"errors"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"hostler.dev/hostler"
)

// MaxFaults is how many faults a [Fields] holds; further ones are dropped. It
// bounds the answer to an input of a million faulty fields.
const MaxFaults = 50

// Fields collects the fields of one input that break a rule. The zero value is
// ready to use.
type Fields struct{ faults []hostler.FieldError }

// Add reports a fault of the field at path; args are formatted into both texts.
func (f *Fields) Add(path, en, zh string, args ...any) {
	f.AddText(path, hostler.Textf(en, zh, args...))
}

// AddText reports a fault of the field at path.
func (f *Fields) AddText(path string, text hostler.Text) {
	if len(f.faults) < MaxFaults {
		f.faults = append(f.faults, hostler.FieldError{Path: path, Text: text})
	}
}

// Require reports a fault unless the rule holds.
func (f *Fields) Require(holds bool, path, en, zh string, args ...any) {
	if !holds {
		f.Add(path, en, zh, args...)
	}
}

// Nest reports the faults of a part of the input; prefix goes before each path:
// "target." makes address target.address.
func (f *Fields) Nest(prefix string, faults ...hostler.FieldError) {
	for _, fault := range faults {
		f.AddText(prefix+fault.Path, fault.Text)
	}
}

// Merge reports the faults that err names, if it is a [hostler.Error] with fields.
func (f *Fields) Merge(err error) {
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		f.Nest("", e.Fields...)
	}
}

// Full reports whether further faults would be dropped.
func (f *Fields) Full() bool { return len(f.faults) >= MaxFaults }

// Faults returns the faults in the order in which they were reported.
func (f *Fields) Faults() []hostler.FieldError { return f.faults }

// Err returns a CodeInvalid error that names every fault; nil when there is none.
func (f *Fields) Err() error {
	if len(f.faults) == 0 {
		return nil
	}
	return hostler.InvalidFields(f.faults...)
}

// OneOf requires one of the allowed values. The error lists those that are not
// empty: an empty value means the default.
func OneOf[T ~string](f *Fields, path string, v T, allowed ...T) {
	names := make([]string, 0, len(allowed))
	for _, a := range allowed {
		if a == v {
			return
		}
		if a != "" {
			names = append(names, string(a))
		}
	}
	f.AddText(path, MustBeOneOf(names...))
}

// MustBeOneOf is the text of [OneOf].
func MustBeOneOf(allowed ...string) hostler.Text {
	return hostler.Textf("must be one of %s", "必须是以下之一：%s", strings.Join(allowed, ", "))
}

// Between requires a number from low to high.
func Between[T cmp.Ordered](f *Fields, path string, v, low, high T) {
	f.Require(v >= low && v <= high, path,
		"must be between %v and %v", "必须在 %v 到 %v 之间", low, high)
}

// Count requires at most most items.
func (f *Fields) Count(path string, n, most int) {
	f.Require(n <= most, path, "must be at most %d", "最多 %d 个", most)
}

// Given requires a text that is not empty.
func (f *Fields) Given(path, s string) {
	f.Require(s != "", path, "is required", "不能为空")
}

// Duration requires a duration from 0 to most.
func (f *Fields) Duration(path string, d hostler.Duration, most time.Duration) {
	f.Require(d >= 0 && d.D() <= most, path,
		"must be between 0 and %s", "必须在 0 到 %s 之间", hostler.Duration(most))
}

// Time requires a year from 1970 to 2199, so that its microseconds since 1970 are
// a positive number in every database; nil is allowed.
func (f *Fields) Time(path string, t *time.Time) {
	f.Require(t == nil || t.Year() >= 1970 && t.Year() < 2200, path,
		"must be between 1970 and 2200", "必须在 1970 年到 2200 年之间")
}

// Name requires a name that people type and that URLs of the API contain: 1 to
// most letters, digits and the marks . _ - @ : +, the first a letter or a digit.
// Hence no name begins with '-', which a program would read as an option.
func (f *Fields) Name(path, s string, most int) {
	n := utf8.RuneCountInString(s)
	good := utf8.ValidString(s) && n >= 1 && n <= most
	for i, r := range s {
		alnum := unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
		good = good && (alnum || i > 0 && strings.ContainsRune("._-@:+", r))
	}
	f.Require(good, path,
		"must be 1 to %d letters, digits and . _ - @ : + and begin with a letter or a digit",
		"须为 1 到 %d 个字母、数字或 . _ - @ : +，且以字母或数字开头", most)
}

// Line requires a single line of at most most characters; see [SingleLine].
func (f *Fields) Line(path, s string, most int) {
	f.Require(SingleLine(s) && utf8.RuneCountInString(s) <= most, path,
		"must be at most %d characters without control characters", "最多 %d 个字符，且不含控制字符", most)
}

// Text requires text of any number of lines, of at most most characters; see
// [Storable].
func (f *Fields) Text(path, s string, most int) {
	f.Require(Storable(s) && utf8.RuneCountInString(s) <= most, path,
		"must be at most %d characters of valid UTF-8 without NUL",
		"最多 %d 个字符，须为合法 UTF-8 且不含 NUL", most)
}

// Address requires an IP address or a host name, and returns it in the one form
// that is stored: an IP address as netip prints it, IPv4 never as IPv6, and a host
// name in lower case without the dot at its end. A host in two forms would have
// two lanes and two host keys.
func (f *Fields) Address(path, s string) string {
	// A zone is the name of an interface; netip accepts any text as one.
	if ip, err := netip.ParseAddr(s); err == nil && (ip.Zone() == "" || HostName(strings.ToLower(ip.Zone()))) {
		return ip.Unmap().String()
	}
	s = strings.ToLower(s)
	f.Require(HostName(s), path,
		"must be an IP address or a host name: letters, digits, '-', '_' and '.', no part beginning with '-'",
		"必须是 IP 地址或主机名：字母、数字、“-”、“_”和“.”，每一段不得以“-”开头")
	return strings.TrimSuffix(s, ".")
}

// AddFault reports a fault with its place.
func (f *Fields) AddFault(fault hostler.FieldError) {
	if len(f.faults) < MaxFaults {
		f.faults = append(f.faults, fault)
	}
}
