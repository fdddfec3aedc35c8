package main

import (
	"bufio"
	endian "encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// holderOf returns the process that listens on an address, its name, and whether it is a
// running smtpshim, other than "demo -listen" and "probe -listen". pid is 0 if it is not
// known, which needs the rights of root or of the process's user.
func holderOf(to netip.AddrPort) (pid int, program string, ours bool) {
	sockets := map[string]bool{} // in the form of links in /proc/PID/fd
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		for _, inode := range listeningOn(table, to) {
			sockets["socket:["+inode+"]"] = true
		}
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil || len(sockets) == 0 {
		return 0, "", false
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err != nil || !sockets[to] {
			continue
		}
		process := filepath.Dir(filepath.Dir(link))
		pid, err = strconv.Atoi(filepath.Base(process))
		if err != nil {
			continue
		}
		name := nameOf(process)
		if pid == 1 && name == "systemd" { // it holds the socket for another program
			continue
		}
		if name != "smtpshim" && name != nameOf("/proc/self") {
			return pid, name, false
		}
		command := commandOf(process)
		return pid, strings.TrimSpace(name + " " + command), command == "run" || pid == os.Getpid()
	}
	return 0, "", false
}

// nameOf returns the name of a process, given its directory.
func nameOf(process string) string {
	name, err := os.ReadFile(filepath.Join(process, "comm"))
	if err != nil {
		return "a program whose name is not known"
	}
	return strings.TrimSpace(string(name))
}

// commandOf returns the first argument of a running program; "": not known.
func commandOf(process string) string {
	line, err := os.ReadFile(filepath.Join(process, "cmdline"))
	if err != nil {
		return ""
	}
	_, behind, _ := strings.Cut(string(line), "\x00")
	command, _, _ := strings.Cut(behind, "\x00")
	return command
}

// listeningOn returns the inodes of the listening sockets in a table such as
// /proc/net/tcp that conflict with an address (proc_pid_net(5)).
func listeningOn(table string, to netip.AddrPort) (inodes []string) {
	const listens = "0A" // TCP_LISTEN
	file, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != listens {
			continue
		}
		address, port, _ := strings.Cut(fields[1], ":")
		if number, err := strconv.ParseUint(port, 16, 16); err != nil || uint16(number) != to.Port() {
			continue
		}
		at, ok := addressIn(address)
		if ok && (at.IsUnspecified() || to.Addr().IsUnspecified() || at == to.Addr()) {
			inodes = append(inodes, fields[9])
		}
	}
	return inodes
}

// addressIn parses an address in such a table, words of 32 bits in the byte order of this
// machine.
func addressIn(digits string) (netip.Addr, bool) {
	octets, err := hex.DecodeString(digits)
	if err != nil || len(octets)%4 != 0 {
		return netip.Addr{}, false
	}
	for i := 0; i < len(octets); i += 4 {
		endian.NativeEndian.PutUint32(octets[i:], endian.BigEndian.Uint32(octets[i:]))
	}
	at, ok := netip.AddrFromSlice(octets)
	return at.Unmap(), ok
}

// firstFreePort returns the first port that every user may bind.
func firstFreePort() int {
	first := 1024
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil {
		fmt.Sscan(string(text), &first)
	}
	return first
}
