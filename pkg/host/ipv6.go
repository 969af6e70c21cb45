package host

import (
	"errors"

	"golang.org/x/sys/unix"
)

// HasIPv6 says whether the kernel knows IPv6 at all; where it was booted with
// ipv6.disable=1 a program that listens on [::] does not start.
func HasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return !errors.Is(err, unix.EAFNOSUPPORT)
	}
	unix.Close(fd)
	return true
}
