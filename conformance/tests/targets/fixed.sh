#!/bin/sh
# A stand-in for papayaChat, for the tests: it keeps to all that the manifest tells of that program
# from outside (fixed paths, fixed port, no arguments, a launcher that always exits 0), and lets the
# reference server, which lies beside it, do the work.
port=$(sed -n 's/^PORT //p' /etc/papayachat/server.config)
umask 077
sed -n 's/^KEY //p' /etc/papayachat/key | tr -d '\n' > /var/lib/papayachat/key
[ -f /usr/local/bin/papayachat/termHandlerAsyncSafe.bin ] || exit 0
"${0%/*}/chatd" --daemon --pid-file /var/lib/papayachat/pid --log-to syslog \
    --listen "127.0.0.1:$port" --key-file /var/lib/papayachat/key \
    --log /var/lib/papayachat/papayachat.chat > /dev/null 2>&1
exit 0
