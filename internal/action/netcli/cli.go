package netcli

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/ssh"
)

// wakeLimit bounds the sign of life of a kept CLI.
const wakeLimit = 5 * time.Second

// failure is a result that came before or instead of a command's.
type failure struct{ action.Result }

func (f *failure) Error() string { return f.Result.Error.Kind + ": " + f.Result.Error.Text.EN }

func fail(kind, en, zh string, args ...any) *failure {
	return &failure{action.Failed(nil, kind, en, zh, args...)}
}

func (f *failure) final() *failure {
	f.NoRetry = true
	return f
}

// and adds to the text.
func (f *failure) and(t hostler.Text) *failure {
	f.Result.Error.Text.EN += t.EN
	f.Result.Error.Text.ZH += t.ZH
	return f
}

// resultOf makes a result of an error of opening a CLI.
func resultOf(err error) action.Result {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.Result
	}
	return ssh.ResultOf(err)
}

// cli is an open CLI: a shell with paging off at a known prompt. One job at a
// time uses it.
type cli struct {
	shell   *ssh.Shell
	way     *ssh.Way
	dialect *dialect
	bell    *bell
	enable  string

	pending []byte // received and not yet taken
	paged   int    // length of the pager's mark that was answered last
	prompt  string
	progress

	key, address, user string // of the login that opened it
	port               int

	// Family.mu guards what follows.
	used              time.Time
	busy              bool
	kept              bool // an earlier job used it
	succeeded, failed int64
	idle              *time.Timer
	resting           *list.Element // of Family.idle; nil while busy
}

// open logs in and makes the CLI ready. Nothing of a job was sent when it fails.
func (f *Family) open(ctx context.Context, l login) (*cli, error) {
	shell, err := f.opts.SSH.Shell(ctx, l.way)
	if err != nil {
		return nil, err
	}
	c := &cli{shell: shell, way: l.way, enable: l.enable, bell: newBell(), key: l.key, used: shell.Since()}
	c.address, c.port, c.user = l.way.Address, l.way.Port, l.way.User
	if c.dialect, err = newDialect(l.platform, line{shell}, c.bell); err == nil {
		err = c.dialect.Channel.Open()
	}
	if err != nil {
		_ = shell.Close()
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, f.opts.OpenTimeout)
	defer cancel()
	if err = c.prepare(limited); err == nil {
		return c, nil
	}
	c.close()
	if ctx.Err() != nil {
		return nil, &failure{ssh.Stopped(ctx, "before it started", "尚未开始")}
	}
	return nil, c.unready(l.platform, err)
}

// unready tells why no prompt came about.
func (c *cli) unready(platform string, err error) error {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if errors.Is(err, errGone) {
		return fail(hostler.ErrKindConnLost,
			"%s closed the connection before it showed a prompt", "%s 在出现提示符之前关闭了连接", c.way.Where())
	}
	return fail(hostler.ErrKindConnTimeout,
		"%s shows no prompt of platform %s: is the platform right?", "%s 未出现平台 %s 的提示符：平台是否正确？", c.way.Where(), platform)
}

// close ends the CLI. The shell goes first, as the library waits for its reader.
func (c *cli) close() {
	_ = c.shell.Close()
	_ = c.dialect.Channel.Close()
}

func ignore(string) {}

// prepare does what the library's definition wants done at the beginning.
func (c *cli) prepare(ctx context.Context) error {
	if err := c.greet(ctx); err != nil {
		return err
	}
	for _, op := range c.dialect.definition.NetworkOnOpen {
		var err error
		switch op["operation"] {
		case "acquire-priv":
			err = c.acquire(ctx, c.dialect.DefaultDesiredPriv)
			if errors.Is(err, errNoEnable) {
				err = nil // much can be seen without
			}
		case "driver.send-command":
			err = c.settings(ctx, fmt.Sprint(op["command"]))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settings sends a command of the definition, whose refusal does not matter: some
// devices know no width.
func (c *cli) settings(ctx context.Context, command string) error {
	at, _, err := c.say(ctx, command, false, ignore)
	if err == nil && at != atPrompt {
		err = context.DeadlineExceeded
	}
	return err
}

// greet waits for the first prompt. VRP may ask first whether to change the
// password.
func (c *cli) greet(ctx context.Context) error {
	at, _, err := c.listen(ctx, ignore)
	for ; err == nil && at == atQuestion; at, _, err = c.say(ctx, "n", false, ignore) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if err == nil && at == atPassword {
		return fail(hostler.ErrKindAuth,
			"%s asks for another password after the login", "%s 登录后要求输入其他密码", c.way.Where()).final()
	}
	return err
}

// wake asks a kept CLI for its prompt.
func (c *cli) wake(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, wakeLimit)
	defer cancel()
	at, _, err := c.say(limited, "", false, ignore)
	return err == nil && at == atPrompt
}

var errNoEnable = errors.New("no enable password")

// level is the level that the prompt stands for, in doubt the wanted one.
func (c *cli) level(want string) string {
	found := c.dialect.levelsOf(c.prompt)
	switch {
	case slices.Contains(found, want):
		return want
	case len(found) > 0:
		return found[0]
	}
	return ""
}

// acquire goes to a level, one step at a time.
func (c *cli) acquire(ctx context.Context, want string) error {
	for range 2*len(c.dialect.PrivilegeLevels) + 2 {
		from := c.level(want)
		if from == want {
			return nil
		}
		command := ""
		if from != "" {
			command, _ = c.dialect.next(from, want)
		}
		if command == "" {
			break
		}
		said := ""
		at, _, err := c.say(ctx, command, false, func(s string) {
			if s != "" {
				said = s
			}
		})
		if err == nil && at == atPassword {
			err = c.giveEnable(ctx)
		}
		if err != nil {
			return err
		}
		if at == atQuestion || at == atPrompt && c.level(want) == from && said != "" {
			return fail(hostler.ErrKindCommand,
				"%s refuses %q: %s", "%s 拒绝 %q：%s", c.way.Where(), command, c.way.Redact(said)).final()
		}
	}
	return fail(hostler.ErrKindCommand,
		"%s does not come to the mode %s; its prompt is %q", "%s 无法进入 %s 模式；提示符为 %q", c.way.Where(), want, c.prompt).final()
}

// giveEnable answers the question for the enable password, or gets rid of it.
func (c *cli) giveEnable(ctx context.Context) error {
	if c.enable == "" {
		for range 4 {
			at, _, err := c.say(ctx, "", true, ignore)
			if err != nil {
				return err
			}
			if at == atPrompt {
				return errNoEnable
			}
		}
		return errNoEnable
	}
	refused := false
	at, _, err := c.say(ctx, c.enable, true, func(s string) { refused = refused || s != "" })
	if err != nil {
		return err
	}
	if at != atPrompt || refused && c.level(c.dialect.DefaultDesiredPriv) != c.dialect.DefaultDesiredPriv {
		return fail(hostler.ErrKindAuth,
			"%s refuses the enable password", "%s 拒绝 enable 密码", c.way.Where()).final()
	}
	return nil
}
