#!/usr/bin/php -dextension=mbstring.so
<?php // zoo: Swift Mailer
error_reporting(0);
require "Egulias/EmailValidator/autoload.php";
require "Swift/swift_required.php";
$t = new Swift_SmtpTransport(getenv("ZOO_HOST"), (int) getenv("ZOO_PORT"));
$t->setTimeout(9)->setLocalDomain("client.example.com");
if (getenv("ZOO_USER")) $t->setUsername(getenv("ZOO_USER"))->setPassword(getenv("ZOO_PASSWORD"));
$m = (new Swift_Message("zoo"))->setFrom(getenv("ZOO_FROM"))->setTo([getenv("ZOO_TO1"), getenv("ZOO_TO2")])->setBody("one\n.two\n..three\n");
try {
    $m = (new Swift_Mailer($t))->send($m);
    exit($m > 0 ? 0 : 1);
} catch (Exception $e) { echo $e->getMessage(), "\n"; exit(1); }
