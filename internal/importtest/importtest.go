// Package importtest holds the arrows between the packages of the module: which
// may import which, and which outside library lives where. ARCHITECTURE.md draws
// them; the test of this package compares them with the code.
//
// Model: a Rule names a package, or with "/..." a subtree, and what it may
// import of this module. The most specific rule counts. Every package needs a
// rule, so that a new one is placed deliberately; the root package may be
// imported by all. A Home names an outside library and the only packages that
// may import it. Test files are free: a test may stand anywhere.
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

// Rule says what a package, or a subtree, may import of this module. Paths are
// relative to the module; "." is the root package.
type Rule struct {
	Package string
	May     []string
}

// Home says where an outside library may be imported.
type Home struct {
	Library  string // import path, with everything below it
	Packages []string
}

// Check returns one line for each import that breaks a rule, and for each
// package that has none.
func Check(pkgs []Package, rules []Rule, homes []Home) []string {
	var broken []string
	for _, p := range pkgs {
		name := relative(p.ImportPath)
		rule, ok := ruleFor(name, rules)
		if !ok {
			broken = append(broken, fmt.Sprintf("%s: no rule; add one to Rules", name))
			continue
		}
		for _, imp := range p.Imports {
			if why := refuse(name, imp, rule, homes); why != "" {
				broken = append(broken, fmt.Sprintf("%s → %s: %s", name, relative(imp), why))
			}
		}
	}
	return broken
}

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
			return "that library lives in " + strings.Join(h.Packages, ", ") + " only"
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
	return fmt.Sprintf("not an arrow of the architecture (%s may import %s)", rule.Package, may)
}

// ruleFor picks the longest pattern that matches.
func ruleFor(name string, rules []Rule) (Rule, bool) {
	var best Rule
	for _, r := range rules {
		if matches(name, r.Package) && len(r.Package) > len(best.Package) {
			best = r
		}
	}
	return best, best.Package != ""
}

func matchesAny(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(name, p) })
}

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

// isStandard: the first element of every other import path is a domain.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func relative(path string) string {
	if path == Module {
		return "."
	}
	return strings.TrimPrefix(path, Module+"/")
}
