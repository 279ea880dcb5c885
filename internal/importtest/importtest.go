// Package importtest states which package of the module may import which, and
// which outside library is imported where; its test compares both with the code.
// ARCHITECTURE.md draws the same arrows for people.
//
// # Model
//
// A [Rule] names a package, or with "/..." a package and everything below it, and
// lists what it may import of this module. The most specific rule counts. Every
// package may import the root package, which imports the standard library only.
//
//	{Package: "internal/engine", May: []string{"internal/store", "internal/wait"}}
//
// A [Home] names an outside library and the only packages that may import it.
//
//	{Library: "modernc.org/sqlite", Packages: []string{"internal/store/sqlite"}}
//
// # Exactness
//
// The lists are exact, so that they can be read as a description of the code:
//
//   - every package has a rule, and is thereby placed deliberately;
//   - every import is allowed ([Forbidden]);
//   - every rule governs a package, everything that a rule or home names exists,
//     and every import that is allowed occurs ([Unused]).
//
// Test files are not governed: a test may import anything.
package importtest

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the import path of the module, and of its root package.
const Module = "hostler.dev/hostler"

// Package is a package of the module with what its non-test files import.
type Package struct {
	ImportPath string
	Imports    []string
}

// Rule lists what a package, or a subtree, may import of this module. Paths are
// relative to the module; "." is the root package, which is always allowed.
type Rule struct {
	Package string
	May     []string
}

// Home lists the packages that may import an outside library.
type Home struct {
	Library  string // import path, with everything below it
	Packages []string
}

// Forbidden returns one line for each import that a rule or a home does not
// allow, and for each package that has no rule.
func Forbidden(pkgs []Package, rules []Rule, homes []Home) []string {
	var lines []string
	for _, p := range pkgs {
		name := relative(p.ImportPath)
		rule, ok := ruleFor(name, rules)
		if !ok {
			lines = append(lines, fmt.Sprintf("%s: no rule; add one to Rules", name))
			continue
		}
		for _, imp := range p.Imports {
			if why := refuse(name, imp, rule, homes); why != "" {
				lines = append(lines, fmt.Sprintf("%s → %s: %s", name, relative(imp), why))
			}
		}
	}
	return lines
}

// refuse returns why a package may not import imp, or "".
func refuse(name, imp string, rule Rule, homes []Home) string {
	switch {
	case inModule(imp):
		return refuseOwn(relative(imp), rule)
	case isStandard(imp):
		return ""
	case name == ".":
		return "the root package imports the standard library only"
	}
	for _, h := range homes {
		if within(imp, h.Library) && !matchesAny(name, h.Packages) {
			return "only " + strings.Join(h.Packages, ", ") + " may import that library"
		}
	}
	return ""
}

func refuseOwn(target string, rule Rule) string {
	if target == "." || matchesAny(target, rule.May) {
		return ""
	}
	may := "nothing"
	if len(rule.May) > 0 {
		may = strings.Join(rule.May, ", ")
	}
	return fmt.Sprintf("not allowed (%s may import %s)", rule.Package, may)
}

// Unused returns one line for each rule that governs no package or is repeated,
// for each name in a rule or home that no package bears, and for each allowed
// import that does not occur.
func Unused(pkgs []Package, rules []Rule, homes []Home) []string {
	var lines []string
	seen := map[string]bool{}
	for _, r := range rules {
		if seen[r.Package] {
			lines = append(lines, fmt.Sprintf("%s: a second rule; merge it with the first", r.Package))
			continue
		}
		seen[r.Package] = true
		lines = append(lines, unusedOf(r, pkgs, rules)...)
	}
	for _, h := range homes {
		for _, pattern := range h.Packages {
			if why := unusedHome(h.Library, pattern, pkgs); why != "" {
				lines = append(lines, fmt.Sprintf("home of %s: %s %s", h.Library, pattern, why))
			}
		}
	}
	return lines
}

func unusedOf(r Rule, pkgs []Package, rules []Rule) (lines []string) {
	var governed []Package
	for _, p := range pkgs {
		if of, ok := ruleFor(relative(p.ImportPath), rules); ok && of.Package == r.Package {
			governed = append(governed, p)
		}
	}
	if len(governed) == 0 {
		return []string{fmt.Sprintf("%s: the rule governs no package; remove it from Rules", r.Package)}
	}
	for _, pattern := range r.May {
		switch {
		case pattern == ".":
			lines = append(lines, fmt.Sprintf("%s → .: always allowed; remove it from Rules", r.Package))
		case !exists(pattern, pkgs):
			lines = append(lines, fmt.Sprintf("%s → %s: no such package; remove it from Rules", r.Package, pattern))
		case !anyImports(governed, func(imp string) bool { return inModule(imp) && matches(relative(imp), pattern) }):
			lines = append(lines, fmt.Sprintf("%s → %s: allowed but not imported; remove it from Rules", r.Package, pattern))
		}
	}
	return lines
}

func unusedHome(library, pattern string, pkgs []Package) string {
	if !exists(pattern, pkgs) {
		return "does not exist; remove it from Homes"
	}
	inside := slices.DeleteFunc(slices.Clone(pkgs), func(p Package) bool {
		return !matches(relative(p.ImportPath), pattern)
	})
	if !anyImports(inside, func(imp string) bool { return within(imp, library) }) {
		return "does not import it; remove it from Homes"
	}
	return ""
}

func exists(pattern string, pkgs []Package) bool {
	return slices.ContainsFunc(pkgs, func(p Package) bool { return matches(relative(p.ImportPath), pattern) })
}

func anyImports(pkgs []Package, match func(imp string) bool) bool {
	return slices.ContainsFunc(pkgs, func(p Package) bool { return slices.ContainsFunc(p.Imports, match) })
}

// ruleFor returns the most specific rule for a package: its own, else that of
// the nearest subtree.
func ruleFor(name string, rules []Rule) (best Rule, found bool) {
	for _, r := range rules {
		if r.Package == name {
			return r, true
		}
		if matches(name, r.Package) && len(r.Package) > len(best.Package) {
			best, found = r, true
		}
	}
	return best, found
}

func matchesAny(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(name, p) })
}

// matches reports whether a pattern names a package: by its path, or by the path
// of a package above it with "/...".
func matches(name, pattern string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return within(name, base)
	}
	return name == pattern
}

func within(path, base string) bool {
	return path == base || strings.HasPrefix(path, base+"/")
}

func inModule(path string) bool { return within(path, Module) }

// isStandard reports whether a package is of the standard library: the first
// element of every other import path is a domain.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// relative returns the path below the module, "." for the root package, and any
// other path unchanged.
func relative(path string) string {
	if path == Module {
		return "."
	}
	return strings.TrimPrefix(path, Module+"/")
}
