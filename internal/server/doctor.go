package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/config"
	"hostler.dev/hostler/internal/egress"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/schema"
	"hostler.dev/hostler/internal/store/sqlite"
)

// Finding is the result of one check.
type Finding struct {
	Check  string       `json:"check"`
	Level  string       `json:"level"` // ok, warning or problem
	Text   hostler.Text `json:"text"`
	Remedy hostler.Text `json:"remedy,omitzero"`
}

// Levels of a Finding.
const (
	LevelOK      = "ok"
	LevelWarning = "warning"
	LevelProblem = "problem"
)

const (
	leastDiskFree = 0.05
	asideCounted  = 1000
	// filesPerSlot and spareFiles bound the descriptors that a server needs.
	filesPerSlot = 8
	spareFiles   = 512
	certSoon     = 30 * 24 * time.Hour
	clockSkew    = time.Second
	resolveLimit = 5 * time.Second
	// quickCheckLimit bounds how long the pages of a SQLite database are checked.
	quickCheckLimit = 30 * time.Second
)

// Doctor checks the requirements of a server with this configuration, and suggests a
// remedy for each that is not met. It changes nothing; a server may be running.
func Doctor(ctx context.Context, cfg config.Config) []Finding {
	findings := []Finding{ok("configuration", "the configuration is valid", "配置有效")}
	for _, w := range cfg.Warnings() {
		findings = append(findings, Finding{Check: "configuration", Level: LevelWarning, Text: w})
	}
	running, data := checkData(cfg)
	findings = append(findings, data)
	findings = append(findings, checkStore(ctx, cfg, running)...)
	return append(findings,
		checkKey(cfg), checkListen(ctx, cfg, running), checkTLS(cfg), checkFiles(cfg), checkWebhook(ctx, cfg))
}

// ok is a finding that all is well; see [Finding.at] for any other level.
func ok(check, en, zh string, args ...any) Finding {
	return Finding{Check: check, Level: LevelOK, Text: hostler.Textf(en, zh, args...)}
}

// at returns the finding at another level, with what to do about it.
func (f Finding) at(level string, remedyEN, remedyZH string, args ...any) Finding {
	f.Level, f.Remedy = level, hostler.Textf(remedyEN, remedyZH, args...)
	return f
}

// checkData checks the data folder and reports whether a running server has locked it.
func checkData(cfg config.Config) (running bool, f Finding) {
	info, err := os.Stat(cfg.Data)
	if errors.Is(err, fs.ErrNotExist) {
		return false, ok("data", "%s does not exist yet; the first start creates it",
			"%s 尚不存在；首次启动时会创建", cfg.Data)
	}
	if err != nil || !info.IsDir() || unix.Access(cfg.Data, unix.W_OK) != nil {
		return false, ok("data", "%s is not a writable folder", "%s 不是可写的目录", cfg.Data).
			at(LevelProblem, "choose another --data, or make the server's user its owner",
				"请改用其他 --data，或将其所有者改为服务用户")
	}
	if info.Mode().Perm()&0o077 != 0 {
		f = ok("data", "%s can be read by other users of this machine", "本机其他用户可以读取 %s", cfg.Data).
			at(LevelWarning, "chmod 700 %s", "执行 chmod 700 %s", cfg.Data)
	} else {
		f = ok("data", "%s is writable", "%s 可写", cfg.Data)
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, "hostler.lock")); err != nil {
		return false, f
	}
	release, err := sqlite.LockFolder(cfg.Data)
	if err != nil {
		return true, f
	}
	release()
	return false, f
}

// checkKey checks the file of the master key, without which stored credentials are lost.
func checkKey(cfg config.Config) Finding {
	if cfg.MasterKey != "" {
		return ok("key", "the master key comes from the environment", "主密钥来自环境变量")
	}
	path := keyPath(cfg)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f := ok("key", "%s does not exist yet; the first start creates it",
			"%s 尚不存在；首次启动时会创建", path)
		if db, embedded := cfg.SQLitePath(); embedded {
			if _, err := os.Stat(db); err == nil {
				return f.at(LevelProblem, "the database was used with another key: copy that key file there",
					"该数据库曾使用其他密钥：请将对应的密钥文件放到该位置")
			}
		}
		return f
	case err != nil:
		return ok("key", "the master key cannot be read: %v", "无法读取主密钥：%v", err).
			at(LevelProblem, "make the server's user the owner of %s", "请将 %s 的所有者改为服务用户", path)
	case info.Mode().Perm()&0o077 != 0:
		return ok("key", "other users of this machine can read the master key",
			"本机其他用户可以读取主密钥").
			at(LevelProblem, "chmod 600 %s", "执行 chmod 600 %s", path)
	}
	return ok("key", "the master key is at %s; store a copy apart from the backups",
		"主密钥位于 %s；请与备份分开保存一份", path)
}

func checkStore(ctx context.Context, cfg config.Config, running bool) []Finding {
	path, embedded := cfg.SQLitePath()
	if !embedded {
		return checkPostgres(ctx, cfg)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return []Finding{ok("store", "SQLite; %s does not exist yet", "SQLite；%s 尚不存在", path)}
	}
	what := ok("store", "SQLite at %s", "SQLite，位于 %s", path)
	if running {
		what = ok("store", "SQLite at %s; a running server uses it", "SQLite，位于 %s；服务正在使用", path)
	}
	return append(inspect(ctx, cfg, path, what), checkDisk(filepath.Dir(path)))
}

// inspect opens the database and checks its pages. what is the finding if all is well.
func inspect(ctx context.Context, cfg config.Config, path string, what Finding) []Finding {
	in, err := sqlite.Inspect(ctx, path, cfg.Version, quickCheckLimit)
	if err != nil {
		return []Finding{unusable(err).at(LevelProblem,
			"check the permissions and the disk, or restore a backup", "请检查权限和磁盘，或恢复备份")}
	}
	out := []Finding{what}
	switch {
	case in.Damage != "":
		out[0] = ok("store", "%[2]s is damaged: %[1]s", "%[2]s 已损坏：%[1]s", in.Damage, path).
			at(LevelProblem, "stop the server and restore a backup", "请停止服务并恢复备份")
	case in.Partial:
		out[0] = ok("store", "%s is too large to check all of it in %v", "%s 过大，无法在 %v 内检查完", path, quickCheckLimit).
			at(LevelWarning, "check a backup of it with 'hostler restore'", "请用 'hostler restore' 检查它的备份")
	}
	return slices.Concat(out, checkHold(in.Hold), checkAside(in.SetAside))
}

// checkHold reports dispatch that is held.
func checkHold(h *schema.Hold) []Finding {
	if h == nil {
		return nil
	}
	f := Finding{Check: "dispatch", Text: store.HoldText(*h)}
	return []Finding{f.at(LevelWarning, "run 'hostler dispatch release' once nothing waits that must not run",
		"确认没有不应执行的作业后，执行 'hostler dispatch release'")}
}

// checkAside reports events that could not be delivered to webhooks.
func checkAside(rows int64) []Finding {
	if rows == 0 {
		return nil
	}
	f := ok("webhooks", "events could not be delivered to webhooks and were set aside: %d rows",
		"有事件无法投递到回调，已被搁置：%d 行", rows)
	return []Finding{f.at(LevelWarning, "see 'hostler delivery set-aside list'; its 'retry' delivers them",
		"请见 'hostler delivery set-aside list'；可用其 'retry' 重新投递")}
}

// unusable is the finding of a database that cannot be used; the caller adds the remedy.
func unusable(err error) Finding {
	text := hostler.Textf("the database cannot be used: %v", "无法使用数据库：%v", err)
	if e, is := errors.AsType[*hostler.Error](err); is {
		text = e.Text
	}
	return Finding{Check: "store", Text: text}
}

func checkDisk(dir string) Finding {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return ok("disk", "cannot read the free space: %v", "无法获取剩余空间：%v", err).
			at(LevelWarning, "check that %s has free space", "请确认 %s 有足够空间", dir)
	}
	free := float64(st.Bavail) / float64(st.Blocks)
	f := ok("disk", "%.0f %% of the disk is free", "磁盘剩余 %.0f%%", free*100)
	if free < leastDiskFree {
		return f.at(LevelProblem,
			"free some space: below 5 %% new jobs may be refused; shorten --retention, or enlarge the disk",
			"请腾出空间：低于 5%% 时可能拒绝新作业；可缩短 --retention 或扩容")
	}
	return f
}

func checkPostgres(ctx context.Context, cfg config.Config) []Finding {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	began := time.Now()
	db, err := postgres.Open(ctx, cfg.DB, postgres.Options{Log: slog.New(slog.DiscardHandler), Version: cfg.Version, Existing: true})
	if err != nil {
		return []Finding{unusable(err).at(LevelProblem,
			"check --db, the network, and the permissions of the user", "请检查 --db、网络和用户权限")}
	}
	defer func() { _ = db.Close() }() // nothing was written
	stats, err := db.Stats(ctx)
	if err != nil {
		return []Finding{ok("store", "PostgreSQL does not answer: %v", "PostgreSQL 无响应：%v", err).
			at(LevelProblem, "read the log of the database", "请查看数据库日志")}
	}
	found := []Finding{}
	switch hold, aside, pending, err := examine(ctx, db); {
	case err != nil:
		found = append(found, unusable(err).at(LevelProblem, "read the log of the database", "请查看数据库日志"))
	case pending:
		found = append(found, ok("store", "no server has used the database yet, or one of an older version",
			"尚无服务使用过该数据库，或使用它的是旧版本").
			at(LevelWarning, "the start of a server creates or upgrades it", "启动服务时会创建或升级它"))
	default:
		found = slices.Concat(found, checkHold(hold), checkAside(int64(aside)))
	}
	skew := time.Until(db.Now())
	clock := ok("clock", "%v from the database's clock", "与数据库时钟相差 %v", skew.Round(time.Millisecond))
	if math.Abs(skew.Seconds()) > clockSkew.Seconds() {
		clock = clock.at(LevelWarning, "run NTP on both machines; Hostler uses the clock of the database",
			"请在两台机器上启用 NTP；Hostler 以数据库时钟为准")
	}
	return append(found,
		ok("store", "PostgreSQL %s, opened in %v", "PostgreSQL %s，打开耗时 %v",
			stats.Version, time.Since(began).Round(time.Millisecond)),
		clock)
}

// examine asks a PostgreSQL database what a server will find. pending reports that its
// tables are missing or older than this program.
func examine(ctx context.Context, db *postgres.DB) (hold *schema.Hold, aside int, pending bool, err error) {
	if pending, err = db.Pending(ctx); err != nil || pending {
		return nil, 0, pending, err
	}
	err = store.New(db, db).View(ctx, func(tx *store.Tx) error {
		if hold, err = tx.Hold(); err != nil {
			return err
		}
		aside, err = tx.CountAside(asideCounted)
		return err
	})
	return hold, aside, false, err
}

func checkListen(ctx context.Context, cfg config.Config, running bool) Finding {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err == nil {
		defer l.Close()
		return ok("listen", "%s is free", "%s 可用", cfg.Listen)
	}
	if running && errors.Is(err, unix.EADDRINUSE) {
		return ok("listen", "%s is in use by the running server", "%s 正由运行中的服务使用", cfg.Listen)
	}
	return ok("listen", "cannot listen on %s: %v", "无法监听 %s：%v", cfg.Listen, err).
		at(LevelProblem, "stop the program that uses it ('ss -ltnp' shows it), or choose another --listen",
			"请停止占用它的程序（'ss -ltnp' 可查看），或改用其他 --listen")
}

func checkTLS(cfg config.Config) Finding {
	if !cfg.TLS() {
		return ok("tls", "off", "未启用")
	}
	pair, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
	if err != nil {
		return ok("tls", "the certificate cannot be used: %v", "无法使用证书：%v", err).
			at(LevelProblem, "check --tls-cert and --tls-key", "请检查 --tls-cert 和 --tls-key")
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return ok("tls", "the certificate cannot be read: %v", "无法读取证书：%v", err).
			at(LevelProblem, "check --tls-cert", "请检查 --tls-cert")
	}
	f := ok("tls", "the certificate is valid until %s", "证书有效期至 %s", leaf.NotAfter.Format(time.DateOnly))
	switch left := time.Until(leaf.NotAfter); {
	case left <= 0:
		return f.at(LevelProblem, "it has expired: renew it", "已过期：请更新证书")
	case left < certSoon:
		return f.at(LevelWarning, "it expires soon: renew it", "即将过期：请尽快更新证书")
	}
	return f
}

// checkWebhook checks whether the addresses of webhook_url are allowed. It sends
// nothing.
func checkWebhook(ctx context.Context, cfg config.Config) Finding {
	raw := cfg.WebhookURL.Reveal()
	if raw == "" {
		return ok("webhook", "off", "未启用")
	}
	shown := hostler.MaskURL(raw)
	u, err := url.Parse(raw)
	if err != nil {
		return ok("webhook", "%s is not a URL", "%s 不是合法的 URL", shown).
			at(LevelProblem, "correct webhook_url", "请更正 webhook_url")
	}
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil || len(addrs) == 0 {
		return ok("webhook", "the host of %s does not resolve", "无法解析 %s 的主机", shown).
			at(LevelWarning, "check webhook_url and DNS; deliveries are retried until it resolves",
				"请检查 webhook_url 和 DNS；解析成功前投递会一直重试")
	}
	policy := egress.New(cfg.EgressAllow...)
	for _, a := range addrs {
		denied, is := errors.AsType[*egress.Denied](policy.Check(a))
		if !is {
			continue
		}
		text := denied.Text()
		return ok("webhook", "webhook_url (%s) is not allowed: %[3]s", "webhook_url（%[1]s）不允许访问：%[2]s",
			shown, text.ZH, text.EN).
			at(LevelWarning, "add the range to egress_allow, such as %s",
				"请将该网段加入 egress_allow，例如 %s",
				netip.PrefixFrom(denied.Addr, denied.Addr.BitLen()))
	}
	return ok("webhook", "requests to %s are allowed", "允许访问 %s", shown)
}

func checkFiles(cfg config.Config) Finding {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return ok("limits", "cannot read the limit of open files: %v", "无法获取打开文件数上限：%v", err).
			at(LevelWarning, "run 'ulimit -n'", "请执行 'ulimit -n' 查看")
	}
	need := uint64(cfg.Slots*filesPerSlot + spareFiles)
	f := ok("limits", "%s open files allowed", "允许打开 %s 个文件", fileCount(lim.Max))
	if lim.Max < need {
		return f.at(LevelWarning, "%d slots may need %d: raise it (LimitNOFILE= in systemd)",
			"%d 个并发可能需要 %d 个：请调高（systemd 中为 LimitNOFILE=）", cfg.Slots, need)
	}
	return f
}

func fileCount(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "∞"
	}
	return fmt.Sprint(n)
}
