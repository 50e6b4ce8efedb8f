//! What starts in an image that is built here.

use crate::guest;

/// The label of a full image's file system.
pub(crate) const ROOT_LABEL: &str = "forkproof-root";

/// init of a tiny image.
pub(super) fn init() -> String {
    format!(
        r#"#!/bin/busybox sh
# forkproof's agent: the first and only service of this machine.
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
PATH=/bin
export PATH
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
exec < /dev/console > /dev/console 2>&1
while read -r module; do insmod "/modules/$module"; done < /modules/order
ip link set lo up
hostname forkproof
# As systemd does it: a 64-bit kernel starts with 32768, and a 32-bit one can have no more.
echo 4194304 > /proc/sys/kernel/pid_max 2> /dev/null
cat > /agent <<'END'
{}END
sh /agent
poweroff -f
"#,
        guest::bootstrap()
    )
}

/// The agent of a full image.
pub(super) fn agent() -> String {
    guest::user_data()
}

/// Its unit. After everything else has started, as it is on a machine that people use.
pub(super) const UNIT: &str = "\
[Unit]
Description=forkproof's agent
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/bin/sh /usr/local/sbin/forkproof-agent
TasksMax=infinity

[Install]
WantedBy=multi-user.target
";
