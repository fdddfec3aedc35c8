#!/usr/bin/php -derror_reporting=0
<?php // zoo: PEAR's Net_SMTP, with pipelining
require_once "Net/SMTP.php";
function check($r) { if (PEAR::isError($r)) { echo $r->getMessage(), "\n"; exit(1); } }
$s = new Net_SMTP(getenv("ZOO_HOST"), getenv("ZOO_PORT"), "client.example.com", true, 10);
check($s->connect(10));
if (getenv("ZOO_USER")) check($s->auth(getenv("ZOO_USER"), getenv("ZOO_PASSWORD"), "", false));
check($s->mailFrom(getenv("ZOO_FROM")));
check($s->rcptTo(getenv("ZOO_TO1")));
check($s->rcptTo(getenv("ZOO_TO2")));
check($s->data(file_get_contents(getenv("ZOO_MESSAGE"))));
$s->disconnect();
