#!/usr/bin/php -dextension=mbstring.so
<?php // zoo: Horde's Smtp
error_reporting(0);
spl_autoload_register(function ($class) { @include_once strtr($class, "_\\", "//") . ".php"; });
$config = ["host" => getenv("ZOO_HOST"), "port" => (int) getenv("ZOO_PORT"), "localhost" => "client.example.com", "secure" => false, "timeout" => 9];
if (getenv("ZOO_USER")) $config += ["username" => getenv("ZOO_USER"), "password" => getenv("ZOO_PASSWORD")];
try {
    $s = new Horde_Smtp($config);
    $s->send(getenv("ZOO_FROM"), [getenv("ZOO_TO1"), getenv("ZOO_TO2")], str_replace("\n", "\r\n", file_get_contents(getenv("ZOO_MESSAGE"))));
    $s->logout();
} catch (Exception $e) { echo $e->getMessage(), "\n"; exit(1); }
