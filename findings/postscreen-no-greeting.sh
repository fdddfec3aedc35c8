#!/bin/bash
# A client that says EHLO before Postfix' postscreen has greeted it gets no greeting at all
# where postscreen_greet_action is "enforce": behind the "220-" line of the teaser banner
# comes the reply to EHLO. A client that waits gets its 220 behind the teaser.
#
# RFC 5321, 3.1 and 4.3.2 have a server begin with 220 or 554; "220-" has to be followed
# by a line "220 ", and never is here. postconf(5) has it that "enforce" goes on with other
# tests and refuses RCPT with 550, and says nothing of the greeting.
#
# Why it matters here: whoever stands between and waits for a whole greeting before
# it passes on a command of an early client waits for ever, though the server has gone on;
# and who reads replies by their lines finds two codes in one.
#
# Seen with postfix 3.7.11-0+deb12u1 of Debian 12. Needs Debian 12 with perl and the
# network, and root (for a mount namespace of its own).
set -euo pipefail

dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait; rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 .
apt-get download -qq -o APT::Sandbox::User=root postfix=3.7.11-0+deb12u1 libdb5.3=5.3.28+dfsg2-1 libicu72=72.1-3+deb12u1
for package in *.deb; do dpkg -x "$package" packages; done
port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)->sockport')

mkdir etc data queue
cat >etc/main.cf <<CF
compatibility_level = 3.6
queue_directory = $dir/queue
data_directory = $dir/data
maillog_file_prefixes = /
maillog_file = $dir/log
mail_owner = mail
setgid_group = utmp
myhostname = mail.example.com
mydestination =
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
smtpd_recipient_restrictions = permit_mynetworks, reject
postscreen_access_list =
postscreen_cache_map =
postscreen_dnsbl_sites =
postscreen_greet_action = enforce
postscreen_greet_wait = 2s
postscreen_greet_banner = wait a bit
CF
chown mail data
install -d -o mail queue/{private,public,active,deferred,incoming,maildrop,pid,hold,defer,bounce,corrupt,saved,flush,trace}
chgrp utmp queue/{public,maildrop}
cat >etc/master.cf <<CF
127.0.0.1:$port inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
dnsblog unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy
postlog unix-dgram n - n - 1 postlogd
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
CF

# Postfix looks for its programs and libraries where packages have them.
unshare -m sh -c "mount -t overlay overlay -o lowerdir=$dir/packages/usr:/usr /usr && exec /usr/lib/postfix/sbin/master -d -c $dir/etc" 2>master &
server=$!

# first says what a client is told until the reply to EHLO ends, or the session does:
# early, where EHLO goes at once, or in time, where it goes behind a whole greeting.
first() {
    perl -MIO::Socket::INET -e '
        my ($port, $when) = @ARGV;
        alarm 60;
        my $server;
        for (1 .. 200) {
            last if $server = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port");
            select undef, undef, undef, 0.1;
        }
        print $server "EHLO client.example.com\r\n" if $when eq "early";
        while (<$server>) {
            s/\r?\n//;
            next if /^250-(?!mail)/;
            print "$_; ";
            print $server "EHLO client.example.com\r\n" if /^220 /;
            last if /^(250|[45]..) /;
        }' "$port" "$1"
}

status=0
check() {
    local got
    got=$(first "$1")
    printf 'EHLO %s: %s\n' "$1" "$got"
    [ "$got" = "$2" ] || { printf '  not as seen: %s\n' "$2"; status=1; }
}
dpkg-deb -f postfix_*.deb Version
check "in time" '220-wait a bit; 220 mail.example.com ESMTP Postfix; 250-mail.example.com; 250 CHUNKING; '
check early '220-wait a bit; 250-mail.example.com; 250 CHUNKING; '
[ $status = 0 ] || cat master log
exit $status
