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
	"hostler.dev/hostler/internal/sshconn"
)

// probeTimeout limits how long a reused CLI may take to show its prompt.
const probeTimeout = 5 * time.Second

// cli is an open CLI: a shell with paging off at a known prompt. One job at a time uses
// it.
type cli struct {
	shell    *sshconn.Shell
	target   *sshconn.Target
	dialect  *dialect
	received *signal
	enable   string

	pending   []byte // received and not parsed yet
	pagerMark int    // length of the pager's mark that was answered last; 0: none
	prompt    string // the last one
	progress         // of the last line that was written

	key, address, user string // of the login that opened it
	port               int

	// Family.mu guards what follows.
	lastUsed          time.Time
	busy              bool
	reused            bool // an earlier job used it
	succeeded, failed int64
	idleTimer         *time.Timer
	idleElem          *list.Element // in Family.idle; nil while busy
}

// open logs in and prepares a CLI. Nothing of a job was sent when it fails.
func (f *Family) open(ctx context.Context, l login) (*cli, error) {
	shell, err := f.opts.Conns.Shell(ctx, l.target)
	if err != nil {
		return nil, err
	}
	c := &cli{
		shell: shell, target: l.target, enable: l.enable, received: newSignal(), lastUsed: shell.Since(),
		key: l.key, address: l.target.Address, port: l.target.Port, user: l.target.User,
	}
	if c.dialect, err = newDialect(l.platform, shellTransport{shell}, c.received); err == nil {
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
		return nil, action.StoppedFault(ctx, "before it started", "尚未开始")
	}
	return nil, c.openFault(l.platform, err)
}

// openFault classifies why the device did not come to a prompt.
func (c *cli) openFault(platform string, err error) error {
	if f, ok := errors.AsType[*action.Fault](err); ok {
		return f
	}
	if errors.Is(err, errGone) {
		return action.NewFault(hostler.ErrKindConnLost,
			"%s closed the connection before it showed a prompt",
			"%s 在出现提示符之前关闭了连接", c.target.Where())
	}
	return action.NewFault(hostler.ErrKindConnTimeout,
		"%s shows no prompt of platform %s", "%s 未出现平台 %s 的提示符", c.target.Where(), platform).
		WithRemedy("check the asset's platform", "请检查资产的平台设置")
}

// close closes the CLI. The shell is closed first: the library waits for its reader.
func (c *cli) close() {
	_ = c.shell.Close()
	_ = c.dialect.Channel.Close()
}

func discardLine(string) {}

// prepare waits for the first prompt and does what the library's definition of the
// platform wants at the start.
func (c *cli) prepare(ctx context.Context) error {
	if err := c.awaitFirstPrompt(ctx); err != nil {
		return err
	}
	for _, op := range c.dialect.definition.NetworkOnOpen {
		var err error
		switch op["operation"] {
		case "acquire-priv":
			err = c.acquire(ctx, c.dialect.DefaultDesiredPriv)
			if errors.Is(err, errNoEnable) {
				err = nil // many commands work without
			}
		case "driver.send-command":
			err = c.sendSetting(ctx, fmt.Sprint(op["command"]))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sendSetting sends a command of the definition and ignores a refusal: some devices do
// not support a width.
func (c *cli) sendSetting(ctx context.Context, command string) error {
	at, _, err := c.roundTrip(ctx, command, false, discardLine)
	if err == nil && at != atPrompt {
		err = context.DeadlineExceeded
	}
	return err
}

// awaitFirstPrompt answers no to questions before the first prompt: VRP may ask whether
// to change the password.
func (c *cli) awaitFirstPrompt(ctx context.Context) error {
	at, _, err := c.readUntilWaiting(ctx, discardLine)
	for ; err == nil && at == atQuestion; at, _, err = c.roundTrip(ctx, "n", false, discardLine) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if err == nil && at == atPassword {
		return action.NewFault(hostler.ErrKindAuth,
			"%s asks for another password after the login",
			"%s 登录后要求输入其他密码", c.target.Where()).Final()
	}
	return err
}

// responds reports whether a reused CLI answers an empty line with its prompt.
func (c *cli) responds(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	at, _, err := c.roundTrip(limited, "", false, discardLine)
	return err == nil && at == atPrompt
}

var errNoEnable = errors.New("no enable password")

// level returns the privilege level of the prompt; if that may be several, want is
// preferred.
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

// acquire changes to a privilege level, one step at a time. The number of steps is
// limited, as a device may refuse without a message.
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
		lastLine := ""
		at, _, err := c.roundTrip(ctx, command, false, func(s string) {
			if s != "" {
				lastLine = s
			}
		})
		if err == nil && at == atPassword {
			err = c.answerEnable(ctx)
		}
		if err != nil {
			return err
		}
		if at == atQuestion || at == atPrompt && c.level(want) == from && lastLine != "" {
			return action.NewFault(hostler.ErrKindCommand,
				"%s refuses %q: %s", "%s 拒绝 %q：%s",
				c.target.Where(), command, c.target.Redact(lastLine)).Final()
		}
	}
	return action.NewFault(hostler.ErrKindCommand,
		"%s does not enter the mode %s; its prompt is %q",
		"%s 无法进入 %s 模式；提示符为 %q", c.target.Where(), want, c.prompt).Final()
}

// answerEnable answers the prompt for the enable password. Without one it enters empty
// lines until the device gives up asking.
func (c *cli) answerEnable(ctx context.Context) error {
	if c.enable == "" {
		for range 4 {
			at, _, err := c.roundTrip(ctx, "", true, discardLine)
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
	at, _, err := c.roundTrip(ctx, c.enable, true, func(s string) { refused = refused || s != "" })
	if err != nil {
		return err
	}
	privileged := c.dialect.DefaultDesiredPriv
	if at != atPrompt || refused && c.level(privileged) != privileged {
		return action.NewFault(hostler.ErrKindAuth,
			"%s refused the enable password", "%s 拒绝 enable 密码", c.target.Where()).Final()
	}
	return nil
}
