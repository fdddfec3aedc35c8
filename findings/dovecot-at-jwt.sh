#!/bin/bash
# Dovecot 2.3.19.1 refuses an access token that says of itself what RFC 9068 wants: a JWT
# with "typ": "at+jwt" in its header. Its log says then "Cannot find 'typ' field", as for a
# token without one, which it refuses too. The same token with "typ": "JWT" logs in.
#
# RFC 9068, 2.1 has JWT access tokens carry at+jwt, so that nobody takes another JWT for
# one, and RFC 7519, 5.1 leaves typ to those who want it. Dovecot 2.3 takes tokens apart
# by itself where introspection_mode is "local", and knows the type JWT alone.
#
# Why it matters here: smtpshim logs in for clients by OAUTHBEARER and XOAUTH2, also at
# servers with Dovecot behind them. On the wire the refusal looks like that of a wrong
# token, and the log leads to a field that is there.
#
# Seen with dovecot-core 1:2.3.19.1+dfsg1-2.1+deb12u7 of Debian 12. Needs Debian 12 with
# perl, openssl and the network, and root (for a mount namespace of its own).
set -euo pipefail

dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait; rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 .
apt-get download -qq -o APT::Sandbox::User=root dovecot-core=1:2.3.19.1+dfsg1-2.1+deb12u7 libsodium23=1.0.18-1+deb12u1 libunwind8=1.6.2-3
for package in *.deb; do dpkg -x "$package" packages; done

mkdir -p run state keys/default/RS256
openssl genrsa -out key.pem 2048 2>/dev/null
openssl rsa -in key.pem -pubout -out keys/default/RS256/default 2>/dev/null
cat >oauth2.conf <<END
introspection_mode = local
local_validation_key_dict = fs:posix:prefix=$dir/keys/
username_attribute = email
END
cat >dovecot.conf <<END
base_dir = $dir/run
state_dir = $dir/state
log_path = $dir/log
auth_debug = yes
ssl = no
default_internal_user = mail
default_internal_group = mail
default_login_user = nobody
protocols = none
auth_mechanisms = oauthbearer
passdb {
  driver = oauth2
  mechanisms = oauthbearer
  args = $dir/oauth2.conf
}
service auth {
  unix_listener $dir/auth {
    mode = 0666
  }
}
END
# Dovecot looks for its programs where the package has them.
unshare -m sh -c "mount -t overlay overlay -o lowerdir=$dir/packages/usr:/usr /usr && exec dovecot -F -c $dir/dovecot.conf" &
server=$!
for _ in $(seq 100); do
    [ ! -S auth ] || break
    sleep 0.1
done

text() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# token makes a JWT with a header.
token() {
    local head body
    head=$(printf %s "$1" | text)
    body=$(printf '{"sub":"anna","email":"anna@example.com","iat":%d,"exp":%d}' "$(date +%s)" "$(($(date +%s) + 600))" | text)
    printf '%s.%s.%s' "$head" "$body" "$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -sign key.pem | text)"
}

# login says what Dovecot answers to OAUTHBEARER (RFC 7628) with a token.
login() {
    local response
    response=$(printf 'n,a=anna@example.com,\001auth=Bearer %s\001\001' "$1" | openssl base64 -A)
    perl -MIO::Socket::UNIX -e '
        alarm 30;
        my $auth = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "no auth socket\n";
        print $auth "VERSION\t1\t1\nCPID\t$$\nAUTH\t1\tOAUTHBEARER\tservice=smtp\tsecured\tresp=$ARGV[1]\n";
        $auth->flush;
        while (<$auth>) {
            if (/^(OK|FAIL)\t/) { print "$1\n"; last }
            if (/^CONT\t/) { print $auth "CONT\t1\tAQ==\n"; $auth->flush }
        }' "$dir/auth" "$response"
}

unshare -m sh -c "mount -t overlay overlay -o lowerdir=$dir/packages/usr:/usr /usr && exec dovecot --version"
status=0
check() {
    local got
    got=$(login "$(token "$1")")
    printf '%s: %s\n' "$1" "$got"
    [ "$got" = "$2" ] || { printf '  not as seen: %s\n' "$2"; status=1; }
}
check '{"alg":"RS256","typ":"JWT"}' OK
check '{"alg":"RS256"}' FAIL
check '{"alg":"RS256","typ":"at+jwt"}' FAIL
said=$(grep -c "Cannot find 'typ' field" log || true)
printf "in the log, \"Cannot find 'typ' field\": %s times\n" "$said"
[ "$said" = 2 ] || { echo '  not as seen: 2'; status=1; }
exit $status
