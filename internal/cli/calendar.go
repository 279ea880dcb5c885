package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// calendarCmd is 'hostler calendar'.
func (a *app) calendarCmd() *cobra.Command {
	return a.group("calendar", doc{
		short: txt("manage when fires and runs may not begin", "管理不得开始触发和执行的时间"),
		long: txt(`Manage calendars. While a calendar is closed, the fires of schedules that name it are
skipped or wait, and so are all fires and runs in its project, or on assets with its
labels, if it says so. A calendar of workdays is closed on weekends and holidays.`,
			`管理日历。日历关闭期间，引用它的计划跳过触发或等待；如日历指定了整个项目或资产标签，
则该范围内的触发和执行同样如此。工作日日历在周末和节假日关闭。`),
		example: `hostler calendar set freeze --applies-to-project --period 2026-12-20T00:00:00Z/2027-01-04T00:00:00Z
hostler calendar set workdays --zone Asia/Shanghai --weekly SAT,SUN --import china-2026.csv
hostler schedule add night --cron '30 2 * * *' --action check_port --label role=web --arg port=443 --calendar workdays`,
	}, a.calendarList(), a.calendarShow(), a.calendarSet(), a.calendarImport(), a.calendarDelete())
}

// calendarNames completes the names of calendars.
func calendarNames(ctx context.Context, c *client.Client) ([]string, error) {
	all, err := c.Calendars(ctx)
	return names(all, func(x hostler.Calendar) string { return x.Name }), err
}

func (a *app) calendarColumns() []column[hostler.Calendar] {
	return []column[hostler.Calendar]{
		col("name", "名称", func(x hostler.Calendar) string { return x.Name }),
		col("closed now", "当前关闭", func(x hostler.Calendar) string { return a.yesNo(x.ClosedNow) }),
		col("until", "直至", func(x hostler.Calendar) string { return optionalTime(x.Until) }),
		col("effect", "处置", func(x hostler.Calendar) string { return string(x.Closed) }),
		col("applies to", "适用范围", func(x hostler.Calendar) string {
			switch {
			case x.Applies == nil:
				return a.t("schedules that name it", "引用它的计划")
			case x.Applies.Project:
				return a.t("project", "整个项目")
			}
			return keyValues(x.Applies.Labels)
		}),
		col("zone", "时区", func(x hostler.Calendar) string { return dash(x.Zone) }),
		col("days", "日期", func(x hostler.Calendar) string { return fmt.Sprint(len(x.Days)) }),
		col("periods", "时段", func(x hostler.Calendar) string { return fmt.Sprint(len(x.Periods)) }),
		col("title", "标题", func(x hostler.Calendar) string { return dash(x.Title) }),
	}
}

func (a *app) calendarList() *cobra.Command {
	return a.cmd("list", doc{
		short:   txt("list calendars", "列出日历"),
		long:    txt("List the calendars of the project, and whether they are closed now.", "列出项目的日历及其当前是否关闭。"),
		example: "hostler calendar list",
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		all, err := c.Calendars(ctx)
		if err != nil {
			return err
		}
		return list(a, all, a.calendarColumns())
	})
}

func (a *app) calendarShow() *cobra.Command {
	cmd := a.cmd("show CALENDAR", doc{
		short:   txt("show a calendar", "查看日历"),
		long:    txt("Show a calendar; -o yaml shows its days too.", "查看日历；-o yaml 同时显示各日期。"),
		example: "hostler calendar show workdays -o yaml",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		x, err := c.Calendar(ctx, args[0])
		if err != nil {
			return err
		}
		return one(a, x, a.calendarColumns())
	})
	a.complete(cmd, "", calendarNames)
	return cmd
}

// calendarFlags are the flags of 'calendar set'.
type calendarFlags struct {
	in                  hostler.CalendarInput
	weekly, periods     []string
	project             bool
	labels              map[string]string
	closed, dateFile    string
	closeDays, openDays []string
}

func (a *app) calendarSet() *cobra.Command {
	var f calendarFlags
	cmd := a.cmd("set CALENDAR [flags]", doc{
		short: txt("create or replace a calendar", "创建或替换日历"),
		long: txt(`Create a calendar, or replace the one of this name. Days are closed each week
(--weekly), or by date (--close, --open for days that are worked although they would be
closed), and periods from a time to another (--period FROM/TO).`,
			`创建日历，或替换同名日历。可按每周（--weekly）、按日期（--close 关闭，--open 为调休上班等开放日）、
或按起止时间（--period 起/止）设置关闭。`),
		example: `hostler calendar set workdays --zone Asia/Shanghai --weekly SAT,SUN --import china-2026.csv
hostler calendar set nights --zone Europe/Berlin --weekly MON,TUE,WED,THU,FRI@22:00-06:00 --closed wait
hostler calendar set freeze --applies-to env=prod --period 2026-12-20T00:00:00Z/2027-01-04T00:00:00Z`,
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if err := f.fill(); err != nil {
			return err
		}
		x, err := c.PutCalendar(ctx, args[0], f.in)
		if err == nil && f.dateFile != "" {
			x, err = a.importDays(ctx, c, args[0], f.dateFile, false)
		}
		if err != nil {
			return err
		}
		return one(a, x, a.calendarColumns())
	})
	fs := cmd.Flags()
	fs.StringVar(&f.in.Title, "title", "", a.t("title", "标题"))
	fs.StringVar(&f.in.Zone, "zone", "", a.t("time zone of days and weeks (default: UTC)", "日期与星期的时区（默认 UTC）"))
	fs.StringArrayVar(&f.weekly, "weekly", nil, a.t("closed each week: SAT,SUN or MON,TUE@22:00-06:00; may be repeated",
		"每周关闭：SAT,SUN 或 MON,TUE@22:00-06:00；可重复"))
	fs.StringArrayVar(&f.closeDays, "close", nil, a.t("closed day or FROM/TO, such as 2026-10-01/2026-10-07; may be repeated",
		"关闭的日期或 起/止，如 2026-10-01/2026-10-07；可重复"))
	fs.StringArrayVar(&f.openDays, "open", nil, a.t("open day, likewise; may be repeated", "开放的日期，写法相同；可重复"))
	fs.StringArrayVar(&f.periods, "period", nil, a.t("closed from a time to another: FROM/TO in RFC 3339; may be repeated",
		"起止时间内关闭：起/止（RFC 3339）；可重复"))
	fs.StringVar(&f.closed, "closed", "", a.t("what fires and runs do: skip (default) or wait", "触发和执行的处置：skip 跳过（默认）或 wait 等待"))
	fs.BoolVar(&f.project, "applies-to-project", false, a.t("all fires and runs in the project are held to it", "适用于项目中的全部触发和执行"))
	fs.Var(pairsFlag{&f.labels}, "applies-to", a.t("what runs on assets with this label is held to it; may be repeated",
		"适用于带此标签的资产；可重复"))
	fs.StringVar(&f.dateFile, "import", "", a.t("iCalendar or CSV file with days; - is standard input", "含日期的 iCalendar 或 CSV 文件；- 表示标准输入"))
	a.complete(cmd, "", calendarNames)
	a.complete(cmd, "closed", fixed("skip", "wait"))
	a.complete(cmd, "zone", fixed("UTC", "Asia/Shanghai", "Europe/Berlin", "Europe/London", "America/New_York"))
	return cmd
}

func (a *app) importDays(
	ctx context.Context, c *client.Client, name, file string, dryRun bool,
) (hostler.Calendar, error) {
	text, err := a.readInput(file)
	if err != nil {
		return hostler.Calendar{}, err
	}
	return c.ImportCalendar(ctx, name, hostler.CalendarFile{Text: string(text), DryRun: dryRun})
}

func (a *app) calendarImport() *cobra.Command {
	var dryRun bool
	cmd := a.cmd("import CALENDAR FILE [flags]", doc{
		short: txt("add the days of a file to a calendar", "将文件中的日期加入日历"),
		long: txt(`Add the days of an iCalendar file, or of a CSV file with the columns from, to, kind
(closed or open) and title, to a calendar. In iCalendar files, days whose summary has
"workday", or the Chinese character for a shift, are open.`,
			`将 iCalendar 文件或 CSV 文件（列为 from、to、kind（closed 或 open）、title）中的日期加入日历。
iCalendar 文件中标题含“班”或 workday 的日期为开放日。`),
		example: "hostler calendar import workdays china-2026.csv --dry-run",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		x, err := a.importDays(ctx, c, args[0], args[1], dryRun)
		if err != nil {
			return err
		}
		return one(a, x, a.calendarColumns())
	})
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, a.t("show the calendar as it would be, and change nothing", "仅显示结果，不做更改"))
	a.complete(cmd, "", calendarNames)
	return cmd
}

func (a *app) calendarDelete() *cobra.Command {
	cmd := a.cmd("delete CALENDAR", doc{
		short: txt("delete a calendar", "删除日历"),
		long: txt("Delete a calendar. The fires of schedules that name it are refused until these are saved without it.",
			"删除日历。引用它的计划在重新保存之前，其触发会被拒绝。"),
		example: "hostler calendar delete freeze",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		return c.DeleteCalendar(ctx, args[0])
	})
	a.complete(cmd, "", calendarNames)
	return cmd
}
