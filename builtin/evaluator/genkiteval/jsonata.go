package genkiteval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/blues/jsonata-go"
	"github.com/blues/jsonata-go/jparse"

	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Bounds of an expression.
const (
	maxExpressionBytes = 4 << 10
	maxDataBytes       = 1 << 20
	maxRangeItems      = 10_000
	expressionTime     = 2 * time.Second
	expressionsAtOnce  = 2
)

// expressions evaluates JSONata. An evaluation can't be stopped: one that takes too long
// keeps its slot until it ends.
type expressions struct {
	slots chan struct{}
	limit time.Duration
}

func newExpressions() *expressions {
	return &expressions{slots: make(chan struct{}, expressionsAtOnce), limit: expressionTime}
}

// score evaluates the reference against the output.
func (x *expressions) score(ctx context.Context, c *evaluate.Case) (evaluate.Score, error) {
	text, err := textReference(c, "it is a JSONata expression")
	if err != nil {
		return evaluate.Score{}, err
	}
	if len(text) > maxExpressionBytes || len(c.Output) > maxDataBytes {
		return evaluate.Score{}, status.Publicf(status.InvalidArgument, "an expression of %d and an output of %d bytes exceed the limits of %d and %d",
			len(text), len(c.Output), maxExpressionBytes, maxDataBytes)
	}
	var data any
	if err := json.Unmarshal(c.Output, &data); err != nil {
		return evaluate.Score{}, status.Publicf(status.InvalidArgument, "output: %w", err)
	}
	value, err := x.eval(ctx, text, data)
	if err != nil {
		return evaluate.Score{}, err
	}
	return evaluate.Verdict(truthy(value)), nil
}

type outcome struct {
	value any
	err   error
}

func (x *expressions) eval(ctx context.Context, text string, data any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, x.limit)
	defer cancel()
	select {
	case x.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, status.Publicf(status.ResourceExhausted, "other JSONata expressions take too long")
	}
	done := make(chan outcome, 1)
	go func() { // ends by itself; the slots bound how many there are
		defer func() { <-x.slots }()
		value, err := evaluated(text, data)
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		return nil, status.Publicf(status.DeadlineExceeded, "the JSONata expression took longer than %s", x.limit)
	}
}

func evaluated(text string, data any) (value any, err error) {
	defer func() {
		if r := recover(); r != nil {
			value, err = nil, status.Errorf(status.Internal, "jsonata panicked: %v", r)
		}
	}()
	node, err := jparse.Parse(text)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "the reference is no JSONata expression: %w", err)
	}
	if err := (&tame{}).check(node); err != nil {
		return nil, err
	}
	expr, err := jsonata.Compile(text)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "the reference is no JSONata expression: %w", err)
	}
	value, err = expr.Eval(data)
	if errors.Is(err, jsonata.ErrUndefined) {
		return nil, nil
	}
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "evaluate the JSONata expression: %w", err)
	}
	return value, nil
}

// truthy is JavaScript's: nothing, false, 0, NaN and "" are not.
func truthy(v any) bool {
	if v == nil {
		return false
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Bool:
		return r.Bool()
	case reflect.String:
		return r.Len() > 0
	case reflect.Float64, reflect.Float32:
		return r.Float() != 0 && r.Float() == r.Float()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int() != 0
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return r.Uint() != 0
	case reflect.Pointer, reflect.Interface:
		return !r.IsNil() && truthy(r.Elem().Interface())
	}
	return true
}

// tame refuses expressions that could call themselves, which would overflow the stack
// and end the process: functions stand nowhere but in the call of a built-in one that
// takes a function, and only built-in ones are called. A function is never a value that
// another could get hold of.
type tame struct {
	items float64 // of all ranges
}

// takers are the built-in functions that take one.
var takers = []string{"each", "filter", "map", "match", "reduce", "replace", "sift", "single", "sort"}

// builtins are the functions that may be called; jsonata-go knows no others.
var builtins = append([]string{
	"string", "length", "substring", "substringBefore", "substringAfter", "uppercase", "lowercase", "pad", "trim", "contains", "split", "join",
	"formatNumber", "formatBase", "base64encode", "base64decode", "decodeUrl", "decodeUrlComponent", "encodeUrl", "encodeUrlComponent",
	"number", "abs", "floor", "ceil", "round", "power", "sqrt", "random", "sum", "max", "min", "average", "boolean", "not", "exists",
	"distinct", "count", "reverse", "shuffle", "zip", "append", "keys", "lookup", "spread", "merge", "fromMillis", "toMillis", "now", "millis", "type", "error",
}, takers...)

func refused(format string, args ...any) error {
	return status.Publicf(status.InvalidArgument, "the JSONata expression is refused: "+format, args...)
}

func (t *tame) all(nodes ...jparse.Node) error {
	for _, n := range nodes {
		if err := t.check(n); err != nil {
			return err
		}
	}
	return nil
}

func (t *tame) check(n jparse.Node) error {
	switch n := n.(type) {
	case nil, *jparse.StringNode, *jparse.NumberNode, *jparse.BooleanNode, *jparse.NullNode, *jparse.RegexNode, *jparse.VariableNode,
		*jparse.NameNode, *jparse.WildcardNode, *jparse.DescendentNode:
		return nil
	case *jparse.PathNode:
		return t.all(n.Steps...)
	case *jparse.NegationNode:
		return t.check(n.RHS)
	case *jparse.RangeNode:
		return t.span(n)
	case *jparse.ArrayNode:
		return t.all(n.Items...)
	case *jparse.ObjectNode:
		return t.pairs(n)
	case *jparse.BlockNode:
		return t.all(n.Exprs...)
	case *jparse.PredicateNode:
		return t.all(append(slices.Clone(n.Filters), n.Expr)...)
	case *jparse.GroupNode:
		return errors.Join(t.check(n.Expr), t.pairs(n.ObjectNode))
	case *jparse.ConditionalNode:
		return t.all(n.If, n.Then, n.Else)
	case *jparse.AssignmentNode:
		if slices.Contains(builtins, n.Name) {
			return refused("$%s is a built-in function", n.Name)
		}
		return t.check(n.Value)
	case *jparse.NumericOperatorNode:
		return t.all(n.LHS, n.RHS)
	case *jparse.ComparisonOperatorNode:
		return t.all(n.LHS, n.RHS)
	case *jparse.BooleanOperatorNode:
		return t.all(n.LHS, n.RHS)
	case *jparse.StringConcatenationNode:
		return t.all(n.LHS, n.RHS)
	case *jparse.SortNode:
		for _, term := range n.Terms {
			if err := t.check(term.Expr); err != nil {
				return err
			}
		}
		return t.check(n.Expr)
	case *jparse.FunctionCallNode:
		return t.call(n, false)
	case *jparse.FunctionApplicationNode:
		return t.apply(n)
	case *jparse.LambdaNode, *jparse.TypedLambdaNode:
		return refused("a function may stand only where a built-in function takes one, as in $map(list, function($x){…})")
	case *jparse.ObjectTransformationNode:
		return refused("a transformation may stand only behind ~>")
	}
	return refused("%s is not supported", fmt.Sprintf("%T", n))
}

func (t *tame) pairs(n *jparse.ObjectNode) error {
	for _, pair := range n.Pairs {
		if err := t.all(pair[0], pair[1]); err != nil {
			return err
		}
	}
	return nil
}

// span bounds the number of elements that ranges make.
func (t *tame) span(n *jparse.RangeNode) error {
	from, okFrom := literal(n.LHS)
	to, okTo := literal(n.RHS)
	if !okFrom || !okTo {
		return refused("the ends of a range must be numbers")
	}
	t.items += max(0, to-from+1)
	if t.items > maxRangeItems {
		return refused("its ranges hold more than %d items", maxRangeItems)
	}
	return nil
}

func literal(n jparse.Node) (float64, bool) {
	switch n := n.(type) {
	case *jparse.NumberNode:
		return n.Value, true
	case *jparse.NegationNode:
		v, ok := literal(n.RHS)
		return -v, ok
	}
	return 0, false
}

// call checks the call of a built-in function; chained says that its first argument
// stands before ~>.
func (t *tame) call(n *jparse.FunctionCallNode, chained bool) error {
	v, ok := n.Func.(*jparse.VariableNode)
	if !ok || !slices.Contains(builtins, v.Name) {
		return refused("only built-in functions are called")
	}
	if v.Name == "pad" {
		width, ok := 0.0, false
		if i := 1; len(n.Args) > 0 {
			if chained || len(n.Args) == 1 {
				i = 0
			}
			width, ok = literal(n.Args[min(i, len(n.Args)-1)])
		}
		if !ok || max(width, -width) > maxRangeItems {
			return refused("the width of $pad must be a number up to %d", maxRangeItems)
		}
	}
	functions := 0
	for i, arg := range n.Args {
		params, body, ok := lambda(arg)
		if !ok {
			if err := t.check(arg); err != nil {
				return err
			}
			continue
		}
		functions++
		if !slices.Contains(takers, v.Name) || functions > 1 || i == 0 && len(n.Args) > 1 && !chained {
			return refused("$%s takes no function there", v.Name)
		}
		for _, p := range params {
			if slices.Contains(builtins, p) {
				return refused("$%s is a built-in function", p)
			}
		}
		if err := t.check(body); err != nil {
			return err
		}
	}
	return nil
}

func lambda(n jparse.Node) (params []string, body jparse.Node, ok bool) {
	switch n := n.(type) {
	case *jparse.LambdaNode:
		return n.ParamNames, n.Body, true
	case *jparse.TypedLambdaNode:
		return n.ParamNames, n.Body, true
	}
	return nil, nil, false
}

// apply checks value ~> function.
func (t *tame) apply(n *jparse.FunctionApplicationNode) error {
	if err := t.check(n.LHS); err != nil {
		return err
	}
	switch f := n.RHS.(type) {
	case *jparse.FunctionCallNode:
		return t.call(f, true)
	case *jparse.ObjectTransformationNode:
		return t.all(f.Pattern, f.Updates, f.Deletes)
	case *jparse.VariableNode:
		if slices.Contains(builtins, f.Name) {
			return nil
		}
	}
	return refused("only built-in functions may follow ~>")
}
