#!/bin/bash
# msmtp 1.8.23 and swaks 20201014.0 give up a login when a server's challenge is empty and
# its reply is "334" without the blank behind it. With the blank they go on.
#
# RFC 4954, 4 wants the blank, and a text that may be empty; RFC 5321, 4.2 has a reply be a
# code alone too, and servers that trim their lines say that.
#
# Why it matters here: smtpshim gives clients 334 of its own, with an empty challenge where
# AUTH NTLM or AUTH PLAIN has nothing behind it. A blank that is lost on the way, by a rule
# that tidies replies for example, would end the logins of these two.
#
# Seen with msmtp 1.8.23-1, libgsasl18 2.2.0-1+deb12u2, swaks 20201014.0-2 and
# libauthen-ntlm-perl 1.09-1.1 of Debian 12. Needs Debian 12 with perl and the network.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 .
apt-get download -qq -o APT::Sandbox::User=root msmtp=1.8.23-1 libgsasl18=2.2.0-1+deb12u2 libntlm0=1.6-4 libidn12=1.41-1 \
    libsecret-1-0=0.20.5-3 swaks=20201014.0-2 libauthen-ntlm-perl=1.09-1.1
for package in *.deb; do dpkg -x "$package" packages; done
export PATH=$dir/packages/usr/bin:$PATH LD_LIBRARY_PATH=$dir/packages/usr/lib/x86_64-linux-gnu PERL5LIB=$dir/packages/usr/share/perl5

# behind starts a server and has a client log in to it by NTLM, and prints what the client
# says behind AUTH, with the server's first reply to that. @PORT@ in the client's command
# is the server's.
behind() {
    REPLY="$1" perl -MIO::Socket::INET -e '
        my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1) or die;
        my $port = $listener->sockport;
        alarm 60;
        if (fork == 0) {
            open STDIN, "<", "/dev/null";
            open STDOUT, ">", "/dev/null";
            open STDERR, ">", "/dev/null";
            s/\@PORT\@/$port/ for @ARGV;
            exec @ARGV;
        }
        my $client = $listener->accept;
        my $say = sub { print $client "$_[0]\r\n"; $client->flush };
        my $in = 0;
        my $heard = "nothing";
        $say->("220 mail.example.com ESMTP");
        while (my $line = <$client>) {
            $line =~ s/\r?\n//;
            if ($line =~ /^EHLO/i) { $say->("250-mail.example.com\r\n250 AUTH NTLM"); next }
            if ($line =~ /^AUTH/i) { $in = 1; $say->($ENV{REPLY}); next }
            if ($line =~ /^QUIT/i) { $heard = "QUIT" if $in; $say->("221 bye"); last }
            if ($in) { $heard = substr $line, 0, 16; $say->("535 5.7.8 no"); last }
            $say->("250 ok");
        }
        close $client;
        print "$heard\n";
        wait' "${@:2}"
}

msmtp --version | head -n 1
swaks --version | head -n 1
status=0
check() {
    local got
    got=$(behind "$2" "${@:4}")
    printf '%s, "%s": %s\n' "$1" "$2" "$got"
    [ "$got" = "$3" ] || { printf '  not as seen: %s\n' "$3"; status=1; }
}
msmtp=(msmtp --file=/dev/null --host=127.0.0.1 --port=@PORT@ --tls=off --auth=ntlm --user=anna '--passwordeval=echo made-up' -f anna@example.com ben@example.net)
swaks=(swaks --server 127.0.0.1 --port @PORT@ --auth NTLM --auth-user anna --auth-password made-up --from anna@example.com --to ben@example.net)
check msmtp '334 ' TlRMTVNTUAABAAAA "${msmtp[@]}"
check msmtp '334' nothing "${msmtp[@]}"
check swaks '334 ' TlRMTVNTUAABAAAA "${swaks[@]}"
check swaks '334' QUIT "${swaks[@]}"
exit $status
