#!/usr/bin/php
<?php // zoo: core; PHPMailer
require "/usr/share/php/libphp-phpmailer/autoload.php";
$m = new PHPMailer\PHPMailer\PHPMailer(true);
$m->isSMTP();
$m->Host = getenv("ZOO_HOST"); $m->Port = (int) getenv("ZOO_PORT"); $m->Hostname = "client.example.com"; $m->SMTPAutoTLS = false; $m->Timeout = 10;
if (getenv("ZOO_USER")) { $m->SMTPAuth = true; $m->Username = getenv("ZOO_USER"); $m->Password = getenv("ZOO_PASSWORD"); }
$m->setFrom(getenv("ZOO_FROM")); $m->addAddress(getenv("ZOO_TO1")); $m->addAddress(getenv("ZOO_TO2"));
$m->Subject = "zoo"; $m->Body = "one\n.two\n..three\n";
try { $m->send(); } catch (Exception $e) { echo $e->getMessage(), "\n"; exit(1); }
