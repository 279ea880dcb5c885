package flow

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// This file holds conditions (when:). They see the values params, run and steps, and have
// no side effects. Loops are not available, so that an expression of a bounded length takes
// a bounded time.

const (
	maxCondition = 1000
	maxExprNodes = 200
)

// builtins are the functions that conditions may call.
var builtins = []string{"len", "lower", "upper", "trim", "int", "float", "string", "abs", "min", "max", "split"}

func compile(condition string, env map[string]any) (*vm.Program, error) {
	tree, err := parser.Parse(condition)
	if err != nil {
		return nil, err
	}
	loops := false
	ast.Walk(&tree.Node, visitor(func(n ast.Node) {
		switch n.(type) {
		case *ast.PredicateNode, *ast.VariableDeclaratorNode, *ast.SequenceNode:
			loops = true
		}
	}))
	if loops {
		return nil, errors.New("functions over lists, and variables, are not available")
	}
	opts := []expr.Option{
		expr.Env(env),
		expr.AsBool(), expr.MaxNodes(maxExprNodes), expr.DisableAllBuiltins(), expr.Optimize(false),
	}
	for _, name := range builtins {
		opts = append(opts, expr.EnableBuiltin(name))
	}
	return expr.Compile(condition, opts...)
}

// Holds evaluates a condition; the empty one holds.
func Holds(condition string, values Values) (bool, error) {
	if condition == "" {
		return true, nil
	}
	return holds(condition, runEnv, plainValues(values))
}

// runEnv are the names that conditions of steps know.
var runEnv = map[string]any{"params": map[string]any{}, "run": map[string]any{}, "steps": map[string]any{}}

// HoldsRequest evaluates a condition on what a request from outside tells.
func HoldsRequest(condition string, roots []string, values Values) (bool, error) {
	if condition == "" {
		return true, nil
	}
	return holds(condition, objects(roots), plainValues(values))
}

// objects declares names of objects.
func objects(names []string) map[string]any {
	env := map[string]any{}
	for _, name := range names {
		env[name] = map[string]any{}
	}
	return env
}

// HoldsFor evaluates a condition on numbers by their names.
func HoldsFor(condition string, numbers map[string]float64) (bool, error) {
	env := make(map[string]any, len(numbers))
	for name, n := range numbers {
		env[name] = n
	}
	return holds(condition, env, env)
}

func holds(condition string, env, values map[string]any) (ok bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			ok, err = false, fmt.Errorf("condition: %v", p)
		}
	}()
	program, err := compile(condition, env)
	if err != nil {
		return false, err
	}
	machine := vm.VM{MemoryBudget: 10_000}
	out, err := machine.Run(program, values)
	if err != nil {
		return false, err
	}
	ok, _ = out.(bool)
	return ok, nil
}

// checkCondition refuses a condition that cannot be compiled, and calls fn for what it
// looks up.
func checkCondition(f *check.Fields, path, condition string, env map[string]any, fn func(l lookup)) {
	if condition == "" {
		return
	}
	if len(condition) > maxCondition {
		f.Add(path, "must be at most %d characters", "最多 %d 个字符", maxCondition)
		return
	}
	tree, err := parseCondition(condition, env)
	if err != nil {
		reason, _, _ := strings.Cut(err.Error(), "\n")
		f.Add(path, "is not an expression that gives true or false: %s", "不是结果为真或假的表达式：%s", check.Key(reason))
		return
	}
	var paths [][]string
	ast.Walk(&tree, visitor(func(n ast.Node) {
		if m, ok := n.(*ast.MemberNode); ok {
			if p, ok := memberPath(m); ok {
				paths = append(paths, p)
			}
		}
	}))
	for i, p := range paths {
		// A part of a longer path is visited before it.
		if i+1 < len(paths) && len(paths[i+1]) > len(p) && slices.Equal(paths[i+1][:len(p)], p) {
			continue
		}
		fn(lookup{path, p})
	}
}

// CheckRequest checks a condition, and look-ups in values of JSON by their paths, that see
// the roots only: those of a request from outside, before anything is known of it.
func CheckRequest(f *check.Fields, roots []string, condition string, values map[string]json.RawMessage) {
	known := func(l lookup) {
		f.Require(slices.Contains(roots, l.path[0]), l.at, "looks up %s: only %s are known here",
			"取值 %s 未知：此处仅可使用 %s", check.Key(l.path[0]), strings.Join(roots, ", "))
	}
	checkCondition(f, "when", condition, objects(roots), known)
	for _, at := range sortedKeys(values) {
		v, err := decodeJSON(values[at])
		if err != nil {
			f.Add(at, "is not valid JSON", "不是合法的 JSON")
			continue
		}
		f.Nest("", lookups(v, at, known)...)
	}
}

func parseCondition(condition string, env map[string]any) (node ast.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	if _, err := compile(condition, env); err != nil {
		return nil, err
	}
	tree, err := parser.Parse(condition)
	if err != nil {
		return nil, err
	}
	return tree.Node, nil
}

type visitor func(n ast.Node)

// Visit implements [ast.Visitor].
func (v visitor) Visit(n *ast.Node) { v(*n) }

// memberPath returns the path of steps.a.state or steps["a"].state.
func memberPath(n *ast.MemberNode) ([]string, bool) {
	name, ok := n.Property.(*ast.StringNode)
	if !ok {
		return nil, false
	}
	switch in := n.Node.(type) {
	case *ast.IdentifierNode:
		return []string{in.Value, name.Value}, true
	case *ast.MemberNode:
		p, ok := memberPath(in)
		return append(p, name.Value), ok
	}
	return nil, false
}

// plainValues returns the values with numbers that expressions compute with.
func plainValues(v Values) Values {
	out := Values{}
	for key, value := range v {
		out[key] = plain(value)
	}
	return out
}

func plain(v any) any {
	switch v := v.(type) {
	case interface {
		Int64() (int64, error)
		Float64() (float64, error)
	}:
		if i, err := v.Int64(); err == nil {
			return int(i)
		}
		n, _ := v.Float64()
		return n
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = plain(value)
		}
		return out
	}
	return v
}

// StepView is what conditions and texts see of a step.
func StepView(s *Step) map[string]any {
	return map[string]any{
		"state": string(s.State), "hosts": s.Hosts, "succeeded": s.Succeeded + s.Kept,
		"failed": s.Failed, "cancelled": s.Cancelled, "unknown": s.Unknown,
	}
}

// RunView is what they see of a run.
func RunView(id hostler.RunID, requester string, state hostler.RunState) map[string]any {
	return map[string]any{"id": id.String(), "requester": requester, "state": string(state)}
}
