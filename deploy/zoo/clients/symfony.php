#!/usr/bin/php -dextension=mbstring.so
<?php // zoo: Symfony Mailer
require "Symfony/Component/Mailer/autoload.php";
$t = new Symfony\Component\Mailer\Transport\Smtp\EsmtpTransport(getenv("ZOO_HOST"), (int) getenv("ZOO_PORT"), false);
$t->setLocalDomain("client.example.com"); $t->getStream()->setTimeout(10);
if (getenv("ZOO_USER")) { $t->setUsername(getenv("ZOO_USER")); $t->setPassword(getenv("ZOO_PASSWORD")); }
try {
    $t->send(new Symfony\Component\Mime\RawMessage(file_get_contents(getenv("ZOO_MESSAGE"))), new Symfony\Component\Mailer\Envelope(
        new Symfony\Component\Mime\Address(getenv("ZOO_FROM")), [new Symfony\Component\Mime\Address(getenv("ZOO_TO1")), new Symfony\Component\Mime\Address(getenv("ZOO_TO2"))]));
} catch (Exception $e) { echo $e->getMessage(), "\n"; exit(1); }
