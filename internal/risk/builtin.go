package risk

import "hostler.dev/hostler"

// Builtin returns the built-in rules with their defaults. Those that refuse by default
// make a host or a device unusable, or erase it; the others are done on purpose at times,
// and demand an approval.
func Builtin() []hostler.CommandRule {
	out := make([]hostler.CommandRule, len(builtin))
	for i, r := range builtin {
		out[i] = hostler.CommandRule{
			Name: r.name, Title: hostler.Text{EN: r.en, ZH: r.zh}, Builtin: true,
			Effect: r.effect, Unknown: hostler.UnknownIgnored, Commands: r.commands, Device: r.device,
		}
		if r.unknown {
			out[i].Unknown = hostler.UnknownApplies
		}
		if out[i].Commands == nil {
			out[i].Commands = []string{}
		}
		if out[i].Device == nil {
			out[i].Device = []string{}
		}
	}
	return out
}

type builtinRule struct {
	name    string
	effect  hostler.RuleEffect
	unknown bool // applies also where values are not known
	en, zh  string

	commands, device []string
}

// builtin is the table of the built-in rules.
var builtin = []builtinRule{
	{
		name: "delete-system-files", effect: hostler.RuleRefuse,
		en: "deletes the root file system, a system folder or all home folders", zh: "删除根文件系统、系统目录或全部用户主目录",
		commands: []string{
			"rm -r|-R|--recursive {system}", "rm --no-preserve-root", "srm|shred|wipe -r {system}",
			"rsync --delete|--delete-before|--delete-after|--delete-during * {system}", "rimraf|trash {system}",
		},
	},
	{
		name: "make-filesystem", effect: hostler.RuleRefuse,
		en: "creates a file system or erases the signatures on a disk", zh: "在磁盘上创建文件系统或清除其签名",
		commands: []string{
			"mkfs|mkfs.* {disk}", "mke2fs|mkdosfs|mkntfs|mkswap|mkreiserfs {disk}", "newfs* {disk}",
			"wipefs -a|--all|-o {disk}", "cryptsetup luksFormat|erase|luksErase {disk}", "zpool create {disk}",
			"mdadm --zero-superblock", "mdadm --create|-C {disk}", "nvme format|sanitize", "sg_format",
			"hdparm --security-erase*|--trim-sector-ranges*", "blkdiscard {disk}", "badblocks -w {disk}",
			"sgdisk -Z|-o|--zap-all|--clear|--zap {disk}", "parted mklabel|mktable", "parted {disk} rm",
			"sfdisk --delete|--wipe {disk}", "pvcreate -f|--force {disk}", "btrfs device add {disk}",
		},
	},
	{
		name: "write-disk", effect: hostler.RuleRefuse,
		en: "writes to a disk past its file system", zh: "绕过文件系统直接写入磁盘",
		commands: []string{
			"dd of={disk}", "> {disk}", ">> {disk}", "tee {disk}", "cp|mv|install * {disk}", "shred|wipe|scrub {disk}",
			"truncate {disk}", "cat|pv -o {disk}", "qemu-img convert * {disk}", "xorriso|partclone.* -o {disk}",
			"dcfldd|dc3dd of={disk}", "ddrescue * {disk}",
		},
	},
	{
		name: "change-system-permissions", effect: hostler.RuleRefuse,
		en: "changes the owner or permissions of all system files", zh: "更改全部系统文件的属主或权限",
		commands: []string{
			"chmod|chown|chgrp|chattr|chcon -R|--recursive {system}", "setfacl -R|--recursive {system}",
		},
	},
	{
		name: ForkBomb, effect: hostler.RuleRefuse,
		en: "starts processes without end (fork bomb)", zh: "无限创建进程（fork 炸弹）",
	},
	{
		name: "erase-device", effect: hostler.RuleRefuse,
		en: "erases the configuration or the storage of a network device", zh: "清除网络设备的配置或存储",
		device: []string{
			"wr~ite er~ase", "era~se st~artup-config", "era~se nv~ram:", "era~se nv~ram*", "era~se /all *", "era~se fl~ash*",
			"era~se run~ning-config", "era~se config*", "er~ase boot~flash*", "form~at *:*", "form~at *:", "format flash*",
			"format disk*", "format nvram*", "format cf*", "res~et sav~ed-configuration", "res~et rec~ycle-bin /f",
			"res~et factory-*", "rest~ore factory*", "rest~ore default*", "factory-~reset", "factory-configuration",
			"factory-default*", "req~uest sys~tem zer~oize", "req~uest system recover*", "req~uest system storage zer~oize",
			"req~uest system restore factory*", "load factory-~default", "del~ete /unreserved|/u *:/*.cfg",
			"del~ete /unreserved|/u *.cfg|*.zip|*.conf", "del~ete *flash:config.text", "del~ete *config.text",
			"del~ete *nvram:*", "del~ete *startup-config*", "del~ete *vlan.dat", "del~ete /f~orce /r~ecursive *:",
			"del~ete /force /recursive flash:", "del~ete /r~ecursive /f~orce *:", "rmdir /s *:", "cl~ear conf~ig all",
			"cl~ear config~uration factory", "write def~ault", "zeroize", "sys~tem zer~oize", "initialize", "rest~ore configuration factory*",
			"boot factory*", "erase all*", "delete all-config", "admin clear config*", "execute factoryreset*",
			"execute formatlogdisk", "req~uest load factory*", "debug system factory*", "startup saved-configuration none",
			"undo startup saved-configuration", "undo sta~rtup sav~ed-configuration", "delete configuration all", "res~et all config*",
		},
	},
	{
		name: "restart-host", effect: hostler.RuleApprove,
		en: "stops or restarts the host", zh: "关闭或重启主机",
		commands: []string{
			"shutdown !-c !--help !--show", "reboot|halt|poweroff !--help !--version", "init|telinit 0|6|1|s|single", "systemctl reboot|poweroff|halt|kexec|soft-reboot|emergency|rescue|suspend|hibernate",
			"systemctl isolate|start|default reboot.target|poweroff.target|halt.target|rescue.target|emergency.target|shutdown.target|ctrl-alt-del.target",
			"loginctl reboot|poweroff", ">|>> /proc/sysrq-trigger", "tee /proc/sysrq-trigger",
			"ipmitool chassis power off|cycle|reset|soft", "ipmitool power off|cycle|reset|soft", "ipmitool mc reset",
			"kexec -e|--exec", "grub-reboot", "pm-suspend|pm-hibernate", "rtcwake -m", "busctl call *Reboot*|*PowerOff*",
			"dbus-send *Reboot*|*PowerOff*|*Shutdown*", "esxcli system shutdown|poweroff|reboot", "xe host-reboot|host-shutdown",
			"virsh destroy|shutdown|reboot", "qm stop|shutdown|reboot|reset|destroy",
		},
		device: []string{
			"rel~oad !cancel !can !show", "reb~oot", "boot system now", "req~uest sys~tem reb~oot|halt|po~wer-off|power-cycle", "req~uest vmhost reb~oot|halt|po~wer-off",
			"req~uest chassis routing-engine master sw~itch", "req~uest chassis * offline|restart", "sched~ule reb~oot", "restart", "restart system",
			"hw-module module * rel~oad|reset|shut~down", "hw-module subslot * rel~oad|stop", "hw-module location * rel~oad",
			"redundancy force-sw~itchover", "redundancy switch-activity*", "red~undancy rel~oad *", "res~et slot *", "res~et system", "power off *|slot",
			"slave switchover", "system reload", "admin reboot*", "res~et boot*", "stop system", "halt", "shutdown system",
			"req~uest restart system", "req~uest shutdown system", "execute reboot", "execute shutdown", "system-reboot", "stack reload",
			"install activate|commit reload", "fast-reboot|warm-reboot|cold-reboot",
		},
	},
	{
		name: "cut-access", effect: hostler.RuleApprove,
		en: "stops the services, interfaces, routes or logins that the host is reached through",
		zh: "停用主机的远程访问服务、网络接口、路由或登录",
		commands: []string{
			"systemctl stop|disable|mask|kill {access}", "service {access} stop", "rc-service {access} stop",
			"rc-update del {access}", "chkconfig {access} off", "chkconfig --del {access}", "update-rc.d {access} disable|remove",
			"/etc/init.d/ssh|ssh|sshd|network|networking stop", "ip l|li|lin|link set * down !lo", "ip l|link delete|del eth*|en*|bond*|br0|wlan*",
			"ip a|addr|address flush", "ip r|ro|route flush|f", "ip r|ro|route del|delete|d default|0/0|0.0.0.0/0",
			"ifconfig * down !lo", "ifdown", "route del default", "nmcli networking|n off", "nmcli radio all off",
			"nmcli c|con|connection down|delete|d", "nmcli d|dev|device disconnect|delete", "networkctl down",
			"pkill|killall sshd|sshd*|NetworkManager|dropbear", "killall5", "kill -9 -1", "kill -1|-9|-KILL|-SIGKILL 1", "kill -KILL -1",
			"kill -- -1", "kill -s KILL|SIGKILL -1", "umount -a", "rfkill block all|wifi|wlan", "brctl delbr|delif", "ovs-vsctl del-br",
			"modprobe -r e1000*|virtio_net|ixgbe|bonding|vmxnet3|i40e|mlx5_core", "rmmod e1000*|virtio_net|ixgbe|bonding|vmxnet3|i40e|mlx5_core",
		},
		device: []string{
			"und~o tel~net server*", "und~o telnet server *", "und~o ste~lnet *server*", "und~o stelnet server *", "und~o ssh *server*", "und~o ssh server *",
			"und~o local-u~ser *", "und~o aaa", "und~o user-i~nterface *", "und~o line *", "und~o management*", "und~o interface meth*|m-g*|vlanif*|vlan-interface*",
			"und~o ip address", "und~o netconf *", "und~o snmp-agent", "und~o protocol inbound", "und~o authentication-mode", "undo public-key local*", "und~o rsa local-key-pair",
			"no ip ssh *", "no ip ssh", "no ssh server*", "no ssh *", "no username *", "no user *", "no line v~ty *", "no aaa new-m~odel", "no crypto key *", "cry~pto key zer~oize *",
			"cry~pto key zer~oize", "no management *", "no feature ssh", "no feature telnet", "no interface mgmt*|management*", "no enable service *", "no ip http secure-server*",
			"transport input none", "tran~sport inp~ut none", "no transport input", "del~ete system services", "del~ete system services ssh|netconf ...", "del~ete system login ...", "del~ete system root-auth~entication ...",
			"del~ete system services telnet", "deactivate system services ...", "deactivate system login ...", "del~ete interfaces fxp0|me0|em0|vme ...", "disable interfaces fxp0|me0 ...", "management ssh shutdown", "ip ssh shutdown",
		},
	},
	{
		name: "open-firewall", effect: hostler.RuleApprove,
		en: "removes all firewall rules, or blocks everything", zh: "清空全部防火墙规则或阻断全部流量",
		commands: []string{
			"iptables|ip6tables|iptables-legacy|iptables-nft|ebtables|arptables -F|-X|--flush|--delete-chain", "iptables|ip6tables|iptables-nft|iptables-legacy -P|--policy INPUT|OUTPUT|FORWARD DROP|REJECT",
			"nft flush ruleset|table|chain", "nft delete table", "ufw reset|disable", "ufw default deny outgoing", "firewall-cmd --panic-on",
			"ipset flush|destroy", "ipset -F|-X", "pfctl -F", "systemctl stop|disable|mask firewalld|firewalld.service|iptables|nftables|ufw",
			"service iptables|firewalld|ufw|nftables stop", "iptables-restore /dev/null", "setenforce 0", "ipvsadm -C|--clear",
		},
		device: []string{
			"no access-list *", "no ip access-list *", "no ip access-list * *", "und~o acl all", "und~o firewall *", "no firewall *", "del~ete firewall ...", "del~ete security policies ...", "no ip access-group *", "und~o traffic-filter *", "und~o security-policy",
		},
	},
	{
		name: RemoteScript, effect: hostler.RuleApprove,
		en: "runs a downloaded text without a look at it (curl … | sh)", zh: "直接执行下载的内容（curl … | sh）",
	},
	{
		name: "generated-script", effect: hostler.RuleApprove,
		en: "runs a text that a decoder prints (base64 -d | sh)", zh: "执行解码得到的内容（base64 -d | sh）",
	},
	{
		name: "delete-account", effect: hostler.RuleApprove,
		en: "deletes or locks accounts, or overwrites the files of accounts and mounts", zh: "删除或锁定账号，或覆盖账号、挂载配置文件",
		commands: []string{
			"userdel|deluser|groupdel|delgroup", "passwd -l|-d|--lock|--delete root", "usermod -L|--lock root", "usermod -s|--shell *nologin*|*false* root",
			"chage -E 0 root", "> {account}", "mv|cp /dev/null {account}", "mv {account}", "rm {account}", "truncate {account}", "shred {account}",
			"dd of={account}", "crontab -r", "pw userdel|groupdel",
		},
	},
	{
		name: "drop-database", effect: hostler.RuleApprove,
		en: "deletes a database or all data in it", zh: "删除数据库或其中全部数据",
		commands: []string{
			"sql drop database|schema|keyspace|tablespace|table|user|role", "sql truncate", "sql alter drop column|partition", "sql reset master", "sql shutdown",
			"dropdb|dropuser", "mysqladmin drop|shutdown", "mongo|mongosh|mongo* *dropdatabase*|*.drop(*|*deletemany(?})*|*remove(?})*|*shutdownserver*", "redis-cli|valkey-cli|keydb-cli flushall|flushdb|shutdown|*flushall*|*flushdb*",
			"etcdctl del --prefix|--from-key", "influx delete|drop", "curl -X|--request delete|*delete *:9200*|*_all*",
			"pg_resetwal|pg_dropcluster", "rabbitmqctl reset|force_reset|delete_vhost", "kafka-topics|kafka-topics.sh --delete", "nodetool decommission|removenode", "consul kv delete -recurse",
			"rm -r|-R|--recursive /var/lib/mysql*|/var/lib/postgresql*|/var/lib/pgsql*|/var/lib/mongo*|/var/lib/redis*|/var/lib/etcd*|/var/lib/docker*|/var/lib/kubelet*|/var/lib/elasticsearch*",
		},
	},
	{
		name: "delete-volume", effect: hostler.RuleApprove,
		en: "deletes volumes, partitions, pools or snapshots", zh: "删除卷、分区、存储池或快照",
		commands: []string{
			"lvremove|vgremove|pvremove", "zpool destroy|labelclear|export", "zfs destroy|rollback", "mdadm --stop|-S|--fail|--remove", "btrfs subvolume delete", "dmsetup remove_all|wipe_table|remove", "cryptsetup luksRemoveKey|luksKillSlot",
			"fdisk|gdisk|cfdisk|sfdisk|sgdisk|parted {disk} !-l !--list !-p !print !-d !--dump", "ceph osd destroy|purge|rm|out", "ceph osd pool delete|rm", "rbd rm|remove", "gluster volume delete|stop", "multipath -F", "megacli *-CfgClr*|*-CfgLdDel*", "storcli|storcli64 delete", "losetup -D",
			"swapoff -a", "xfs_repair -L", "fsck|fsck.*|e2fsck -y|-f {disk}", "tune2fs -O {disk}", "resize2fs -M {disk}",
		},
	},
	{
		name: "move-system-files", effect: hostler.RuleApprove,
		en: "moves system folders away or removes their files one by one", zh: "移走系统目录或逐个删除其中的文件",
		commands: []string{
			"mv {system} *", "mv * /dev/null", "rm !-r !-R !--recursive {system}", "chattr +i {system}", "mount --bind /dev/null *", "ln -f|--force /dev/null {account}", "chmod !-R !--recursive 000|0|777|0777|a-rwx {system}", "chmod -x|-rwx|-r /bin/*|/usr/bin/*|/sbin/*", "truncate /etc/*|/boot/*|/lib/*", "pivot_root",
			"> /dev/mem|/dev/kmem|/dev/port", "dd of=/dev/mem|of=/dev/kmem|of=/dev/port",
		},
	},
	{
		name: "remove-core-packages", effect: hostler.RuleApprove,
		en: "removes packages without which the host does not work", zh: "卸载系统运行所必需的软件包",
		commands: []string{
			"apt|apt-get|aptitude remove|purge|autoremove systemd*|libc6*|openssh*|linux-image*|coreutils|bash|sudo|dpkg|apt|network-manager|netplan*|ifupdown|python3|grub*",
			"dpkg -r|-P|--purge|--remove|--force-* systemd*|libc6*|openssh*|linux-image*|coreutils|bash|sudo|dpkg|apt|network-manager|python3|grub*",
			"yum|dnf|microdnf|zypper|tdnf remove|erase|autoremove|rm systemd*|glibc*|openssh*|kernel*|coreutils|bash|sudo|rpm|yum|dnf|NetworkManager*|python3|grub*",
			"rpm -e|--erase|--nodeps systemd*|glibc*|openssh*|kernel*|coreutils|bash|sudo|rpm|NetworkManager*|python3|grub*", "apk del busybox|musl|openssh*|openrc|alpine-base", "pacman -R|-Rs|-Rdd systemd|glibc|linux|openssh|bash|coreutils",
		},
	},
	{
		name: "delete-cluster", effect: hostler.RuleApprove,
		en: "deletes clusters, namespaces, all containers or cloud resources", zh: "删除集群、命名空间、全部容器或云资源",
		commands: []string{
			"kubectl|oc delete ns|namespace|namespaces|node|nodes|no|pv|pvc|crd|project|clusterrole", "kubectl|oc delete --all|-A|--all-namespaces", "kubectl|oc drain", "kubeadm reset", "helm|helm3 uninstall|delete|del|un", "docker|podman|nerdctl system prune -a|--all|--volumes",
			"docker|podman|nerdctl volume rm|prune|remove", "docker|podman swarm leave --force|-f", "docker stack|service rm", "docker-compose|podman-compose down -v|--volumes", "docker compose down -v|--volumes", "terraform|tofu|terragrunt destroy", "terraform|tofu apply -destroy|--destroy", "pulumi destroy", "vagrant destroy",
			"aws ec2 terminate-instances", "aws s3 rb", "aws s3 rm --recursive", "aws rds delete-db-instance|delete-db-cluster", "gcloud * delete", "az group|vm delete", "eksctl delete", "k3s-uninstall.sh|rke2-uninstall.sh", "gsutil rm -r|-R", "virsh undefine|vol-delete|pool-delete", "mc rb|rm --force|--recursive", "openstack server|volume delete", "aliyun * DeleteInstance*|Delete*", "vmctl|vim-cmd vmsvc/destroy|vmsvc/power.off",
		},
	},
	{
		name: "replace-configuration", effect: hostler.RuleApprove,
		en: "deletes or replaces large parts of a device's configuration", zh: "删除或整体替换网络设备的配置",
		device: []string{
			"del~ete $", "load ov~erride *", "load rep~lace *", "load update *", "conf~igure rep~lace *", "rollback configuration *", "roll~back running-config *", "cl~ear configuration *", "del~ete interfaces $", "del~ete protocols ...", "del~ete routing-options ...", "del~ete policy-options $", "del~ete vlans $", "del~ete system $",
			"del~ete security $", "del~ete groups $", "wildcard delete ...", "no router *", "no router * *", "und~o bgp *", "und~o ospf *", "und~o isis *", "und~o mpls", "und~o vlan all", "und~o vlan batch *", "no vlan 1-*", "no vlan 2-*", "no vlan all", "und~o interface *", "no interface *",
			"no ip routing", "no ip route 0.0.0.0 *", "no ip route 0.0.0.0 0.0.0.0 *", "no ip route 0.0.0.0/0 *", "und~o ip route-static 0.0.0.0 *", "und~o ip route-static all", "no ip address", "no spanning-tree", "no spanning-tree *", "und~o stp enable", "und~o stp global enable", "stp disable", "no vtp *", "vtp mode server", "default int~erface *", "cl~ear configuration this",
			"no boot system *", "no boot system", "und~o startup system-software *", "und~o irf *", "no stack-*", "no switch * provision *", "cl~ear ip bgp *", "cl~ear bgp *", "res~et bgp all", "res~et ospf process", "res~et ospf * process", "cl~ear ip ospf process", "cl~ear ip route *", "res~et ip routing-table *", "deb~ug all", "debugging all", "debug ip packet",
		},
	},
	{
		name: "delete-device-files", effect: hostler.RuleApprove,
		en: "deletes files of a network device for good", zh: "永久删除网络设备上的文件",
		device: []string{
			"del~ete /unr~eserved *", "del~ete /u *", "del~ete /f~orce *", "del~ete /r~ecursive *", "del~ete *.bin|*.cc|*.swi|*.img|*.ipe|*.app", "res~et rec~ycle-bin", "res~et rec~ycle-bin *", "sq~ueeze *", "file del~ete *", "file delete-directory *", "req~uest system storage clean~up ...", "req~uest system software del~ete *", "req~uest system snapshot delete *", "rmdir *",
			"era~se *:", "partition *", "fdisk *", "cl~ear logging $", "cl~ear log *",
		},
	},
	{
		name: TooComplex, effect: hostler.RuleApprove, unknown: true,
		en: "is too long or nested too deeply to be judged", zh: "过长或嵌套过深，无法判断",
	},
	{
		name: UnknownCommand, effect: hostler.RuleOff, unknown: true,
		en: "runs a command that is not known before it runs", zh: "执行运行前无法得知的命令",
	},
}
