package action_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
)

// greetArgs are the args of the example's action.
type greetArgs struct {
	Name  string `json:"name"`
	Times int    `json:"times"`
}

// greetAction writes a greeting. Its args are an object with a name and, optionally, how
// often to greet.
func greetAction() action.Action {
	return action.Action{
		Name:  "greet",
		Title: hostler.Text{EN: "Greet", ZH: "问候"},
		Help:  hostler.Text{EN: "Writes a greeting.", ZH: "输出问候语。"},
		Schema: json.RawMessage(`{
			"type": "object", "additionalProperties": false, "required": ["name"],
			"properties": {
				"name":  {"type": "string", "minLength": 1, "maxLength": 20},
				"times": {"type": "integer", "minimum": 1, "maximum": 5}
			}
		}`),
		Asset:   action.AssetNever,
		Enabled: true,
		// Greeting twice is harmless, and changes no host.
		Traits: func(json.RawMessage) action.Traits { return action.Traits{Idempotent: true} },
		Run:    greet,
	}
}

func greet(ctx context.Context, c *action.Call) action.Result {
	args := greetArgs{Times: 1}
	if faults := action.Decode(c.Args, &args); faults != nil {
		return action.Failed(nil, hostler.ErrKindBadArgs, "%[1]s", "%[2]s", faults[0].Text.EN, faults[0].Text.ZH)
	}
	for range args.Times {
		if ctx.Err() != nil {
			return action.StoppedFault(ctx, "while it was greeting", "正在问候").Result()
		}
		fmt.Fprintf(c.Stdout, "Hello, %s!\n", args.Name)
	}
	return action.Succeeded(map[string]int{"greetings": args.Times})
}

// An action is a value. The registry compiles its schema, and finds it by name.
func ExampleNewRegistry() {
	registry, err := action.NewRegistry(greetAction())
	if err != nil {
		fmt.Println(err)
		return
	}
	a, ok := registry.Lookup("greet")
	fmt.Println(ok, a.Title.In(hostler.LangZH), a.Info().Idempotent)
	_, err = action.NewRegistry(greetAction(), greetAction())
	fmt.Println(err)
	// Output:
	// true 问候 true
	// action "greet": the name "greet" is already in use
}

// Validate lists every field at fault, in both languages, and repeats no value.
func ExampleRegistry_Validate() {
	registry, _ := action.NewRegistry(greetAction())
	err := registry.Validate("greet", json.RawMessage(`{"times": 9, "loud": true}`))
	if e, ok := errors.AsType[*hostler.Error](err); ok {
		for _, f := range e.Fields {
			fmt.Printf("%s: %s / %s\n", f.Path, f.Text.EN, f.Text.ZH)
		}
	}
	// Unordered output:
	// args.name: is required / 必填
	// args.loud: is not a known field / 未知字段
	// args.times: must be at most 5 / 不得大于 5
}

// Tests run an action with a fake environment, which records what the action writes.
func ExampleAction() {
	a := actiontest.New(nil, greetArgs{Name: "web1", Times: 2})
	a.Run(context.Background(), greetAction())
	fmt.Print(a.Stdout.String())
	fmt.Println(a.Outcome, a.Value)
	// Output:
	// Hello, web1!
	// Hello, web1!
	// succeeded map[greetings:2]
}

// A Fault carries everything that a result needs through functions that return errors.
func ExampleFault() {
	login := func() error {
		return action.NewFault(hostler.ErrKindAuth, "%s refused user %q", "%s 拒绝用户 %q 登录", "192.0.2.1:22", "ops").
			WithRemedy("check the credential", "请检查凭据").Because(io.EOF).Final()
	}
	err := fmt.Errorf("open a session: %w", login())
	res := action.ResultOf(err)
	fmt.Println(res.Outcome, res.Error.Kind, res.NoRetry)
	fmt.Println(res.Error.Text.EN)
	fmt.Println(res.Error.Text.ZH)
	// Output:
	// failed authentication_failed true
	// 192.0.2.1:22 refused user "ops"; check the credential
	// 192.0.2.1:22 拒绝用户 "ops" 登录；请检查凭据
}

// The cause of a context decides between cancelled and failed.
func ExampleStoppedFault() {
	for _, cause := range []error{action.ErrCancelled, &action.TimeoutError{After: 2_000_000_000}} {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(cause)
		f := action.StoppedFault(ctx, "while it was connecting", "正在建立连接")
		fmt.Println(f.Outcome, f.Kind+":", f.Text.EN)
	}
	// Output:
	// cancelled cancelled: cancelled while it was connecting
	// failed timeout: timed out after 2s while it was connecting
}

// LastLine quotes the end of an output in an error text.
func ExampleLastLine() {
	fmt.Println(action.LastLine([]byte("reading config\nline 3: unknown option\n\n")))
	fmt.Println(len(action.LastLine([]byte(strings.Repeat("x", 10_000)))))
	// Output:
	// line 3: unknown option
	// 303
}
