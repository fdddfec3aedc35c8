#!/bin/bash
# MIME::Lite 3.033 sends a message whose last line ends with CR CR LF, and no other line
# does, although the text that it was given ends every line with LF alone. If the text
# ends its lines with CRLF already, the last line ends with three CRs.
#
# Why it matters here: CR CR LF is not only the mark of programs that translate line ends
# twice. This sender makes it of correct text, once in a message, at the place
# where the end of the message follows: the octets on the wire are CR CR LF . CR LF.
# Whatever makes a blank of the first CR changes every message of this sender, and
# whatever looks for stray CRs to refuse refuses every message of it. So a run of CRs
# before LF is one line end for the rule stray-bytes.
#
# Seen with libmime-lite-perl 3.033-1 and libemail-date-format-perl 1.008-1 of Debian 12,
# perl 5.36.0, Net::SMTP 3.14. Needs Debian 12 with perl and the network.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 .
apt-get download -qq -o APT::Sandbox::User=root libmime-lite-perl=3.033-1 libemail-date-format-perl=1.008-1
for package in *.deb; do dpkg -x "$package" packages; done

# send sends a text by MIME::Lite, and prints what stands behind DATA on the wire from
# the line "one" on.
send() {
    TEXT=$1 perl -Ipackages/usr/share/perl5 -MMIME::Lite -MNet::SMTP -MIO::Socket::INET -e '
        my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1) or die;
        my $port = $listener->sockport;
        alarm 30;
        if (fork == 0) {
            MIME::Lite->new(From => "anna\@example.com", To => "ben\@example.net", Subject => "x", Data => $ENV{TEXT})
                ->send("smtp", "127.0.0.1", Port => $port, Hello => "client.example.com");
            exit;
        }
        my $client = $listener->accept;
        my $say = sub { print $client "$_[0]\r\n"; $client->flush };
        $say->("220 mail.example.com ESMTP");
        while (my $line = <$client>) {
            if ($line =~ /^QUIT/i) { $say->("221 bye"); last }
            if ($line !~ /^DATA/i) { $say->("250 ok"); next }
            $say->("354 go ahead");
            my $text = "";
            while ($line = <$client>) { $text .= $line; last if $line eq ".\r\n" }
            $text =~ s/.*?(?=^one)//ms;
            $text =~ s/\r/\\r/g;
            $text =~ s/\n/\\n/g;
            print "$text\n";
            $say->("250 ok");
        }
        wait'
}

perl -Ipackages/usr/share/perl5 -MMIME::Lite -MNet::SMTP -e \
    'printf "MIME::Lite %s, Net::SMTP %s, perl %vd\n", $MIME::Lite::VERSION, $Net::SMTP::VERSION, $^V'
status=0
check() {
    local got
    got=$(send "$2")
    printf '%s: %s\n' "$1" "$got"
    [ "$got" = "$3" ] || { printf '  not as seen: %s\n' "$3"; status=1; }
}
check 'lines end with LF' $'one\ntwo\n' 'one\r\ntwo\r\r\n.\r\n'
check 'lines end with CRLF' $'one\r\ntwo\r\n' 'one\r\ntwo\r\r\r\n.\r\n'
check 'no end at the last line' $'one\ntwo' 'one\r\ntwo\r\n.\r\n'
exit $status
