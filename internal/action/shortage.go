package action

import (
	"errors"
	"net"
	"strings"
	"syscall"

	"hostler.dev/hostler"
)

// ShortageFault returns the fault of an error that says that this machine has run out of
// something, such as file descriptors, and nil for any other. Ask before an error of a
// connection is taken for the host's.
func ShortageFault(err error) *Fault {
	if !isShortage(err) {
		return nil
	}
	return NewFault(hostler.ErrKindShortage,
		"the server that runs the job has no resources left for it: %v",
		"执行该作业的服务器资源不足：%v", err).
		WithRemedy("raise its limit of open files (LimitNOFILE=), or lower slots; the host was not tried",
			"请调高其打开文件数上限（LimitNOFILE=）或减少 slots；未曾连接主机").Because(err)
}

func isShortage(err error) bool {
	for _, no := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS} {
		if errors.Is(err, no) {
			return true
		}
	}
	// The resolver's error may have only the text of its cause.
	dns, is := errors.AsType[*net.DNSError](err)
	return is && (strings.Contains(dns.Err, syscall.EMFILE.Error()) || strings.Contains(dns.Err, syscall.ENFILE.Error()))
}
