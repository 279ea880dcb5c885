package ssh

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/pkg/sftp"
	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/sshconn"
)

// sftpRequests is how many requests for one file are under way at once, of 32 KiB each.
const sftpRequests = 64

// files is a session of SFTP on the host. It ends with its context.
type files struct {
	*sftp.Client

	end func()
}

// openFiles opens a session of SFTP.
func (h *host) openFiles(ctx context.Context) (*files, error) {
	for losses := 0; ; {
		s, err := h.family.opts.Conns.OpenSession(ctx, h.Target, sshconn.SessionOptions{})
		if err != nil {
			return nil, err
		}
		f, err := startFiles(ctx, s)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, errNoSFTP) || ctx.Err() != nil {
			return nil, fileFault(ctx, err, "opening SFTP", "打开 SFTP")
		}
		if !s.Reused() {
			losses++
		}
		if losses >= sshconn.MaxLosses {
			return nil, action.NewFault(hostler.ErrKindConnLost, "the connection broke while SFTP was opened",
				"打开 SFTP 时连接中断").Because(err)
		}
		s.RetireConnection()
	}
}

var errNoSFTP = errors.New("the host offers no SFTP")

func startFiles(ctx context.Context, s *sshconn.Session) (*files, error) {
	closed := make(chan struct{})
	go func() {
		gossh.DiscardRequests(s.Requests)
		close(closed)
	}()
	// The library waits for the host without a limit of its own.
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	end := func() {
		stop()
		_ = s.Close()
		s.Release(closed)
	}
	ok, err := s.SendRequest("subsystem", true, gossh.Marshal(struct{ Name string }{"sftp"}))
	if err == nil && !ok {
		err = errNoSFTP
	}
	var client *sftp.Client
	if err == nil {
		client, err = sftp.NewClientPipe(s, s, sftp.UseConcurrentWrites(true), sftp.UseConcurrentReads(true),
			sftp.MaxConcurrentRequestsPerFile(sftpRequests))
	}
	if err != nil {
		end()
		return nil, err
	}
	return &files{Client: client, end: end}, nil
}

// close ends the session.
func (f *files) close() {
	_ = f.Client.Close() // it closes the channel too
	f.end()
}

// fileFault classifies an error of SFTP. The texts complete "… failed".
func fileFault(ctx context.Context, err error, en, zh string) *action.Fault {
	if fault, ok := errors.AsType[*action.Fault](err); ok {
		return fault
	}
	var status *sftp.StatusError
	switch {
	case ctx.Err() != nil:
		return action.StoppedFault(ctx, "while "+en, zh+"时").Because(err)
	case errors.Is(err, errNoSFTP):
		return action.NewFault(KindFile, "the host offers no SFTP", "主机不提供 SFTP").
			WithRemedy("enable its subsystem sftp in sshd_config", "请在 sshd_config 中启用 sftp 子系统").Final().Because(err)
	case errors.Is(err, os.ErrNotExist):
		return action.NewFault(KindFile, "%[1]s failed: there is no such file or folder", "%[2]s失败：文件或目录不存在", en, zh).Final().Because(err)
	case errors.Is(err, os.ErrPermission):
		return action.NewFault(KindFile, "%[1]s failed: permission denied", "%[2]s失败：没有权限", en, zh).
			WithRemedy("use another user, or sudo", "请换用其他用户，或使用 sudo").Final().Because(err)
	case errors.As(err, &status):
		return action.NewFault(KindFile, "%[1]s failed: the host refused it, perhaps as its disk is full",
			"%[2]s失败：主机拒绝了操作，可能磁盘已满", en, zh).Because(err)
	}
	return action.NewFault(hostler.ErrKindConnLost, "%[1]s failed: the connection was lost", "%[2]s失败：连接中断", en, zh).Because(err)
}

// counted reports the progress of a copy.
type counted struct {
	io.Reader
	call       *action.Call
	done, size int64
	reported   time.Time
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.done += int64(n)
	if c.size > 0 && time.Since(c.reported) >= time.Second {
		c.reported = time.Now()
		c.call.Progress(hostler.Progress{Percent: min(float64(c.done)*100/float64(c.size), 100)})
	}
	return n, err
}
