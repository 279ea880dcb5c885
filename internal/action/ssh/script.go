package ssh

import (
	"cmp"
	"context"
	_ "embed" // the schema
	"encoding/json"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/risk"
)

//go:embed schema/ssh_script.json
var scriptSchema []byte

type scriptArgs struct {
	Script      string   `json:"script"`
	Interpreter string   `json:"interpreter"`
	Args        []string `json:"args"`
	programArgs
}

func (f *Family) scriptAction() action.Action {
	return action.Action{
		Name:  "ssh_script",
		Title: hostler.Text{EN: "SSH script", ZH: "SSH 脚本"},
		Help: hostler.Text{
			EN: "Runs a script on the asset over SSH, with arguments, environment and standard input.",
			ZH: "通过 SSH 在资产上运行脚本，可带参数、环境变量和标准输入。",
		},
		Schema: scriptSchema, Asset: action.AssetRequired, LogsIn: true, Enabled: true,
		Traits: anyChange, Check: checkScript, Credentials: sudoCredential, Commands: scriptCommands,
		Run: f.runScript,
	}
}

// scriptCommands is the script, and its interpreter.
func scriptCommands(raw json.RawMessage) []risk.Command {
	var args scriptArgs
	if json.Unmarshal(raw, &args) != nil {
		return nil
	}
	return []risk.Command{risk.Script("script", args.Interpreter, args.Script, args.Args, args.Env, args.Stdin)}
}

func checkScript(raw json.RawMessage) []hostler.FieldError {
	var args scriptArgs
	if errs := action.Decode(raw, &args); errs != nil {
		return errs
	}
	var f check.Fields
	checkEnv(&f, args.Env)
	total := 0
	for _, a := range args.Args {
		total += len(a)
	}
	checkSize(&f, "args", total)
	return f.Faults()
}

func (f *Family) runScript(ctx context.Context, c *action.Call) action.Result {
	var args scriptArgs
	if err := decode(c, &args); err != nil {
		return action.ResultOf(err)
	}
	p := program{script: &script{
		text: args.Script, interpreter: cmp.Or(args.Interpreter, "/bin/sh"), args: args.Args,
	}}
	return f.runProgram(ctx, c, p, args.programArgs)
}
