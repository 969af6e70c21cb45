package host

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Holder says who listens on a TCP address here: "process 4711 (python3)", "a
// process of another user or container" where the socket is seen and its owner
// is not, "" where nobody listens. A listener on every address counts, as does
// any listener on the port where the address is unspecified. It reads all of
// /proc: some 10 ms on a busy host.
func Holder(address netip.AddrPort) string {
	inodes := make(map[string]bool)
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		for _, l := range listeningIn(table) {
			if overlaps(l.address, address) {
				inodes["socket:["+l.inode+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return ""
	}
	pids, _ := Processes()
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			if target, err := os.Readlink(dir + "/" + entry.Name()); err == nil && inodes[target] {
				return fmt.Sprintf("process %d (%s)", pid, commandOf(pid))
			}
		}
	}
	return "a process of another user or container"
}

// commandOf is a process's name for people.
func commandOf(pid int) string {
	if title, err := Title(pid); err == nil && title != "" {
		if r := []rune(title); len(r) > 80 {
			return string(r[:80]) + "…"
		}
		return title
	}
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(name))
}

func overlaps(held, wanted netip.AddrPort) bool {
	return held.Port() == wanted.Port() &&
		(held.Addr() == wanted.Addr() || held.Addr().IsUnspecified() || wanted.Addr().IsUnspecified())
}

type listening struct {
	address netip.AddrPort
	inode   string
}

// listeningIn reads the listening sockets of /proc/net/tcp or tcp6. The kernel
// lists them first (Documentation/networking/proc_net_tcp.rst), so what follows
// is not read: a busy host has ten thousands of connections, and has the kernel
// walk its table of all of them for 100 ms.
func listeningIn(table string) (all []listening) {
	file, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Scan() // names of the columns
	for lines.Scan() {
		// sl local_address rem_address st … inode: "0: 0100007F:1F90 00000000:0000 0A …"
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != "0A" {
			break
		}
		if address, ok := hexAddress(fields[1]); ok {
			all = append(all, listening{address, fields[9]})
		}
	}
	return all
}

// hexAddress reads "0100007F:1F90": words of four bytes in the machine's own
// order, and the port.
func hexAddress(text string) (netip.AddrPort, bool) {
	words, port, _ := strings.Cut(text, ":")
	raw, err1 := hex.DecodeString(words)
	number, err2 := strconv.ParseUint(port, 16, 16)
	if err1 != nil || err2 != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	address, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(address.Unmap(), uint16(number)), ok
}

// ListeningOn are the TCP addresses that a process listens on.
func ListeningOn(pid int) []netip.AddrPort {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	held := make(map[string]bool)
	for _, entry := range entries {
		if target, err := os.Readlink(dir + "/" + entry.Name()); err == nil && strings.HasPrefix(target, "socket:") {
			held[target] = true
		}
	}
	var all []netip.AddrPort
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		for _, l := range listeningIn(table) {
			if held["socket:["+l.inode+"]"] {
				all = append(all, l.address)
			}
		}
	}
	return all
}

// CanBind tries whether a program could listen on an address now, as a server
// does that starts again soon after its end, and gives it back at once. The
// error is that of bind(2): syscall.EADDRINUSE, syscall.EADDRNOTAVAIL,
// syscall.EACCES. It is a moment's truth.
func CanBind(address netip.AddrPort, udp bool) error {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	var to unix.Sockaddr
	if address.Addr().Is4() {
		to = &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}
	} else {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: int(address.Port()), Addr: address.Addr().As16()}
	}
	if udp {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !udp { // for UDP it would let two have one port
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	return unix.Bind(fd, to)
}
