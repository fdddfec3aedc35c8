"""Lets Cyrus SASL be one side of an exchange, over standard input and output.

    cyrus.py server MECHANISM USER PASSWORD FOLDER
    cyrus.py client MECHANISM USER PASSWORD

A line is a message in base64, and "-" where there is none. The server's last line
is "ok USER" or "no CODE"; the client's, "no CODE", comes if it cannot go on. FOLDER
is where the server keeps its database of passwords.
"""
import base64
import ctypes as c
import os
import sys

OK, CONTINUE = 0, 1
CREATE = 1  # SASL_SET_CREATE
USERNAME = 0  # SASL_USERNAME
CB_END, CB_GETOPT, CB_USER, CB_AUTHNAME, CB_PASS = 0, 1, 0x4001, 0x4002, 0x4004

sasl = c.CDLL("libsasl2.so.2")
GETOPT = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.c_char_p, c.POINTER(c.c_char_p), c.POINTER(c.c_uint))
SIMPLE = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int, c.POINTER(c.c_char_p), c.POINTER(c.c_uint))
SECRET = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_int, c.POINTER(c.c_void_p))


class Callback(c.Structure):
    _fields_ = [("id", c.c_ulong), ("proc", c.c_void_p), ("context", c.c_void_p)]


def callbacks(**procs):
    known = dict(getopt=CB_GETOPT, user=CB_USER, authname=CB_AUTHNAME, secret=CB_PASS)
    rows = [Callback(known[name], c.cast(f, c.c_void_p), None) for name, f in procs.items()]
    return (Callback * (len(rows) + 1))(*rows, Callback(CB_END, None, None))


def say(message):
    print("-" if message is None else base64.b64encode(message).decode(), flush=True)


def hear():
    line = sys.stdin.readline()
    if not line:
        sys.exit("nothing more was said")
    line = line.strip()
    return None if line == "-" else base64.b64decode(line)


def taken(out, length):
    return c.string_at(out, length.value) if out.value is not None else None


def main(side, mechanism, user, password, folder=None):
    mechanism, user, password = mechanism.encode(), user.encode(), password.encode()
    conn, out, length = c.c_void_p(), c.c_void_p(), c.c_uint()
    if side == "server":
        options = {b"auxprop_plugin": b"sasldb", b"sasldb_path": os.path.join(folder, "sasldb2").encode(),
                   b"pwcheck_method": b"auxprop", b"log_level": b"0"}

        @GETOPT
        def getopt(context, plugin, option, result, size):
            if option not in options:
                return -1
            result[0] = options[option]
            if size:
                size[0] = len(options[option])
            return OK

        table = callbacks(getopt=getopt)
        check("init", sasl.sasl_server_init(table, b"peer"))
        check("new", sasl.sasl_server_new(b"smtp", b"mail.example.com", b"example.com", None, None, table, 0, c.byref(conn)))
        check("setpass", sasl.sasl_setpass(conn, user, password, len(password), None, 0, CREATE))
        got = hear()
        code = sasl.sasl_server_start(conn, mechanism, got, len(got or b""), c.byref(out), c.byref(length))
        while code == CONTINUE:
            say(taken(out, length) or b"")
            got = hear()
            code = sasl.sasl_server_step(conn, got, len(got), c.byref(out), c.byref(length))
        if code != OK:
            print("no", code, flush=True)
            return
        name = c.c_void_p()
        check("getprop", sasl.sasl_getprop(conn, USERNAME, c.byref(name)))
        print("ok", c.string_at(name.value).decode(), flush=True)
        return

    @SIMPLE
    def simple(context, id, result, size):
        result[0] = user
        if size:
            size[0] = len(user)
        return OK

    held = c.create_string_buffer(len(password).to_bytes(c.sizeof(c.c_ulong), sys.byteorder) + password)

    @SECRET
    def secret(conn, context, id, result):
        result[0] = c.addressof(held)
        return OK

    table = callbacks(user=simple, authname=simple, secret=secret)
    check("init", sasl.sasl_client_init(table))
    check("new", sasl.sasl_client_new(b"smtp", b"mail.example.com", None, None, table, 0, c.byref(conn)))
    chosen = c.c_char_p()
    code = sasl.sasl_client_start(conn, mechanism, None, c.byref(out), c.byref(length), c.byref(chosen))
    while code in (OK, CONTINUE):
        say(taken(out, length))
        got = hear()
        code = sasl.sasl_client_step(conn, got, len(got), None, c.byref(out), c.byref(length))
    print("no", code, flush=True)


def check(what, code):
    if code != OK:
        sys.exit("%s: %d" % (what, code))


main(*sys.argv[1:])
